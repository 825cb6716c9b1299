// A program that is started, spoken to by lines and bytes, and ended with this object.
//
// Its standard input and output are pipes; of what it says on standard error the last 8 KiB are
// kept, for messages. It is the leader of a process group of its own, which is killed as a whole,
// and it is killed when this process dies. While it is waited for, `stop` is asked five times a
// second.
//
// SIGPIPE must be ignored, as main() sees to: a child that ended is an error of Write().
// Threads: one at a time; a thread of its own reads standard error. Memory: the longest line.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"

namespace sightline::cli {

class ChildProcess {
 public:
  // `arguments`: the program, looked for in PATH where it has no slash, and what it is given.
  // NotFound when there is no such program. `stop` may be empty: never.
  static absl::StatusOr<std::unique_ptr<ChildProcess>> Start(
      const std::vector<std::string>& arguments, std::function<bool()> stop);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // Unavailable when it has ended, with its last words; DeadlineExceeded; Cancelled.
  absl::Status Write(std::span<const uint8_t> bytes, int64_t timeout_us);
  absl::Status Write(std::string_view text, int64_t timeout_us);
  // The next line of its standard output, without the end. Errors as above; ResourceExhausted for a
  // line of more than `most_bytes`.
  absl::StatusOr<std::string> ReadLine(size_t most_bytes, int64_t timeout_us);
  // Ends its input, leaves out what it still says, and waits for its end; gives the exit code, or
  // 128 and the signal that killed it. DeadlineExceeded and Cancelled leave it running.
  absl::StatusOr<int> Wait(int64_t timeout_us);

  // The last lines of its standard error, at most 2 KiB, in one line.
  std::string LastWords() const EXCLUDES(mutex_);

 private:
  ChildProcess(std::string name, pid_t pid, int input, int output, int errors,
               std::function<bool()> stop);
  absl::Status StartReader();
  void ReadErrors() EXCLUDES(mutex_);
  // Waits until the descriptor is ready, the time is over or the stop comes.
  absl::Status WaitFor(int descriptor, int16_t events, int64_t deadline_us) const;
  absl::Status Ended();
  void CloseInput();
  void Reap();

  const std::string name_;
  const pid_t pid_;
  int input_;
  const int output_;
  const int errors_;
  const std::function<bool()> stop_;
  bool reaped_ = false;
  int exit_code_ = 0;
  std::string read_;  // of its output, not yet given as a line
  std::thread reader_;
  std::atomic<bool> ending_{false};
  mutable Mutex mutex_;
  std::string words_ GUARDED_BY(mutex_);
};

}  // namespace sightline::cli
