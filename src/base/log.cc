#include "base/log.h"

#include <spdlog/sinks/base_sink.h>

#include <cstdio>
#include <mutex>
#include <string>

#include "base/redact.h"

namespace sightline {
namespace {

class StandardErrorSink final : public spdlog::sinks::base_sink<std::mutex> {
 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    const std::string shown = WithoutSecrets({line.data(), line.size()});
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

void SetUpLog(std::string_view level) {
  const auto parsed = spdlog::level::from_str(std::string(level));
  const bool unknown = parsed == spdlog::level::off && level != "off";
  Log().set_level(unknown ? spdlog::level::info : parsed);
}

}  // namespace sightline
