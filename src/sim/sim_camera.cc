#include "sim/sim_camera.h"

#include <algorithm>
#include <utility>

namespace sightline::sim {

SimCamera::Birth SimCamera::BirthBy(const Clock& clock) {
  const MutexLock lock(mutex_);
  if (!birth_) birth_ = Birth{clock.NowMonotonicUs(), clock.NowUtcUs()};
  return *birth_;
}

int64_t SimCamera::position_us() const {
  const MutexLock lock(mutex_);
  return position_us_;
}

void SimCamera::Advance(int64_t position_us) {
  const MutexLock lock(mutex_);
  position_us_ = std::max(position_us_, position_us);
}

std::shared_ptr<const Backdrop> SimCamera::FindBackdrop(int width, int height) const {
  const MutexLock lock(mutex_);
  for (const Kept& kept : backdrops_) {
    if (kept.width == width && kept.height == height) return kept.backdrop;
  }
  return nullptr;
}

void SimCamera::KeepBackdrop(int width, int height, std::shared_ptr<const Backdrop> backdrop) {
  constexpr size_t kMost = 2;  // sizes: of before and after a resize
  const MutexLock lock(mutex_);
  for (const Kept& kept : backdrops_) {
    if (kept.width == width && kept.height == height) return;
  }
  if (backdrops_.size() == kMost) backdrops_.erase(backdrops_.begin());
  backdrops_.push_back({width, height, std::move(backdrop)});
}

}  // namespace sightline::sim
