// Checks by meaning.
//   SL_CHECK(condition, "why {}", x)  our own bug, unsafe to go on from: logs and aborts.
//   SL_BUG_IF(condition, "what {}", x) our own bug, safe to go on from: logged (at counts 1, 2,
//                                      4, 8 ...), counted, and true is returned so that the caller can
//                                      take the safe way out: if (SL_BUG_IF(...)) return ...;
// What the outside can cause (files, users, networks, models) is an absl::Status, never one of these.
//
// Threads: safe. Cost: one branch while the condition says that all is well.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>

namespace sightline {

[[noreturn]] void CheckFailed(const char* file, int line, const char* condition,
                              const std::string& message);
void ReportBug(const char* file, int line, const char* condition, const std::string& message);

// How often SL_BUG_IF has fired in this process; shown in the run's summary and in metrics.
uint64_t BugCount();

}  // namespace sightline

#define SL_CHECK(condition, ...)                                                          \
  do {                                                                                    \
    if (__builtin_expect(!(condition), 0))                                                \
      ::sightline::CheckFailed(__FILE__, __LINE__, #condition, fmt::format(__VA_ARGS__)); \
  } while (false)

#define SL_BUG_IF(condition, ...)        \
  (__builtin_expect(!!(condition), 0) && \
   (::sightline::ReportBug(__FILE__, __LINE__, #condition, fmt::format(__VA_ARGS__)), true))
