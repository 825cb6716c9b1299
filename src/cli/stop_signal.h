// Ctrl-C, SIGTERM and SIGHUP (the terminal was closed) as a polite request: the first asks the run to
// stop and finish what it has read; a second Ctrl-C or SIGTERM kills the process as usual.
#pragma once

#include <functional>

namespace sightline::cli {

// While it lives, SIGINT, SIGTERM and, unless it was ignored at the start (nohup), SIGHUP call
// `request_stop`, which must be safe in a signal handler.
// One at a time.
class StopSignal {
 public:
  explicit StopSignal(std::function<void()> request_stop);
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  // The signal that came, 0 if none.
  static int received();

 private:
  bool watches_hang_up_ = false;
};

}  // namespace sightline::cli
