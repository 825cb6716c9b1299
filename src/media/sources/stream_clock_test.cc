#include "media/sources/stream_clock.h"

#include <gtest/gtest.h>

#include <limits>

namespace sightline {
namespace {

StreamClock::Options Ms(double fps = 25) {
  return {.time_base_num = 1, .time_base_den = 1000, .wrap_bits = 64, .fps = fps};
}

TEST(StreamClock, StartsAtZeroAndFollowsTheStamps) {
  StreamClock clock(Ms());
  EXPECT_EQ(clock.Next(5000).pts_us, 0);
  EXPECT_EQ(clock.Next(5040).pts_us, 40'000);
  const FrameTime gap = clock.Next(14'000);  // variable rate: not yet ten seconds ahead
  EXPECT_EQ(gap.pts_us, 9'000'000);
  EXPECT_EQ(gap.epoch, 0u);
}

TEST(StreamClock, CaptureTimeIsStartPlusStreamTime) {
  StreamClock::Options options = Ms();
  options.start_utc_us = 1'700'000'000'000'000;
  options.clock = ClockSource::kConfigured;
  StreamClock clock(options);
  clock.Next(100);
  const FrameTime time = clock.Next(140);
  EXPECT_EQ(time.capture_utc_us, 1'700'000'000'040'000);
  EXPECT_EQ(time.clock, ClockSource::kConfigured);
}

TEST(StreamClock, AJumpBackOrFarAheadStartsAnEpochAndCaptureTimeGoesOn) {
  StreamClock clock(Ms());
  clock.Next(20'000);
  clock.Next(20'040);
  const FrameTime back = clock.Next(0);
  EXPECT_EQ(back.epoch, 1u);
  EXPECT_EQ(back.pts_us, 0);
  EXPECT_EQ(back.capture_utc_us, 80'000);
  EXPECT_EQ(clock.Next(40).capture_utc_us, 120'000);
  const FrameTime ahead = clock.Next(11'000'000);
  EXPECT_EQ(ahead.epoch, 2u);
  EXPECT_EQ(ahead.pts_us, 0);
  EXPECT_EQ(ahead.capture_utc_us, 160'000);
}

TEST(StreamClock, DoubleAndMixedUpStampsStillRise) {
  StreamClock clock(Ms());
  clock.Next(0);
  clock.Next(40);
  const FrameTime twice = clock.Next(40);
  EXPECT_EQ(twice.pts_us, 40'001);
  EXPECT_EQ(clock.Next(20).pts_us, 40'002);
  const FrameTime next = clock.Next(80);
  EXPECT_EQ(next.pts_us, 80'000);
  EXPECT_EQ(next.epoch, 0u);
}

TEST(StreamClock, MissingStampsComeFromTheRateWithoutDrift) {
  StreamClock clock(Ms(30));
  for (int i = 0; i < 30'000; ++i) {
    ASSERT_EQ(clock.Next(std::nullopt).pts_us, (i * 2'000'000LL + 30) / 60) << i;
  }
}

TEST(StreamClock, AMissingStampIsOneFrameAfterTheLast) {
  StreamClock clock(Ms());
  clock.Next(1000);
  EXPECT_EQ(clock.Next(std::nullopt).pts_us, 40'000);
  EXPECT_EQ(clock.Next(1080).pts_us, 80'000);
}

TEST(StreamClock, StampsMayBeginLate) {
  StreamClock clock(Ms());
  clock.Next(std::nullopt);
  EXPECT_EQ(clock.Next(777).pts_us, 40'000);
  EXPECT_EQ(clock.Next(817).pts_us, 80'000);
}

TEST(StreamClock, AWrapIsNoEpoch) {
  StreamClock clock({.time_base_num = 1, .time_base_den = 90'000, .wrap_bits = 33, .fps = 25});
  const int64_t turn = int64_t{1} << 33;
  int64_t stamp = turn - 10 * 3600;
  for (int i = 0; i < 20; ++i, stamp += 3600) {
    const FrameTime time = clock.Next(stamp % turn);
    ASSERT_EQ(time.pts_us, i * 40'000);
    ASSERT_EQ(time.epoch, 0u);
  }
}

TEST(StreamClock, WrapsTwice) {
  StreamClock clock({.time_base_num = 1, .time_base_den = 1000, .wrap_bits = 12, .fps = 1});
  for (int64_t i = 0; i < 20; ++i) {
    const FrameTime time = clock.Next(i * 1000 % 4096);
    ASSERT_EQ(time.pts_us, i * 1'000'000) << i;
    ASSERT_EQ(time.epoch, 0u);
  }
}

TEST(StreamClock, ASlowRecordingIsNotAllEpochs) {
  StreamClock clock(Ms(1.0 / 60));  // a picture a minute
  clock.Next(0);
  EXPECT_EQ(clock.Next(60'000).epoch, 0u);
}

TEST(StreamClock, HostileStampsKeepTheGuarantees) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  constexpr int64_t kMin = std::numeric_limits<int64_t>::min() + 1;
  for (const int bits : {1, 33, 62, 63, 64}) {
    StreamClock clock(
        {.time_base_num = 2'147'483'647, .time_base_den = 1, .wrap_bits = bits, .fps = 1e-9});
    FrameTime last = clock.Next(kMax);
    for (const int64_t stamp : {kMin, kMax, int64_t{0}, kMin, kMax - 1, int64_t{1}, kMax}) {
      const FrameTime time = clock.Next(stamp);
      EXPECT_GT(time.capture_utc_us, last.capture_utc_us);
      if (time.epoch == last.epoch) {
        EXPECT_GT(time.pts_us, last.pts_us);
      } else {
        EXPECT_EQ(time.pts_us, 0);
      }
      last = time;
    }
  }
}

}  // namespace
}  // namespace sightline
