#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>

#include <string>

namespace sightline {

spdlog::logger& Log() {
  static spdlog::logger& logger = *[] {
    auto* made = new spdlog::logger("sightline", std::make_shared<spdlog::sinks::stderr_sink_mt>());
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
