#include "infer/inspect_model.h"

#include "infer/model_format.h"
#include "infer/tflite_file.h"
#include "infer/torchscript_file.h"

namespace sightline {

absl::StatusOr<OnnxFileInfo> InspectModel(
    const std::string& path, const std::function<absl::StatusOr<InferenceBackend*>()>& backend,
    int width, int height) {
  const ModelFormat format = FormatOf(path);
  if (format == ModelFormat::kOnnx) return InspectOnnx(path);
  SL_ASSIGN_OR_RETURN(InferenceBackend* const runtime, backend());
  if (format == ModelFormat::kTflite) return InspectTflite(path, *runtime);
  return InspectTorchScript(path, *runtime, width, height);
}

}  // namespace sightline
