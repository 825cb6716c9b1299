// Any bytes as a ModelInferRequest over gRPC: it is answered or refused with a sentence.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "open_inference.pb.h"
#include "serve/grpc/grpc_messages_internal.h"
#include "serve/inference/test_service.h"

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sightline;
  using namespace sightline::serve;
  static TestService served("infer-grpc-fuzz");
  static const bool loaded = served.Load().ok();
  Require(loaded);
  ::inference::ModelInferRequest message;
  if (!message.ParseFromArray(data, static_cast<int>(size))) return 0;
  auto read = ReadRequest(message, served.service().shared_memory());
  if (!read.ok()) {
    Require(!MessageOf(read.status()).empty());
    return 0;
  }
  read->model = "double";
  auto answer = served.Ask(*std::move(read));
  if (!answer.ok()) {
    Require(!MessageOf(answer.status()).empty());
    return 0;
  }
  ::inference::ModelInferResponse response;
  WriteResponse(*std::move(answer), response);
  Require(response.outputs_size() <= 1);
  return 0;
}
