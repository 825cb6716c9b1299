// Any bytes as the body of an inference request over HTTP, packed or not: it is answered or refused with
// a sentence. The first byte says how much of the rest is JSON, and how it is packed.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>

#include "serve/inference/test_service.h"
#include "serve/rest/body_coding.h"
#include "serve/rest/infer_json.h"

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sightline;
  using namespace sightline::serve;
  static TestService served("infer-json-fuzz");
  static const bool loaded = served.Load().ok();
  static JsonReader reader;
  Require(loaded);
  if (size == 0) return 0;
  std::string body(reinterpret_cast<const char*>(data) + 1, size - 1);
  if ((data[0] & 0x80) != 0) {
    auto unpacked = Unpack(body, 1 << 20);
    if (!unpacked.ok()) return 0;
    Require(unpacked->size() <= 1 << 20);
    body = *std::move(unpacked);
  }
  std::optional<size_t> header_bytes;
  if ((data[0] & 0x40) != 0) header_bytes = body.size() * (data[0] & 0x3F) / 0x3F;
  auto read =
      reader.ReadInferRequest(std::move(body), header_bytes, served.service().shared_memory());
  if (!read.ok()) {
    Require(!MessageOf(read.status()).empty());
    return 0;
  }
  read->request.model = "double";
  auto answer = served.Ask(std::move(read->request));
  if (!answer.ok()) {
    Require(!MessageOf(answer.status()).empty());
    return 0;
  }
  (void)WriteInferResponse(*std::move(answer), {read->binary_by_default, std::move(read->binary)});
  return 0;
}
