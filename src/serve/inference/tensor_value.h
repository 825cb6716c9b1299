// Requests for tensors as keys of the result cache, and their answers as its values.
// Threads: reentrant. Cost: a hash over the inputs; a copy of the outputs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "serve/cache/cache_key.h"
#include "serve/inference/infer_message.h"
#include "serve/inference/served_model.h"

namespace sightline::serve {

// Everything that the answer depends on: the model by name, version and content, the inputs by name,
// type, shape and bytes, the outputs that are asked for and how. Not where they lie, who asks, or how
// urgently. Of a request that fits the model, none of whose inputs lies in shared memory.
CacheKey KeyOf(const ServedModel& model, const InferRequest& request);

// The outputs, none of which lies in shared memory.
std::string PackOutputs(const std::vector<InferOutput>& outputs);
// DataLoss for bytes that PackOutputs() did not make: values may come from a store that others write.
absl::StatusOr<std::vector<InferOutput>> UnpackOutputs(std::string_view bytes);

}  // namespace sightline::serve
