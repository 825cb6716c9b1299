// Whether a model whose batch was opened (infer/onnx_batch.h) gives what it gave before.
#pragma once

#include <string>

#include "base/status.h"
#include "infer/backend.h"
#include "types/model_spec.h"

namespace sightline {

// Runs `original`, a file with a batch of 1, on four different pictures; `opened` on each of them alone,
// on two and on four of them, in one order and in another. Every number of every output must be the
// same to the bit, at the place of its picture. FailedPrecondition with what was not, as the rest of a
// sentence about the opened file. The proof is one for the processor: `backend` runs without other
// providers.
// Cost: 18 pictures through the model.
absl::Status ProveBatch(const std::string& original, const std::string& opened,
                        const ModelSpec& spec, InferenceBackend& backend);

}  // namespace sightline
