// What an ONNX file says about itself, and mending what makes it slow.
//
// Format: ONNX IR versions 3 to 13 (onnx.proto3 of ONNX 1.0 to 1.19), a protobuf message
// ModelProto. Only the fields below are read; weights are stepped over. Cost: reading the file,
// about 1 ms for a few MB, and memory of the file's size while it lasts.
// docs/decisions/onnx_wire_reader.md says why this is not libprotobuf.
//
// Threads: reentrant. Nothing here runs the model or trusts the file: every length is checked.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "types/tensor.h"

namespace sightline {

struct OnnxFileInfo {
  std::string path;
  uint64_t file_bytes = 0;
  std::string producer;          // "pytorch"
  std::string producer_version;  // "1.10"
  int64_t ir_version = 0;
  int64_t opset = 0;                            // of the default domain; 0 when the file names none
  std::map<std::string, int64_t> other_opsets;  // domain -> version, e.g. "com.microsoft"
  std::map<std::string, std::string> metadata;  // metadata_props, e.g. "names", "stride"
  std::string graph_name;

  // In the order of the graph, as declared there; -1 is a dynamic dimension. An empty shape is a
  // scalar or was not declared. Weights that are listed as inputs are left out.
  std::vector<TensorInfo> inputs;
  std::vector<TensorInfo> outputs;

  std::vector<std::string> initializers;  // names of the weights
  // Those of them that are also graph inputs, which makes a runtime treat them as replaceable (see
  // MendOnnx). Empty for IR versions below 4: those demand the listing and mean nothing by it.
  std::vector<std::string> weights_as_inputs;
  std::map<std::string, int> op_counts;    // "Conv" -> 64; other domains as "domain::Op"
  std::vector<std::string> external_data;  // files that hold weights, as the file says

  bool has_external_data() const { return !external_data.empty(); }
};

// "images float32[1,3,416,416] -> output float32[1,3549,85]": one line for people.
std::string Describe(const OnnxFileInfo& info);

// Reads the file at `path`. NotFound, InvalidArgument when it is not an ONNX model (known other
// formats are named), DataLoss when it is cut short or damaged, ResourceExhausted beyond the limits
// (2 GiB, 100,000 nodes or weights, 2 GiB a tensor). What does not hold together (cycles, names that nothing
// makes, data that are not what their type and dimensions say) is refused too: see onnx_check.h.
absl::StatusOr<OnnxFileInfo> InspectOnnx(const std::string& path);

// The same over bytes in memory; `name` stands in errors and in `path`.
absl::StatusOr<OnnxFileInfo> InspectOnnxBytes(std::span<const uint8_t> bytes,
                                              std::string_view name);

// InvalidArgument when weights lie in other files. Those are not read at all for now: a path in a
// model could lead anywhere (CVE-2022-25882 and what followed), and one file has one checksum.
absl::Status CheckSelfContained(const OnnxFileInfo& info);

// Copies the model at `in` to `out` without the weights among its graph inputs and returns how many
// there were. ONNX Runtime treats such weights as values that a caller may replace and therefore
// neither folds nor fuses over them: Ultra-Light 320 runs 2.4 times slower (measured). Every other
// field of the model is kept byte for byte. `out` is replaced whole or not at all; it may be `in`.
absl::StatusOr<int> MendOnnx(const std::string& in, const std::string& out);

}  // namespace sightline
