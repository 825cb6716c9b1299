#include "infer/backends/onnxruntime/onnxruntime_backend.h"

#include <onnxruntime_session_options_config_keys.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <utility>

#include "base/allocation_scope.h"
#include "base/ascii_text.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/whole_file.h"
#include "infer/backends/loaded_models.h"
#include "infer/backends/onnxruntime/onnxruntime_library.h"
#include "infer/backends/onnxruntime/onnxruntime_session_internal.h"
#include "infer/onnx_file.h"

namespace sightline {
namespace {

constexpr uint64_t kMaxModelBytes = uint64_t{2} << 30;  // of a protobuf message
constexpr std::string_view kProviderSuffix = "ExecutionProvider";

DataType FromOnnx(ONNXTensorElementDataType element) {
  switch (element) {
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT:
      return DataType::kFloat32;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16:
      return DataType::kFloat16;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8:
      return DataType::kUint8;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64:
      return DataType::kInt64;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32:
      return DataType::kInt32;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL:
      return DataType::kBool;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8:
      return DataType::kInt8;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16:
      return DataType::kInt16;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16:
      return DataType::kUint16;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32:
      return DataType::kUint32;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64:
      return DataType::kUint64;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE:
      return DataType::kFloat64;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16:
      return DataType::kBfloat16;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING:
      return DataType::kString;
    default:
      return DataType::kOther;
  }
}

void LogFromRuntime(void*, OrtLoggingLevel severity, const char* category, const char*,
                    const char* location, const char* message) {
  // What goes wrong also comes back as an error with the same words, so this is for those who
  // debug.
  const auto level =
      severity >= ORT_LOGGING_LEVEL_FATAL ? spdlog::level::err : spdlog::level::debug;
  Log().log(level, "onnxruntime {}: {} ({})", category, message, location);
}

// "CUDAExecutionProvider" -> "cuda"
std::string ShortName(std::string_view provider) {
  if (provider.ends_with(kProviderSuffix)) provider.remove_suffix(kProviderSuffix.size());
  return AsciiLower(provider);
}

// One entry of SessionOptions::providers: "cuda:1".
struct ProviderChoice {
  std::string name;
  int device = 0;
};

std::optional<ProviderChoice> ParseChoice(const std::string& text) {
  ProviderChoice choice;
  const size_t colon = text.find(':');
  choice.name = AsciiLower(text.substr(0, colon));
  if (colon == std::string::npos) return choice;
  const char* begin = text.data() + colon + 1;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(begin, end, choice.device);
  if (error != std::errc() || rest != end || choice.device < 0) return std::nullopt;
  return choice;
}

// GPU options by key and value, through the C calls that make, fill and free them.
template <typename Options>
void AppendGpu(Ort::SessionOptions& options, int device, OrtStatus* (*create)(Options**),
               OrtStatus* (*update)(Options*, const char* const*, const char* const*, size_t),
               void (*release)(Options*),
               OrtStatus* (*append)(OrtSessionOptions*, const Options*)) {
  Options* raw = nullptr;
  Ort::ThrowOnError(create(&raw));
  const std::unique_ptr<Options, void (*)(Options*)> gpu(raw, release);
  const std::string id = std::to_string(device);
  const char* keys[] = {"device_id"};
  const char* values[] = {id.c_str()};
  Ort::ThrowOnError(update(raw, keys, values, 1));
  Ort::ThrowOnError(append(options, raw));
}

void AppendProvider(Ort::SessionOptions& options, const ProviderChoice& choice,
                    const std::string& full_name) {
  const OrtApi& api = Ort::GetApi();
  if (choice.name == "cuda") {
    AppendGpu(options, choice.device, api.CreateCUDAProviderOptions, api.UpdateCUDAProviderOptions,
              api.ReleaseCUDAProviderOptions, api.SessionOptionsAppendExecutionProvider_CUDA_V2);
  } else if (choice.name == "tensorrt") {
    AppendGpu(options, choice.device, api.CreateTensorRTProviderOptions,
              api.UpdateTensorRTProviderOptions, api.ReleaseTensorRTProviderOptions,
              api.SessionOptionsAppendExecutionProvider_TensorRT_V2);
  } else {
    // The generic call wants the name without the suffix, as the library spells it.
    options.AppendExecutionProvider(full_name.substr(0, full_name.size() - kProviderSuffix.size()));
  }
}

absl::StatusOr<OnnxRuntimePort> ReadPort(const std::string& name, const Ort::TypeInfo& type,
                                         std::string_view what) {
  if (type.GetONNXType() != ONNX_TYPE_TENSOR) {
    return InvalidArgument(
        "{} \"{}\" is not a tensor but a sequence or map, which is not supported: "
        "export the model without its dictionary or list outputs",
        what, name);
  }
  const auto tensor = type.GetTensorTypeAndShapeInfo();
  OnnxRuntimePort port;
  port.element = tensor.GetElementType();
  port.info.name = name;
  port.info.dtype = FromOnnx(port.element);
  port.info.shape = tensor.GetShape();
  std::vector<const char*> symbols(port.info.shape.size(), "");
  if (!symbols.empty()) tensor.GetSymbolicDimensions(symbols.data(), symbols.size());
  port.symbols.assign(symbols.begin(), symbols.end());
  for (int64_t& dimension : port.info.shape) {
    if (dimension <= 0) dimension = -1;
  }
  return port;
}

absl::Status ReadPorts(OnnxRuntimeModel& model) {
  const Ort::AllocatorWithDefaultOptions allocator;
  for (size_t i = 0; i < model.session.GetInputCount(); ++i) {
    SL_ASSIGN_OR_RETURN(OnnxRuntimePort port,
                        ReadPort(model.session.GetInputNameAllocated(i, allocator).get(),
                                 model.session.GetInputTypeInfo(i), "input"));
    if (port.info.dtype == DataType::kOther) {
      return InvalidArgument("input \"{}\" has an element type that is not supported",
                             port.info.name);
    }
    model.inputs.push_back(std::move(port));
  }
  for (size_t i = 0; i < model.session.GetOutputCount(); ++i) {
    SL_ASSIGN_OR_RETURN(OnnxRuntimePort port,
                        ReadPort(model.session.GetOutputNameAllocated(i, allocator).get(),
                                 model.session.GetOutputTypeInfo(i), "output"));
    model.outputs.push_back(std::move(port));
  }
  if (model.inputs.empty() || model.outputs.empty()) {
    return InvalidArgument("the model has {} inputs and {} outputs: both are needed",
                           model.inputs.size(), model.outputs.size());
  }
  return absl::OkStatus();
}

class OnnxRuntime final : public InferenceBackend {
 public:
  // May throw Ort::Exception.
  explicit OnnxRuntime(OnnxRuntimeLibrary library)
      : library_(std::move(library)),
        env_(ORT_LOGGING_LEVEL_ERROR, "sightline", LogFromRuntime, nullptr) {
    env_.DisableTelemetryEvents();
    for (const std::string& provider : Ort::GetAvailableProviders()) {
      // Left out because it sends what it is given to a remote service.
      if (provider == "AzureExecutionProvider") continue;
      full_names_.emplace(ShortName(provider), provider);
      short_names_.push_back(ShortName(provider));
    }
  }

