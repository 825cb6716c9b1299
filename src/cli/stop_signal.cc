#include "cli/stop_signal.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <utility>

namespace sightline::cli {
namespace {

StopSignal::Requests* requests = nullptr;
std::atomic<int> received_signal{0};
int terminal = -1;  // the controlling one, when there was one at the start

// A terminal that was closed answers nobody any more.
bool TerminalIsGone() { return terminal >= 0 && tcgetpgrp(terminal) < 0; }

void OnStop(int number) {
  received_signal = number;
  if (requests != nullptr) requests->stop();
}

void OnHangUp(int number) {
  const int before = errno;
  if (requests == nullptr || !requests->reload || TerminalIsGone()) {
    OnStop(number);
  } else {
    requests->reload();
  }
  errno = before;
}

void OnRetry(int) {
  const int before = errno;
  if (requests != nullptr) requests->retry();
  errno = before;
}

}  // namespace

StopSignal::StopSignal(Requests wanted) {
  static Requests kept;
  kept = std::move(wanted);
  requests = &kept;
  terminal = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  struct sigaction action {};
  action.sa_handler = OnStop;
  action.sa_flags = SA_RESETHAND | SA_RESTART;  // the second signal meets the default action
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  // A terminal that closes: asked to survive it (nohup), the program does. The shell and the kernel
  // may each say so, hence no default action for the second.
  struct sigaction hang_up {};
  sigaction(SIGHUP, nullptr, &hang_up);
  watches_hang_up_ = hang_up.sa_handler != SIG_IGN;
  action.sa_flags = SA_RESTART;
  action.sa_handler = OnHangUp;
  if (watches_hang_up_) sigaction(SIGHUP, &action, nullptr);
  watches_retry_ = static_cast<bool>(kept.retry);
  action.sa_handler = OnRetry;
  if (watches_retry_) sigaction(SIGUSR1, &action, nullptr);
}

StopSignal::~StopSignal() {
  signal(SIGINT, SIG_DFL);
  signal(SIGTERM, SIG_DFL);
  if (watches_hang_up_) signal(SIGHUP, SIG_DFL);
  if (watches_retry_) signal(SIGUSR1, SIG_IGN);
  requests = nullptr;
  if (terminal >= 0) close(std::exchange(terminal, -1));
}

int StopSignal::received() { return received_signal; }

}  // namespace sightline::cli
