#include "evaluate/detection_confusion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sightline::evaluate {
namespace {

using ::testing::Pair;
using ::testing::UnorderedElementsAre;

TEST(DetectionConfusion, PairsByOverlapWhateverTheClass) {
  DetectionConfusion confusion;
  const TrueBox truth[] = {{.box_px = {0, 0, 10, 10}, .class_id = 1},
                           {.box_px = {50, 0, 10, 10}, .class_id = 2},
                           {.box_px = {100, 0, 10, 10}, .class_id = 2, .ignored = true},
                           {.box_px = {200, 0, 10, 10}, .class_id = 1}};
  const FoundBox found[] = {{.box_px = {1, 0, 10, 10}, .class_id = 1, .confidence = 0.9},
                            {.box_px = {0, 0, 10, 10}, .class_id = 2, .confidence = 0.3},
                            {.box_px = {50, 0, 10, 10}, .class_id = 2, .confidence = 0.2},
                            {.box_px = {100, 0, 10, 10}, .class_id = 1, .confidence = 0.9},
                            {.box_px = {300, 0, 10, 10}, .class_id = 2, .confidence = 0.9}};
  confusion.AddPicture(truth, found);
  constexpr int32_t kNothing = DetectionConfusion::kNothing;
  EXPECT_THAT(confusion.counts(),
              UnorderedElementsAre(Pair(Pair(1, 2), 1), Pair(Pair(2, kNothing), 1),
                                   Pair(Pair(1, kNothing), 1), Pair(Pair(kNothing, 1), 1),
                                   Pair(Pair(kNothing, 2), 1)));
}

}  // namespace
}  // namespace sightline::evaluate
