// Whether something moves in a camera's picture: the cheap question before the dear one.
//
// The picture's brightness is averaged over a grid of some 120 x 68 cells (a few rows of each cell;
// the Y plane of YUV, the mean of the three channels of BGR and RGB: no colour is converted). Each
// cell is compared with a background that follows slowly. A change of exposure that scales the
// whole picture is taken out first: the background is multiplied by the median ratio between the
// two, so that flicker, clouds and automatic gain do not count as motion. What covers more than
// half of the picture then passes for the scene and the rest of it as changed, which is a large
// area all the same. Exponential background: e.g. Piccardi, "Background subtraction techniques: a
// review", 2004.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/status.h"
#include "types/frame.h"
#include "vision/row_kernels.h"

namespace sightline {

struct MotionOptions {
  // Part of the picture's area that has to differ from the background, (0, 1].
  float changed_area = 0.15f;
  // How long after that frames are still worth it, in stream time; 0 = not at all.
  int64_t hold_us = 2'000'000;
  // A cell has changed when its mean brightness differs by more than this many of 255 levels. The
  // noise of a cell's mean is below 1; chosen, not measured.
  float cell_levels = 8.0f;
  // Time constant with which the background follows where nothing moves; where something does, it
  // follows six times slower, so that what was put down joins the background after minutes.
  int64_t background_us = 10'000'000;
};

// Threads: one at a time; one instance per camera.
// Memory: two numbers per cell. Cost: below 0.1 ms for 1920x1080; allocates only when the picture's
// geometry changes.
class MotionGate {
 public:
  // InvalidArgument for options outside their ranges.
  static absl::StatusOr<std::unique_ptr<MotionGate>> Create(const MotionOptions& options);

  // Measures the frame, takes it into the background, and says whether it is worth processing: the
  // changed area reaches the option's, or did so within hold_us before. The first frame, and the
  // first of a new epoch or picture size, is always worth it. So is one whose picture cannot be
  // read: whoever processes it reports that.
  bool IsWorthIt(const Frame& frame);

  // The same measurement alone: the changed part of the picture's area, 0..1; 0 for the first
  // picture. `pts_us` as in FrameTime; a step back counts as no time.
  // InvalidArgument for a picture that CheckImage() refuses; the background is then as before.
  absl::StatusOr<float> Measure(const ImageView& image, int64_t pts_us);

  // Of the last picture measured.
  float changed_area() const { return changed_area_; }

 private:
  explicit MotionGate(const MotionOptions& options);
  void Reset(const ImageView& image);
  void AverageCells(const ImageView& image);
  float GainOverBackground();

  const MotionOptions options_;
  const RowKernels& kernels_;
  ImageView geometry_;  // size and format of the background; no pixels
  int cell_px_ = 8;
  int columns_ = 0;
  int rows_ = 0;
  std::vector<uint64_t> groups_;  // sums over 8 bytes each, for one row of cells
  std::vector<float> current_;    // mean of each cell
  std::vector<float> background_;
  std::vector<float> weights_;       // px of each column of cells
  std::vector<uint32_t> histogram_;  // of ratios
  bool known_ = false;               // background_ holds a picture
  int64_t last_pts_us_ = 0;
  float changed_area_ = 0;

  uint32_t epoch_ = 0;
  bool moved_ = false;  // since the background is known
  int64_t moved_pts_us_ = 0;
};

}  // namespace sightline
