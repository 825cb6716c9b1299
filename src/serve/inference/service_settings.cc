#include "serve/inference/service_settings.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/ascii_text.h"
#include "base/log.h"

namespace sightline::serve {
namespace {

const TraceSettings kTraceAtStart = {{"trace_level", {"OFF"}}, {"trace_rate", {"1000"}},
                                     {"trace_count", {"-1"}},  {"log_frequency", {"0"}},
                                     {"trace_file", {""}},     {"trace_mode", {"triton"}}};

bool IsWholeNumber(const std::string& text, int64_t least) {
  int64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end && value >= least;
}

bool IsOn(const std::vector<std::string>& levels) {
  return std::ranges::find(levels, "TIMESTAMPS") != levels.end();
}

int64_t NumberIn(const std::vector<std::string>& values) {
  int64_t value = 0;  // was looked at when it was set
  std::from_chars(values[0].data(), values[0].data() + values[0].size(), value);
  return value;
}

}  // namespace

absl::Status ServiceSettings::CheckTrace(const std::string& key,
                                         const std::vector<std::string>& values) const {
  if (!kTraceAtStart.contains(key)) {
    return InvalidArgument("there is no trace setting '{}'", ShownText(key, 100));
  }
  if (key == "trace_file" || key == "trace_mode") {
    return InvalidArgument("'{}' is not changed over the network", key);
  }
  if (values.empty()) return absl::OkStatus();
  if (key == "trace_level") {
    for (const std::string& level : values) {
      if (level == "OFF") continue;
      if (level == "TENSORS") return Unimplemented("tensors are not written to traces");
      if (level == "TIMESTAMPS" && trace_file_.empty()) {
        return InvalidArgument(
            "no file was given for traces: begin the server with --trace-file FILE");
      }
      if (level == "TIMESTAMPS") continue;
      return InvalidArgument("trace_level '{}' is none of OFF, TIMESTAMPS, TENSORS",
                             ShownText(level, 100));
    }
    return absl::OkStatus();
  }
  const int64_t least = key == "trace_count" ? -1 : key == "trace_rate" ? 1 : 0;
  if (values.size() == 1 && IsWholeNumber(values[0], least)) return absl::OkStatus();
  return InvalidArgument("'{}' is one whole number from {} on", key, least);
}

ServiceSettings::ServiceSettings(const std::string& trace_file)
    : trace_file_(trace_file), trace_(kTraceAtStart) {
  trace_["trace_file"] = {trace_file};
  logging_ = {{"log_file", std::string()},
              {"log_info", Log().should_log(spdlog::level::info)},
              {"log_warning", Log().should_log(spdlog::level::warn)},
              {"log_error", Log().should_log(spdlog::level::err)},
              {"log_verbose_level", uint32_t{Log().should_log(spdlog::level::debug) ? 1u : 0u}},
              {"log_format", std::string("default")}};
}

TraceSettings ServiceSettings::Trace(const std::string& model) const {
  const MutexLock lock(mutex_);
  TraceSettings settings = trace_;
  const auto own = trace_of_models_.find(model);
  if (own == trace_of_models_.end()) return settings;
  for (const auto& [key, values] : own->second) settings[key] = values;
  return settings;
}

absl::StatusOr<TraceSettings> ServiceSettings::ChangeTrace(const std::string& model,
                                                           const TraceSettings& changes) {
  for (const auto& [key, values] : changes) SL_RETURN_IF_ERROR(CheckTrace(key, values));
  {
    const MutexLock lock(mutex_);
    TraceSettings& target = model.empty() ? trace_ : trace_of_models_[model];
    for (const auto& [key, values] : changes) {
      if (!values.empty()) {
        target[key] = values;
      } else if (model.empty()) {
        target[key] = kTraceAtStart.at(key);
      } else {
        target.erase(key);
      }
    }
    if (!model.empty() && target.empty()) trace_of_models_.erase(model);
    any_traces_.store(AnyTraces(), std::memory_order_relaxed);
  }
  return Trace(model);
}

bool ServiceSettings::AnyTraces() const {
  if (IsOn(trace_.at("trace_level"))) return true;
  return std::ranges::any_of(trace_of_models_, [](const auto& own) {
    const auto level = own.second.find("trace_level");
    return level != own.second.end() && IsOn(level->second);
  });
}

bool ServiceSettings::SampleTrace(const std::string& model) {
  if (!any_traces_.load(std::memory_order_relaxed)) return false;
  const MutexLock lock(mutex_);
  const auto own = trace_of_models_.find(model);
  const auto scope_of = [&](const char* key) REQUIRES(mutex_) -> TraceSettings& {
    return own != trace_of_models_.end() && own->second.contains(key) ? own->second : trace_;
  };
  if (!IsOn(scope_of("trace_level").at("trace_level"))) return false;
  const int64_t rate = NumberIn(scope_of("trace_rate").at("trace_rate"));
  if (requests_[model]++ % static_cast<uint64_t>(rate) != 0) return false;
  std::vector<std::string>& count = scope_of("trace_count").at("trace_count");
  const int64_t left = NumberIn(count);
  if (left == 0) return false;
  if (left > 0) count[0] = std::to_string(left - 1);
  return true;
}

LogSettings ServiceSettings::Logging() const {
  const MutexLock lock(mutex_);
  return logging_;
}

absl::StatusOr<LogSettings> ServiceSettings::ChangeLogging(const LogSettings& changes) {
  const MutexLock lock(mutex_);
  for (const auto& [key, value] : changes) {
    const auto at = logging_.find(key);
    if (at == logging_.end()) {
      return InvalidArgument("there is no log setting '{}'", ShownText(key, 100));
    }
    if (at->second.index() != value.index()) {
      return InvalidArgument("the log setting '{}' has a value of another type", key);
    }
    if (key == "log_file" && value != at->second) {
      return InvalidArgument("log file location can not be updated through network protocol");
    }
    if (key == "log_format" && value != at->second) {
      return InvalidArgument("log_format is chosen when the server begins (--log-format)");
    }
  }
  for (const auto& [key, value] : changes) logging_[key] = value;
  const auto is_on = [&](const char* key)
                         REQUIRES(mutex_) { return std::get<bool>(logging_.at(key)); };
  Log().set_level(std::get<uint32_t>(logging_.at("log_verbose_level")) > 0 ? spdlog::level::debug
                  : is_on("log_info")                                      ? spdlog::level::info
                  : is_on("log_warning")                                   ? spdlog::level::warn
                  : is_on("log_error")                                     ? spdlog::level::err
                                                                           : spdlog::level::off);
  return logging_;
}

}  // namespace sightline::serve
