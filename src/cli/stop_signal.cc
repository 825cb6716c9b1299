#include "cli/stop_signal.h"

#include <signal.h>

#include <atomic>
#include <utility>

namespace sightline::cli {
namespace {

std::function<void()>* request = nullptr;
std::atomic<int> received_signal{0};

void OnSignal(int number) {
  received_signal = number;
  if (request != nullptr) (*request)();
}

}  // namespace

StopSignal::StopSignal(std::function<void()> request_stop) {
  static std::function<void()> kept;
  kept = std::move(request_stop);
  request = &kept;
  struct sigaction action {};
  action.sa_handler = OnSignal;
  action.sa_flags = SA_RESETHAND | SA_RESTART;  // the second signal meets the default action
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  // A terminal that closes: asked to survive it (nohup), the program does. The shell and the kernel
  // may each say so, hence no default action for the second.
  struct sigaction hang_up {};
  sigaction(SIGHUP, nullptr, &hang_up);
  watches_hang_up_ = hang_up.sa_handler != SIG_IGN;
  action.sa_flags = SA_RESTART;
  if (watches_hang_up_) sigaction(SIGHUP, &action, nullptr);
}

StopSignal::~StopSignal() {
  signal(SIGINT, SIG_DFL);
  signal(SIGTERM, SIG_DFL);
  if (watches_hang_up_) signal(SIGHUP, SIG_DFL);
  request = nullptr;
}

int StopSignal::received() { return received_signal; }

}  // namespace sightline::cli
