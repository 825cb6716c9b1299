// A simulated camera that outlives its connections: when it was switched on, and what is spared by
// remembering it.
//
// A camera's life begins with its first connection. Faults have their place in it, and who connects
// again finds the world further on, as in a real street. With pace=none the life goes on only as
// frames are read, and a connection that breaks skips what is left of the fault.
//
// Threads: safe.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/mutex.h"
#include "base/time.h"
#include "sim/backdrop.h"
#include "sim/sim_options.h"

namespace sightline::sim {

class SimCamera {
 public:
  explicit SimCamera(SimOptions options) : options_(std::move(options)) {}
  const SimOptions& options() const { return options_; }

  // When the camera was switched on; the first call does it.
  struct Birth {
    int64_t monotonic_us = 0;
    int64_t utc_us = 0;
  };
  Birth BirthBy(const Clock& clock) EXCLUDES(mutex_);

  // With pace=none: how far its life is.
  int64_t position_us() const EXCLUDES(mutex_);
  void Advance(int64_t position_us) EXCLUDES(mutex_);

  // The backdrop of that size; null when it was not kept. A few are.
  std::shared_ptr<const Backdrop> FindBackdrop(int width, int height) const EXCLUDES(mutex_);
  void KeepBackdrop(int width, int height, std::shared_ptr<const Backdrop> backdrop)
      EXCLUDES(mutex_);

 private:
  struct Kept {
    int width;
    int height;
    std::shared_ptr<const Backdrop> backdrop;
  };
  const SimOptions options_;
  mutable Mutex mutex_;
  std::optional<Birth> birth_ GUARDED_BY(mutex_);
  int64_t position_us_ GUARDED_BY(mutex_) = 0;
  std::vector<Kept> backdrops_ GUARDED_BY(mutex_);
};

}  // namespace sightline::sim
