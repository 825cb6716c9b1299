#include "vision/hash_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "vision/hash_kernels.cc"
// As in row_kernels.cc: every machine runs a path that the tests have run.
#define HWY_DISABLED_TARGETS (HWY_AVX3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_RVV)
#include <hwy/foreach_target.h>
// The order matters: foreach_target.h includes this file once per instruction set.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace sightline {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::CappedTag<float, 8>;
using VF = hn::Vec<DF>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(DF()));
constexpr int kChains = kHashLanes / kLanes;  // sums that do not wait for each other

HWY_INLINE VF Floats(const uint8_t* from) {
  const DF df;
  const hn::Rebind<uint8_t, DF> d8;
  const hn::Rebind<int32_t, DF> d32;
  return hn::ConvertTo(df, hn::PromoteTo(d32, hn::LoadU(d8, from)));
}

void Grey(const uint8_t* r, const uint8_t* g, const uint8_t* b, int width, uint8_t* to) {
  const hn::Rebind<uint8_t, DF> d8;
  const hn::Rebind<int32_t, DF> d32;
  const auto part = [&](const uint8_t* from, int32_t weight) {
    return hn::Mul(hn::PromoteTo(d32, hn::LoadU(d8, from)), hn::Set(d32, weight));
  };
  for (int x = 0; x < width; x += kLanes) {
    const auto sum = hn::Add(hn::Add(part(r + x, 19595), part(g + x, 38470)),
                             hn::Add(part(b + x, 7471), hn::Set(d32, 0x8000)));
    hn::StoreU(hn::DemoteTo(d8, hn::ShiftRight<16>(sum)), d8, to + x);
  }
}

void Luma(const uint8_t* r, const uint8_t* g, const uint8_t* b, int width, float* to) {
  const DF df;
  const hn::Rebind<uint8_t, DF> d8;
  const hn::Rebind<int32_t, DF> d32;
  const auto part = [&](const uint8_t* from, int32_t weight) {
    return hn::Mul(hn::PromoteTo(d32, hn::LoadU(d8, from)), hn::Set(d32, weight));
  };
  const VF thousand = hn::Set(df, 1000.0f);
  for (int x = 0; x < width; x += kLanes) {
    const auto sum = hn::Add(hn::Add(part(r + x, 299), part(g + x, 587)), part(b + x, 114));
    hn::StoreU(hn::Div(hn::ConvertTo(df, sum), thousand), df, to + x);
  }
}

void WidenGrey(const uint8_t* grey, int width, float* to) {
  for (int x = 0; x < width; x += kLanes) hn::StoreU(Floats(grey + x), DF(), to + x);
}

// 4 x 4 floats: 4 loads and 4 stores, each `step` apart.
HWY_INLINE void Transpose4(const float* from, int from_step, float* to, int to_step) {
  const hn::FixedTag<float, 4> d;
  const auto r0 = hn::LoadU(d, from), r1 = hn::LoadU(d, from + from_step);
  const auto r2 = hn::LoadU(d, from + 2 * from_step), r3 = hn::LoadU(d, from + 3 * from_step);
  const auto low01 = hn::InterleaveLower(d, r0, r1), high01 = hn::InterleaveUpper(d, r0, r1);
  const auto low23 = hn::InterleaveLower(d, r2, r3), high23 = hn::InterleaveUpper(d, r2, r3);
  hn::StoreU(hn::ConcatLowerLower(d, low23, low01), d, to);
  hn::StoreU(hn::ConcatUpperUpper(d, low23, low01), d, to + to_step);
  hn::StoreU(hn::ConcatLowerLower(d, high23, high01), d, to + 2 * to_step);
  hn::StoreU(hn::ConcatUpperUpper(d, high23, high01), d, to + 3 * to_step);
}

void ToColumns(const float* rows, int stride, int width, float* columns) {
  for (int x = 0; x < width; x += 4) {
    for (int row = 0; row < kHashLanes; row += 4) {
      Transpose4(rows + static_cast<ptrdiff_t>(row) * stride + x, stride,
                 columns + static_cast<ptrdiff_t>(kHashLanes) * x + row, kHashLanes);
    }
  }
}

void ToRows(const float* columns, int width, int stride, float* rows) {
  for (int x = 0; x < width; x += 4) {
    for (int row = 0; row < kHashLanes; row += 4) {
      Transpose4(columns + static_cast<ptrdiff_t>(kHashLanes) * x + row, kHashLanes,
                 rows + static_cast<ptrdiff_t>(row) * stride + x, stride);
    }
  }
}

