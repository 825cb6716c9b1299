#include "cli/calibrate/int8_verdict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace sightline::cli {
namespace {

using ::testing::HasSubstr;

// Pictures with ten boxes each, of which INT8 loses `lost` in every `every`-th picture; 0: none.
BothResults Results(int pictures, int every, int lost = 1) {
  BothResults both;
  for (int i = 0; i < pictures; ++i) {
    evaluate::PictureResults results;
    for (int box = 0; box < 10; ++box) {
      const auto x = static_cast<float>(200 * box);
      results.boxes.push_back(
          {.box_px = {x, 0, x + 100, 100}, .confidence = 0.9f - 0.01f * static_cast<float>(box)});
    }
    both.fp32.push_back(results);
    if (every > 0 && i % every == 0) results.boxes.resize(10 - static_cast<size_t>(lost));
    both.int8.push_back(results);
  }
  return both;
}

struct Labelled {
  evaluate::LabelledPictures truth{.format = "YOLO", .class_names = {{0, "thing"}}};
  evaluate::FoundInPictures fp32;
  evaluate::FoundInPictures int8;
};

// The same as truth, of which fp32 finds all.
Labelled WithTruth(int pictures, int every, int lost = 1) {
  Labelled labelled;
  const BothResults both = Results(pictures, every, lost);
  const auto found_of = [](const evaluate::PictureResults& results) {
    std::vector<evaluate::FoundBox> found;
    for (const Detection& box : results.boxes) {
      found.push_back({.box_px = evaluate::PlacedBoxOf(box.box_px), .confidence = box.confidence});
    }
    return found;
  };
  for (size_t i = 0; i < both.fp32.size(); ++i) {
    labelled.fp32.push_back(found_of(both.fp32[i]));
    labelled.int8.push_back(found_of(both.int8[i]));
    evaluate::LabelledPicture picture{.name = "p"};
    for (const evaluate::FoundBox& box : labelled.fp32.back()) {
      picture.truth.push_back({.box_px = box.box_px});
    }
    labelled.truth.pictures.push_back(picture);
  }
  return labelled;
}

Int8Verdict ByMap(const Labelled& labelled, const Int8Limits& limits = {}) {
  const auto verdict =
      JudgeByMap(labelled.truth, labelled.fp32, labelled.int8, evaluate::Agreement(), limits);
  EXPECT_TRUE(verdict.ok()) << verdict.status();
  return verdict.ok() ? *verdict : Int8Verdict();
}

TEST(Int8Verdict, EqualResultsArePromoted) {
  const Int8Verdict verdict = JudgeByAgreement(Results(50, 0), 0.5f, {});
  EXPECT_TRUE(verdict.promoted) << verdict.reason;
  EXPECT_EQ(verdict.loss, 0);
  EXPECT_TRUE(ByMap(WithTruth(50, 0)).promoted);
}

TEST(Int8Verdict, LargeLossIsRefusedWithItsFigures) {
  const Int8Verdict verdict = JudgeByAgreement(Results(50, 1), 0.5f, {.agreement_loss = 0.05});
  EXPECT_FALSE(verdict.promoted);
  EXPECT_NEAR(verdict.loss, 1 - 2.0 * 9 / 19, 1e-9);
  EXPECT_THAT(verdict.reason, HasSubstr("5.26 % of the results differ"));
  EXPECT_THAT(verdict.reason, HasSubstr("more than the limit of 5.00 %"));
  const Int8Verdict by_map = ByMap(WithTruth(50, 1));
  EXPECT_FALSE(by_map.promoted);
  // Nine of ten found at full precision: of the 101 recalls those to 0.9 are read.
  EXPECT_NEAR(by_map.loss, 1 - 91.0 / 101, 1e-9);
  EXPECT_THAT(by_map.reason, HasSubstr("points of mAP50-95 (100.00 in fp32, 90.10 in INT8)"));
}

TEST(Int8Verdict, UncertainLossIsRefusedWhereTheUpperEndDecides) {
  // All boxes of one picture in 32 are lost: of others it may as well be three.
  const Labelled few = WithTruth(32, 32, 10);
  Int8Limits limits{.map_loss = 0.06, .by = JudgeBy::kUpperEnd};
  const Int8Verdict upper = ByMap(few, limits);
  EXPECT_GT(upper.loss, 0);
  EXPECT_LT(upper.loss, limits.map_loss);
  EXPECT_GT(upper.interval.value().high, limits.map_loss);
  EXPECT_FALSE(upper.promoted);
  EXPECT_THAT(upper.reason, HasSubstr("it may be more than the limit"));
  EXPECT_THAT(upper.reason, HasSubstr("pictures to judge by would tell"));
  limits.by = JudgeBy::kEstimate;
  EXPECT_TRUE(ByMap(few, limits).promoted);
}

TEST(Int8Verdict, MorePicturesMakeItCertain) {
  const Int8Verdict verdict =
      ByMap(WithTruth(960, 32, 10), {.map_loss = 0.06, .by = JudgeBy::kUpperEnd});
  EXPECT_TRUE(verdict.promoted) << verdict.reason;
}

TEST(Int8Verdict, ResultsMustAgreeEvenWhereMapShowsNoLoss) {
  const Labelled labelled = WithTruth(50, 0);
  const evaluate::Agreement agreement{.pictures = 50,
                                      .reference = 500,
                                      .other = 500,
                                      .shared = 400,
                                      .share = 0.8,
                                      .interval = evaluate::Interval{0.77, 0.83}};
  const auto verdict = JudgeByMap(labelled.truth, labelled.fp32, labelled.int8, agreement, {});
  ASSERT_TRUE(verdict.ok()) << verdict.status();
  EXPECT_EQ(verdict->loss, 0);
  EXPECT_FALSE(verdict->promoted);
  EXPECT_THAT(verdict->reason, HasSubstr("20.00 % of the results differ"));
}

TEST(Int8Verdict, AGainIsCalledSo) {
  Labelled labelled = WithTruth(960, 32, 10);
  std::swap(labelled.fp32, labelled.int8);
  const Int8Verdict verdict = ByMap(labelled);
  EXPECT_TRUE(verdict.promoted);
  EXPECT_LT(verdict.loss, 0);
  EXPECT_THAT(verdict.reason, HasSubstr("it gains"));
}

TEST(Int8Verdict, TooFewResultsSayNothing) {
  const Int8Verdict verdict = JudgeByAgreement(Results(2, 0), 0.5f, {});
  EXPECT_FALSE(verdict.promoted);
  EXPECT_THAT(verdict.reason, HasSubstr("20 results of the fp32 model are too few"));
  EXPECT_FALSE(JudgeByAgreement({}, 0.5f, {}).promoted) << "nor do no pictures";
  EXPECT_FALSE(ByMap(WithTruth(2, 0)).promoted);
}

TEST(Int8Verdict, OnlyConfidentResultsCountForAgreement) {
  BothResults both = Results(50, 0);
  for (auto& picture : both.int8) {
    picture.boxes.push_back({.box_px = {5000, 0, 5100, 100}, .confidence = 0.1f});
  }
  EXPECT_TRUE(JudgeByAgreement(both, 0.5f, {}).promoted);
  EXPECT_FALSE(JudgeByAgreement(both, 0.05f, {.agreement_loss = 0.01}).promoted);
}

TEST(Int8Verdict, AModelThatFindsNothingCannotBeJudged) {
  Labelled labelled = WithTruth(50, 0);
  for (auto& found : labelled.fp32) found.clear();
  for (auto& found : labelled.int8) found.clear();
  const Int8Verdict verdict = ByMap(labelled);
  EXPECT_FALSE(verdict.promoted);
  EXPECT_THAT(verdict.reason, HasSubstr("finds nothing of what is labelled"));
}

}  // namespace
}  // namespace sightline::cli
