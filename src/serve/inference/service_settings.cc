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

absl::Status CheckTrace(const std::string& key, const std::vector<std::string>& values) {
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
      if (level == "TIMESTAMPS" || level == "TENSORS") {
        return Unimplemented("this server does not write traces: trace_level can be OFF alone");
      }
      return InvalidArgument("trace_level '{}' is none of OFF, TIMESTAMPS, TENSORS",
                             ShownText(level, 100));
    }
    return absl::OkStatus();
  }
  const int64_t least = key == "trace_count" ? -1 : key == "trace_rate" ? 1 : 0;
  if (values.size() == 1 && IsWholeNumber(values[0], least)) return absl::OkStatus();
  return InvalidArgument("'{}' is one whole number from {} on", key, least);
}

}  // namespace

ServiceSettings::ServiceSettings() : trace_(kTraceAtStart) {
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
  }
  return Trace(model);
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
