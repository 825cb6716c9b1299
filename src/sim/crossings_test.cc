#include "sim/crossings.h"

#include <gtest/gtest.h>

namespace sightline::sim {
namespace {

// An object of 20 x 40 px whose feet stand at (x, y).
Truth At(uint64_t id, float x, float y) {
  Truth truth;
  truth.objects.push_back({.id = id, .box_px = {x - 10, y - 40, x + 10, y}});
  return truth;
}

std::vector<Crossing> Walk(CrossingFinder finder, std::initializer_list<PointF> way) {
  std::vector<Crossing> found;
  int64_t frame = 0;
  for (const PointF& p : way) finder.Watch(++frame, At(7, p.x, p.y), &found);
  return found;
}

TEST(Crossings, FromLeftToRightOfTheLineIsForward) {
  // Looking down the picture, the right hand points to smaller x.
  const CrossingFinder down({100, 0}, {100, 200});
  const auto there = Walk(down, {{120, 100}, {104, 100}, {96, 100}, {80, 100}});
  ASSERT_EQ(there.size(), 1u);
  EXPECT_TRUE(there[0].forward);
  EXPECT_EQ(there[0].id, 7u);
  EXPECT_EQ(there[0].frame, 3) << "2 px is the margin of a box of 40";
  const auto back = Walk(down, {{80, 100}, {120, 100}});
  ASSERT_EQ(back.size(), 1u);
  EXPECT_FALSE(back[0].forward);
}

TEST(Crossings, TremblingOnTheLineAndGoingRoundItAreNone) {
  const CrossingFinder line({100, 0}, {100, 200});
  EXPECT_TRUE(Walk(line, {{120, 100}, {99, 100}, {101, 100}, {99, 100}, {120, 100}}).empty());
  EXPECT_TRUE(Walk(line, {{120, 220}, {80, 220}}).empty()) << "beyond its end";
  EXPECT_TRUE(Walk(line, {{101, 100}, {80, 100}}).empty()) << "where it came from is not known";
}

TEST(Crossings, EveryObjectCountsForItself) {
  CrossingFinder finder({100, 0}, {100, 200});
  std::vector<Crossing> found;
  for (int frame = 0; frame <= 40; ++frame) {
    Truth both = At(1, 60 + 2.0F * static_cast<float>(frame), 50);
    both.objects.push_back(At(2, 140 - 2.0F * static_cast<float>(frame), 150).objects[0]);
    finder.Watch(frame, both, &found);
  }
  ASSERT_EQ(found.size(), 2u);
  EXPECT_NE(found[0].id, found[1].id);
  EXPECT_NE(found[0].forward, found[1].forward);
}

}  // namespace
}  // namespace sightline::sim
