#include "media/av_log.h"

extern "C" {
#include <libavutil/error.h>
#include <libavutil/log.h>
}

#include <array>
#include <cstdarg>
#include <mutex>
#include <string_view>

#include "base/log.h"

namespace sightline {
namespace {

void OnAvLog(void* source, int level, const char* format, va_list args) {
  if (level > AV_LOG_WARNING || !Log().should_log(spdlog::level::debug)) return;
  std::array<char, 512> line{};
  int print_prefix = 1;
  av_log_format_line2(source, level, format, args, line.data(), line.size(), &print_prefix);
  std::string_view text(line.data());
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  if (!text.empty()) Log().debug("libav: {}", text);
}

}  // namespace

void RouteAvLog() {
  static std::once_flag once;
  std::call_once(once, [] { av_log_set_callback(&OnAvLog); });
}

std::string AvErrorText(int code) {
  std::array<char, AV_ERROR_MAX_STRING_SIZE> text{};
  av_strerror(code, text.data(), text.size());
  return text.data();
}

}  // namespace sightline