  std::string_view name() const override { return "onnxruntime"; }
  std::string version() const override { return library_.version; }
  std::vector<std::string> providers() const override { return short_names_; }

  absl::StatusOr<std::unique_ptr<InferenceSession>> Open(const SessionOptions& options) override {
    const LibraryAllocations scope;
    try {
      SL_ASSIGN_OR_RETURN(std::shared_ptr<OnnxRuntimeModel> model, FindOrLoad(options));
      return MakeOnnxRuntimeSession(std::move(model));
    } catch (const std::exception& e) {
      return Internal("{}: {}", options.model_file, OnnxRuntimeWords(e.what()));
    }
  }

 private:
  absl::StatusOr<std::shared_ptr<OnnxRuntimeModel>> FindOrLoad(const SessionOptions& options) {
    SL_ASSIGN_OR_RETURN(
        LoadedModelKey key,
        KeyOfModel(options.model_file, fmt::format("{}", fmt::join(options.providers, ","))));
    if (options.intra_op_threads < 1 || options.intra_op_threads > 1024) {
      return InvalidArgument("{} threads for one inference: 1 to 1024 are possible",
                             options.intra_op_threads);
    }
    // Sessions of several threads bring a pool of their own each: sharing the model would make
    // them share that too.
    if (options.intra_op_threads > 1) return Load(options);
    return models_.FindOrLoad(std::move(key), [&] { return Load(options); });
  }

