#include "base/log.h"

#include <spdlog/sinks/base_sink.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <utility>

#include "base/json_text.h"
#include "base/redact.h"
#include "base/time.h"

namespace sightline {
namespace {

std::atomic<LogFormat> format_in_use{LogFormat::kText};

std::string& ThreadCamera() {
  thread_local std::string camera;
  return camera;
}

std::string& ThreadTrace() {
  thread_local std::string traceparent;
  return traceparent;
}

// Secrets go before the message is escaped, which could hide them from the search.
std::string JsonLine(int64_t utc_us, std::string_view level, std::string_view message) {
  nlohmann::ordered_json line = {
      {"time", FormatUtc(utc_us)}, {"level", level}, {"message", WithoutSecrets(message)}};
  if (!ThreadCamera().empty()) line["camera"] = ThreadCamera();
  if (!ThreadTrace().empty()) line["traceparent"] = ThreadTrace();
  return JsonText(line) + "\n";
}

class StandardErrorSink final : public spdlog::sinks::base_sink<std::mutex> {
 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    std::string shown;
    if (format_in_use.load(std::memory_order_relaxed) == LogFormat::kJson) {
      const auto level = spdlog::level::to_string_view(message.level);
      shown = JsonLine(
          std::chrono::duration_cast<std::chrono::microseconds>(message.time.time_since_epoch())
              .count(),
          {level.data(), level.size()}, {message.payload.data(), message.payload.size()});
    } else {
      spdlog::memory_buf_t line;
      formatter_->format(message, line);
      shown = WithoutSecrets({line.data(), line.size()});
    }
    std::fwrite(shown.data(), 1, shown.size(), stderr);
  }
  void flush_() override { std::fflush(stderr); }
};

}  // namespace

spdlog::logger& Log() {
  static spdlog::logger& logger = *[] {
    auto* made = new spdlog::logger("sightline", std::make_shared<StandardErrorSink>());
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
    made->set_level(spdlog::level::warn);
    return made;
  }();
  return logger;
}

void SetUpLog(std::string_view level, LogFormat format) {
  const auto parsed = spdlog::level::from_str(std::string(level));
  const bool unknown = parsed == spdlog::level::off && level != "off";
  Log().set_level(unknown ? spdlog::level::info : parsed);
  format_in_use = format;
}

void TellUser(std::string_view level, std::string_view message) {
  const std::string line = format_in_use.load() == LogFormat::kJson
                               ? JsonLine(Clock::Real().NowUtcUs(), level, message)
                               : fmt::format("sightline: {}\n", WithoutSecrets(message));
  std::fwrite(line.data(), 1, line.size(), stderr);
}

LogCamera::LogCamera(std::string_view id)
    : before_(std::exchange(ThreadCamera(), std::string(id))) {}
LogCamera::~LogCamera() { ThreadCamera() = before_; }

LogTrace::LogTrace(std::string_view traceparent)
    : before_(std::exchange(ThreadTrace(), std::string(traceparent))) {}
LogTrace::~LogTrace() { ThreadTrace() = before_; }

}  // namespace sightline
