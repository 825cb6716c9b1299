#include "vision/motion.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace sightline {
namespace {

constexpr int kWidth = 768;
constexpr int kHeight = 576;
constexpr int64_t kFrameUs = 100'000;

// A street scene seen by a fixed camera: texture, sensor noise, and people as upright boxes.
class Scene {
 public:
  explicit Scene(PixelFormat format = PixelFormat::kI420, int width = kWidth, int height = kHeight)
      : bytes_per_px_(format == PixelFormat::kBgr24 ? 3 : 1) {
    frame_.image.format = format;
    frame_.image.width = width;
    frame_.image.height = height;
    pixels_.resize(static_cast<size_t>(width) * height * bytes_per_px_);
    chroma_.assign(static_cast<size_t>(width) * height, 128);
    const int row = width * bytes_per_px_;
    for (size_t i = 0; i < pixels_.size(); ++i) {
      const int x = static_cast<int>(i % row), y = static_cast<int>(i / row);
      texture_.push_back(90 + 50 * std::sin(x * 0.013) * std::cos(y * 0.021) + (x * y) % 17);
    }
    frame_.image.planes = {pixels_.data(), chroma_.data(), chroma_.data()};
    frame_.image.strides = {width * bytes_per_px_, width, width};
  }

  // Everything multiplied by `gain`, as by a change of exposure.
  void Draw(double gain = 1) {
    for (size_t i = 0; i < pixels_.size(); ++i) {
      const double v = texture_[i] * gain + static_cast<double>(random_() % 9) - 4;
      pixels_[i] = static_cast<uint8_t>(std::clamp(v, 0.0, 255.0));
    }
  }
  void Box(int left, int top, int width, int height, int value) {
    for (int y = std::max(0, top); y < std::min(frame_.image.height, top + height); ++y) {
      for (int x = std::max(0, left); x < std::min(frame_.image.width, left + width); ++x) {
        for (int c = 0; c < bytes_per_px_; ++c) Set(x * bytes_per_px_ + c, y, value);
      }
    }
  }
  const Frame& Next() {
    frame_.meta.time.pts_us += kFrameUs;
    return frame_;
  }
  Frame& frame() { return frame_; }

