// Non-maximum suppression of 1,000 boxes of which about 850 stay, against the straightforward
// vectorised loop: sort, fields side by side, every kept box against all that follow, a vector at a
// time.
//   build/bin/nms_bench
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <random>
#include <vector>

#include "detect/nms.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "nms_bench.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace sightline::nms_bench {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// fields: x1, y1, x2, y2, area by falling score, each `stride` long. dead: one int per box.
void MarkSuppressed(const float* fields, size_t stride, size_t count, float iou_threshold,
                    int32_t* dead) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const float *X1 = fields, *Y1 = X1 + stride, *X2 = Y1 + stride, *Y2 = X2 + stride,
              *A = Y2 + stride;
  const auto threshold = hn::Set(d, iou_threshold);
  for (size_t i = 0; i < count; ++i) {
    if (dead[i] != 0) continue;
    const auto x1 = hn::Set(d, X1[i]), y1 = hn::Set(d, Y1[i]);
    const auto x2 = hn::Set(d, X2[i]), y2 = hn::Set(d, Y2[i]), area = hn::Set(d, A[i]);
    for (size_t j = i + 1; j < count; j += hn::Lanes(d)) {
      const auto w = hn::Max(hn::Zero(d), hn::Sub(hn::Min(x2, hn::LoadU(d, X2 + j)),
                                                  hn::Max(x1, hn::LoadU(d, X1 + j))));
      const auto h = hn::Max(hn::Zero(d), hn::Sub(hn::Min(y2, hn::LoadU(d, Y2 + j)),
                                                  hn::Max(y1, hn::LoadU(d, Y1 + j))));
      const auto both = hn::Mul(w, h);
      const auto rest = hn::Sub(hn::Add(area, hn::LoadU(d, A + j)), both);
      const auto hit = hn::VecFromMask(d, hn::Gt(both, hn::Mul(threshold, rest)));
      hn::StoreU(hn::Or(hn::LoadU(di, dead + j), hn::BitCast(di, hit)), di, dead + j);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace sightline::nms_bench
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sightline {
namespace nms_bench {
HWY_EXPORT(MarkSuppressed);
}

namespace {

class StraightforwardLoop {
 public:
  void Run(float iou_threshold, std::vector<Detection>* detections) {
    const size_t count = detections->size(), stride = count + 64;
    order_.resize(count);
    std::iota(order_.begin(), order_.end(), 0);
    std::stable_sort(order_.begin(), order_.end(), [&](int a, int b) {
      return (*detections)[a].confidence > (*detections)[b].confidence;
    });
    fields_.assign(5 * stride, 0);
    dead_.assign(stride, 0);
    for (size_t i = 0; i < count; ++i) {
      const Box& b = (*detections)[order_[i]].box_px;
      fields_[i] = b.x1;
      fields_[stride + i] = b.y1;
      fields_[2 * stride + i] = b.x2;
      fields_[3 * stride + i] = b.y2;
      fields_[4 * stride + i] = b.area();
    }
    HWY_DYNAMIC_DISPATCH(nms_bench::MarkSuppressed)
    (fields_.data(), stride, count, iou_threshold, dead_.data());
    kept_.clear();
    for (size_t i = 0; i < count; ++i) {
      if (dead_[i] == 0) kept_.push_back((*detections)[order_[i]]);
    }
    detections->assign(kept_.begin(), kept_.end());
  }

 private:
  std::vector<int> order_;
  std::vector<float> fields_;
  std::vector<int32_t> dead_;
  std::vector<Detection> kept_;
};

// `spread`: how many times the mean box the picture holds; more keeps more.
std::vector<Detection> Boxes(int count, float field_w, float field_h, float low, float high,
                             int classes) {
  std::mt19937 rng(11);
  std::uniform_real_distribution<float> x(0, field_w), y(0, field_h), side(low, high),
      score(0.25f, 1);
  std::vector<Detection> boxes;
  for (int i = 0; i < count; ++i) {
    const float left = x(rng), top = y(rng);
    boxes.push_back({{left, top, left + side(rng), top + side(rng)},
                     score(rng),
                     static_cast<int32_t>(rng() % classes)});
  }
  return boxes;
}

template <typename F>
double MedianUs(const std::vector<Detection>& boxes, size_t* kept, F run) {
  std::vector<double> times;
  std::vector<Detection> work;
  for (int i = 0; i < 2001; ++i) {
    work = boxes;
    const auto start = std::chrono::steady_clock::now();
    run(&work);
    const auto stop = std::chrono::steady_clock::now();
    times.push_back(std::chrono::duration<double, std::micro>(stop - start).count());
  }
  *kept = work.size();
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

void Compare(const char* name, const std::vector<Detection>& boxes, float iou, bool class_aware) {
  NonMaxSuppressor nms;
  StraightforwardLoop loop;
  NmsSettings settings;
  settings.iou_threshold = iou;
  settings.class_aware = class_aware;
  settings.max_detections = 1'000'000;
  size_t kept = 0, loop_kept = 0;
  const double ours = MedianUs(boxes, &kept, [&](auto* d) { nms.Run(settings, 0, d); });
  const double theirs = MedianUs(boxes, &loop_kept, [&](auto* d) { loop.Run(iou, d); });
  fmt::print("{:<34} {:>6} {:>6} {:>10.1f} {:>14.1f} {:>8.2f}\n", name, boxes.size(), kept, ours,
             theirs, theirs / ours);
  if (!class_aware && kept != loop_kept) fmt::print("  the loop keeps {}\n", loop_kept);
}

}  // namespace
}  // namespace sightline

int main() {
  using sightline::Boxes;
  using sightline::Compare;
  fmt::print("median of 2,001 runs, one thread, {}\n",
             hwy::TargetName(1LL << hwy::Num0BitsBelowLS1Bit_Nonzero64(hwy::SupportedTargets())));
  fmt::print("{:<34} {:>6} {:>6} {:>10} {:>14} {:>8}\n", "boxes", "in", "kept", "ours us",
             "plain loop us", "ratio");
  Compare("1,000 in 1080p, sides 30-90", Boxes(1000, 1920, 1080, 30, 90, 1), 0.45f, false);
  Compare("1,000 in 640x640, sides 10-40", Boxes(1000, 640, 640, 10, 40, 1), 0.45f, false);
  Compare("1,000 in 640x640, sides 20-200", Boxes(1000, 640, 640, 20, 200, 1), 0.7f, false);
  Compare("the first, 80 classes, by class", Boxes(1000, 1920, 1080, 30, 90, 80), 0.45f, true);
  Compare("100 in 1080p", Boxes(100, 1920, 1080, 30, 90, 1), 0.45f, false);
  Compare("8,400 in 640x640", Boxes(8400, 640, 640, 20, 100, 1), 0.45f, false);
  return 0;
}
#endif
