#include "types/trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sightline {
namespace {

std::string Shown(const FrameTrace& trace) {
  std::string text;
  AppendTraceparent(trace, text);
  return text;
}

TEST(TraceTest, LooksAsTheStandardSays) {
  // The example of W3C Trace Context, section 3.2.
  EXPECT_EQ(Shown({.trace_id = {.low = 0x8448eb211c80319c, .high = 0x0af7651916cd43dd},
                   .span_id = 0xb7ad6b7169203331}),
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
  EXPECT_EQ(Shown({.trace_id = {.low = 1, .high = 0}, .span_id = 2}),
            "00-00000000000000000000000000000001-0000000000000002-01");
}

TEST(TraceTest, IsTheSameForTheSameFrameOnly) {
  FrameMeta frame;
  frame.ordinal = 7;
  frame.time = {.pts_us = 40'000, .epoch = 1, .capture_utc_us = 123'456};
  const Hash128 camera = HashString("door");
  const std::string first = Shown(TraceOf(camera, frame));
  EXPECT_EQ(first, Shown(TraceOf(camera, frame)));
  EXPECT_NE(first, Shown(TraceOf(HashString("yard"), frame)));
  FrameMeta other = frame;
  other.ordinal = 8;
  EXPECT_NE(first, Shown(TraceOf(camera, other)));
  other = frame;
  other.time.epoch = 2;
  EXPECT_NE(first, Shown(TraceOf(camera, other)));
}

}  // namespace
}  // namespace sightline
