#include "vision/motion.h"

#include <algorithm>
#include <cmath>

#include "vision/image_check.h"

namespace sightline {
namespace {

// Sides of cells are whole multiples of this, so that sums over 8 bytes never span two cells.
constexpr int kCellStep = 8;
constexpr int kTargetCells = 128;  // at most, along the longer side; chosen, not measured
constexpr int kRowsPerCell = 4;    // read of each cell; chosen, not measured
constexpr float kDarkest = 8.0f;   // cells darker than this say nothing about the gain
constexpr int kRatioSteps = 256;   // of the histogram, per unit
constexpr float kMaxGain = 2.0f;   // beyond this it is another scene, not another exposure
constexpr float kMovedSlowdown = 6;

int BytesPerPixel(PixelFormat format) {
  return format == PixelFormat::kBgr24 || format == PixelFormat::kRgb24 ? 3 : 1;
}

}  // namespace

absl::StatusOr<std::unique_ptr<MotionGate>> MotionGate::Create(const MotionOptions& options) {
  if (!(options.changed_area > 0 && options.changed_area <= 1)) {
    return InvalidArgument(
        "motion: changed area is {}, must be more than 0 and at most 1 (of the "
        "picture's area)",
        options.changed_area);
  }
  if (options.hold_us < 0) {
    return InvalidArgument("motion: hold is {} us, must not be negative", options.hold_us);
  }
  if (!(options.cell_levels > 0 && options.cell_levels <= 255)) {
    return InvalidArgument("motion: cell levels is {}, must be more than 0 and at most 255",
                           options.cell_levels);
  }
  if (options.background_us <= 0) {
    return InvalidArgument("motion: background time is {} us, must be more than 0",
                           options.background_us);
  }
  return std::unique_ptr<MotionGate>(new MotionGate(options));
}

MotionGate::MotionGate(const MotionOptions& options)
    : options_(options), kernels_(BestRowKernels()) {}

bool MotionGate::IsWorthIt(const Frame& frame) {
  const FrameTime& time = frame.meta.time;
  if (time.epoch != epoch_) known_ = false;
  epoch_ = time.epoch;
  const bool first = !known_ || frame.image.width != geometry_.width ||
                     frame.image.height != geometry_.height ||
                     frame.image.format != geometry_.format;
  const absl::StatusOr<float> changed = Measure(frame.image, time.pts_us);
  if (!changed.ok()) return true;
  if (first) moved_ = false;
  if (*changed >= options_.changed_area) {
    moved_ = true;
    moved_pts_us_ = time.pts_us;
    return true;
  }
  const int64_t still_us = time.pts_us - moved_pts_us_;
  return first || (moved_ && still_us >= 0 && still_us <= options_.hold_us);
}

absl::StatusOr<float> MotionGate::Measure(const ImageView& image, int64_t pts_us) {
  if (absl::Status status = CheckImage(image); !status.ok()) return status;
  if (image.width != geometry_.width || image.height != geometry_.height ||
      image.format != geometry_.format) {
    Reset(image);
  }
  AverageCells(image);
  if (!known_) {
    background_ = current_;
    known_ = true;
    last_pts_us_ = pts_us;
    return changed_area_ = 0;
  }
  const double elapsed_us = static_cast<double>(std::max<int64_t>(0, pts_us - last_pts_us_));
  last_pts_us_ = pts_us;
  // Half at most, however long nothing was measured.
  const auto follow_by = [&](double constant_us) {
    return static_cast<float>(std::min(0.5, 1 - std::exp(-elapsed_us / constant_us)));
  };
  const float follow = follow_by(static_cast<double>(options_.background_us));
  const float follow_moved =
      follow_by(static_cast<double>(options_.background_us) * kMovedSlowdown);
  const float gain = GainOverBackground();
  double changed_px = 0;
  for (int r = 0; r < rows_; ++r) {
    const float* current = current_.data() + static_cast<size_t>(r) * columns_;
    float* background = background_.data() + static_cast<size_t>(r) * columns_;
    float row_px = 0;
    for (int c = 0; c < columns_; ++c) {
      const bool moved = std::abs(current[c] - gain * background[c]) > options_.cell_levels;
      row_px += moved ? weights_[c] : 0.0f;
      background[c] += (moved ? follow_moved : follow) * (current[c] - background[c]);
    }
    const int height = std::min(cell_px_, image.height - r * cell_px_);
    changed_px += static_cast<double>(row_px) * height;
  }
  changed_area_ =
      static_cast<float>(changed_px / (static_cast<double>(image.width) * image.height));
  return changed_area_;
}

void MotionGate::Reset(const ImageView& image) {
  geometry_ = ImageView{};
  geometry_.width = image.width;
  geometry_.height = image.height;
  geometry_.format = image.format;
  const int longer = std::max(image.width, image.height);
  cell_px_ =
      kCellStep * std::max(1, (longer + kCellStep * kTargetCells - 1) / (kCellStep * kTargetCells));
  columns_ = (image.width + cell_px_ - 1) / cell_px_;
  rows_ = (image.height + cell_px_ - 1) / cell_px_;
  const size_t cells = static_cast<size_t>(columns_) * rows_;
  current_.assign(cells, 0);
  background_.assign(cells, 0);
  groups_.assign(static_cast<size_t>(columns_) * cell_px_ * BytesPerPixel(image.format) / 8, 0);
  weights_.resize(columns_);
  for (int c = 0; c < columns_; ++c) {
    weights_[c] = static_cast<float>(std::min(cell_px_, image.width - c * cell_px_));
  }
  histogram_.assign(static_cast<size_t>(kMaxGain * kRatioSteps) + 1, 0);
  known_ = false;
}

void MotionGate::AverageCells(const ImageView& image) {
  const int bytes_per_px = BytesPerPixel(image.format);
  const int row_bytes = image.width * bytes_per_px;
  const int groups_per_cell = cell_px_ * bytes_per_px / 8;
  for (int r = 0; r < rows_; ++r) {
    std::fill(groups_.begin(), groups_.end(), 0);
    const int top = r * cell_px_;
    const int height = std::min(cell_px_, image.height - top);
    const int read = std::min(kRowsPerCell, height);
    for (int k = 0; k < read; ++k) {
      const int y = top + (2 * k + 1) * height / (2 * read);
      kernels_.add_sums_of_8(image.planes[0] + static_cast<ptrdiff_t>(y) * image.strides[0],
                             row_bytes, groups_.data());
    }
    float* mean = current_.data() + static_cast<size_t>(r) * columns_;
    const uint64_t* group = groups_.data();
    for (int c = 0; c < columns_; ++c) {
      uint64_t sum = 0;
      for (int g = 0; g < groups_per_cell; ++g) sum += *group++;
      mean[c] = static_cast<float>(sum) / (weights_[c] * static_cast<float>(bytes_per_px * read));
    }
  }
}

// The median of current / background over every fourth cell; 1 where that says nothing.
float MotionGate::GainOverBackground() {
  std::fill(histogram_.begin(), histogram_.end(), 0);
  uint32_t seen = 0;
  for (size_t i = 0; i < current_.size(); i += 4) {
    if (background_[i] < kDarkest) continue;
    const float step = current_[i] / background_[i] * kRatioSteps;
    ++histogram_[std::min(static_cast<size_t>(step), histogram_.size() - 1)];
    ++seen;
  }
  constexpr uint32_t kFewest = 16;
  if (seen < kFewest) return 1;
  uint32_t below = 0;
  size_t step = 0;
  while (below + histogram_[step] <= seen / 2) below += histogram_[step++];
  // Within the step, as if its ratios were spread evenly.
  const float inside = (static_cast<float>(seen) / 2 - static_cast<float>(below)) /
                       static_cast<float>(histogram_[step]);
  const float gain = (static_cast<float>(step) + inside) / kRatioSteps;
  return gain > 1 / kMaxGain && gain < kMaxGain ? gain : 1;
}

}  // namespace sightline
