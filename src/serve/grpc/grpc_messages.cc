#include "serve/grpc/grpc_messages_internal.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "base/ascii_text.h"
#include "base/time.h"
#include "serve/inference/model_config.h"
#include "serve/inference/tensor_types.h"

namespace sightline::serve {
namespace {

using ::inference::InferParameter;
using ::inference::InferTensorContents;
using ::inference::ModelInferRequest;
using Parameters = google::protobuf::Map<std::string, InferParameter>;

constexpr int kMostTensors = 1024;
constexpr size_t kLongestShown = 100;

std::string Shown(const std::string& text) { return ShownText(text, kLongestShown); }

absl::StatusOr<std::optional<uint64_t>> Size(const Parameters& parameters, const char* key) {
  const auto at = parameters.find(key);
  if (at == parameters.end()) return std::optional<uint64_t>();
  const InferParameter& value = at->second;
  if (value.parameter_choice_case() == InferParameter::kUint64Param) {
    return std::optional<uint64_t>(value.uint64_param());
  }
  if (value.parameter_choice_case() == InferParameter::kInt64Param && value.int64_param() >= 0) {
    return std::optional<uint64_t>(static_cast<uint64_t>(value.int64_param()));
  }
  return InvalidArgument("the parameter '{}' must be a whole number from 0 on", key);
}

absl::StatusOr<SharedPlace> ReadSharedPlace(const Parameters& parameters,
                                            const SharedMemory& shared_memory) {
  SharedPlace place;
  const auto at = parameters.find("shared_memory_region");
  SL_ASSIGN_OR_RETURN(const auto offset, Size(parameters, "shared_memory_offset"));
  SL_ASSIGN_OR_RETURN(const auto bytes, Size(parameters, "shared_memory_byte_size"));
  if (at == parameters.end()) {
    if (!offset && !bytes) return place;
    return InvalidArgument("the parameter 'shared_memory_region' is missing");
  }
  if (at->second.parameter_choice_case() != InferParameter::kStringParam) {
    return InvalidArgument("the parameter 'shared_memory_region' must be a string");
  }
  place.name = at->second.string_param();
  SL_ASSIGN_OR_RETURN(place.region, shared_memory.Find(place.name));
  if (!bytes) return InvalidArgument("the parameter 'shared_memory_byte_size' is missing");
  place.offset = offset.value_or(0);
  place.bytes = *bytes;
  SL_RETURN_IF_ERROR(place.region->CheckRange(place.offset, place.bytes));
  return place;
}

template <typename Field>
std::string_view ViewOf(const Field& field) {
  return {reinterpret_cast<const char*>(field.data()),
          static_cast<size_t>(field.size()) * sizeof(*field.data())};
}

// Smaller types travel in a field of 32 bits.
template <typename T, typename Field>
absl::Status Narrow(const Field& field, InferInput& input) {
  input.is_owned = true;
  input.owned.reserve(static_cast<size_t>(field.size()) * sizeof(T));
  for (const auto value : field) {
    const auto small = static_cast<T>(value);
    if (static_cast<int64_t>(small) != static_cast<int64_t>(value)) {
      return InvalidArgument("{} is no {}", value, WireName(input.dtype));
    }
    input.owned.append(reinterpret_cast<const char*>(&small), sizeof(T));
  }
  return absl::OkStatus();
}

absl::Status ReadContents(const InferTensorContents& contents, InferInput& input) {
  switch (input.dtype) {
    case DataType::kBool:
      input.bytes = ViewOf(contents.bool_contents());
      return absl::OkStatus();
    case DataType::kInt8:
      return Narrow<int8_t>(contents.int_contents(), input);
    case DataType::kInt16:
      return Narrow<int16_t>(contents.int_contents(), input);
    case DataType::kInt32:
      input.bytes = ViewOf(contents.int_contents());
      return absl::OkStatus();
    case DataType::kInt64:
      input.bytes = ViewOf(contents.int64_contents());
      return absl::OkStatus();
    case DataType::kUint8:
      return Narrow<uint8_t>(contents.uint_contents(), input);
    case DataType::kUint16:
      return Narrow<uint16_t>(contents.uint_contents(), input);
    case DataType::kUint32:
      input.bytes = ViewOf(contents.uint_contents());
      return absl::OkStatus();
    case DataType::kUint64:
      input.bytes = ViewOf(contents.uint64_contents());
      return absl::OkStatus();
    case DataType::kFloat32:
      input.bytes = ViewOf(contents.fp32_contents());
      return absl::OkStatus();
    case DataType::kFloat64:
      input.bytes = ViewOf(contents.fp64_contents());
      return absl::OkStatus();
    case DataType::kString:
      input.is_owned = true;
      for (const std::string& text : contents.bytes_contents()) AppendString(text, input.owned);
      return absl::OkStatus();
    default:
      return InvalidArgument("{} has no typed contents; use raw_input_contents",
                             WireName(input.dtype));
  }
}

absl::Status ReadInput(const ModelInferRequest::InferInputTensor& tensor,
                       const ModelInferRequest& message, const SharedMemory& shared_memory,
                       int& next_raw, InferInput& input) {
  const std::optional<DataType> dtype = DataTypeNamed(tensor.datatype());
  if (!dtype) return InvalidArgument("there is no datatype '{}'", Shown(tensor.datatype()));
  input.dtype = *dtype;
  input.shape.assign(tensor.shape().begin(), tensor.shape().end());
  SL_ASSIGN_OR_RETURN(input.shared, ReadSharedPlace(tensor.parameters(), shared_memory));
  const bool has_raw = message.raw_input_contents_size() > 0;
  if (tensor.has_contents() && (has_raw || input.shared.region)) {
    return InvalidArgument("contents stand beside raw_input_contents or shared memory");
  }
  if (input.shared.region) return absl::OkStatus();
  if (!has_raw) return ReadContents(tensor.contents(), input);
  if (next_raw == message.raw_input_contents_size()) {
    return InvalidArgument("raw_input_contents has {} entries, and none is left for this input",
                           message.raw_input_contents_size());
  }
  input.bytes = message.raw_input_contents(next_raw++);
  return absl::OkStatus();
}

absl::Status ReadOutput(const ModelInferRequest::InferRequestedOutputTensor& tensor,
                        const SharedMemory& shared_memory, WantedOutput& output) {
  SL_ASSIGN_OR_RETURN(const auto classes, Size(tensor.parameters(), "classification"));
  output.classes =
      static_cast<int>(std::min<uint64_t>(classes.value_or(0), std::numeric_limits<int>::max()));
  SL_ASSIGN_OR_RETURN(output.shared, ReadSharedPlace(tensor.parameters(), shared_memory));
  return absl::OkStatus();
}

template <typename Port, typename Add>
void WritePorts(std::span<const TensorInfo> ports, bool in_rows, Add add) {
  for (const TensorInfo& port : ports) {
    Port& to = *add();
    to.set_name(port.name);
    ::inference::DataType type = ::inference::TYPE_INVALID;
    ::inference::DataType_Parse(ConfigTypeName(port.dtype), &type);
    to.set_data_type(type);
    for (const int64_t dimension : ConfigDimensions(port, in_rows)) to.add_dims(dimension);
  }
}

void WriteTime(const CountedTime& time, ::inference::StatisticDuration& message) {
  message.set_count(time.count);
  message.set_ns(time.us * 1000);
}

}  // namespace

absl::StatusOr<InferRequest> ReadRequest(const ModelInferRequest& message,
                                         const SharedMemory& shared_memory) {
  if (message.inputs_size() > kMostTensors || message.outputs_size() > kMostTensors) {
    return InvalidArgument("more than {} inputs or outputs", kMostTensors);
  }
  InferRequest request;
  request.model = message.model_name();
  request.version = message.model_version();
  request.id = message.id();
  SL_ASSIGN_OR_RETURN(const auto priority, Size(message.parameters(), "priority"));
  request.priority = static_cast<int>(std::min<uint64_t>(priority.value_or(0), 1 << 20));
  SL_ASSIGN_OR_RETURN(const auto timeout, Size(message.parameters(), "timeout"));
  request.timeout_us =
      static_cast<int64_t>(std::min<uint64_t>(timeout.value_or(0), kLongestDurationUs));
  int next_raw = 0;
  for (const auto& tensor : message.inputs()) {
    InferInput& input = request.inputs.emplace_back();
    input.name = tensor.name();
    SL_RETURN_IF_ERROR(WithContext(ReadInput(tensor, message, shared_memory, next_raw, input),
                                   fmt::format("input '{}'", Shown(input.name))));
  }
  if (next_raw < message.raw_input_contents_size()) {
    return InvalidArgument("expected {} raw input contents but got {}", next_raw,
                           message.raw_input_contents_size());
  }
  for (const auto& tensor : message.outputs()) {
    WantedOutput& output = request.outputs.emplace_back();
    output.name = tensor.name();
    SL_RETURN_IF_ERROR(WithContext(ReadOutput(tensor, shared_memory, output),
                                   fmt::format("output '{}'", Shown(output.name))));
  }
  return request;
}

void WriteResponse(InferResponse&& response, ::inference::ModelInferResponse& message) {
  message.set_model_name(std::move(response.model));
  message.set_model_version(std::move(response.version));
  message.set_id(std::move(response.id));
  for (InferOutput& output : response.outputs) {
    auto& tensor = *message.add_outputs();
    tensor.set_name(std::move(output.name));
    tensor.set_datatype(std::string(WireName(output.dtype)));
    for (const int64_t dimension : output.shape) tensor.add_shape(dimension);
    // Also for an output in shared memory, of which it is empty: clients count them.
    message.add_raw_output_contents(std::move(output.bytes));
    if (!output.shared.region) continue;
    auto& parameters = *tensor.mutable_parameters();
    parameters["shared_memory_region"].set_string_param(output.shared.name);
    parameters["shared_memory_byte_size"].set_int64_param(
        static_cast<int64_t>(output.shared.bytes));
    if (output.shared.offset > 0) {
      parameters["shared_memory_offset"].set_int64_param(
          static_cast<int64_t>(output.shared.offset));
    }
  }
}

void WriteMetadata(const ServedModel& model, std::span<const std::shared_ptr<ServedModel>> versions,
                   ::inference::ModelMetadataResponse& message) {
  message.set_name(model.name());
  for (const auto& version : versions) message.add_versions(version->version());
  message.set_platform(PlatformOf(model));
  const auto write = [](const TensorInfo& port, auto& tensor) {
    tensor.set_name(port.name);
    tensor.set_datatype(std::string(WireName(port.dtype)));
    for (const int64_t dimension : port.shape) tensor.add_shape(dimension);
  };
  for (const TensorInfo& port : model.inputs()) write(port, *message.add_inputs());
  for (const TensorInfo& port : model.outputs()) write(port, *message.add_outputs());
}

void WriteConfig(const ServedModel& model, ::inference::ModelConfig& message) {
  const bool in_rows = model.max_batch() > 0;
  const ModelSettings& settings = model.settings();
  message.set_name(model.name());
  message.set_platform(PlatformOf(model));
  message.set_backend(std::string(model.backend()));
  message.mutable_version_policy()->mutable_latest()->set_num_versions(1);
  message.set_max_batch_size(model.max_batch());
  WritePorts<::inference::ModelInput>(model.inputs(), in_rows, [&] { return message.add_input(); });
  WritePorts<::inference::ModelOutput>(model.outputs(), in_rows,
                                       [&] { return message.add_output(); });
  message.mutable_model_transaction_policy()->set_decoupled(false);
  message.mutable_response_cache()->set_enable(settings.cache.kind != CacheKind::kOff);
  if (model.is_ensemble()) {
    auto& step = *message.mutable_ensemble_scheduling()->add_step();
    step.set_model_name(model.ensemble_of());
    step.set_model_version(-1);
    return;
  }
  message.set_default_model_filename("model.onnx");
  auto& group = *message.add_instance_group();
  group.set_name(model.name());
  group.set_count(model.instances());
  ::inference::ModelInstanceGroup::Kind kind = ::inference::ModelInstanceGroup::KIND_AUTO;
  ::inference::ModelInstanceGroup::Kind_Parse(std::string(InstanceKindOf(model)), &kind);
  group.set_kind(kind);
  if (!in_rows) return;
  auto& batching = *message.mutable_dynamic_batching();
  for (const int size : settings.preferred_batches) batching.add_preferred_batch_size(size);
  batching.set_max_queue_delay_microseconds(static_cast<uint64_t>(settings.max_delay_us));
  batching.set_priority_levels(kPriorityLevels);
  batching.set_default_priority_level(static_cast<uint64_t>(settings.priority));
  auto& policy = *batching.mutable_default_queue_policy();
  policy.set_default_timeout_microseconds(static_cast<uint64_t>(settings.timeout_us));
  policy.set_allow_timeout_override(true);
  policy.set_max_queue_size(static_cast<uint32_t>(settings.queue));
}

void WriteStatistics(const ServedModel& model, ::inference::ModelStatistics& message) {
  const ModelCounts counts = model.statistics().Counts();
  message.set_name(model.name());
  message.set_version(model.version());
  message.set_last_inference(static_cast<uint64_t>(counts.last_inference_utc_us / 1000));
  message.set_inference_count(counts.inferences);
  message.set_execution_count(counts.executions);
  auto& stats = *message.mutable_inference_stats();
  WriteTime(counts.success, *stats.mutable_success());
  WriteTime(counts.fail, *stats.mutable_fail());
  WriteTime(counts.queue, *stats.mutable_queue());
  WriteTime(counts.compute_input, *stats.mutable_compute_input());
  WriteTime(counts.compute_infer, *stats.mutable_compute_infer());
  WriteTime(counts.compute_output, *stats.mutable_compute_output());
  WriteTime(counts.cache_hit, *stats.mutable_cache_hit());
  WriteTime(counts.cache_miss, *stats.mutable_cache_miss());
  for (const auto& [rows, execution] : counts.by_rows) {
    auto& batch = *message.add_batch_stats();
    batch.set_batch_size(static_cast<uint64_t>(rows));
    WriteTime(execution.compute_input, *batch.mutable_compute_input());
    WriteTime(execution.compute_infer, *batch.mutable_compute_infer());
    WriteTime(execution.compute_output, *batch.mutable_compute_output());
  }
}

}  // namespace sightline::serve