// Sums of kHashLanes rows over a window that slides along.
class Window {
 public:
  Window(const float* columns, int width, int window)
      : add_(columns), subtract_(columns), full_(window), half_((window + 2) / 2), width_(width) {
    for (VF& sum : sums_) sum = hn::Zero(DF());
    for (int i = 0; i < half_ - 1; ++i) Add();
  }
  // To the next result, from the first on; its number of terms. Grows, stays, shrinks.
  HWY_INLINE int Next() {
    const int at = at_++;
    if (at <= full_ - half_) {
      Add();
    } else if (at <= width_ - half_) {
      Slide();
    } else {
      Subtract();
    }
    return terms_;
  }
  HWY_INLINE void Store(float divisor, float* to) const {
    const VF by = hn::Set(DF(), divisor);
    for (int k = 0; k < kChains; ++k) {
      hn::StoreU(hn::Div(sums_[k], by), DF(), to + kLanes * k);
    }
  }
  // Multiplying is exact where the divisor is a power of two, and faster.
  HWY_INLINE void StoreTimes(float factor, float* to) const {
    const VF by = hn::Set(DF(), factor);
    for (int k = 0; k < kChains; ++k) {
      hn::StoreU(hn::Mul(sums_[k], by), DF(), to + kLanes * k);
    }
  }

  HWY_INLINE void Slide() {
    for (int k = 0; k < kChains; ++k) {
      sums_[k] = hn::Sub(hn::Add(sums_[k], hn::LoadU(DF(), add_ + kLanes * k)),
                         hn::LoadU(DF(), subtract_ + kLanes * k));
    }
    add_ += kHashLanes;
    subtract_ += kHashLanes;
  }

 private:
  HWY_INLINE void Add() {
    for (int k = 0; k < kChains; ++k) {
      sums_[k] = hn::Add(sums_[k], hn::LoadU(DF(), add_ + kLanes * k));
    }
    add_ += kHashLanes;
    ++terms_;
  }
  HWY_INLINE void Subtract() {
    for (int k = 0; k < kChains; ++k) {
      sums_[k] = hn::Sub(sums_[k], hn::LoadU(DF(), subtract_ + kLanes * k));
    }
    subtract_ += kHashLanes;
    --terms_;
  }

  VF sums_[kChains];
  const float* add_;
  const float* subtract_;
  const int full_, half_, width_;
  int at_ = 0;
  int terms_ = 0;
};

HWY_INLINE bool IsPowerOfTwo(int n) { return (n & (n - 1)) == 0; }

void Box(const float* columns, int width, int window, float* to) {
  Window sums(columns, width, window);
  const bool times = IsPowerOfTwo(window);
  const float factor = 1.0f / static_cast<float>(window);
  for (int x = 0; x < width; ++x) {
    const int terms = sums.Next();
    if (times && terms == window) {
      sums.StoreTimes(factor, to);
    } else {
      sums.Store(static_cast<float>(terms), to);
    }
    to += kHashLanes;
  }
}

void BoxAt(const float* columns, int width, int window, const int* at, int count, float* to) {
  Window sums(columns, width, window);
  int x = 0, terms = 0;
  for (int i = 0; i < count; ++i) {
    for (; x <= at[i]; ++x) terms = sums.Next();
    sums.Store(static_cast<float>(terms), to);
    to += kHashLanes;
  }
}

void Slide(const float* add, const float* subtract, int width, float* sums) {
  const DF df;
  for (int x = 0; x < width; x += kLanes) {
    VF sum = hn::LoadU(df, sums + x);
    if (add != nullptr) sum = hn::Add(sum, hn::LoadU(df, add + x));
    if (subtract != nullptr) sum = hn::Sub(sum, hn::LoadU(df, subtract + x));
    hn::StoreU(sum, df, sums + x);
  }
}

void Divide(const float* sums, int width, float divisor, float* to) {
  const DF df;
  if (IsPowerOfTwo(static_cast<int>(divisor))) {
    const VF by = hn::Set(df, 1.0f / divisor);
    for (int x = 0; x < width; x += kLanes) {
      hn::StoreU(hn::Mul(hn::LoadU(df, sums + x), by), df, to + x);
    }
    return;
  }
  const VF by = hn::Set(df, divisor);
  for (int x = 0; x < width; x += kLanes) {
    hn::StoreU(hn::Div(hn::LoadU(df, sums + x), by), df, to + x);
  }
}

float Dot(const float* a, const float* b, int length) {
  const DF df;
  VF sums[4];  // that do not wait for each other
  for (VF& sum : sums) sum = hn::Zero(df);
  int i = 0;
  for (; i + 4 * kLanes <= length; i += 4 * kLanes) {
    for (int k = 0; k < 4; ++k) {
      const VF product =
          hn::Mul(hn::LoadU(df, a + i + k * kLanes), hn::LoadU(df, b + i + k * kLanes));
      sums[k] = hn::Add(sums[k], product);
    }
  }
  const VF sum = hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3]));
  float total = hn::GetLane(hn::SumOfLanes(df, sum));
  for (; i < length; ++i) total += a[i] * b[i];
  return total;
}

const HashKernels* KernelsOfHashes() {
  static constexpr HashKernels kKernels = {Grey, Luma,  WidenGrey, ToColumns, ToRows,
                                           Box,  BoxAt, Slide,     Divide,    Dot};
  return &kKernels;
}

}  // namespace HWY_NAMESPACE
}  // namespace sightline
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sightline {

HWY_EXPORT(KernelsOfHashes);

const HashKernels& BestHashKernels() { return *HWY_DYNAMIC_DISPATCH(KernelsOfHashes)(); }

}  // namespace sightline
#endif
