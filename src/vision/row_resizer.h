// A resized picture, or a part of it, row by row, in B, G and R rows of 8 bits. Holds the tables
// and the few rows of scratch memory for one source geometry. Reads only the source's rows and
// columns that the part needs.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "types/frame.h"
#include "types/model_spec.h"
#include "vision/resize_plan.h"
#include "vision/row_kernels.h"

namespace sightline {

// Threads: one at a time. Cost: no allocation after construction.
class RowResizer {
 public:
  // Pictures of columns.source x rows.source pixels; makes columns.out x rows.out.
  RowResizer(PixelFormat format, const AxisSlice& columns, const AxisSlice& rows,
             Interpolation interpolation);

  // The picture to read from now on; of the geometry given at construction, and valid until the
  // last Row().
  void Begin(const ImageView& image);

  // Rows B, G, R of that part, y from 0 to rows.out - 1, valid until the next call. Cheapest for
  // y = 0, 1, 2 ...
  std::array<const uint8_t*, 3> Row(int y);
  // The same row, normalised, without the way over 8-bit rows where that can be saved.
  void StoreRow(int y, const FloatRow& to);

 private:
  enum class Kind : uint8_t { kPick, kLinear, kCubic, kArea, kPillow };
  struct Planes {
    std::array<uint8_t*, 3> c{};
  };

  // The two source rows of a destination row, after the pass across.
  struct LinearWindow {
    std::array<const int16_t*, 3> row0{}, row1{};
    int weight0 = 0, weight1 = 0;
  };

  void PlanTables(const AxisSlice& columns, const AxisSlice& rows, Interpolation interpolation);
  // Leaves away the source's columns that no table reads.
  void NarrowToColumns();
  void PlanColumns();
  void AllocateScratch();
  // Source row `y` in full width, as B, G, R (grey: only the first).
  Planes Convert(int y);
  // Source row `y`, only the pixels that columns_ picks, as B, G, R.
  Planes Pick(int y);
  // Asks the cache for the source rows of destination row `y`.
  void PrefetchSource(int y) const;
  // Slot that holds source row `y` after the pass across; fills it when it does not.
  int Across(int y);
  void LinearAcross(int y, int slot);
  void CubicAcross(int y, int slot);
  LinearWindow AcrossBoth(int y);
  void LinearRow(int y);
  void CubicRow(int y);
  void AreaRow(int y);
  int PillowAcross(int y);
  void PillowRow(int y);

  const PixelFormat format_;
  int left_ = 0;  // first column that is read; even where chroma is halved
  int width_;     // columns from there on
  const int out_width_, out_height_;
  const RowKernels& kernels_;
  Kind kind_ = Kind::kPick;
  int channels_ = 3;  // 1 for grey
  bool prefetches_ = false;
  bool pick_before_color_ = false;
  bool single_columns_ = false;  // one tap a column
  bool same_columns_ = false;    // every destination column is its own source column

  AxisTaps x_taps_, y_taps_;
  AreaTaps x_area_, y_area_;
  float area_scale_ = 1;       // for whole factors: 1 / (pixels of a cell)
  bool area_half_up_ = false;  // OpenCV's 2x2 rounds halves up
  PillowTaps x_pillow_, y_pillow_;

  GatherTable columns_;         // picked pixels: all taps of all destination columns
  GatherTable chroma_columns_;  // the same of the chroma rows, when pick_before_color_
  PairWeights pair_weights_;
  std::vector<int16_t> cubic_weights_;
  RunWeights run_weights_;
  int picked_ = 0;  // pixels picked per row, rounded up to whole vectors

  ImageView image_;
  YuvCoefficients coefficients_;
  std::vector<uint8_t> bytes_;  // scratch behind the pointers below
  Planes full_, taps_, out_;
  std::array<uint8_t*, 3> yuv_{};     // picked Y, U, V
  int full_row_ = -1;                 // source row in full_
  int picked_row_ = -1;               // source row in taps_
  int chroma_row_ = -1;               // chroma row in yuv_[1], yuv_[2]
  std::vector<int16_t> linear_rows_;  // 2 slots x 3 channels
  std::vector<int32_t> cubic_rows_;   // 4 slots x 3 channels
  std::array<int, 4> slot_row_{};     // source row in each slot, -1 for none
  int out_stride_ = 0;
  std::vector<float> area_sum_;       // 3 channels of full width
  std::vector<uint8_t> pillow_rows_;  // pillow_row_.size() slots x 3 channels
  std::vector<int> pillow_row_;       // source row in each slot, -1 for none
  std::vector<int32_t> pillow_sum_;   // 3 channels
};

}  // namespace sightline
