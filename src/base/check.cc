#include "base/check.h"

#include <atomic>
#include <cstdlib>

#include "base/log.h"

namespace sightline {
namespace {
std::atomic<uint64_t> bug_count{0};
}

void CheckFailed(const char* file, int line, const char* condition, const std::string& message) {
  Log().critical("{}:{}: check failed: {}: {}", file, line, condition, message);
  Log().flush();
  std::abort();
}

void ReportBug(const char* file, int line, const char* condition, const std::string& message) {
  // Powers of two keep a bug in a hot loop from filling the disk with the same line.
  const uint64_t count = bug_count.fetch_add(1, std::memory_order_relaxed) + 1;
  if ((count & (count - 1)) == 0) {
    Log().error("{}:{}: bug ({} so far): {}: {}", file, line, count, condition, message);
  }
}

uint64_t BugCount() { return bug_count.load(std::memory_order_relaxed); }

}  // namespace sightline
