// The process's log: one spdlog logger to standard error, set up once by the program.
//
// Standard output belongs to results; everything said to people about the work goes here or to
// the progress line. Threads: safe. Cost: a disabled level costs one atomic load.
#pragma once

#include <spdlog/logger.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace sightline {

enum class LogFormat : uint8_t {
  kText,  // 2026-01-31T12:34:56.789Z warning camera door: stalled: ...
  kJson   // {"time":"...","level":"warning","message":"...","camera":"door"}, one a line
};

// The logger. Before SetUpLog it writes warnings and errors, as text.
spdlog::logger& Log();

// Level: "debug", "info", "warning", "error" or "off"; anything else is taken for "info".
void SetUpLog(std::string_view level, LogFormat format = LogFormat::kText);

// Says something to whoever started the program, whatever the level: "sightline: <message>", or a
// line of JSON with that level ("error", "info").
void TellUser(std::string_view level, std::string_view message);

// While it lives, lines of JSON that this thread logs carry the camera. They may be nested.
class LogCamera {
 public:
  explicit LogCamera(std::string_view id);
  ~LogCamera();
  LogCamera(const LogCamera&) = delete;
  LogCamera& operator=(const LogCamera&) = delete;

 private:
  const std::string before_;
};

// The same for a frame's trace context ("traceparent"); empty: none.
class LogTrace {
 public:
  explicit LogTrace(std::string_view traceparent);
  ~LogTrace();
  LogTrace(const LogTrace&) = delete;
  LogTrace& operator=(const LogTrace&) = delete;

 private:
  const std::string before_;
};

}  // namespace sightline
