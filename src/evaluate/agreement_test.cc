#include "evaluate/agreement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sightline::evaluate {
namespace {

Detection Found(float x, float confidence = 0.9f, int32_t class_id = 0) {
  return {.box_px = {x, 0, x + 100, 100}, .confidence = confidence, .class_id = class_id};
}

PictureResults Boxes(std::vector<Detection> boxes) {
  PictureResults results;
  results.boxes = std::move(boxes);
  return results;
}

TEST(Agreement, TheSameBoxesAgree) {
  const PictureResults both = Boxes({Found(0), Found(300, 0.5f, 2)});
  const PictureAgreement agreement = Compare(both, both);
  EXPECT_EQ(agreement.reference, 2);
  EXPECT_EQ(agreement.other, 2);
  EXPECT_EQ(agreement.shared, 2);
  EXPECT_NEAR(Difference(both, both), 0, 1e-12);
}

TEST(Agreement, NothingFoundByBothIsAgreement) {
  const PictureAgreement nothing = Compare({}, {});
  EXPECT_EQ(nothing.reference, 0);
  EXPECT_EQ(Difference({}, {}), 0);
  const Agreement sum = Summarise(std::vector{nothing});
  EXPECT_EQ(sum.share, 1);
  EXPECT_FALSE(sum.found) << "of nothing, no part is found";
}

TEST(Agreement, ClassOverlapAndNumberDecide) {
  EXPECT_EQ(Compare(Boxes({Found(0)}), Boxes({Found(0, 0.9f, 1)})).shared, 0) << "other class";
  // 100 px wide, moved by 5: 95 / 105 = 0.905; by 6: 94 / 106 = 0.887.
  EXPECT_EQ(Compare(Boxes({Found(0)}), Boxes({Found(5)})).shared, 1);
  EXPECT_EQ(Compare(Boxes({Found(0)}), Boxes({Found(6)})).shared, 0);
  // Two boxes on one object: only one of them is the reference's.
  const PictureAgreement twice = Compare(Boxes({Found(0)}), Boxes({Found(1), Found(0)}));
  EXPECT_EQ(twice.shared, 1);
  EXPECT_EQ(twice.other, 2);
}

TEST(Agreement, InventedResultsCountAsMuchAsMissedOnes) {
  const Agreement missed =
      Summarise(std::vector{Compare(Boxes({Found(0), Found(300)}), Boxes({Found(0)}))});
  const Agreement invented =
      Summarise(std::vector{Compare(Boxes({Found(0)}), Boxes({Found(0), Found(300)}))});
  EXPECT_NEAR(missed.share, 2.0 / 3, 1e-12);
  EXPECT_NEAR(invented.share, 2.0 / 3, 1e-12);
  EXPECT_NEAR(missed.found.value(), 0.5, 1e-12);
  EXPECT_NEAR(invented.found.value(), 1, 1e-12);
}

TEST(Agreement, ClassesAndEmbeddingsAreResults) {
  PictureResults cat;
  cat.surest_class = ClassScore{3, 0.8f};
  PictureResults dog = cat;
  dog.surest_class->class_id = 4;
  EXPECT_EQ(Compare(cat, cat).shared, 1);
  EXPECT_EQ(Compare(cat, dog).shared, 0);
  EXPECT_NEAR(Difference(cat, dog), 1, 1e-9);
  PictureResults east;
  east.embedding = {1, 0};
  PictureResults north;
  north.embedding = {0, 1};
  EXPECT_EQ(Compare(east, east).shared, 1);
  EXPECT_EQ(Compare(east, north).shared, 0);
  EXPECT_EQ(Compare(east, {}).shared, 0);
  EXPECT_NEAR(Difference(east, north), 1, 1e-9);
}

TEST(Agreement, DifferenceGrowsWithEveryPixelAndDoubt) {
  const PictureResults reference = Boxes({Found(0)});
  const double moved = Difference(reference, Boxes({Found(2)}));
  EXPECT_GT(moved, 0);
  EXPECT_GT(Difference(reference, Boxes({Found(4)})), moved);
  EXPECT_NEAR(Difference(reference, Boxes({Found(0, 0.7f)})), 0.2, 1e-6);
  EXPECT_NEAR(Difference(reference, {}), 1, 1e-12);
  EXPECT_NEAR(Difference(reference, Boxes({Found(0), Found(300, 0.4f)})), 0.4, 1e-6);
}

TEST(Agreement, IntervalHoldsTheFigureAndNarrowsWithPictures) {
  std::vector<PictureAgreement> pictures;
  const auto width_of = [&](int count) {
    pictures.clear();
    for (int i = 0; i < count; ++i) pictures.push_back({10, 10, i % 4 == 0 ? 6 : 10});
    const Agreement sum = Summarise(pictures);
    EXPECT_NEAR(sum.share, 0.9, 1e-12);
    EXPECT_LT(sum.interval.value().low, 0.9);
    EXPECT_GT(sum.interval.value().high, 0.9);
    return sum.interval->high - sum.interval->low;
  };
  const double few = width_of(16);
  EXPECT_NEAR(width_of(1600), few / 10, few / 30);  // by the root of the number of pictures
}

}  // namespace
}  // namespace sightline::evaluate
