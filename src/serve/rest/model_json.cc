#include "serve/rest/model_json.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "base/json_text.h"
#include "serve/inference/model_config.h"
#include "serve/inference/tensor_types.h"
#include "serve/rest/json_faults.h"

namespace sightline::serve {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMostDepth = 16;

Json PortsJson(std::span<const TensorInfo> ports) {
  Json list = Json::array();
  for (const TensorInfo& port : ports) {
    list.push_back(
        {{"name", port.name}, {"datatype", WireName(port.dtype)}, {"shape", port.shape}});
  }
  return list;
}

Json ConfigPortsJson(std::span<const TensorInfo> ports, bool in_rows, bool is_input) {
  Json list = Json::array();
  for (const TensorInfo& port : ports) {
    Json one = {{"name", port.name},
                {"data_type", ConfigTypeName(port.dtype)},
                {"dims", ConfigDimensions(port, in_rows)}};
    if (is_input) {
      one["format"] = "FORMAT_NONE";
      one["is_shape_tensor"] = false;
      one["allow_ragged_batch"] = false;
      one["optional"] = false;
    } else {
      one["label_filename"] = "";
      one["is_shape_tensor"] = false;
    }
    list.push_back(std::move(one));
  }
  return list;
}

Json TimeJson(const CountedTime& time) { return {{"count", time.count}, {"ns", time.us * 1000}}; }

Json CountsJson(const ServedModel& model) {
  const ModelCounts counts = model.statistics().Counts();
  Json batches = Json::array();
  for (const auto& [rows, execution] : counts.by_rows) {
    batches.push_back({{"batch_size", rows},
                       {"compute_input", TimeJson(execution.compute_input)},
                       {"compute_infer", TimeJson(execution.compute_infer)},
                       {"compute_output", TimeJson(execution.compute_output)}});
  }
  return {{"name", model.name()},
          {"version", model.version()},
          {"last_inference", counts.last_inference_utc_us / 1000},
          {"inference_count", counts.inferences},
          {"execution_count", counts.executions},
          {"inference_stats",
           {{"success", TimeJson(counts.success)},
            {"fail", TimeJson(counts.fail)},
            {"queue", TimeJson(counts.queue)},
            {"compute_input", TimeJson(counts.compute_input)},
            {"compute_infer", TimeJson(counts.compute_infer)},
            {"compute_output", TimeJson(counts.compute_output)},
            {"cache_hit", TimeJson(counts.cache_hit)},
            {"cache_miss", TimeJson(counts.cache_miss)}}},
          {"batch_stats", std::move(batches)}};
}

// An object, or an empty one for no text; nested no deeper than any of these has to be.
absl::StatusOr<Json> ReadObject(std::string_view text) {
  if (text.empty()) return Json::object();
  bool is_too_deep = false;
  const auto watch = [&](int depth, Json::parse_event_t, Json&) {
    is_too_deep |= depth > kMostDepth;
    return depth <= kMostDepth;
  };
  Json json = Json::parse(text, watch, /*allow_exceptions=*/false);
  if (is_too_deep) return InvalidArgument("the JSON is more than {} levels deep", kMostDepth);
  if (json.is_discarded()) {
    return InvalidArgument("failed to parse the request JSON buffer{}", LikelyJsonFault(text));
  }
  if (!json.is_object()) return InvalidArgument("the request is no JSON object");
  return json;
}

absl::StatusOr<size_t> ReadSize(const Json& json, const char* key, bool needed) {
  const auto at = json.find(key);
  if (at == json.end()) {
    if (needed) return InvalidArgument("\"{}\" is missing", key);
    return size_t{0};
  }
  if (!at->is_number_unsigned()) {
    return InvalidArgument("\"{}\" must be a whole number from 0 on", key);
  }
  return at->get<size_t>();
}

absl::StatusOr<std::string> TextOf(const Json& value, const std::string& key) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_integer()) return value.dump();
  return InvalidArgument("\"{}\" must be a string, or a list of strings", key);
}

}  // namespace

std::string MetadataJson(const ServedModel& model, Models versions) {
  Json numbers = Json::array();
  for (const auto& one : versions) numbers.push_back(one->version());
  return JsonText(Json{{"name", model.name()},
                       {"versions", std::move(numbers)},
                       {"platform", PlatformOf(model)},
                       {"inputs", PortsJson(model.inputs())},
                       {"outputs", PortsJson(model.outputs())}});
}

std::string ConfigJson(const ServedModel& model) {
  const bool in_rows = model.max_batch() > 0;
  const ModelSettings& settings = model.settings();
  Json config = {{"name", model.name()},
                 {"platform", PlatformOf(model)},
                 {"backend", model.backend()},
                 {"version_policy", {{"latest", {{"num_versions", 1}}}}},
                 {"max_batch_size", model.max_batch()},
                 {"input", ConfigPortsJson(model.inputs(), in_rows, true)},
                 {"output", ConfigPortsJson(model.outputs(), in_rows, false)},
                 {"batch_input", Json::array()},
                 {"batch_output", Json::array()},
                 {"instance_group",
                  {{{"name", model.name()},
                    {"kind", InstanceKindOf(model)},
                    {"count", model.instances()},
                    {"gpus", Json::array()},
                    {"secondary_devices", Json::array()},
                    {"profile", Json::array()},
                    {"passive", false},
                    {"host_policy", ""}}}},
                 {"default_model_filename", "model.onnx"},
                 {"cc_model_filenames", Json::object()},
                 {"metric_tags", Json::object()},
                 {"parameters", Json::object()},
                 {"model_warmup", Json::array()},
                 {"model_transaction_policy", {{"decoupled", false}}},
                 {"response_cache", {{"enable", settings.cache.kind != CacheKind::kOff}}}};
  if (model.is_ensemble()) {
    config["ensemble_scheduling"] = {
        {"step", Json::array({{{"model_name", model.ensemble_of()}, {"model_version", -1}}})}};
    config["instance_group"] = Json::array();
    config["default_model_filename"] = "";
  } else if (in_rows) {
    config["dynamic_batching"] = {{"preferred_batch_size", settings.preferred_batches},
                                  {"max_queue_delay_microseconds", settings.max_delay_us},
                                  {"preserve_ordering", false},
                                  {"priority_levels", kPriorityLevels},
                                  {"default_priority_level", settings.priority},
                                  {"priority_queue_policy", Json::object()},
                                  {"default_queue_policy",
                                   {{"timeout_action", "REJECT"},
                                    {"default_timeout_microseconds", settings.timeout_us},
                                    {"allow_timeout_override", true},
                                    {"max_queue_size", settings.queue}}}};
  }
  return JsonText(config);
}

