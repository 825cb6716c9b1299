#include "evaluate/perturb.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

namespace sightline::evaluate {
namespace {

// Grey with a white rectangle.
BgrImage Picture(int width = 200, int height = 120) {
  BgrImage image{width, height, std::vector<uint8_t>(static_cast<size_t>(width * height) * 3, 100)};
  for (int y = 30; y < 60; ++y) {
    for (int x = 120; x < 170; ++x) {
      for (int c = 0; c < 3; ++c) image.bgr[static_cast<size_t>((y * width + x) * 3 + c)] = 240;
    }
  }
  return image;
}

// Stands for a codec: loses the lowest bits.
absl::StatusOr<BgrImage> FakeJpeg(const BgrImage& image, int quality) {
  BgrImage out = image;
  for (uint8_t& sample : out.bgr) sample = static_cast<uint8_t>(sample / quality * quality);
  return out;
}

double Distance(const BgrImage& a, const BgrImage& b) {
  double sum = 0;
  for (size_t i = 0; i < a.bgr.size(); ++i) sum += std::abs(a.bgr[i] - b.bgr[i]);
  return sum / static_cast<double>(a.bgr.size());
}

TEST(Perturb, TheSameEveryTimeAndDifferentForOtherPictures) {
  for (const Perturbation kind : kPerturbations) {
    SCOPED_TRACE(ToString(kind));
    const PerturbOptions options{.kind = kind, .severity = 2, .seed = 7, .picture = 3};
    const auto once = Perturb(options, Picture(), FakeJpeg);
    const auto again = Perturb(options, Picture(), FakeJpeg);
    ASSERT_TRUE(once.ok() && again.ok());
    EXPECT_EQ(once->bgr, again->bgr);
    EXPECT_EQ(once->width, 200);
    EXPECT_NE(once->bgr, Picture().bgr);
    EXPECT_EQ(PerturbationOf(ToString(kind)), kind);
  }
  EXPECT_FALSE(PerturbationOf("rain"));
  for (const Perturbation kind :
       {Perturbation::kNoise, Perturbation::kFog, Perturbation::kPatches}) {
    const auto of = [&](uint64_t seed, uint64_t picture) {
      return Perturb({.kind = kind, .severity = 2, .seed = seed, .picture = picture}, Picture(),
                     FakeJpeg)
          ->bgr;
    };
    EXPECT_NE(of(7, 3), of(7, 4));
    EXPECT_NE(of(7, 3), of(8, 3));
  }
}

TEST(Perturb, GetsWorseWithSeverity) {
  for (const Perturbation kind : kPerturbations) {
    if (kind == Perturbation::kJpeg) continue;  // not ours
    SCOPED_TRACE(ToString(kind));
    double before = 0;
    for (int severity = 1; severity <= kSeverities; ++severity) {
      const auto worse = Perturb({.kind = kind, .severity = severity, .seed = 1, .picture = 1},
                                 Picture(), FakeJpeg);
      const double distance = Distance(*worse, Picture());
      EXPECT_GT(distance, before);
      before = distance;
    }
  }
}

TEST(Perturb, SmallestPictures) {
  for (const Perturbation kind : kPerturbations) {
    const auto done = Perturb({.kind = kind, .severity = 3}, {1, 1, {9, 9, 9}}, FakeJpeg);
    ASSERT_TRUE(done.ok());
    EXPECT_EQ(done->bgr.size(), 3u);
  }
}

// Where the white rectangle really is after rotation: its pixels' middle is that of the true box.
TEST(Perturb, TruthFollowsTheRotation) {
  for (const uint64_t picture : {1, 2, 3, 4, 5}) {
    for (int severity = 1; severity <= kSeverities; ++severity) {
      const PerturbOptions options{
          .kind = Perturbation::kRotation, .severity = severity, .seed = 1, .picture = picture};
      const auto image = Perturb(options, Picture(), FakeJpeg);
      double x = 0;
      double y = 0;
      double count = 0;
      for (int row = 0; row < 120; ++row) {
        for (int column = 0; column < 200; ++column) {
          if (image->bgr[static_cast<size_t>((row * 200 + column) * 3)] < 180) continue;
          x += column + 0.5;
          y += row + 0.5;
          ++count;
        }
      }
      TrueBox box{.box_px = {120, 30, 50, 30}, .class_id = 4};
      const auto truth = PerturbTruth(options, 200, 120, {box});
      ASSERT_EQ(truth.size(), 1u);
      EXPECT_EQ(truth[0].class_id, 4);
      EXPECT_NEAR(truth[0].box_px.x + truth[0].box_px.width / 2, x / count, 0.5);
      EXPECT_NEAR(truth[0].box_px.y + truth[0].box_px.height / 2, y / count, 0.5);
      EXPECT_FALSE(truth[0].ignored);
    }
  }
  // A box in the corner leaves the picture.
  const PerturbOptions strong{.kind = Perturbation::kRotation, .severity = 3, .seed = 1};
  const auto corners = PerturbTruth(
      strong, 200, 120,
      {{.box_px = {0, 0, 8, 8}}, {.box_px = {192, 0, 8, 8}}, {.box_px = {90, 50, 20, 20}}});
  EXPECT_TRUE(corners[0].ignored || corners[1].ignored);
  EXPECT_FALSE(corners[2].ignored);
  // Nothing else moves boxes.
  EXPECT_EQ(
      PerturbTruth({.kind = Perturbation::kBlur}, 200, 120, {{.box_px = {1, 2, 3, 4}}})[0].box_px.x,
      1);
}

}  // namespace
}  // namespace sightline::evaluate
