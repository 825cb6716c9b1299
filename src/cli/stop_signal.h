// Signals of a run. Ctrl-C, SIGTERM, and SIGHUP when the terminal was closed are a polite request: the
// first asks the run to stop and finish what it has read; a second Ctrl-C or SIGTERM kills the process
// as usual. SIGHUP otherwise asks for the configuration to be read again, SIGUSR1 for cameras that are
// away to be tried now. A SIGHUP that was ignored at the start (nohup) stays ignored.
#pragma once

#include <functional>

namespace sightline::cli {

// While it lives, signals call these, which must be safe in a signal handler. One at a time.
class StopSignal {
 public:
  struct Requests {
    std::function<void()> stop;
    std::function<void()> reload = {};  // empty: SIGHUP is `stop`
    std::function<void()> retry = {};   // empty: SIGUSR1 is left alone
  };
  explicit StopSignal(Requests requests);
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  // The stop signal that came, 0 if none.
  static int received();

 private:
  bool watches_hang_up_ = false;
  bool watches_retry_ = false;
};

}  // namespace sightline::cli
