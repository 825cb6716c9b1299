// Which frames of a recording go on: every n-th, and of those at most so many a second.
//
// The rate works on a grid of stream time: of the frames in one cell of 1/target_fps seconds the
// first is kept, so the outcome depends on stamps alone. Stamps may fall short of a cell's border
// by a millisecond (containers round) and still count to it.
//
// Threads: one. Cost: a division.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>

#include "types/camera.h"
#include "types/frame.h"
#include "types/frame_source.h"

namespace sightline {

class FrameSelector {
 public:
  explicit FrameSelector(const FrameSelection& selection)
      : every_nth_(static_cast<uint64_t>(std::max(selection.every_nth, 1))),
        period_us_(selection.target_fps > 0 ? 1e6 / selection.target_fps : 0),
        tolerance_us_(std::min(1000.0, period_us_ / 4)) {}

  bool keeps_all() const { return every_nth_ == 1 && period_us_ <= 0; }

  // Why the frame is left out; nullopt when it is kept. To be called for every frame, in order.
  std::optional<SkipReason> Consider(uint64_t ordinal, const FrameTime& time) {
    if (ordinal % every_nth_ != 0) return SkipReason::kEveryNth;
    if (period_us_ <= 0) return std::nullopt;
    const double cell = std::floor((static_cast<double>(time.pts_us) + tolerance_us_) / period_us_);
    const bool is_first = !last_ || last_->epoch != time.epoch || last_->cell != cell;
    last_ = Cell{time.epoch, cell};
    if (!is_first) return SkipReason::kTargetRate;
    return std::nullopt;
  }

 private:
  struct Cell {
    uint32_t epoch;
    double cell;
  };
  uint64_t every_nth_;
  double period_us_;  // 0: no rate
  double tolerance_us_;
  std::optional<Cell> last_;
};

}  // namespace sightline
