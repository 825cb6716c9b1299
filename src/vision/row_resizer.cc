#include "vision/row_resizer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "vision/image_check.h"

namespace sightline {
namespace {

// A decoded frame comes from another core's cache or from memory, and rows lie on pages of their
// own, which the hardware does not foresee. From this size on asking ahead pays: 5 to 12 % of the
// whole on 1080p, nothing on 768x576.
constexpr int64_t kPrefetchFromPixels = 1'000'000;
constexpr int kPrefetchRows = 3;  // destination rows ahead
constexpr int kCacheLine = 64;

// Rows of antialias that are kept: all that a destination row sums, but no more bytes than these,
// which only a picture of thousands of rows in a tensor of a few can want. What is not kept is
// computed again. Chosen, not measured.
constexpr int kPillowBytes = 1 << 20;
constexpr int kPillowBlock = 8;  // source rows summed at once; chosen, not measured

int RoundUp(int n) { return (n + kRowSlack - 1) / kRowSlack * kRowSlack; }

// A source this many times the destination or more is summed, less is interpolated (OpenCV's rule
// for INTER_AREA: both axes must shrink).
bool Shrinks(const AxisSlice& axis) {
  return 1.0 / (static_cast<double>(axis.full) / axis.source) >= 1.0;
}

bool WholeFactor(const AxisSlice& axis) {
  const double scale = 1.0 / (static_cast<double>(axis.full) / axis.source);
  return std::abs(scale - std::nearbyint(scale)) < std::numeric_limits<double>::epsilon();
}

PairWeights MakePairWeights(const AxisTaps& taps, int padded) {
  PairWeights weights;
  weights.high.resize(2 * static_cast<size_t>(padded));
  weights.low.resize(2 * static_cast<size_t>(padded));
  for (int i = 0; i < taps.out; ++i) {
    for (int t = 0; t < 2; ++t) {
      const int w = taps.weight[static_cast<size_t>(t) * taps.out + i];
      const int high = std::min(w / 16, 127);  // 2048 = 16 * 127 + 16
      weights.high[2 * i + t] = static_cast<int8_t>(high);
      weights.low[2 * i + t] = static_cast<int8_t>(w - 16 * high);
    }
  }
  return weights;
}

}  // namespace

RowResizer::RowResizer(PixelFormat format, const AxisSlice& columns, const AxisSlice& rows,
                       Interpolation interpolation)
    : format_(format),
      width_(columns.source),
      out_width_(columns.out),
      out_height_(rows.out),
      kernels_(BestRowKernels()),
      channels_(format == PixelFormat::kGray8 ? 1 : 3) {
  PlanTables(columns, rows, interpolation);
  if (!columns.whole()) NarrowToColumns();
  const bool every_row = kind_ == Kind::kArea || kind_ == Kind::kPillow;  // in turn
  if (!every_row) PlanColumns();
  if (kind_ == Kind::kPillow) run_weights_ = RunWeights(x_pillow_);
  prefetches_ =
      !every_row && static_cast<int64_t>(columns.source) * rows.source >= kPrefetchFromPixels;
  AllocateScratch();
}

void RowResizer::PlanTables(const AxisSlice& columns, const AxisSlice& rows,
                            Interpolation interpolation) {
  const bool same = columns.source == columns.full && rows.source == rows.full;
  if (same) interpolation = Interpolation::kNearest;  // all copy then, whatever the kernel
  const bool shrinks = Shrinks(columns) && Shrinks(rows);
  if (interpolation == Interpolation::kArea && shrinks) {
    kind_ = Kind::kArea;
    if (WholeFactor(columns) && WholeFactor(rows)) {
      const int across = columns.source / columns.full, down = rows.source / rows.full;
      x_area_ = WholeAreaAxis(columns);
      y_area_ = WholeAreaAxis(rows);
      area_scale_ = 1.f / static_cast<float>(across * down);
      area_half_up_ = columns.source == 2 * columns.full && rows.source == 2 * rows.full;
    } else {
      x_area_ = AreaAxis(columns);
      y_area_ = AreaAxis(rows);
    }
  } else if (interpolation == Interpolation::kNearest) {
    x_taps_ = NearestTaps(columns);
    y_taps_ = NearestTaps(rows);
  } else if (interpolation == Interpolation::kCubic) {
    kind_ = Kind::kCubic;
    x_taps_ = CubicTaps(columns);
    y_taps_ = CubicTaps(rows);
  } else if (interpolation == Interpolation::kBilinearAntialias ||
             interpolation == Interpolation::kCubicAntialias) {
    kind_ = Kind::kPillow;
    const PillowFilter filter = interpolation == Interpolation::kCubicAntialias
                                    ? PillowFilter::kCubic
                                    : PillowFilter::kBilinear;
    x_pillow_ = PillowAxis(columns, filter);
    y_pillow_ = PillowAxis(rows, filter);
  } else {
    const bool area_like = interpolation == Interpolation::kArea;
    x_taps_ = LinearTaps(columns, area_like, /*vertical=*/false);
    y_taps_ = LinearTaps(rows, area_like, /*vertical=*/true);
    // At an odd whole factor every destination pixel lies on a source pixel.
    kind_ = x_taps_.picks_single() && y_taps_.picks_single() ? Kind::kPick : Kind::kLinear;
  }
}

void RowResizer::NarrowToColumns() {
  int begin = width_, end = 0;
  const auto hold = [&](int first, int count) {
    begin = std::min(begin, first);
    end = std::max(end, first + count);
  };
  for (const int32_t position : x_taps_.position) hold(position, 1);
  const auto hold_runs = [&](const auto& taps) {
    for (size_t i = 0; i < taps.first.size(); ++i) {
      hold(taps.first[i], taps.count(static_cast<int>(i)));
    }
  };
  hold_runs(x_area_);
  hold_runs(x_pillow_);
  left_ = begin / 2 * 2;
  width_ = end - left_;
  for (std::vector<int32_t>* from : {&x_taps_.position, &x_area_.first, &x_pillow_.first}) {
    for (int32_t& position : *from) position -= left_;
  }
}

void RowResizer::PlanColumns() {
  // Where every column is one source column (sides in a whole odd ratio), one tap serves.
  single_columns_ = kind_ != Kind::kCubic && x_taps_.picks_single();
  const int taps = single_columns_ ? 1 : x_taps_.taps;
  const int padded = RoundUp(out_width_);
  picked_ = taps * padded;
  std::vector<int32_t> index(picked_);
  for (int t = 0; t < taps; ++t) {
    for (int i = 0; i < padded; ++i) {
      const int32_t position =
          x_taps_.position[static_cast<size_t>(t) * out_width_ + std::min(i, out_width_ - 1)];
      index[kind_ == Kind::kLinear ? taps * i + t : t * padded + i] = position;
    }
  }
  if (kind_ == Kind::kLinear && taps == 2) pair_weights_ = MakePairWeights(x_taps_, padded);
  if (kind_ == Kind::kCubic) {
    cubic_weights_.resize(4 * static_cast<size_t>(padded));
    for (int t = 0; t < 4; ++t) {
      std::copy_n(x_taps_.weight.data() + static_cast<size_t>(t) * out_width_, out_width_,
                  cubic_weights_.data() + static_cast<size_t>(t) * padded);
    }
  }
  columns_ = GatherTable(index, width_);
  same_columns_ = single_columns_ && out_width_ == width_;
  for (int i = 0; same_columns_ && i < out_width_; ++i) same_columns_ = index[i] == i;
  // Measured: below about four fifths of the columns.
  pick_before_color_ = IsYuv(format_) && taps * out_width_ * 5 < width_ * 4;
  if (!pick_before_color_) return;
  const bool halved = format_ != PixelFormat::kI444;
  const int step = format_ == PixelFormat::kNv12 ? 2 : 1;
  for (int32_t& i : index) i = (halved ? i / 2 : i) * step;
  // V of interleaved chroma is read with the same table from one byte further on.
  chroma_columns_ = GatherTable(index, PlaneRowBytes(format_, 1, width_) - (step == 2 ? 1 : 0));
}

void RowResizer::AllocateScratch() {
  const int full = RoundUp(width_) + kRowSlack;
  const int picked = picked_ + kRowSlack;
  const int out = RoundUp(out_width_) + kRowSlack;
  bytes_.resize(3 * (static_cast<size_t>(full) + 2 * static_cast<size_t>(picked) + out));
  uint8_t* next = bytes_.data();
  const auto take = [&next](int size) {
    uint8_t* start = next;
    next += size;
    return start;
  };
  for (int c = 0; c < 3; ++c) {
    full_.c[c] = take(full);
    taps_.c[c] = take(picked);
    yuv_[c] = take(picked);
    out_.c[c] = take(out);
  }
  out_stride_ = out;
  if (kind_ == Kind::kLinear) linear_rows_.resize(2 * 3 * static_cast<size_t>(out));
  if (kind_ == Kind::kCubic) cubic_rows_.resize(4 * 3 * static_cast<size_t>(out));
  if (kind_ == Kind::kArea) area_sum_.resize(3 * static_cast<size_t>(full));
  if (kind_ != Kind::kPillow) return;
  int most = 0;
  for (int y = 0; y < out_height_; ++y) most = std::max(most, y_pillow_.count(y));
  const int slots = std::min(most, std::max(kPillowBlock, kPillowBytes / (3 * out)));
  pillow_rows_.resize(static_cast<size_t>(slots) * 3 * out);
  pillow_row_.resize(slots);
  pillow_sum_.resize(3 * static_cast<size_t>(out));
}

void RowResizer::Begin(const ImageView& image) {
  image_ = image;
  image_.width = width_;
  for (int p = 0; left_ > 0 && p < PlaneCount(format_); ++p) {
    image_.planes[p] += PlaneRowBytes(format_, p, left_);
  }
  coefficients_ = CoefficientsOf(image.matrix, image.range);
  full_row_ = -1;
  picked_row_ = -1;
  chroma_row_ = -1;
  slot_row_.fill(-1);
  std::fill(pillow_row_.begin(), pillow_row_.end(), -1);
}

RowResizer::Planes RowResizer::Convert(int y) {
  const uint8_t* row = image_.planes[0] + static_cast<ptrdiff_t>(y) * image_.strides[0];
  if (full_row_ == y) return full_;
  full_row_ = y;
  switch (format_) {
    case PixelFormat::kGray8:
      std::copy_n(row, width_, full_.c[0]);
      break;
    case PixelFormat::kBgr24:
      kernels_.split3(row, width_, full_.c[0], full_.c[1], full_.c[2]);
      break;
    case PixelFormat::kRgb24:
      kernels_.split3(row, width_, full_.c[2], full_.c[1], full_.c[0]);
      break;
    default:
      kernels_.yuv_to_bgr(YuvRowOf(image_, y), width_, coefficients_, full_.c[0], full_.c[1],
                          full_.c[2]);
  }
  return full_;
}

RowResizer::Planes RowResizer::Pick(int y) {
  if (picked_row_ == y) return taps_;
  picked_row_ = y;
  if (format_ == PixelFormat::kGray8) {
    kernels_.gather(columns_, image_.planes[0] + static_cast<ptrdiff_t>(y) * image_.strides[0],
                    taps_.c[0]);
    return taps_;
  }
  if (!pick_before_color_) {
    const Planes full = Convert(y);
    for (int c = 0; c < 3; ++c) kernels_.gather(columns_, full.c[c], taps_.c[c]);
    return taps_;
  }
  const YuvRow row = YuvRowOf(image_, y);
  kernels_.gather(columns_, row.y, yuv_[0]);
  const bool halved_down = format_ == PixelFormat::kI420 || format_ == PixelFormat::kNv12;
  const int chroma_row = halved_down ? y / 2 : y;
  if (chroma_row_ != chroma_row) {
    chroma_row_ = chroma_row;
    kernels_.gather(chroma_columns_, row.u, yuv_[1]);
    kernels_.gather(chroma_columns_, row.v != nullptr ? row.v : row.u + 1, yuv_[2]);
  }
  const YuvRow picked{ChromaLayout::kFull, yuv_[0], yuv_[1], yuv_[2]};
  kernels_.yuv_to_bgr(picked, picked_, coefficients_, taps_.c[0], taps_.c[1], taps_.c[2]);
  return taps_;
}

int RowResizer::Across(int y) {
  const int slots = kind_ == Kind::kCubic ? 4 : 2;
  const int slot = y % slots;  // the rows of one window are neighbours, so they never share a slot
  if (slot_row_[slot] == y) return slot;
  slot_row_[slot] = y;
  if (kind_ == Kind::kCubic) {
    CubicAcross(y, slot);
  } else {
    LinearAcross(y, slot);
  }
  return slot;
}

void RowResizer::LinearAcross(int y, int slot) {
  std::array<int16_t*, 3> to;
  for (int c = 0; c < 3; ++c) {
    to[c] = linear_rows_.data() + static_cast<size_t>(slot * 3 + c) * out_stride_;
  }
  if (single_columns_) {
    const Planes taps = same_columns_ ? Convert(y) : Pick(y);
    for (int c = 0; c < channels_; ++c) kernels_.widen(taps.c[c], out_width_, to[c]);
    return;
  }
  if (pick_before_color_) {
    const Planes taps = Pick(y);
    for (int c = 0; c < channels_; ++c) {
      kernels_.linear_across(taps.c[c], pair_weights_, out_width_, to[c]);
    }
    return;
  }
  const uint8_t* rows[3] = {};
  if (format_ == PixelFormat::kGray8) {
    rows[0] = image_.planes[0] + static_cast<ptrdiff_t>(y) * image_.strides[0];
  } else {
    const Planes full = Convert(y);
    std::copy_n(full.c.data(), 3, rows);
  }
  kernels_.gather_linear_across(columns_, pair_weights_, channels_, rows, to.data());
}

void RowResizer::CubicAcross(int y, int slot) {
  const Planes taps = Pick(y);
  const int stride = picked_ / 4;
  for (int c = 0; c < channels_; ++c) {
    kernels_.cubic_across(taps.c[c], stride, cubic_weights_.data(), stride, out_width_,
                          cubic_rows_.data() + static_cast<size_t>(slot * 3 + c) * out_stride_);
  }
}

RowResizer::LinearWindow RowResizer::AcrossBoth(int y) {
  LinearWindow window;
  window.weight0 = y_taps_.weight[y];
  window.weight1 = y_taps_.weight[out_height_ + y];
  const int slot0 = Across(y_taps_.position[y]);
  // A row of weight zero adds nothing: it need not be read.
  const int slot1 = window.weight1 == 0 ? slot0 : Across(y_taps_.position[out_height_ + y]);
  for (int c = 0; c < 3; ++c) {
    const int from = std::min(c, channels_ - 1);
    window.row0[c] = linear_rows_.data() + static_cast<size_t>(slot0 * 3 + from) * out_stride_;
    window.row1[c] = linear_rows_.data() + static_cast<size_t>(slot1 * 3 + from) * out_stride_;
  }
  return window;
}

void RowResizer::LinearRow(int y) {
  const LinearWindow w = AcrossBoth(y);
  for (int c = 0; c < channels_; ++c) {
    kernels_.linear_down(w.row0[c], w.row1[c], w.weight0, w.weight1, out_width_, out_.c[c]);
  }
}

void RowResizer::PrefetchSource(int y) const {
  if (y >= out_height_) return;
  const auto ask = [](const uint8_t* row, int bytes) {
    for (int i = 0; i < bytes; i += kCacheLine) __builtin_prefetch(row + i);
  };
  for (int t = 0; t < y_taps_.taps; ++t) {
    const int source = y_taps_.position[static_cast<size_t>(t) * out_height_ + y];
    ask(image_.planes[0] + static_cast<ptrdiff_t>(source) * image_.strides[0],
        PlaneRowBytes(format_, 0, width_));
    if (!IsYuv(format_)) continue;
    const YuvRow row = YuvRowOf(image_, source);
    ask(row.u, PlaneRowBytes(format_, 1, width_));
    if (row.v != nullptr) ask(row.v, PlaneRowBytes(format_, 1, width_));
  }
}

void RowResizer::StoreRow(int y, const FloatRow& to) {
  if (prefetches_) PrefetchSource(y + kPrefetchRows);
  if (kind_ == Kind::kLinear) {
    // The last inference drove the tensor out of the caches: its lines come while the row is made.
    for (float* row : to.bgr) {
      for (int i = 0; i < out_width_; i += kCacheLine / 4) __builtin_prefetch(row + i, /*rw=*/1);
    }
    const LinearWindow w = AcrossBoth(y);
    for (int c = 0; c < 3; ++c) {
      kernels_.linear_down_f32(w.row0[c], w.row1[c], w.weight0, w.weight1, out_width_,
                               to.normalization[c], to.bgr[c]);
    }
    return;
  }
  const std::array<const uint8_t*, 3> row = Row(y);
  for (int c = 0; c < 3; ++c) {
    kernels_.store_f32(row[c], out_width_, to.normalization[c], to.bgr[c]);
  }
}

void RowResizer::CubicRow(int y) {
  std::array<int, 4> slot;
  int16_t weights[4];
  for (int t = 0; t < 4; ++t) {
    slot[t] = Across(y_taps_.position[static_cast<size_t>(t) * out_height_ + y]);
    weights[t] = y_taps_.weight[static_cast<size_t>(t) * out_height_ + y];
  }
  for (int c = 0; c < channels_; ++c) {
    const int32_t* rows[4];
    for (int t = 0; t < 4; ++t) {
      rows[t] = cubic_rows_.data() + static_cast<size_t>(slot[t] * 3 + c) * out_stride_;
    }
    kernels_.cubic_down(rows, weights, out_width_, out_.c[c]);
  }
}

void RowResizer::AreaRow(int y) {
  const size_t stride = area_sum_.size() / 3;
  for (int k = 0; k < y_area_.count(y); ++k) {
    const Planes row = Convert(y_area_.first[y] + k);
    const float weight = y_area_.weight[y_area_.offset[y] + k];
    for (int c = 0; c < channels_; ++c) {
      kernels_.area_down(row.c[c], weight, k == 0, width_, area_sum_.data() + c * stride);
    }
  }
  for (int c = 0; c < channels_; ++c) {
    const float* sums = area_sum_.data() + c * stride;
    for (int i = 0; i < out_width_; ++i) {
      const float* weight = x_area_.weight.data() + x_area_.offset[i];
      const float* from = sums + x_area_.first[i];
      float sum = from[0] * weight[0];
      for (int k = 1; k < x_area_.count(i); ++k) sum += from[k] * weight[k];
      const float value = sum * area_scale_;
      const long rounded = area_half_up_ ? static_cast<long>(value + 0.5f) : std::lrintf(value);
      out_.c[c][i] = static_cast<uint8_t>(std::min(rounded, 255L));
    }
  }
}

// Slot that holds source row `y` after the pass across, rounded to 8 bits as Pillow does.
int RowResizer::PillowAcross(int y) {
  const int slot = y % static_cast<int>(pillow_row_.size());
  if (pillow_row_[slot] == y) return slot;
  pillow_row_[slot] = y;
  const Planes from = Convert(y);
  const uint8_t* const rows[3] = {from.c[0], from.c[1], from.c[2]};
  uint8_t* to[3];
  for (int c = 0; c < 3; ++c) {
    to[c] = pillow_rows_.data() + static_cast<size_t>(slot * 3 + c) * out_stride_;
  }
  kernels_.weigh_across(run_weights_, channels_, rows, out_width_, to);
  return slot;
}

void RowResizer::PillowRow(int y) {
  std::fill(pillow_sum_.begin(), pillow_sum_.end(), 1 << (kPillowWeightBits - 1));  // the half
  const int count = y_pillow_.count(y);
  const int32_t* weights = y_pillow_.weight.data() + y_pillow_.offset[y];
  for (int k = 0; k < count; k += kPillowBlock) {
    const int block = std::min(kPillowBlock, count - k);
    const uint8_t* rows[3][kPillowBlock];
    for (int j = 0; j < block; ++j) {
      const int slot = PillowAcross(y_pillow_.first[y] + k + j);
      for (int c = 0; c < channels_; ++c) {
        rows[c][j] = pillow_rows_.data() + static_cast<size_t>(slot * 3 + c) * out_stride_;
      }
    }
    for (int c = 0; c < channels_; ++c) {
      kernels_.weigh_down(rows[c], weights + k, block, out_width_,
                          pillow_sum_.data() + static_cast<size_t>(c) * out_stride_);
    }
  }
  for (int c = 0; c < channels_; ++c) {
    kernels_.clip_sums(pillow_sum_.data() + static_cast<size_t>(c) * out_stride_, out_width_,
                       out_.c[c]);
  }
}

std::array<const uint8_t*, 3> RowResizer::Row(int y) {
  Planes result = out_;
  switch (kind_) {
    case Kind::kPick: {
      const int source = y_taps_.position[y];
      // Nothing to pick where the columns stay as they are.
      result = same_columns_ ? Convert(source) : Pick(source);
      break;
    }
    case Kind::kLinear:
      LinearRow(y);
      break;
    case Kind::kCubic:
      CubicRow(y);
      break;
    case Kind::kArea:
      AreaRow(y);
      break;
    case Kind::kPillow:
      PillowRow(y);
      break;
  }
  if (channels_ == 1) return {result.c[0], result.c[0], result.c[0]};
  return {result.c[0], result.c[1], result.c[2]};
}

}  // namespace sightline
