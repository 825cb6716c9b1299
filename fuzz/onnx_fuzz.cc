// Any bytes as an ONNX file: what they say is read or refused, and their batch opened, never a crash, a
// hang or a leak.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "infer/onnx_batch.h"
#include "infer/onnx_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sightline;
  const auto info = InspectOnnxBytes({data, size}, "fuzz.onnx");
  if (!info.ok()) return 0;
  if (info->ir_version <= 0) std::abort();
  // Every weight that is also an input is one of both.
  if (info->weights_as_inputs.size() > size || info->initializers.size() > size) std::abort();
  (void)Describe(*info);
  (void)CheckSelfContained(*info);
  const auto opened = OpenBatch({data, size}, "fuzz.onnx");
  if (!opened.ok()) return 0;
  // What was written is a file with the same nodes, whose batch is open.
  const std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(opened->model.data()),
                                       opened->model.size());
  const auto again = InspectOnnxBytes(bytes, "opened.onnx");
  if (!again.ok() || again->op_counts != info->op_counts) std::abort();
  return 0;
}
