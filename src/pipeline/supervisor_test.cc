#include "pipeline/supervisor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace sightline {
namespace {

using Action = Supervisor::Action;
using testing::HasSubstr;

constexpr int64_t kSecond = 1'000'000;

SupervisorOptions Plain() {
  SupervisorOptions options;
  options.jitter = 0;
  return options;
}

// A supervisor that connected at 0 and got its first frame at `at_us`.
Supervisor Live(const SupervisorOptions& options, int64_t at_us) {
  Supervisor s(options, 0);
  EXPECT_EQ(s.Next(0), Action::kConnect);
  s.FrameArrived(at_us, 1);
  return s;
}

// How long it waits after each of six attempts that fail at once; `now` is then when the last is over.
std::vector<int64_t> WaitsOf(Supervisor& s, const absl::Status& failure, int64_t& now) {
  std::vector<int64_t> waits;
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(s.Next(now), Action::kConnect);
    s.Failed(now, failure);
    EXPECT_EQ(s.Next(now), Action::kNone) << "a connection that failed needs no closing";
    waits.push_back(s.NextDeadlineUs() - now);
    now = s.NextDeadlineUs();
  }
  return waits;
}

TEST(Supervisor, ConnectsOnceAndIsLiveWithTheFirstFrame) {
  Supervisor s(Plain(), 0);
  EXPECT_EQ(s.state(), CameraState::kConnecting);
  EXPECT_EQ(s.Next(0), Action::kConnect);
  EXPECT_EQ(s.Next(kSecond), Action::kNone);
  s.FrameArrived(2 * kSecond, 7);
  EXPECT_EQ(s.state(), CameraState::kLive);
  EXPECT_EQ(s.connections(), 1u);
  EXPECT_EQ(s.last_gap_us(), 0);
  EXPECT_EQ(s.NextDeadlineUs(), 4 * kSecond);
}

