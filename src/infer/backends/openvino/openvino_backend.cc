#include "infer/backends/openvino/openvino_backend.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/allocation_scope.h"
#include "base/ascii_text.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/whole_file.h"
#include "infer/backends/loaded_models.h"
#include "infer/backends/openvino/openvino_library_internal.h"
#include "infer/backends/openvino/openvino_session_internal.h"
#include "infer/onnx_file.h"
#include "infer/tflite_file.h"

namespace sightline {
namespace {

constexpr uint64_t kMaxModelBytes = uint64_t{2} << 30;  // of a protobuf message, of a flatbuffer

void LogFromRuntime(const char* message) {
  // What goes wrong also comes back as an error, so this is for those who debug.
  if (message != nullptr) Log().debug("openvino: {}", message);
}

// "GPU.1" <-> "gpu:1"
std::string ShortName(std::string device) {
  std::replace(device.begin(), device.end(), '.', ':');
  return AsciiLower(device);
}

class OpenVino final : public InferenceBackend {
 public:
  OpenVino(const OpenVinoLibrary& library, ov_core_t* core) : library_(library), core_(core) {
    ov_available_devices_t devices{};
    if (api().ov_core_get_available_devices(core_, &devices) != ov_status_e::OK) return;
    for (size_t i = 0; i < devices.size; ++i) {
      devices_.emplace(ShortName(devices.devices[i]), devices.devices[i]);
      names_.push_back(ShortName(devices.devices[i]));
    }
    api().ov_available_devices_free(&devices);
  }

  std::string_view name() const override { return "openvino"; }
  std::string version() const override { return library_.version; }
  std::vector<std::string> providers() const override { return names_; }
  bool Reads(ModelFormat format) const override {
    return format == ModelFormat::kOnnx || format == ModelFormat::kTflite;
  }

  absl::StatusOr<std::unique_ptr<InferenceSession>> Open(const SessionOptions& options) override {
    const LibraryAllocations scope;
    SL_ASSIGN_OR_RETURN(std::shared_ptr<const OpenVinoModel> model, FindOrCompile(options));
    return MakeOpenVinoSession(std::move(model));
  }

 private:
  const OpenVinoApi& api() const { return library_.api; }

  absl::StatusOr<std::string> DeviceOf(const SessionOptions& options) const {
    if (options.providers.size() > 1) {
      return InvalidArgument("OpenVINO runs a model on one device, not on {}: name one of {}",
                             fmt::join(options.providers, " and "), fmt::join(names_, ", "));
    }
    const std::string wanted = options.providers.empty() ? "cpu" : AsciiLower(options.providers[0]);
    const auto found = devices_.find(wanted);
    if (found != devices_.end()) return found->second;
    return InvalidArgument(
        "OpenVINO {} at {} has no device \"{}\": it has {}; for others set "
        "SIGHTLINE_OPENVINO_LIBRARY to an installation with their plugins",
        library_.version, library_.path, wanted, fmt::join(names_, ", "));
  }

  absl::StatusOr<std::shared_ptr<const OpenVinoModel>> FindOrCompile(
      const SessionOptions& options) {
    SL_ASSIGN_OR_RETURN(LoadedModelKey key, KeyOfModel(options.model_file, ""));
    if (options.intra_op_threads < 1 || options.intra_op_threads > 1024 ||
        options.parallel_sessions < 1 || options.parallel_sessions > 1024) {
      return InvalidArgument("{} sessions of {} threads: 1 to 1024 of each are possible",
                             options.parallel_sessions, options.intra_op_threads);
    }
    SL_ASSIGN_OR_RETURN(const std::string device, DeviceOf(options));
    key.use = fmt::format("{}, {} threads, {} sessions, batch {}", device, options.intra_op_threads,
                          options.parallel_sessions, options.max_batch);
    return models_.FindOrLoad(std::move(key), [&] { return Compile(options, device); });
  }

  absl::Status Refused(const SessionOptions& options, std::string_view doing,
                       ov_status_e status) const {
    return InvalidArgument("{}: OpenVINO {} cannot {} it: {}", options.model_file, library_.version,
                           doing, OpenVinoWords(api(), status));
  }