 private:
  void Set(int x, int y, double v) {
    pixels_[static_cast<size_t>(y) * frame_.image.strides[0] + x] =
        static_cast<uint8_t>(std::clamp(v, 0.0, 255.0));
  }
  const int bytes_per_px_;
  std::mt19937 random_{1};
  std::vector<double> texture_;
  std::vector<uint8_t> pixels_, chroma_;
  Frame frame_;
};

std::unique_ptr<MotionGate> Gate(const MotionOptions& options = {}) {
  absl::StatusOr<std::unique_ptr<MotionGate>> gate = MotionGate::Create(options);
  EXPECT_TRUE(gate.ok());
  return *std::move(gate);
}

TEST(MotionGate, OnlyTheFirstFrameOfAStillSceneIsWorthIt) {
  Scene scene;
  auto gate = Gate();
  scene.Draw();
  EXPECT_TRUE(gate->IsWorthIt(scene.Next()));
  for (int i = 0; i < 20; ++i) {
    scene.Draw();
    EXPECT_FALSE(gate->IsWorthIt(scene.Next())) << i;
    EXPECT_EQ(gate->changed_area(), 0);
  }
}

TEST(MotionGate, MeasuresTheAreaOfWhatMoves) {
  for (const PixelFormat format : {PixelFormat::kI420, PixelFormat::kBgr24, PixelFormat::kGray8}) {
    for (const auto& size : {std::pair(768, 576), std::pair(1920, 1080), std::pair(333, 250)}) {
      Scene scene(format, size.first, size.second);
      auto gate = Gate();
      scene.Draw();
      EXPECT_TRUE(gate->Measure(scene.frame().image, 0).ok());
      scene.Draw();
      // A quarter of the width, half of the height.
      scene.Box(size.first / 4, size.second / 4, size.first / 4, size.second / 2, 230);
      const absl::StatusOr<float> changed = gate->Measure(scene.frame().image, kFrameUs);
      ASSERT_TRUE(changed.ok());
      EXPECT_NEAR(*changed, 0.125, 0.02) << ToString(format) << " " << size.first;
    }
  }
}

TEST(MotionGate, WalkersTriggerAtTheAreaAskedFor) {
  // Three people of 40x110 px cover 3 % of the picture.
  for (const float threshold : {0.01f, 0.15f}) {
    MotionOptions options;
    options.changed_area = threshold;
    options.hold_us = 0;
    Scene scene;
    auto gate = Gate(options);
    int worth = 0;
    for (int i = 0; i < 30; ++i) {
      scene.Draw();
      if (i > 0) {
        for (int person = 0; person < 3; ++person) {
          scene.Box(50 + 200 * person + 7 * i, 200 + 60 * person, 40, 110, 20);
        }
      }
      worth += gate->IsWorthIt(scene.Next());
    }
    EXPECT_EQ(worth, threshold < 0.1f ? 30 : 1);
  }
}

TEST(MotionGate, ExposureFlickerIsNoMotion) {
  Scene scene;
  auto gate = Gate();
  scene.Draw();
  gate->IsWorthIt(scene.Next());
  for (int i = 0; i < 30; ++i) {
    scene.Draw(1 + 0.3 * std::sin(i * 1.7));
    EXPECT_FALSE(gate->IsWorthIt(scene.Next())) << i;
    EXPECT_LT(gate->changed_area(), 0.02) << i;
  }
  // But what moves meanwhile still counts.
  scene.Draw(1.25);
  scene.Box(100, 100, 300, 400, 10);
  EXPECT_TRUE(gate->IsWorthIt(scene.Next()));
  EXPECT_NEAR(gate->changed_area(), 300.0 * 400 / (kWidth * kHeight), 0.03);
}

TEST(MotionGate, WhatFillsMostOfThePictureCounts) {
  Scene scene;
  auto gate = Gate();
  scene.Draw();
  gate->IsWorthIt(scene.Next());
  scene.Draw();
  scene.Box(0, 0, kWidth * 7 / 10, kHeight, 200);
  EXPECT_TRUE(gate->IsWorthIt(scene.Next()));
}

TEST(MotionGate, HoldsForTheTimeAskedFor) {
  MotionOptions options;
  options.hold_us = 5 * kFrameUs;
  Scene scene;
  auto gate = Gate(options);
  scene.Draw();
  gate->IsWorthIt(scene.Next());
  scene.Draw();
  scene.Box(0, 100, 300, 400, 10);
  EXPECT_TRUE(gate->IsWorthIt(scene.Next()));
  for (int i = 1; i <= 8; ++i) {
    scene.Draw();
    EXPECT_EQ(gate->IsWorthIt(scene.Next()), i <= 5) << i;
  }
}

TEST(MotionGate, WhatStaysJoinsTheBackground) {
  Scene scene;
  MotionOptions options;
  options.hold_us = 0;
  options.background_us = 1'000'000;
  auto gate = Gate(options);
  scene.Draw();
  gate->IsWorthIt(scene.Next());
  bool worth = true;
  int frames = 0;
  for (; worth && frames < 1000; ++frames) {
    scene.Draw();
    scene.Box(100, 100, 300, 400, 200);
    worth = gate->IsWorthIt(scene.Next());
  }
  EXPECT_GT(frames, 60);  // 6 s: six time constants
  EXPECT_LT(frames, 300);
}

TEST(MotionGate, StartsAnewWithEpochsAndSizes) {
  Scene scene;
  auto gate = Gate();
  scene.Draw();
  gate->IsWorthIt(scene.Next());
  scene.Draw();
  EXPECT_FALSE(gate->IsWorthIt(scene.Next()));
  scene.frame().meta.time = {.pts_us = 0, .epoch = 1};
  scene.Draw();
  EXPECT_TRUE(gate->IsWorthIt(scene.Next()));
  EXPECT_FALSE(gate->IsWorthIt(scene.Next()));
  Scene other(PixelFormat::kI420, 320, 240);
  other.frame().meta.time = {.pts_us = 5 * kFrameUs, .epoch = 1};
  other.Draw();
  EXPECT_TRUE(gate->IsWorthIt(other.Next()));
  EXPECT_FALSE(gate->IsWorthIt(other.Next()));
}

TEST(MotionGate, TinyAndBrokenPictures) {
  auto gate = Gate();
  for (const auto& size : {std::pair(1, 1), std::pair(3, 200), std::pair(17, 9)}) {
    Scene scene(PixelFormat::kGray8, size.first, size.second);
    scene.Draw();
    EXPECT_TRUE(gate->IsWorthIt(scene.Next()));
    EXPECT_FALSE(gate->IsWorthIt(scene.Next()));
    scene.Box(0, 0, size.first, size.second, 255);
    EXPECT_TRUE(gate->IsWorthIt(scene.Next()) || size.second == 200);
  }
  Frame broken;
  EXPECT_TRUE(gate->IsWorthIt(broken));
  EXPECT_FALSE(gate->Measure(broken.image, 0).ok());
}

TEST(MotionGate, RefusesImpossibleOptions) {
  for (const float area : {0.0f, -1.0f, 1.5f, NAN}) {
    MotionOptions options;
    options.changed_area = area;
    EXPECT_FALSE(MotionGate::Create(options).ok()) << area;
  }
  MotionOptions options;
  options.hold_us = -1;
  EXPECT_FALSE(MotionGate::Create(options).ok());
}

}  // namespace
}  // namespace sightline
