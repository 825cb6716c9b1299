#include "net/cancel_signal.h"

#include <chrono>
#include <utility>

namespace sightline::net {

void CancelSignal::Cancel() {
  const MutexLock lock(mutex_);
  if (std::exchange(cancelled_, true)) return;
  for (const auto& wake : listeners_) wake();
  woken_.NotifyAll();
}

bool CancelSignal::cancelled() const {
  const MutexLock lock(mutex_);
  return cancelled_;
}

bool CancelSignal::WaitFor(int64_t us) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(us);
  const MutexLock lock(mutex_);
  while (!cancelled_) {
    const auto left = std::chrono::duration_cast<std::chrono::microseconds>(
        end - std::chrono::steady_clock::now());
    if (left.count() <= 0) break;
    woken_.WaitFor(mutex_, left);
  }
  return cancelled_;
}

CancelSignal::Listener::Listener(CancelSignal* signal, std::function<void()> wake)
    : signal_(signal) {
  if (signal_ == nullptr) return;
  const MutexLock lock(signal_->mutex_);
  place_ = signal_->listeners_.insert(signal_->listeners_.end(), std::move(wake));
  if (signal_->cancelled_) (*place_)();
}

CancelSignal::Listener::~Listener() {
  if (signal_ == nullptr) return;
  const MutexLock lock(signal_->mutex_);
  signal_->listeners_.erase(place_);
}

}  // namespace sightline::net
