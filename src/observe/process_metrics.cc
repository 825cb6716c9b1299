#include "observe/process_metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "base/time.h"

namespace sightline {
namespace {

using enum MetricType;
constexpr MetricInfo kBuild = {"sightline_build_info", kGauge, "1, with the program's version"};
constexpr MetricInfo kCpu = {"process_cpu_seconds_total", kCounter,
                             "CPU time taken, user and system, all threads"};
constexpr MetricInfo kResident = {"process_resident_memory_bytes", kGauge, "Memory in RAM"};
constexpr MetricInfo kVirtual = {"process_virtual_memory_bytes", kGauge, "Address space"};
constexpr MetricInfo kOpenFds = {"process_open_fds", kGauge, "Open file descriptors"};
constexpr MetricInfo kMaxFds = {"process_max_fds", kGauge, "Most file descriptors allowed"};
constexpr MetricInfo kThreads = {"process_threads", kGauge, "Threads"};
constexpr MetricInfo kStart = {"process_start_time_seconds", kGauge,
                               "When the process began, since 1970"};

// -1 when it cannot be told.
double CountOpenFds() {
  DIR* const folder = opendir("/proc/self/fd");
  if (folder == nullptr) return -1;
  double count = -3;  // ".", ".." and the folder's own
  while (readdir(folder) != nullptr) ++count;
  closedir(folder);
  return count;
}

// Of /proc/self/stat what stands behind the name, which may hold blanks: field 3 of proc(5) first.
std::vector<std::string> StatFields() {
  std::ifstream file("/proc/self/stat");
  std::string line;
  std::getline(file, line);
  std::istringstream rest(line.substr(std::min(line.size(), line.rfind(')') + 1)));
  std::vector<std::string> fields;
  for (std::string field; rest >> field;) fields.push_back(field);
  return fields;
}

// When the machine was booted, in seconds since 1970; 0 when it cannot be told.
double BootTime() {
  std::ifstream file("/proc/stat");
  for (std::string word; file >> word;) {
    double value = 0;
    if (word == "btime" && file >> value) return value;
  }
  return 0;
}

}  // namespace

void CollectProcessMetrics(std::string_view version, MetricWriter& writer) {
  writer.Write(kBuild, {{"version", version}}, 1);
  writer.Write(kCpu, {}, ProcessCpuSeconds());
  std::ifstream statm("/proc/self/statm");
  double pages = 0, resident_pages = 0;
  if (statm >> pages >> resident_pages) {
    const auto page_bytes = static_cast<double>(sysconf(_SC_PAGESIZE));
    writer.Write(kResident, {}, resident_pages * page_bytes);
    writer.Write(kVirtual, {}, pages * page_bytes);
  }
  if (const double open = CountOpenFds(); open >= 0) writer.Write(kOpenFds, {}, open);
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    writer.Write(kMaxFds, {}, static_cast<double>(limit.rlim_cur));
  }
  const std::vector<std::string> fields = StatFields();
  constexpr size_t kThreadsField = 20 - 3, kStartField = 22 - 3;
  if (fields.size() <= kStartField) return;
  writer.Write(kThreads, {}, std::strtod(fields[kThreadsField].c_str(), nullptr));
  static const double boot = BootTime();
  const double ticks = std::strtod(fields[kStartField].c_str(), nullptr);
  if (boot > 0) writer.Write(kStart, {}, boot + ticks / static_cast<double>(sysconf(_SC_CLK_TCK)));
}

}  // namespace sightline
