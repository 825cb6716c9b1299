#include "infer/backends/torchscript/torchscript_backend.h"

#include <fmt/ranges.h>

#include <array>
#include <utility>

#include "base/allocation_scope.h"
#include "base/ascii_text.h"
#include "base/mutex.h"
#include "base/whole_file.h"
#include "infer/backends/loaded_models.h"
#include "infer/backends/torchscript/torchscript_session_internal.h"
#include "infer/torchscript_file.h"

namespace sightline {
namespace {

constexpr uint64_t kMaxModelBytes = uint64_t{2} << 30;
constexpr int32_t kMaxTensors = 256;  // chosen: far more than any model of pictures has

DataType PictureElement(int32_t element) {
  return element == SIGHTLINE_TORCH_FLOAT16 ? DataType::kFloat16 : DataType::kFloat32;
}

class TorchScript final : public InferenceBackend {
 public:
  explicit TorchScript(const TorchScriptLibrary& library) : library_(library) {}

  std::string_view name() const override { return "torchscript"; }
  std::string version() const override { return library_.version; }
  std::vector<std::string> providers() const override { return {"cpu"}; }
  bool Reads(ModelFormat format) const override { return format == ModelFormat::kTorchScript; }

  absl::StatusOr<std::unique_ptr<InferenceSession>> Open(const SessionOptions& options) override {
    const LibraryAllocations scope;
    SL_ASSIGN_OR_RETURN(LoadedModelKey key, KeyOfModel(options.model_file, ""));
    if (options.intra_op_threads < 1 || options.intra_op_threads > 1024) {
      return InvalidArgument("{} threads for one inference: 1 to 1024 are possible",
                             options.intra_op_threads);
    }
    for (const std::string& provider : options.providers) {
      if (AsciiLower(provider) == "cpu") continue;
      return InvalidArgument("TorchScript files run on \"cpu\" alone here, not on \"{}\"",
                             provider);
    }
    SL_ASSIGN_OR_RETURN(std::shared_ptr<const TorchScriptModel> model,
                        models_.FindOrLoad(std::move(key), [&] { return Load(options); }));
    return MakeTorchScriptSession(std::move(model), options.intra_op_threads,
                                  options.picture_shape);
  }

 private:
  absl::StatusOr<std::shared_ptr<const TorchScriptModel>> Load(
      const SessionOptions& options) const {
    // The bytes that were looked at are the bytes that run.
    SL_ASSIGN_OR_RETURN(const std::string bytes, ReadWholeFile(options.model_file, kMaxModelBytes));
    SL_RETURN_IF_ERROR(CheckTorchScript(AsBytes(bytes), options.model_file).status());
    const TorchScriptApi& api = library_.api;
    std::array<char, kTorchErrorBytes> error{};
    SightlineTorchModel* const loaded =
        api.sightline_torchscript_open(bytes.data(), bytes.size(), error.data(), error.size());
    if (loaded == nullptr) {
      return InvalidArgument("{}: libtorch {} cannot load it: {}", options.model_file,
                             library_.version, TorchScriptWords(error.data()));
    }
    auto model = std::make_shared<TorchScriptModel>(api, loaded);
    model->file = options.model_file;
    const int32_t inputs = api.sightline_torchscript_inputs(loaded);
    const int32_t outputs = api.sightline_torchscript_outputs(loaded);
    if (inputs > kMaxTensors || outputs > kMaxTensors) {
      return InvalidArgument("{} takes {} tensors and gives {}; at most {} are known",
                             options.model_file, inputs, outputs, kMaxTensors);
    }
    const DataType element = PictureElement(api.sightline_torchscript_element(loaded));
    for (int32_t i = 0; i < inputs; ++i) {
      model->inputs.push_back({api.sightline_torchscript_input_name(loaded, i), element, {}});
    }
    for (int32_t i = 0; i < outputs; ++i) {
      model->outputs.push_back({fmt::format("output{}", i), element, {}});
    }
    return std::shared_ptr<const TorchScriptModel>(std::move(model));
  }

  const TorchScriptLibrary& library_;
  LoadedModels<const TorchScriptModel> models_;
};

}  // namespace

absl::StatusOr<InferenceBackend*> TorchScriptBackend() {
  static Mutex mutex;
  static TorchScript* backend = nullptr;  // never destroyed: the library stays loaded to the end
  MutexLock lock(mutex);
  if (backend != nullptr) return backend;
  SL_ASSIGN_OR_RETURN(TorchScriptLibrary library, LoadTorchScript(DefaultTorchScriptSearch()));
  const LibraryAllocations scope;
  backend = new TorchScript(*new TorchScriptLibrary(std::move(library)));
  return backend;
}

}  // namespace sightline