std::string StatisticsJson(Models models) {
  Json list = Json::array();
  for (const auto& model : models) list.push_back(CountsJson(*model));
  return JsonText(Json{{"model_stats", std::move(list)}});
}

std::string IndexJson(std::span<const ModelIndexEntry> index) {
  Json list = Json::array();
  for (const ModelIndexEntry& entry : index) {
    Json one = {{"name", entry.name}};
    if (!entry.version.empty()) one["version"] = entry.version;
    if (entry.state != ModelState::kUnknown) one["state"] = ToString(entry.state);
    if (!entry.reason.empty()) one["reason"] = entry.reason;
    list.push_back(std::move(one));
  }
  return JsonText(list);
}

std::string SharedMemoryJson(std::span<const SharedRegionInfo> regions) {
  Json list = Json::array();
  for (const SharedRegionInfo& region : regions) {
    list.push_back({{"name", region.name},
                    {"key", region.key},
                    {"offset", region.offset},
                    {"byte_size", region.bytes}});
  }
  return JsonText(list);
}

std::string TraceJson(const TraceSettings& settings) {
  Json json = Json::object();
  for (const auto& [key, values] : settings) {
    if (key == "trace_level") {
      json[key] = values;
    } else {
      json[key] = values.empty() ? std::string() : values[0];
    }
  }
  return JsonText(json);
}

std::string LoggingJson(const LogSettings& settings) {
  Json json = Json::object();
  for (const auto& [key, value] : settings) {
    std::visit([&json, &key = key](const auto& held) { json[key] = held; }, value);
  }
  return JsonText(json);
}

absl::StatusOr<TraceSettings> ReadTraceJson(std::string_view text) {
  SL_ASSIGN_OR_RETURN(const Json json, ReadObject(text));
  TraceSettings settings;
  for (const auto& [key, value] : json.items()) {
    std::vector<std::string>& values = settings[key];
    if (value.is_null()) continue;
    if (!value.is_array()) {
      SL_ASSIGN_OR_RETURN(values.emplace_back(), TextOf(value, key));
      continue;
    }
    for (const Json& one : value) {
      SL_ASSIGN_OR_RETURN(values.emplace_back(), TextOf(one, key));
    }
  }
  return settings;
}

absl::StatusOr<LogSettings> ReadLoggingJson(std::string_view text) {
  SL_ASSIGN_OR_RETURN(const Json json, ReadObject(text));
  LogSettings settings;
  for (const auto& [key, value] : json.items()) {
    if (value.is_boolean()) {
      settings[key] = value.get<bool>();
    } else if (value.is_string()) {
      settings[key] = value.get<std::string>();
    } else if (value.is_number_unsigned() && value.get<uint64_t>() <= UINT32_MAX) {
      settings[key] = value.get<uint32_t>();
    } else {
      return InvalidArgument("\"{}\" must be true, false, a string or a whole number", key);
    }
  }
  return settings;
}

absl::StatusOr<SharedMemoryWish> ReadSharedMemoryJson(std::string_view text) {
  SL_ASSIGN_OR_RETURN(const Json json, ReadObject(text));
  SharedMemoryWish wish;
  const auto key = json.find("key");
  if (key == json.end() || !key->is_string()) {
    return InvalidArgument("Shared memory register request has no \"key\"");
  }
  wish.key = key->get<std::string>();
  SL_ASSIGN_OR_RETURN(wish.offset, ReadSize(json, "offset", false));
  SL_ASSIGN_OR_RETURN(wish.bytes, ReadSize(json, "byte_size", true));
  return wish;
}

absl::StatusOr<bool> ReadIndexJson(std::string_view text) {
  SL_ASSIGN_OR_RETURN(const Json json, ReadObject(text));
  const auto ready = json.find("ready");
  if (ready == json.end()) return false;
  if (!ready->is_boolean()) return InvalidArgument("\"ready\" must be true or false");
  return ready->get<bool>();
}

absl::StatusOr<std::vector<std::string>> ReadLoadJson(std::string_view text) {
  SL_ASSIGN_OR_RETURN(const Json json, ReadObject(text));
  std::vector<std::string> names;
  const auto parameters = json.find("parameters");
  if (parameters == json.end() || parameters->is_null()) return names;
  if (!parameters->is_object()) return InvalidArgument("\"parameters\" must be an object");
  for (const auto& [key, value] : parameters->items()) names.push_back(key);
  return names;
}

}  // namespace sightline::serve
