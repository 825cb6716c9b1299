// For tests: a disk without room, as an unprivileged process can have it.
#pragma once

#include <sys/resource.h>

#include <csignal>

namespace sightline::test {

// While it lives no file of this process grows beyond so many bytes: the kernel writes what fits and then
// refuses, as on a full disk. Pipes and devices are not touched. One at a time.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes = 4096) : signal_before_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    rlimit small = before_;
    small.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &small);
  }
  ~FullDisk() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, signal_before_);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  rlimit before_{};
  void (*signal_before_)(int);
};

}  // namespace sightline::test
