#include "detect/nms.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>

namespace sightline {
namespace {

// The definition, word for word, as the thing to be equal to.
std::vector<Detection> Naive(const NmsSettings& settings, std::vector<Detection> in) {
  std::erase_if(in, [](const Detection& d) {
    return !std::isfinite(d.confidence) || !(d.box_px.width() > 0 && d.box_px.height() > 0) ||
           std::isinf(d.box_px.width()) || std::isinf(d.box_px.height());
  });
  std::stable_sort(in.begin(), in.end(), [](const Detection& a, const Detection& b) {
    return a.confidence > b.confidence;
  });
  std::vector<Detection> kept;
  for (const Detection& d : in) {
    if (kept.size() == static_cast<size_t>(settings.max_detections)) break;
    if (std::none_of(kept.begin(), kept.end(), [&](const Detection& k) {
          return (!settings.class_aware || k.class_id == d.class_id) &&
                 IntersectionOverUnion(d.box_px, k.box_px) > settings.iou_threshold;
        })) {
      kept.push_back(d);
    }
  }
  return kept;
}

bool Same(const std::vector<Detection>& a, const std::vector<Detection>& b) {
  return std::equal(
      a.begin(), a.end(), b.begin(), b.end(), [](const Detection& x, const Detection& y) {
        return x.box_px == y.box_px && x.confidence == y.confidence && x.class_id == y.class_id;
      });
}

// Sets of many kinds: sizes from none to some hundred boxes; spread, clustered, equal, of all
// sizes, on whole pixels (so that IoUs meet the threshold exactly), thin, empty, huge, tiny, NaN.
std::vector<Detection> RandomBoxes(std::mt19937& rng) {
  const auto below = [&](int n) { return static_cast<int>(rng() % n); };
  const auto real = [&](float low, float high) {
    return std::uniform_real_distribution<float>(low, high)(rng);
  };
  const int count = below(4) == 0 ? below(1200) : below(300);
  const float field = std::array{50.0f, 640.0f, 4000.0f, 1e6f}[below(4)];
  const float size = field * std::array{0.01f, 0.05f, 0.2f, 1.0f}[below(4)];
  const float variety = std::array{1.0f, 2.0f, 30.0f, 1000.0f}[below(4)];
  const float origin = below(5) == 0 ? real(-1e7f, 1e7f) : 0.0f;
  const bool whole = below(3) == 0;
  const bool odd_ones = below(3) == 0;
  const bool few_scores = below(2) == 0;
  const int classes = 1 + below(5);
  std::vector<Detection> boxes;
  for (int i = 0; i < count; ++i) {
    if (!boxes.empty() && below(10) == 0) {
      boxes.push_back(boxes[below(boxes.size())]);
      continue;
    }
    Detection d;
    const float w = size * std::pow(variety, real(-1, 0));
    const float h = size * std::pow(variety, real(-1, 0));
    const float x = origin + real(0, field), y = origin + real(0, field);
    d.box_px = {x, y, x + w, y + h};
    if (whole) {
      d.box_px = {std::floor(x), std::floor(y), std::ceil(x + w), std::ceil(y + h)};
    }
    d.confidence = few_scores ? 0.1f * below(10) : real(0, 1);
    d.class_id = below(classes);
    if (odd_ones && below(20) == 0) {
      constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
      constexpr float kInf = std::numeric_limits<float>::infinity();
      switch (below(12)) {
        case 0:
          d.box_px.x1 = kNan;
          break;
        case 1:
          d.box_px.y2 = kNan;
          break;
        case 2:
          d.confidence = kNan;
          break;
        case 3:
          d.box_px.x2 = kInf;
          break;
        case 4:
          d.box_px.x2 = d.box_px.x1;
          break;
        case 5:
          std::swap(d.box_px.y1, d.box_px.y2);
          break;
        case 6:
          d.box_px = {-1e30f, -1e30f, 1e30f, 1e30f};
          break;
        case 7:
          d.box_px = {-3e38f, 0, 3e38f, 1};
          break;
        case 8:
          d.box_px = {x, y, std::nextafter(x, kInf), std::nextafter(y, kInf)};
          break;
        case 9:
          d.box_px = {0, 0, 1e-30f, 1e-30f};
          break;
        case 10:
          d.confidence = -d.confidence;
          break;
        case 11:
          d.box_px = {0, 0, 1e-3f, 1e8f};
          break;
      }
    }
    boxes.push_back(d);
  }
  return boxes;
}

TEST(Nms, EqualsTheDefinitionOnRandomSets) {
  std::mt19937 rng(20240611);
  NonMaxSuppressor nms;  // one for all, so that nothing may be left over from set to set
  for (int round = 0; round < 4000; ++round) {
    const std::vector<Detection> boxes = RandomBoxes(rng);
    NmsSettings settings;
    settings.iou_threshold =
        std::array{0.0f, 0.0005f, 0.01f, 0.2f, 0.45f, 0.5f, 0.7f, 0.95f, 1.0f}[rng() % 9];
    settings.class_aware = rng() % 2 == 0;
    settings.max_detections = rng() % 4 == 0 ? 20 : 100'000;
    std::vector<Detection> ours = boxes;
    nms.Run(settings, 0, &ours);
    ASSERT_TRUE(Same(ours, Naive(settings, boxes)))
        << "round " << round << ", " << boxes.size() << " boxes, IoU " << settings.iou_threshold;
  }
}

TEST(Nms, IouEqualToTheThresholdDoesNotSuppress) {
  NmsSettings settings;
  settings.iou_threshold = 0.5f;
  NonMaxSuppressor nms;
  // 2 of 4 pixels shared: IoU is exactly a half.
  std::vector<Detection> boxes = {{{0, 0, 3, 1}, 0.9f, 0}, {{1, 0, 4, 1}, 0.8f, 0}};
  nms.Run(settings, 0, &boxes);
  EXPECT_EQ(boxes.size(), 2u);
  settings.iou_threshold = 0.499f;
  nms.Run(settings, 0, &boxes);
  EXPECT_EQ(boxes.size(), 1u);
}

TEST(Nms, EqualConfidencesKeepTheirOrder) {
  NonMaxSuppressor nms;
  for (const int count : {3, 1000}) {
    std::vector<Detection> boxes;
    for (int i = 0; i < count; ++i) {
      const float at = 10.0f * i;
      boxes.push_back({{at, 0, at + 5, 5}, 0.5f, i});
    }
    NmsSettings settings;
    settings.max_detections = count;
    nms.Run(settings, 0, &boxes);
    ASSERT_EQ(boxes.size(), static_cast<size_t>(count));
    for (int i = 0; i < count; ++i) EXPECT_EQ(boxes[i].class_id, i);
  }
}

TEST(Nms, KeepsAtMostTheAskedNumberOfTheBest) {
  NonMaxSuppressor nms;
  std::vector<Detection> boxes;
  for (int i = 0; i < 50; ++i) boxes.push_back({{10.0f * i, 0, 10.0f * i + 5, 5}, 0.01f * i, 0});
  NmsSettings settings;
  settings.max_detections = 3;
  nms.Run(settings, 0, &boxes);
  ASSERT_EQ(boxes.size(), 3u);
  EXPECT_FLOAT_EQ(boxes[0].confidence, 0.49f);
  settings.max_detections = 0;
  nms.Run(settings, 0, &boxes);
  EXPECT_TRUE(boxes.empty());
}

// The pseudo-code of the Soft-NMS paper, in double.
std::vector<Detection> NaiveSoft(const NmsSettings& settings, float min_confidence,
                                 const std::vector<Detection>& in) {
  std::vector<double> scores;
  for (const Detection& d : in) scores.push_back(d.confidence);
  std::vector<bool> taken(in.size(), false);
  std::vector<Detection> kept;
  for (size_t round = 0; round < in.size(); ++round) {
    size_t best = in.size();
    for (size_t i = 0; i < in.size(); ++i) {
      if (!taken[i] && (best == in.size() || scores[i] > scores[best])) best = i;
    }
    if (scores[best] < min_confidence) break;
    taken[best] = true;
    kept.push_back({in[best].box_px, static_cast<float>(scores[best]), in[best].class_id});
    for (size_t i = 0; i < in.size(); ++i) {
      if (taken[i] || (settings.class_aware && in[i].class_id != in[best].class_id)) continue;
      const double iou = IntersectionOverUnion(in[i].box_px, in[best].box_px);
      if (settings.kind == NmsSettings::Kind::kSoftGaussian) {
        scores[i] *= std::exp(-iou * iou / settings.sigma);
      } else if (iou > settings.iou_threshold) {
        scores[i] *= 1 - iou;
      }
    }
  }
  return kept;
}

TEST(SoftNms, EqualsThePaper) {
  std::mt19937 rng(7);
  NonMaxSuppressor nms;
  for (int round = 0; round < 200; ++round) {
    std::vector<Detection> boxes;
    std::uniform_real_distribution<float> at(0, 200), side(10, 60), score(0.05f, 1);
    for (int i = 0; i < 80; ++i) {
      const float x = at(rng), y = at(rng);
      boxes.push_back(
          {{x, y, x + side(rng), y + side(rng)}, score(rng), static_cast<int>(rng() % 2)});
    }
    NmsSettings settings;
    settings.kind = round % 2 ? NmsSettings::Kind::kSoftGaussian : NmsSettings::Kind::kSoftLinear;
    settings.class_aware = round % 3 == 0;
    const auto expected = NaiveSoft(settings, 0.2f, boxes);
    nms.Run(settings, 0.2f, &boxes);
    ASSERT_EQ(boxes.size(), expected.size()) << round;
    for (size_t i = 0; i < boxes.size(); ++i) {
      EXPECT_EQ(boxes[i].box_px, expected[i].box_px);
      EXPECT_NEAR(boxes[i].confidence, expected[i].confidence, 1e-5);
    }
  }
}

TEST(SoftNms, GarbageIsForgotten) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  NmsSettings settings;
  settings.kind = NmsSettings::Kind::kSoftGaussian;
  std::vector<Detection> boxes = {
      {{0, 0, 1, 1}, kNan, 0}, {{kNan, 0, 1, 1}, 0.9f, 0}, {{0, 0, 1, 1}, 0.5f, 0}};
  NonMaxSuppressor().Run(settings, 0.1f, &boxes);
  ASSERT_EQ(boxes.size(), 1u);
  EXPECT_EQ(boxes[0].confidence, 0.5f);
}

// tests/golden/nms: results of supervision (hard, plain IoU) and of OpenCV (soft).
class NmsGolden : public testing::Test {
 protected:
  void SetUp() override {
    std::ifstream file(SIGHTLINE_SOURCE_DIR "/tests/golden/nms/nms.json");
    ASSERT_TRUE(file) << "tests/golden/nms/nms.json is missing";
    file >> golden_;
  }
  static std::vector<Detection> Boxes(const nlohmann::json& rows) {
    std::vector<Detection> boxes;
    for (const auto& r : rows) boxes.push_back({{r[0], r[1], r[2], r[3]}, r[4], 0});
    return boxes;
  }
  nlohmann::json golden_;
};

TEST_F(NmsGolden, Hard) {
  std::vector<Detection> all = Boxes(golden_["hard_boxes"]);
  for (size_t i = 0; i < all.size(); ++i) all[i].class_id = golden_["hard_class_ids"][i];
  int cases = 0;
  for (const auto& c : golden_["hard"]) {
    if (c["rule"] != "plain") continue;
    ++cases;
    NmsSettings settings;
    settings.class_aware = c["classes"];
    settings.iou_threshold = c["iou_threshold"];
    std::vector<Detection> boxes = all, expected;
    for (const size_t kept : c["kept"]) expected.push_back(all[kept]);
    ASSERT_GE(expected.size(), 5u);
    NonMaxSuppressor().Run(settings, 0, &boxes);
    EXPECT_TRUE(Same(boxes, expected)) << c["iou_threshold"] << " " << c["classes"];
  }
  EXPECT_GE(cases, 6);
}

TEST_F(NmsGolden, Soft) {
  const std::vector<Detection> all = Boxes(golden_["soft_boxes"]);
  int cases = 0;
  for (const auto& c : golden_["soft"]) {
    ++cases;
    NmsSettings settings;
    const bool linear = c["method"] == "linear";
    settings.kind = linear ? NmsSettings::Kind::kSoftLinear : NmsSettings::Kind::kSoftGaussian;
    if (linear) settings.iou_threshold = c["iou_threshold"];
    if (!linear) settings.sigma = c["sigma"];
    std::vector<Detection> boxes = all;
    NonMaxSuppressor().Run(settings, c["score_threshold"], &boxes);
    ASSERT_EQ(boxes.size(), c["kept"].size());
    ASSERT_GE(boxes.size(), 5u);
    for (size_t i = 0; i < boxes.size(); ++i) {
      EXPECT_EQ(boxes[i].box_px, all[c["kept"][i].get<size_t>()].box_px);
      EXPECT_NEAR(boxes[i].confidence, c["scores"][i].get<float>(), 1e-4);
    }
  }
  EXPECT_GE(cases, 4);
}

}  // namespace
}  // namespace sightline
