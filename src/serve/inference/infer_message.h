// A request for inference and its answer, as both protocols hand them to the core.
//
// Tensors are C-contiguous and little-endian; those of strings as tensor_types.h has it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "serve/inference/shared_memory.h"
#include "serve/request_context.h"
#include "types/tensor.h"

namespace sightline::serve {

// Of all inputs of a request that lie in shared memory, as of the body of one that carries them: who runs
// it copies them. Chosen.
inline constexpr size_t kMaxRequestBytes = size_t{64} << 20;

// Where a client wants a tensor, or has it.
struct SharedPlace {
  std::shared_ptr<const SharedRegion> region;  // null: not in shared memory
  std::string name;                            // of the region
  size_t offset = 0;
  size_t bytes = 0;
};

struct InferInput {
  std::string name;
  DataType dtype = DataType::kOther;
  std::vector<int64_t> shape;
  // The elements: in `shared` where it has a region, else in `owned` where `is_owned`, else in `bytes`,
  // which the request's `backing` keeps.
  std::string_view bytes;
  std::string owned;
  bool is_owned = false;
  SharedPlace shared;

  std::string_view memory() const { return is_owned ? std::string_view(owned) : bytes; }
  size_t size() const { return shared.region ? shared.bytes : memory().size(); }
};

struct WantedOutput {
  std::string name;
  int classes = 0;  // with more than 0: the so many highest, as strings "VALUE:INDEX[:LABEL]"
  SharedPlace shared;
};

struct InferRequest {
  std::string model;
  std::string version;     // "" = the newest
  std::string id;          // comes back as it is
  uint32_t source = 0;     // who asks, for fairness
  int priority = 0;        // 1 is the most urgent; 0 = the model's default
  int64_t timeout_us = 0;  // not begun after so long; 0 = no limit
  std::vector<InferInput> inputs;
  std::vector<WantedOutput> outputs;  // empty = all
  std::shared_ptr<const void> backing;
  // Whether nobody waits for the answer any more: then it is not computed. From any thread, at any time
  // before the answer. Empty: somebody always does.
  std::function<bool()> gone = {};
  std::shared_ptr<RequestContext> context;  // where its times are noted; may be null
};

struct InferOutput {
  std::string name;
  DataType dtype = DataType::kOther;
  std::vector<int64_t> shape;
  std::string bytes;   // empty where `shared` has them
  SharedPlace shared;  // `bytes` of it: those written
};

// Puts the output's bytes where the client wants them, and says so in the output. InvalidArgument where they do
// not fit.
absl::Status WriteShared(std::string_view bytes, const SharedPlace& place, InferOutput& output);

struct InferResponse {
  std::string model;
  std::string version;
  std::string id;
  std::vector<InferOutput> outputs;
};

// Called exactly once, on the thread of a model or on that which asked; must not block.
using InferDone = std::function<void(absl::StatusOr<InferResponse>&&)>;

}  // namespace sightline::serve
