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
}

StopSignal::~StopSignal() {
  signal(SIGINT, SIG_DFL);
  signal(SIGTERM, SIG_DFL);
  request = nullptr;
}

int StopSignal::received() { return received_signal; }

}  // namespace sightline::cli
