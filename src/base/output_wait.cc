#include "base/output_wait.h"

#include <algorithm>

#include "base/log.h"

namespace sightline {
namespace {

bool MayPass(const absl::Status& status) {
  return absl::IsResourceExhausted(status) || absl::IsUnavailable(status);
}

}  // namespace

absl::Status OutputWait::Until(absl::FunctionRef<absl::Status()> attempt) {
  using std::chrono::milliseconds;
  absl::Status status = attempt();
  if (!MayPass(status)) return status;
  {
    MutexLock lock(mutex_);
    if (ended_ || !enabled_) return status;
  }
  const auto begin = std::chrono::steady_clock::now();
  Log().warn("{}; results wait, and live cameras drop what finds no place, until it can be written",
             MessageOf(status));
  // Chosen: what a moment's lock costs, and what a full disk may be asked for a night.
  milliseconds pause(100);
  for (bool goes_on = true; goes_on && MayPass(status);) {
    goes_on = Pause(status, pause);
    pause = std::min(2 * pause, milliseconds(1000));
    status = attempt();  // also when the run ends: there may be room just now
  }
  {
    MutexLock lock(mutex_);
    reason_.clear();
  }
  if (status.ok()) {
    const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - begin;
    Log().warn("outputs are written again, after {:.1f} s", waited.count());
  }
  return status;
}

bool OutputWait::Pause(const absl::Status& error, std::chrono::milliseconds pause) {
  MutexLock lock(mutex_);
  reason_ = MessageOf(error);
  if (!ended_) ended_changed_.WaitFor(mutex_, pause);
  return !ended_;
}

void OutputWait::Enable(bool enabled) {
  MutexLock lock(mutex_);
  enabled_ = enabled;
}

void OutputWait::End() {
  MutexLock lock(mutex_);
  ended_ = true;
  ended_changed_.NotifyAll();
}

std::string OutputWait::reason() const {
  MutexLock lock(mutex_);
  return reason_;
}

}  // namespace sightline
