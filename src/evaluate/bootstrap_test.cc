#include "evaluate/bootstrap.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "evaluate/resampled_map.h"

namespace sightline::evaluate {
namespace {

// Half of the pictures are worth 0, half 1: the mean of n drawn has a deviation of 0.5 / sqrt(n).
std::optional<Interval> OfHalves(size_t pictures, const BootstrapOptions& options = {}) {
  return BootstrapInterval(
      pictures,
      [](std::span<const uint32_t> times) {
        double sum = 0;
        for (size_t i = 0; i < times.size(); i += 2) sum += times[i];
        return std::optional<double>(sum / static_cast<double>(times.size()));
      },
      options);
}

TEST(Bootstrap, IntervalOfAMeanIsThatOfTheNormalDistribution) {
  const Interval interval = OfHalves(400).value();
  const double deviation = 0.5 / std::sqrt(400);
  EXPECT_NEAR(interval.low, 0.5 - 1.96 * deviation, 0.3 * deviation);
  EXPECT_NEAR(interval.high, 0.5 + 1.96 * deviation, 0.3 * deviation);
  const Interval half = OfHalves(400, {.coverage = 0.5}).value();
  EXPECT_NEAR(half.high, 0.5 + 0.674 * deviation, 0.2 * deviation);
}

TEST(Bootstrap, TheSameSeedGivesTheSameInterval) {
  const auto of_seed = [](uint64_t seed) {
    return BootstrapInterval(50,
                             [](std::span<const uint32_t> times) {
                               double sum = 0;
                               for (size_t i = 0; i < times.size(); ++i)
                                 sum += times[i] * std::sqrt(i);
                               return std::optional<double>(sum);
                             },
                             {.seed = seed})
        .value();
  };
  EXPECT_EQ(of_seed(1).low, of_seed(1).low);
  EXPECT_EQ(of_seed(1).high, of_seed(1).high);
  EXPECT_NE(of_seed(1).low, of_seed(2).low);
}

TEST(Bootstrap, EveryDrawingHasAsManyPictures) {
  const auto interval = BootstrapInterval(7, [](std::span<const uint32_t> times) {
    return std::optional<double>(std::accumulate(times.begin(), times.end(), 0u));
  });
  EXPECT_EQ(interval.value().low, 7);
  EXPECT_EQ(interval.value().high, 7);
}

TEST(Bootstrap, WithoutFiguresThereIsNoInterval) {
  EXPECT_FALSE(OfHalves(0));
  EXPECT_FALSE(
      BootstrapInterval(5, [](std::span<const uint32_t>) { return std::optional<double>(); }));
}

// Boxes with confidences of their own, some right, some wrong, some nearly right, in three classes.
class Pictures {
 public:
  explicit Pictures(size_t count) {
    uint32_t state = 7;
    const auto next = [&state](uint32_t below) {
      state = state * 1664525 + 1013904223;
      return (state >> 8) % below;
    };
    for (size_t i = 0; i < count; ++i) {
      truth_.emplace_back();
      found_.emplace_back();
      for (uint32_t box = next(5); box > 0; --box) {
        const double x = 200.0 * box;
        const auto class_id = static_cast<int32_t>(next(3));
        truth_.back().push_back(
            {.box_px = {x, 0, 100, 100}, .class_id = class_id, .ignored = next(6) == 0});
        if (next(4) == 0) continue;
        const double moved = next(40);
        found_.back().push_back({.box_px = {x + moved, 0, 100, 100},
                                 .class_id = next(8) == 0 ? 1 : class_id,
                                 .confidence = next(1'000'000) * 1e-6 + i * 1e-9});
      }
    }
  }
  void AddTo(DetectionAccuracy& accuracy, size_t i) const {
    ASSERT_TRUE(accuracy.AddPicture(truth_[i], found_[i]).ok());
  }

 private:
  std::vector<std::vector<TrueBox>> truth_;
  std::vector<std::vector<FoundBox>> found_;
};

TEST(ResampledMap, IsThatOfPicturesAddedSoOften) {
  constexpr size_t kPictures = 40;
  const Pictures pictures(kPictures);
  DetectionAccuracy once;
  for (size_t i = 0; i < kPictures; ++i) pictures.AddTo(once, i);
  const ResampledMap resampled(once);
  ASSERT_EQ(resampled.pictures(), kPictures);
  EXPECT_NEAR(resampled.MapOf(std::vector<uint32_t>(kPictures, 1)).value(),
              once.Report().map.value(), 1e-12);
  ASSERT_GT(once.Report().map.value(), 0.1);
  ASSERT_LT(once.Report().map.value(), 0.9);
  for (uint32_t drawing = 0; drawing < 20; ++drawing) {
    std::vector<uint32_t> times(kPictures);
    DetectionAccuracy several;
    for (uint32_t i = 0; i < kPictures; ++i) {
      times[i] = (i * (drawing + 3) + drawing) % 4;
      for (uint32_t n = 0; n < times[i]; ++n) pictures.AddTo(several, i);
    }
    EXPECT_NEAR(resampled.MapOf(times).value(), several.Report().map.value(), 1e-12) << drawing;
  }
}

TEST(ResampledMap, WithoutTruthThereIsNone) {
  DetectionAccuracy accuracy;
  const TrueBox truth[] = {{.box_px = {0, 0, 100, 100}, .class_id = 1}};
  ASSERT_TRUE(accuracy.AddPicture(truth, {}).ok());
  ASSERT_TRUE(accuracy.AddPicture({}, {}).ok());
  const ResampledMap resampled(accuracy);
  EXPECT_EQ(resampled.MapOf(std::vector<uint32_t>{1, 1}).value(), 0);
  EXPECT_FALSE(resampled.MapOf(std::vector<uint32_t>{0, 2}));
}

}  // namespace
}  // namespace sightline::evaluate