TEST(Supervisor, GivesUpAConnectionThatBringsNoFrame) {
  Supervisor s(Plain(), 0);
  EXPECT_EQ(s.Next(0), Action::kConnect);
  EXPECT_EQ(s.NextDeadlineUs(), 10 * kSecond);
  EXPECT_EQ(s.Next(10 * kSecond), Action::kClose);
  EXPECT_EQ(s.state(), CameraState::kBackingOff);
  EXPECT_THAT(s.reason(), HasSubstr("nothing came for 10 s"));
  EXPECT_EQ(s.Next(10 * kSecond + 249'999), Action::kNone);
  EXPECT_EQ(s.Next(10 * kSecond + 250'000), Action::kConnect);
}

TEST(Supervisor, AStallIsSeenThenClosedThenTriedAgain) {
  Supervisor s = Live(Plain(), 0);
  EXPECT_EQ(s.Next(2 * kSecond - 1), Action::kNone);
  EXPECT_EQ(s.state(), CameraState::kLive);
  EXPECT_EQ(s.Next(2 * kSecond), Action::kNone);
  EXPECT_EQ(s.state(), CameraState::kStalled);
  EXPECT_LE(s.NextDeadlineUs(), 2 * kSecond);
  EXPECT_EQ(s.Next(2 * kSecond), Action::kClose);
  EXPECT_EQ(s.state(), CameraState::kBackingOff);
  // What the closed connection still says changes nothing.
  s.Failed(2 * kSecond + 1, Cancelled("closed"));
  s.FrameArrived(2 * kSecond + 2, 9);
  EXPECT_EQ(s.state(), CameraState::kBackingOff);
  EXPECT_THAT(s.reason(), HasSubstr("nothing came for 2 s"));
  EXPECT_EQ(s.Next(s.NextDeadlineUs()), Action::kConnect);
  s.FrameArrived(3 * kSecond, 9);
  EXPECT_EQ(s.last_gap_us(), 3 * kSecond);
}

TEST(Supervisor, WaitsDoubleUpToTheCapAndBeginAnewOnceSettled) {
  Supervisor s(Plain(), 0);
  int64_t now = 0;
  EXPECT_THAT(WaitsOf(s, Unavailable("connection refused"), now),
              testing::ElementsAre(250'000, 500'000, 1'000'000, 2'000'000, 2'000'000, 2'000'000));
  // A short life does not count as settled.
  ASSERT_EQ(s.Next(now), Action::kConnect);
  s.FrameArrived(now, 1);
  s.Failed(now + kSecond, Unavailable("reset"));
  EXPECT_EQ(s.NextDeadlineUs(), now + kSecond + 2'000'000);
  now = s.NextDeadlineUs();
  ASSERT_EQ(s.Next(now), Action::kConnect);
  for (int i = 0; i <= 10; ++i) s.FrameArrived(now + i * kSecond, i);
  s.Failed(now + 10 * kSecond, Unavailable("reset"));
  EXPECT_EQ(s.NextDeadlineUs(), now + 10 * kSecond + 250'000);
}

TEST(Supervisor, ARefusedPasswordIsNotHammered) {
  Supervisor s(Plain(), 0);
  int64_t now = 0;
  EXPECT_THAT(WaitsOf(s, absl::UnauthenticatedError("401"), now),
              testing::ElementsAre(30 * kSecond, 60 * kSecond, 120 * kSecond, 240 * kSecond,
                                   300 * kSecond, 300 * kSecond));
}

TEST(Supervisor, AHopelessCameraWaitsForSomeone) {
  Supervisor s(Plain(), 0);
  ASSERT_EQ(s.Next(0), Action::kConnect);
  s.Failed(0, Unimplemented("no decoder"));
  EXPECT_EQ(s.state(), CameraState::kFailed);
  EXPECT_EQ(s.NextDeadlineUs(), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(s.Next(1000 * kSecond), Action::kNone);
  s.RetryNow(1000 * kSecond);
  EXPECT_EQ(s.Next(1000 * kSecond), Action::kConnect);
}

TEST(Supervisor, RetryNowEndsAWaitAndDisturbsNothingElse) {
  Supervisor s = Live(Plain(), 0);
  s.RetryNow(1);
  EXPECT_EQ(s.state(), CameraState::kLive);
  s.Failed(kSecond, Unavailable("reset"));
  s.RetryNow(kSecond + 1);
  EXPECT_EQ(s.Next(kSecond + 1), Action::kConnect);
}

TEST(Supervisor, AFrozenPictureIsToldAndOver) {
  Supervisor s = Live(Plain(), 0);
  for (int i = 1; i < 10; ++i) s.FrameArrived(i * kSecond, 1);
  EXPECT_EQ(s.state(), CameraState::kLive);
  s.FrameArrived(10 * kSecond, 1);
  EXPECT_EQ(s.state(), CameraState::kFrozen);
  s.FrameArrived(11 * kSecond, 2);
  EXPECT_EQ(s.state(), CameraState::kLive);
  // A frozen camera can stall too.
  for (int i = 11; i <= 22; ++i) s.FrameArrived(i * kSecond, 2);
  EXPECT_EQ(s.state(), CameraState::kFrozen);
  EXPECT_EQ(s.Next(24 * kSecond), Action::kNone);
  EXPECT_EQ(s.state(), CameraState::kStalled);
}

TEST(Supervisor, TheEndOfARecordingIsTheEnd) {
  Supervisor s = Live(Plain(), 0);
  s.EndOfStream(kSecond, /*live=*/false);
  EXPECT_EQ(s.state(), CameraState::kEnded);
  EXPECT_EQ(s.Next(100 * kSecond), Action::kNone);
  Supervisor camera = Live(Plain(), 0);
  camera.EndOfStream(kSecond, /*live=*/true);
  EXPECT_EQ(camera.state(), CameraState::kBackingOff);
}

TEST(Supervisor, JitterOnlyShortensAndDiffersFromCameraToCamera) {
  std::vector<int64_t> first_waits;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SupervisorOptions options;
    options.seed = seed;
    Supervisor s(options, 0);
    ASSERT_EQ(s.Next(0), Action::kConnect);
    s.Failed(0, Unavailable("refused"));
    first_waits.push_back(s.NextDeadlineUs());
    EXPECT_LE(s.NextDeadlineUs(), options.initial_backoff_us);
    EXPECT_GE(s.NextDeadlineUs(), options.initial_backoff_us * 3 / 4);
  }
  std::sort(first_waits.begin(), first_waits.end());
  EXPECT_GT(std::unique(first_waits.begin(), first_waits.end()) - first_waits.begin(), 40);
}

// Whatever happens: never two connections at once, no attempt without a wait before it, and a
// deadline that is always met leads on.
TEST(Supervisor, LawsHoldUnderAnyOrderOfEvents) {
  std::mt19937 rng(4);
  for (int round = 0; round < 200; ++round) {
    SupervisorOptions options;
    options.seed = rng();
    int64_t now = 0;
    Supervisor s(options, now);
    bool open = false;
    int64_t asked = -1;
    for (int step = 0; step < 300; ++step) {
      now += rng() % 700'000;
      switch (rng() % 8) {
        case 0:
          if (open) s.Failed(now, Unavailable("x")), open = false;
          break;
        case 1:
          if (rng() % 5 == 0) s.RetryNow(now), asked = now;
          break;
        case 2:
          if (open) s.EndOfStream(now, true), open = false;
          break;
        default:
          if (open) s.FrameArrived(now, rng() % 3);
      }
      const CameraState before = s.state();
      const int64_t since = s.state_since_us();
      switch (s.Next(now)) {
        case Action::kConnect:
          ASSERT_FALSE(open) << "a second connection";
          if (before == CameraState::kBackingOff && asked < since) {
            ASSERT_GE(now - since, options.initial_backoff_us * 3 / 4);
          }
          open = true;
          break;
        case Action::kClose:
          ASSERT_TRUE(open) << "closed what was not open";
          open = false;
          break;
        case Action::kNone:
          break;
      }
      ASSERT_GE(s.NextDeadlineUs(), 0);
      if (s.state() == CameraState::kLive) {
        ASSERT_TRUE(open);
      }
    }
  }
}

TEST(Supervisor, OptionsAreChecked) {
  EXPECT_TRUE(CheckSupervisorOptions({}).ok());
  EXPECT_FALSE(CheckSupervisorOptions({.stall_after_us = 0}).ok());
  EXPECT_FALSE(CheckSupervisorOptions({.max_backoff_us = 1}).ok());
  EXPECT_FALSE(CheckSupervisorOptions({.jitter = std::nan("")}).ok());
}

}  // namespace
}  // namespace sightline
