#include "media/av_log.h"

extern "C" {
#include <libavutil/error.h>
#include <libavutil/log.h>
}

#include <array>
#include <cstdarg>
#include <cstdio>
#include <mutex>
#include <string_view>

#include "base/log.h"

namespace sightline {
namespace {

thread_local AvLogWatch* watch = nullptr;

void TellWatch(const char* format, va_list args) {
  std::array<char, 8192> text{};  // libav's own requests are at most 4096 bytes
  va_list copy;
  va_copy(copy, args);
  std::vsnprintf(text.data(), text.size(), format, copy);
  va_end(copy);
  watch->OnMessage(format, text.data());
}

void OnAvLog(void* source, int level, const char* format, va_list args) {
  if (watch != nullptr && watch->Wants(format)) TellWatch(format, args);
  if (level > AV_LOG_WARNING || !Log().should_log(spdlog::level::debug)) return;
  std::array<char, 512> line{};
  int print_prefix = 1;
  av_log_format_line2(source, level, format, args, line.data(), line.size(), &print_prefix);
  std::string_view text(line.data());
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  if (!text.empty()) Log().debug("libav: {}", text);
}

}  // namespace

AvLogWatch::AvLogWatch() : outer_(watch) {
  RouteAvLog();
  watch = this;
}
AvLogWatch::~AvLogWatch() { watch = outer_; }

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