  // The file as OpenVINO understands it; `info` of an ONNX file.
  absl::StatusOr<OpenVinoOwned<ov_model_t>> Read(const SessionOptions& options,
                                                 OnnxFileInfo& info) const {
    SL_ASSIGN_OR_RETURN(const std::string bytes, ReadWholeFile(options.model_file, kMaxModelBytes));
    ov_model_t* model = nullptr;
    ov_status_e status = ov_status_e::OK;
    if (LooksLikeTflite(AsBytes(bytes))) {
      // This reader takes files by their names alone, and only such.
      if (!options.model_file.ends_with(".tflite")) {
        return InvalidArgument(
            "{} is a TensorFlow Lite model: OpenVINO wants its name to end in .tflite",
            options.model_file);
      }
      status = api().ov_core_read_model(core_, options.model_file.c_str(), nullptr, &model);
    } else {
      // The bytes that were looked at are the bytes that run.
      SL_ASSIGN_OR_RETURN(info, InspectOnnxBytes(AsBytes(bytes), options.model_file));
      SL_RETURN_IF_ERROR(CheckSelfContained(info));
      status = api().ov_core_read_model_from_memory_buffer(core_, bytes.data(), bytes.size(),
                                                           nullptr, &model);
    }
    if (status != ov_status_e::OK) return Refused(options, "read", status);
    return OpenVinoOwned<ov_model_t>(model, api().ov_model_free);
  }

  absl::StatusOr<TensorInfo> ReadPort(const ov_output_const_port_t* port) const {
    TensorInfo info;
    if (char* name = nullptr; api().ov_port_get_any_name(port, &name) == ov_status_e::OK) {
      info.name = name;
      api().ov_free(name);
    }
    ov_element_type_e element = ov_element_type_e::DYNAMIC;
    ov_partial_shape_t shape{};
    ov_status_e status = api().ov_port_get_element_type(port, &element);
    if (status == ov_status_e::OK) status = api().ov_port_get_partial_shape(port, &shape);
    if (status != ov_status_e::OK) return Internal("{}", OpenVinoWords(api(), status));
    info.dtype = FromOpenVino(element);
    // A model that leaves open even how many dimensions there are has none here.
    const int64_t rank = shape.rank.min == shape.rank.max ? shape.rank.max : 0;
    for (int64_t d = 0; d < rank; ++d) {
      const ov_dimension_t& dimension = shape.dims[d];
      info.shape.push_back(dimension.min == dimension.max && dimension.max > 0 ? dimension.max
                                                                               : -1);
    }
    api().ov_partial_shape_free(&shape);
    return info;
  }

  using PortOf = decltype(&::ov_model_const_input_by_index);

  absl::StatusOr<std::vector<TensorInfo>> ReadPorts(const ov_model_t* model, size_t count,
                                                    PortOf port_of,
                                                    const std::vector<TensorInfo>& declared) const {
    std::vector<TensorInfo> infos;
    for (size_t i = 0; i < count; ++i) {
      ov_output_const_port_t* raw = nullptr;
      if (const ov_status_e status = port_of(model, i, &raw); status != ov_status_e::OK) {
        return Internal("{}", OpenVinoWords(api(), status));
      }
      const OpenVinoOwned<ov_output_const_port_t> port(raw, api().ov_output_const_port_free);
      SL_ASSIGN_OR_RETURN(TensorInfo info, ReadPort(port.get()));
      // A tensor may have several names here; the file's own is the one that packages know.
      if (declared.size() == count) info.name = declared[i].name;
      infos.push_back(std::move(info));
    }
    return infos;
  }

  absl::StatusOr<std::shared_ptr<OpenVinoModel>> ReadAllPorts(const ov_model_t* model,
                                                              const OnnxFileInfo& file) const {
    size_t inputs = 0, outputs = 0;
    if (const ov_status_e status = api().ov_model_inputs_size(model, &inputs);
        status != ov_status_e::OK) {
      return Internal("{}", OpenVinoWords(api(), status));
    }
    if (const ov_status_e status = api().ov_model_outputs_size(model, &outputs);
        status != ov_status_e::OK) {
      return Internal("{}", OpenVinoWords(api(), status));
    }
    if (inputs == 0 || outputs == 0) {
      return InvalidArgument("the model has {} inputs and {} outputs: both are needed", inputs,
                             outputs);
    }
    auto ports = std::make_shared<OpenVinoModel>();
    SL_ASSIGN_OR_RETURN(ports->inputs,
                        ReadPorts(model, inputs, api().ov_model_const_input_by_index, file.inputs));
    SL_ASSIGN_OR_RETURN(
        ports->outputs,
        ReadPorts(model, outputs, api().ov_model_const_output_by_index, file.outputs));
    for (const TensorInfo& input : ports->inputs) {
      if (input.dtype == DataType::kOther) {
        return InvalidArgument("input \"{}\" has an element type that is not supported",
                               input.name);
      }
    }
    ports->api = &api();
    return ports;
  }

  // The inputs whose first dimension alone is open.
  static std::vector<size_t> InputsOfOpenBatch(const OpenVinoModel& ports) {
    std::vector<size_t> indices;
    for (size_t i = 0; i < ports.inputs.size(); ++i) {
      const std::vector<int64_t>& shape = ports.inputs[i].shape;
      if (!shape.empty() && shape[0] == -1 && std::count(shape.begin(), shape.end(), -1) == 1) {
        indices.push_back(i);
      }
    }
    return indices;
  }