  absl::StatusOr<std::shared_ptr<OnnxRuntimeModel>> Load(const SessionOptions& options) {
    Ort::SessionOptions settings;
    settings.SetIntraOpNumThreads(options.intra_op_threads);  // 1: on the caller's thread
    settings.SetInterOpNumThreads(1);
    settings.SetExecutionMode(ORT_SEQUENTIAL);
    settings.SetGraphOptimizationLevel(ORT_ENABLE_ALL);
    // Threads that spin while they wait would take the cores from decoding and tracking.
    settings.AddConfigEntry(kOrtSessionOptionsConfigAllowIntraOpSpinning, "0");
    settings.AddConfigEntry(kOrtSessionOptionsConfigAllowInterOpSpinning, "0");
    SL_RETURN_IF_ERROR(ApplyProviders(options, settings));
    // The bytes that were looked at are the bytes that run, and a file that is no model gets a
    // better error than the runtime's.
    SL_ASSIGN_OR_RETURN(const std::string bytes, ReadWholeFile(options.model_file, kMaxModelBytes));
    SL_ASSIGN_OR_RETURN(const OnnxFileInfo info,
                        InspectOnnxBytes(AsBytes(bytes), options.model_file));
    SL_RETURN_IF_ERROR(CheckSelfContained(info));
    if (!info.weights_as_inputs.empty()) {
      Log().warn(
          "{} lists {} weights as graph inputs, which makes it up to 2.4 times slower: "
          "`sightline models add` mends that",
          options.model_file, info.weights_as_inputs.size());
    }
    try {
      auto model = std::make_shared<OnnxRuntimeModel>(
          Ort::Session(env_, bytes.data(), bytes.size(), settings));
      model->file = options.model_file;
      const absl::Status ports = ReadPorts(*model);
      if (!ports.ok()) return WithContext(ports, options.model_file);
      return model;
    } catch (const Ort::Exception& e) {
      return InvalidArgument("{}: ONNX Runtime {} cannot load it: {}", options.model_file,
                             library_.version, OnnxRuntimeWords(e.what()));
    }
  }

  absl::Status ApplyProviders(const SessionOptions& options, Ort::SessionOptions& settings) const {
    bool after_cpu = false;
    for (const std::string& text : options.providers) {
      const auto choice = ParseChoice(text);
      if (!choice) return InvalidArgument("provider \"{}\": NAME or NAME:DEVICE is expected", text);
      const auto full_name = full_names_.find(choice->name);
      if (full_name == full_names_.end()) {
        return InvalidArgument(
            "ONNX Runtime {} at {} has no execution provider \"{}\": it has {}; for others set "
            "SIGHTLINE_ORT_LIBRARY to a build that has them",
            library_.version, library_.path, choice->name, fmt::join(short_names_, ", "));
      }
      if (after_cpu) {
        return InvalidArgument(
            "provider \"{}\" stands after \"cpu\", which already takes "
            "everything: put it first",
            text);
      }
      if (choice->name == "cpu") {
        after_cpu = true;
        continue;
      }
      try {
        AppendProvider(settings, *choice, full_name->second);
      } catch (const Ort::Exception& e) {
        return FailedPrecondition("execution provider \"{}\" cannot start: {}", text,
                                  OnnxRuntimeWords(e.what()));
      }
    }
    return absl::OkStatus();
  }

  const OnnxRuntimeLibrary library_;
  Ort::Env env_;
  std::map<std::string, std::string> full_names_;  // by short name
  std::vector<std::string> short_names_;
  LoadedModels<OnnxRuntimeModel> models_;
};

}  // namespace

absl::StatusOr<InferenceBackend*> OnnxRuntimeBackend() {
  static Mutex mutex;
  static OnnxRuntime* backend = nullptr;  // never destroyed: the library stays loaded to the end
  MutexLock lock(mutex);
  if (backend != nullptr) return backend;
  SL_ASSIGN_OR_RETURN(OnnxRuntimeLibrary library, LoadOnnxRuntime(DefaultOnnxRuntimeSearch()));
  const LibraryAllocations scope;
  try {
    Ort::InitApi(library.api);
    backend = new OnnxRuntime(std::move(library));
  } catch (const Ort::Exception& e) {
    return FailedPrecondition("ONNX Runtime does not start: {}", OnnxRuntimeWords(e.what()));
  }
  return backend;
}

}  // namespace sightline
