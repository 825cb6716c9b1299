// The highest values of an output, as the classification extension writes them.
//
// Source: Triton's extension "Classification": strings "VALUE:INDEX" or "VALUE:INDEX:LABEL".
// Threads: reentrant. Cost: one pass over the elements, and a sort of the highest.
#pragma once

#include <string>

#include "base/status.h"
#include "types/detections.h"
#include "types/tensor.h"

namespace sightline::serve {

// Of `count` elements from `first` on, in `rows` equal rows: the `classes` highest of each, by falling
// value and then rising index, as strings behind each other in `bytes`. A NaN is lower than all.
// InvalidArgument for strings and other types that have no order.
absl::Status Classify(const TensorView& view, int64_t first, int64_t count, int64_t rows,
                      int classes, const LabelSet* labels, std::string& bytes);

}  // namespace sightline::serve
