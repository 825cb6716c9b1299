// Requests for inference over HTTP and their answers: JSON, with tensors in it or, binary, behind it.
//
// Source: Open Inference Protocol 2, "Inference Request JSON Object"; Triton's extensions "Binary Tensor
// Data", "Classification", "Schedule Policy", "Shared Memory".
// Bounds: JSON of at most kMostJsonBytes, kMostJsonDepth deep; tensors have as many elements as their
// shape says or are refused while they are read. Threads: reentrant; a JsonReader one at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "serve/http/request_body.h"
#include "serve/inference/infer_message.h"
#include "serve/inference/shared_memory.h"

namespace sightline::serve {

inline constexpr size_t kMostJsonBytes = size_t{16} << 20;
inline constexpr size_t kMostJsonDepth = 64;
inline constexpr size_t kMostTensors = 1024;  // inputs, or outputs, of one request
inline constexpr size_t kMostDimensions = 32;

struct RestInferRequest {
  InferRequest request;
  bool binary_by_default = false;
  std::vector<std::pair<std::string, bool>> binary;  // outputs that say so themselves
};

// Memory that is used again from one request to the next.
class JsonReader {
 public:
  JsonReader();
  ~JsonReader();

  // `body`: the JSON object in its first `header_bytes` (all of it when there is no such header), then
  // the binary tensors. `body` is kept by the request as long as its tensors lie in it.
  // InvalidArgument with what is wrong and where; NotFound for shared memory that is not registered;
  // OutOfRange for too much JSON.
  absl::StatusOr<RestInferRequest> ReadInferRequest(RequestBody body,
                                                    std::optional<size_t> header_bytes,
                                                    const SharedMemory& shared_memory);

 private:
  struct Parser;
  std::unique_ptr<Parser> parser_;
};

struct RestInferAnswer {
  std::string json;
  // Behind it, in the order of the outputs; empty: there are none, and the answer is JSON alone.
  std::vector<std::string> binary;
  bool has_binary = false;
};

// Which outputs go as what.
struct BinaryChoice {
  bool by_default = false;
  std::vector<std::pair<std::string, bool>> outputs;
};

// InvalidArgument for an output that JSON cannot carry (FP16, BF16; strings that are no UTF-8).
absl::StatusOr<RestInferAnswer> WriteInferResponse(InferResponse&& response,
                                                   const BinaryChoice& choice);

}  // namespace sightline::serve