  // Narrows an open batch to what will be asked for: fixed shapes run faster than open ones. False
  // when the model does not let it.
  bool NarrowBatch(ov_model_t* model, const OpenVinoModel& ports,
                   const std::vector<size_t>& indices, int max_batch) const {
    std::vector<std::vector<ov_dimension_t>> dimensions(indices.size());
    std::vector<ov_partial_shape_t> shapes;
    for (size_t n = 0; n < indices.size(); ++n) {
      for (const int64_t size : ports.inputs[indices[n]].shape) {
        dimensions[n].push_back({size, size});
      }
      dimensions[n][0] = {1, std::max(max_batch, 1)};
      const auto rank = static_cast<int64_t>(dimensions[n].size());
      shapes.push_back({{rank, rank}, dimensions[n].data()});
    }
    return api().ov_model_reshape_by_port_indexes(model, indices.data(), shapes.data(),
                                                  indices.size()) == ov_status_e::OK;
  }

  absl::StatusOr<std::shared_ptr<const OpenVinoModel>> Compile(const SessionOptions& options,
                                                               const std::string& device) const {
    OnnxFileInfo file;
    SL_ASSIGN_OR_RETURN(OpenVinoOwned<ov_model_t> model, Read(options, file));
    auto ports = ReadAllPorts(model.get(), file);
    if (!ports.ok()) return WithContext(ports.status(), options.model_file);
    std::shared_ptr<OpenVinoModel> compiled = *std::move(ports);
    compiled->file = options.model_file;
    const std::vector<size_t> open = InputsOfOpenBatch(*compiled);
    if (!open.empty() && options.max_batch > 0) {
      if (NarrowBatch(model.get(), *compiled, open, options.max_batch)) {
        compiled->largest_batch = std::max(options.max_batch, 1);
      } else {
        SL_ASSIGN_OR_RETURN(model, Read(options, file));  // half a change may have been made
      }
    }
    ov_compiled_model_t* raw = nullptr;
    ov_status_e status = CompileFor(options, device, model.get(), &raw);
    if (status != ov_status_e::OK && compiled->largest_batch > 0) {
      compiled->largest_batch = 0;
      SL_ASSIGN_OR_RETURN(model, Read(options, file));
      status = CompileFor(options, device, model.get(), &raw);
    }
    if (status != ov_status_e::OK) return Refused(options, "compile", status);
    compiled->compiled = {raw, api().ov_compiled_model_free};
    return std::shared_ptr<const OpenVinoModel>(std::move(compiled));
  }

  ov_status_e CompileFor(const SessionOptions& options, const std::string& device,
                         const ov_model_t* model, ov_compiled_model_t** compiled) const {
    const char* hint = options.parallel_sessions > 1 ? "THROUGHPUT" : "LATENCY";
    const std::string streams = std::to_string(options.parallel_sessions);
    const std::string threads =
        std::to_string(options.parallel_sessions * options.intra_op_threads);
    if (device != "CPU") {
      return api().ov_core_compile_model(core_, model, device.c_str(), 4, compiled,
                                         "PERFORMANCE_HINT", hint, "INFERENCE_PRECISION_HINT",
                                         "f32");
    }
    return api().ov_core_compile_model(
        core_, model, device.c_str(), 10, compiled, "PERFORMANCE_HINT", hint, "NUM_STREAMS",
        streams.c_str(), "INFERENCE_NUM_THREADS", threads.c_str(), "ENABLE_CPU_PINNING", "NO",
        "INFERENCE_PRECISION_HINT", "f32");
  }

  const OpenVinoLibrary& library_;
  ov_core_t* const core_;
  std::map<std::string, std::string> devices_;  // by short name
  std::vector<std::string> names_;
  LoadedModels<const OpenVinoModel> models_;
};

}  // namespace

absl::StatusOr<InferenceBackend*> OpenVinoBackend() {
  static Mutex mutex;
  // Never destroyed: the library stays loaded to the end.
  static OpenVino* backend = nullptr;
  static const OpenVinoLibrary* loaded = nullptr;
  MutexLock lock(mutex);
  if (backend != nullptr) return backend;
  const LibraryAllocations scope;
  if (loaded == nullptr) {
    SL_ASSIGN_OR_RETURN(OpenVinoLibrary library, LoadOpenVino(DefaultOpenVinoSearch()));
    loaded = new OpenVinoLibrary(std::move(library));
    loaded->api.ov_util_set_log_callback(LogFromRuntime);
  }
  ov_core_t* core = nullptr;
  if (const ov_status_e status = loaded->api.ov_core_create(&core); status != ov_status_e::OK) {
    return FailedPrecondition("OpenVINO {} at {} does not start: {}", loaded->version, loaded->path,
                              OpenVinoWords(loaded->api, status));
  }
  backend = new OpenVino(*loaded, core);
  return backend;
}

}  // namespace sightline
