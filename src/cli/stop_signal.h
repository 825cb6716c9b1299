// Ctrl-C and SIGTERM as a polite request: the first asks the run to stop and finish what it has read,
// the second kills the process as usual.
#pragma once

#include <functional>

namespace sightline::cli {

// While it lives, SIGINT and SIGTERM call `request_stop`, which must be safe in a signal handler.
// One at a time.
class StopSignal {
 public:
  explicit StopSignal(std::function<void()> request_stop);
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  // The signal that came, 0 if none.
  static int received();
};

}  // namespace sightline::cli
