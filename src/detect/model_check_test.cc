#include "detect/model_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <random>

#include "detect/fake_backend.h"
#include "detect/recognise.h"

namespace sightline {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int kSide = 32;  // of pictures and tensor: 16 cells at stride 8, 4 at 16, 1 at 32
constexpr int kCells = 4;  // at stride 8, along a side
constexpr int kRows = 21;
constexpr int kNumbers = 6;

// Grey noise with reddish squares that fill a cell each.
Frame PictureWithSquares(uint32_t seed) {
  std::mt19937 random(seed);
  auto bgr = std::make_shared<std::vector<uint8_t>>(size_t{3} * kSide * kSide);
  for (uint8_t& v : *bgr) v = static_cast<uint8_t>(20 + random() % 20);
  for (int square = 0; square < 3; ++square) {
    const int column = static_cast<int>(random() % kCells),
              row = static_cast<int>(random() % kCells);
    for (int y = row * 8; y < row * 8 + 8; ++y) {
      for (int x = column * 8; x < column * 8 + 8; ++x) {
        (*bgr)[static_cast<size_t>((y * kSide + x) * 3 + 2)] =
            static_cast<uint8_t>(225 + random() % 20);
      }
    }
  }
  Frame frame;
  frame.meta.width = frame.meta.height = kSide;
  frame.image = {.format = PixelFormat::kBgr24,
                 .width = kSide,
                 .height = kSide,
                 .planes = {bgr->data()},
                 .strides = {kSide * 3}};
  frame.pixels = bgr;
  return frame;
}

// A detector of reddish cells that wants BGR pixels in 0..1: much more or less red is no object.
FakeBackendOptions RedCells(bool raw) {
  FakeBackendOptions options;
  options.inputs = {{"x", DataType::kFloat32, {1, 3, kSide, kSide}}};
  options.outputs = {{"o", DataType::kFloat32, {1, kRows, kNumbers}}};
  options.run = [raw](const FakeModelRun& run) {
    std::vector<float>& out = (*run.outputs)[0];
    std::ranges::fill(out, 0.0f);
    for (int cell = 0; cell < kCells * kCells; ++cell) {
      const int column = cell % kCells, row = cell / kCells;
      float red = 0;
      for (int y = row * 8; y < row * 8 + 8; ++y) {
        for (int x = column * 8; x < column * 8 + 8; ++x) {
          const int at = y * kSide + x;
          red += (run.input[2 * kSide * kSide + at] - run.input[at]) / 64;
        }
      }
      float* const to = out.data() + static_cast<size_t>(cell) * kNumbers;
      const float wide = raw ? 0.0f : 8.0f;
      to[0] = raw ? 0.5f : static_cast<float>(column) * 8 + 4;
      to[1] = raw ? 0.5f : static_cast<float>(row) * 8 + 4;
      to[2] = to[3] = wide;
      to[4] = std::max(0.0f, 1 - std::abs(red - 0.8f) / 0.4f);
      to[5] = 1;
    }
    return absl::OkStatus();
  };
  return options;
}

ModelSpec RightSpec(bool raw) {
  ModelSpec spec = *FamilyDefaults("yolox", kSide, kSide);
  spec.name = "red";
  spec.layout = raw ? "raw_grid" : "decoded";
  spec.input_name = "x";
  spec.input.resize = ResizeMode::kStretch;
  spec.input.channels = ChannelOrder::kBgr;
  spec.input.scale = {1 / 255.0f, 1 / 255.0f, 1 / 255.0f};
  spec.confidence_threshold = 0.3f;
  return spec;
}

ModelCheckReport CheckOver(const ModelSpec& spec, FakeBackendOptions options, int pictures = 12) {
  FakeBackend backend(std::move(options));
  const auto check = ModelCheck::Create(spec, backend);
  EXPECT_TRUE(check.ok()) << check.status();
  if (!check.ok()) return {};
  Detections found;
  for (int i = 0; i < pictures; ++i) {
    (void)(*check)->Look(PictureWithSquares(static_cast<uint32_t>(i)), &found);
  }
  return (*check)->Report();
}

TEST(ModelCheck, TheRightDescriptionIsLeftAlone) {
  for (const bool raw : {false, true}) {
    const ModelCheckReport report = CheckOver(RightSpec(raw), RedCells(raw));
    EXPECT_THAT(report.warnings, IsEmpty());
    EXPECT_TRUE(report.described.status.ok());
    EXPECT_EQ(report.described.pictures, 12u);
    EXPECT_EQ(report.described.pictures_without, 0u);
    EXPECT_GT(report.described.scores.size(), 12u);
    EXPECT_TRUE(std::ranges::is_sorted(report.described.scores, std::greater<>()));
    EXPECT_GT(report.described.agreed_sum(), 12 * 0.5);
    EXPECT_GE(report.others.size(), 8u);
  }
}

TEST(ModelCheck, EachMistakeIsNamedWithTheLineThatMendsIt) {
  ModelSpec swapped = RightSpec(false);
  swapped.input.channels = ChannelOrder::kRgb;
  EXPECT_THAT(CheckOver(swapped, RedCells(false)).warnings,
              ElementsAre(AllOf(HasSubstr("input.channels: bgr"), HasSubstr("12 pictures"))));

  ModelSpec unscaled = RightSpec(false);
  unscaled.input.scale = {1, 1, 1};
  EXPECT_THAT(CheckOver(unscaled, RedCells(false)).warnings,
              ElementsAre(HasSubstr("input.scale: [0.00392157, 0.00392157, 0.00392157]")));

  ModelSpec deltas_as_boxes = RightSpec(true);
  deltas_as_boxes.layout = "decoded";
  EXPECT_THAT(CheckOver(deltas_as_boxes, RedCells(true)).warnings,
              ElementsAre(HasSubstr("layout: raw_grid")));
}

TEST(ModelCheck, FewPicturesProveNothing) {
  ModelSpec swapped = RightSpec(false);
  swapped.input.channels = ChannelOrder::kRgb;
  EXPECT_THAT(CheckOver(swapped, RedCells(false), 4).warnings, IsEmpty());
}

TEST(ModelCheck, ASigmoidTooMuchIsSeenInTheScores) {
  FakeBackendOptions options = RedCells(false);
  options.inputs[0].shape = {1, 3, 128, 128};
  options.outputs[0].shape = {1, 336, kNumbers};
  options.run = [](const FakeModelRun& run) {
    std::mt19937 random(1);
    std::vector<float>& out = (*run.outputs)[0];
    for (int row = 0; row < 336; ++row) {
      float* const to = out.data() + static_cast<size_t>(row) * kNumbers;
      to[0] = static_cast<float>(row % 21) * 6 + 3;
      to[1] = static_cast<float>(row) / 21 * 8 + 3;
      to[2] = to[3] = 4;
      for (int k = 4; k < 6; ++k) to[k] = 0.5f + 0.23f * static_cast<float>(random() % 100) / 100;
    }
    return absl::OkStatus();
  };
  ModelSpec spec = RightSpec(false);
  spec.input.width = spec.input.height = 128;
  spec.confidence_threshold = 0.1f;
  EXPECT_THAT(CheckOver(spec, options).warnings, Contains(HasSubstr("sigmoid")));
}

TEST(ModelCheck, ASoftmaxTooMuchIsSeenInTheSum) {
  FakeBackendOptions options;
  options.inputs = {{"x", DataType::kFloat32, {1, 3, kSide, kSide}}};
  options.outputs = {{"o", DataType::kFloat32, {1, 3}}};
  bool probabilities = true;
  options.run = [&](const FakeModelRun& run) {
    const std::array<float, 3> certain = {0.7f, 0.2f, 0.1f}, logits = {4.0f, -1.0f, 0.5f};
    std::ranges::copy(probabilities ? certain : logits, (*run.outputs)[0].begin());
    return absl::OkStatus();
  };
  ModelSpec spec = *FamilyDefaults("classifier", kSide, kSide);
  spec.name = "c";
  spec.input_name = "x";
  spec.layout = "logits";
  EXPECT_THAT(CheckOver(spec, options).warnings, ElementsAre(HasSubstr("layout: probabilities")));
  probabilities = false;
  EXPECT_THAT(CheckOver(spec, options).warnings, IsEmpty());
}

TEST(ModelCheck, AModelThatFailsSaysWhyAndTheOthersAreTried) {
  FakeBackendOptions options = RedCells(false);
  const auto right = options.run;
  // As without its last sigmoid where pixels are not in 0..1.
  options.run = [right](const FakeModelRun& run) {
    SL_RETURN_IF_ERROR(right(run));
    const float* const end = run.input + 3 * kSide * kSide;
    if (*std::max_element(run.input, end) > 2) (*run.outputs)[0][4] = 30;
    return absl::OkStatus();
  };
  ModelSpec spec = RightSpec(false);
  spec.input.scale = {1, 1, 1};
  const ModelCheckReport report = CheckOver(spec, options);
  EXPECT_THAT(report.described.status.message(), HasSubstr("score of 30"));
  EXPECT_EQ(report.described.pictures, 0u);
  EXPECT_THAT(report.warnings, ElementsAre(HasSubstr("input.scale")));
}

ReadingReport WithAgreed(std::vector<double> agreed) {
  ReadingReport report;
  report.agreed = std::move(agreed);
  return report;
}

TEST(CompareReadings, OnePictureDoesNotDecideForAll) {
  const ReadingReport described = WithAgreed({1, 1, 1, 1, 1, 1, 1, 1});
  const ReadingReport one = WithAgreed({1, 1, 1, 1, 1, 1, 1, 9});
  const ReadingReport all = WithAgreed({1.9, 2, 2.1, 2, 1.8, 2, 2, 2.2});
  EXPECT_FALSE(CompareReadings(described, one).better);
  EXPECT_DOUBLE_EQ(CompareReadings(described, one).gain, 1);
  EXPECT_TRUE(CompareReadings(described, all).better);
  EXPECT_GT(CompareReadings(described, all).certainty, 10);
  EXPECT_FALSE(CompareReadings(all, described).better);
  EXPECT_FALSE(CompareReadings(described, described).better);
}

}  // namespace
}  // namespace sightline
