#include "sim/renderer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "sim/chance.h"
#include "sim/test_picture.h"

namespace sightline::sim {
namespace {

using test::TestPicture;

constexpr uint64_t kTruthHash = 2440184469144754155u;
constexpr uint64_t kPixelHash = 2254346428545791511u;

SimOptions Parsed(const std::string& query) { return ParseSimUrl("sim://street?" + query).value(); }

// Whoever changes the world or its picture on purpose puts the new hashes here, and says so:
// recorded truth files and trained models belong to the old ones.
TEST(Renderer, ThePictureAndTheTruthAreTheSameOnEveryMachine) {
  const SimOptions options =
      Parsed("people=20&bicycles=2&cars=4&seed=7&size=320x180&shake=2&night=0.4");
  Renderer renderer(options, options.width, options.height, true);
  TestPicture picture(options.width, options.height);
  Truth truth;
  std::vector<uint8_t> truths;
  Hash128 pixels;
  for (int64_t k = 0; k < 150; ++k) {
    renderer.Draw(options.FrameTimeUs(k), &picture.canvas, &truth);
    test::AppendTruth(truth, &truths);
    if (k % 10 == 0) pixels = FieldHasher().Add(pixels).Add(HashBytes(picture.bytes)).Finish();
  }
  EXPECT_EQ(HashBytes(truths).low, kTruthHash);
  EXPECT_EQ(pixels.low, kPixelHash);
}

TEST(Renderer, TheTruthIsTheSameWithoutPixels) {
  const SimOptions options = Parsed("people=30&seed=3&size=320x180&shake=3");
  Renderer drawn(options, 320, 180, true);
  Renderer alone(options, 320, 180, false);
  TestPicture picture(320, 180);
  Truth a;
  Truth b;
  std::vector<uint8_t> bytes_a;
  std::vector<uint8_t> bytes_b;
  for (int64_t k = 0; k < 60; ++k) {
    drawn.Draw(options.FrameTimeUs(k), &picture.canvas, &a);
    alone.Draw(options.FrameTimeUs(k), nullptr, &b);
    test::AppendTruth(a, &bytes_a);
    test::AppendTruth(b, &bytes_b);
  }
  EXPECT_EQ(bytes_a, bytes_b);
  EXPECT_FALSE(bytes_a.empty());
}

TEST(Renderer, BoxesAreInThePictureAndHoldTheirMasks) {
  const SimOptions options = Parsed("people=40&bicycles=4&cars=6&seed=11&shake=5&size=400x226");
  Renderer renderer(options, options.width, options.height, false);
  Truth truth;
  uint64_t hidden = 0;
  uint64_t whole = 0;
  for (int64_t k = 0; k < 300; k += 3) {
    renderer.Draw(options.FrameTimeUs(k), nullptr, &truth);
    const std::vector<uint16_t> masks = renderer.Masks(truth);
    std::vector<uint32_t> visible(truth.objects.size(), 0);
    for (int y = 0; y < options.height; ++y) {
      for (int x = 0; x < options.width; ++x) {
        const uint16_t place = masks[static_cast<size_t>(y * options.width + x)];
        if (place == 0) continue;
        ++visible[place - 1U];
        const Box& box = truth.objects[place - 1U].box_px;
        ASSERT_TRUE(x + 0.5F >= box.x1 && x + 0.5F <= box.x2 && y + 0.5F >= box.y1 &&
                    y + 0.5F <= box.y2)
            << "a pixel of " << truth.objects[place - 1U].id << " outside its box, frame " << k;
      }
    }
    for (size_t i = 0; i < truth.objects.size(); ++i) {
      const TruthObject& object = truth.objects[i];
      const Box& box = object.box_px;
      ASSERT_TRUE(box.x1 >= 0 && box.y1 >= 0 && box.x2 <= static_cast<float>(options.width) &&
                  box.y2 <= static_cast<float>(options.height) && box.width() > 0 &&
                  box.height() > 0);
      ASSERT_TRUE(object.visible >= 0 && object.visible <= 1);
      // The outline is visible / fraction; it fits into the box.
      if (visible[i] == 0) {
        EXPECT_EQ(object.visible, 0);
        ++hidden;
        continue;
      }
      ASSERT_GT(object.visible, 0);
      const double outline = visible[i] / static_cast<double>(object.visible);
      EXPECT_NEAR(outline, std::round(outline), 0.01) << "a whole number of pixels";
      EXPECT_LE(outline, std::ceil(box.width() + 1) * std::ceil(box.height() + 1));
      whole += object.visible == 1 ? 1 : 0;
    }
  }
  EXPECT_GT(hidden, 0u) << "the scene is crowded";
  EXPECT_GT(whole, 100u);
}

TEST(Renderer, WhoIsFartherAwayIsSmallerAndHidden) {
  const View view{.focal_px = 360, .middle_x = 320, .horizon_y = 79};
  std::vector<Part> parts;
  Actor actor;
  actor.id = 1;
  actor.look = 99;
  actor.z = 6;
  const Figure near = DrawFigure(actor, view, 1, &parts);
  actor.z = 18;
  const Figure far = DrawFigure(actor, view, 1, &parts);
  const double ratio = (near.bounds.y2 - near.bounds.y1) / (far.bounds.y2 - far.bounds.y1);
  EXPECT_NEAR(ratio, 3, 0.01);
}

TEST(Renderer, TheSameMomentIsTheSamePictureWhateverWasDrawnBefore) {
  const SimOptions options = Parsed("people=10&seed=2&size=160x90");
  Renderer renderer(options, 160, 90, true);
  TestPicture first(160, 90);
  TestPicture again(160, 90);
  TestPicture other(160, 90);
  Truth truth;
  renderer.Draw(3'000'000, &first.canvas, &truth);
  renderer.Draw(9'000'000, &other.canvas, &truth);
  renderer.Draw(3'000'000, &again.canvas, &truth);
  EXPECT_EQ(first.bytes, again.bytes);
  EXPECT_NE(first.bytes, other.bytes);
}

TEST(Renderer, NightIsDarkerAndNoisier) {
  const auto mean = [](const std::vector<uint8_t>& bytes, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; ++i) sum += bytes[i];
    return sum / static_cast<double>(count);
  };
  TestPicture day(320, 180);
  TestPicture night(320, 180);
  TestPicture next(320, 180);
  Truth truth;
  Renderer(Parsed("people=0&bicycles=0&cars=0&size=320x180"), 320, 180, true)
      .Draw(0, &day.canvas, &truth);
  Renderer dark(Parsed("people=0&bicycles=0&cars=0&size=320x180&night=1"), 320, 180, true);
  dark.Draw(0, &night.canvas, &truth);
  dark.Draw(66'667, &next.canvas, &truth);
  const size_t luma = 320 * 180;
  EXPECT_LT(mean(night.bytes, luma) + 30, mean(day.bytes, luma));
  double change = 0;
  for (size_t i = 0; i < luma; ++i) change += std::abs(night.bytes[i] - next.bytes[i]);
  EXPECT_GT(change / luma, 3) << "noise, as nobody is there";
}

TEST(Renderer, AnySizeCanBeDrawn) {
  for (const auto& [width, height] : {std::pair(64, 48), {65, 49}, {641, 63}, {48 * 2, 700}}) {
    const SimOptions options =
        Parsed("people=60&cars=10&bicycles=9&shake=50&seed=4&size=" + std::to_string(width) + "x" +
               std::to_string(height));
    Renderer renderer(options, width, height, true);
    TestPicture picture(width, height);
    Truth truth;
    for (int64_t t = 0; t < 60'000'000; t += 1'700'000) {
      renderer.Draw(t, &picture.canvas, &truth);
    }
  }
}

}  // namespace
}  // namespace sightline::sim
