// Whether the first dimension of a model's tensors is one of rows that know nothing of each other, so that
// requests may share a run.
//
// A file says only that a dimension is free. Two different rows are run alone and together; what comes
// out for each must be the same, but for the rounding that other sizes bring (relative 1e-3, chosen).
// Cost: three inferences.
#pragma once

#include "base/status.h"
#include "infer/backend.h"

namespace sightline::serve {

// False also where it cannot be tried: another dimension is free, or tensors are strings.
bool HasIndependentRows(InferenceSession& session);

// Every input and every output has a first dimension that is free.
bool HasFreeFirstDimensions(const InferenceSession& session);

}  // namespace sightline::serve
