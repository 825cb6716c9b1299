// Whether an ONNX file holds together, before a runtime is given it. Internal to onnx_file.cc and
// tests; what an operator makes of its inputs is the runtime's to say.
//
// Refused are
//   - tensors whose data are not what type and dimensions say, and those beyond 2 GiB, alone or all
//     together (a few bytes can declare a sparse tensor of any size);
//   - graphs with cycles, with names made twice or read and never made;
//   - functions that call themselves, or unfold to more nodes than a file may hold;
//   - fields given twice that can be there once: readers differ in which of them counts.
// Nodes may stand in any order, as ONNX Runtime takes them, too.
//
// Threads: reentrant. Cost: one pass and a sort of the names, about 1 ms for a model of 500 nodes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/status.h"

namespace sightline {

// `bytes` are a ModelProto whose fields can be walked over (InspectOnnxBytes sees to that); graphs
// are at most `max_depth` deep and functions unfold to at most `max_nodes` nodes. `name` stands in
// errors. DataLoss with what is wrong and where; ResourceExhausted beyond the limits.
absl::Status CheckOnnxStructure(std::span<const uint8_t> bytes, std::string_view name,
                                int max_depth, size_t max_nodes);

}  // namespace sightline
