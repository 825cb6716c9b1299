#include "sim/sim_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sightline::sim {
namespace {

using ::testing::HasSubstr;

SimOptions Good(const std::string& url) {
  const auto options = ParseSimUrl(url);
  EXPECT_TRUE(options.ok()) << options.status();
  return options.ok() ? *options : SimOptions();
}

std::string Bad(const std::string& url) {
  const auto options = ParseSimUrl(url);
  EXPECT_FALSE(options.ok()) << url;
  EXPECT_TRUE(absl::IsInvalidArgument(options.status())) << url;
  return std::string(MessageOf(options.status()));
}

TEST(SimUrl, TakesEveryKey) {
  const SimOptions o = Good(
      "sim://street?people=20&bicycles=3&cars=4&seed=18446744073709551615&fps=29.97&size=1280x720&"
      "render=none&night=0.5&shake=2.5&duration=1.5m&start=2026-01-31T12:00:00%2B02:00&pace=none&"
      "faults=cut@10s+3s,resize@40s:1280x720");
  EXPECT_EQ(o.people, 20);
  EXPECT_EQ(o.bicycles, 3);
  EXPECT_EQ(o.cars, 4);
  EXPECT_EQ(o.seed, UINT64_MAX);
  EXPECT_EQ(o.fps, 29.97);
  EXPECT_EQ(o.width, 1280);
  EXPECT_EQ(o.height, 720);
  EXPECT_FALSE(o.render);
  EXPECT_EQ(o.night, 0.5);
  EXPECT_EQ(o.shake_px, 2.5);
  EXPECT_EQ(o.duration_us, 90'000'000);
  EXPECT_EQ(o.start_utc_us, 1'769'853'600'000'000);
  EXPECT_FALSE(o.paced);
  ASSERT_EQ(o.faults.size(), 2u);
}

TEST(SimUrl, HasDefaults) {
  const SimOptions o = Good("sim://street");
  EXPECT_EQ(o.people, 12);
  EXPECT_TRUE(o.paced && o.render);
  EXPECT_EQ(o.duration_us, 0);
  EXPECT_EQ(Good("sim://street?pace=none").duration_us, 60'000'000) << "a recording ends";
}

TEST(SimUrl, ReadsFaults) {
  const SimOptions o = Good(
      "sim://street?faults=wrap@70s,cut@10s+3s,clockstep@50s:-1h,stall@30s,slow@60s+9s:0.25x,"
      "resize@40s+2s:1280x720");
  ASSERT_EQ(o.faults.size(), 6u);
  EXPECT_EQ(o.faults[0].kind, FaultKind::kCut) << "in the order of time";
  EXPECT_EQ(o.faults[0].at_us, 10'000'000);
  EXPECT_EQ(o.faults[0].for_us, 3'000'000);
  EXPECT_EQ(o.faults[1].kind, FaultKind::kStall);
  EXPECT_EQ(o.faults[1].for_us, 5'000'000) << "the usual length";
  EXPECT_EQ(o.faults[2].width, 1280);
  EXPECT_EQ(o.faults[2].end_us(), 42'000'000);
  EXPECT_EQ(o.faults[3].step_us, -3'600'000'000);
  EXPECT_EQ(o.faults[4].factor, 0.25);
  EXPECT_EQ(o.faults[5].kind, FaultKind::kWrap);
}

TEST(SimUrl, NamesTheNearestKeyAndWhatIsAllowed) {
  EXPECT_THAT(Bad("sim://street?poeple=3"), HasSubstr("did you mean \"people\"?"));
  EXPECT_THAT(Bad("sim://street?qqqq=3"), HasSubstr("people, bicycles, cars"));
  EXPECT_THAT(Bad("sim://beach"), HasSubstr("sim://street"));
  EXPECT_THAT(Bad("sim://street?people=-1"), HasSubstr("a number from 0 to 500"));
  EXPECT_THAT(Bad("sim://street?people=1e3"), HasSubstr("people=1e3"));
  EXPECT_THAT(Bad("sim://street?fps=nan"), HasSubstr("from 0.1 to 240"));
  EXPECT_THAT(Bad("sim://street?size=10x10"), HasSubstr("64x48 to 4096x4096"));
  EXPECT_THAT(Bad("sim://street?render=no"), HasSubstr("\"yes\" or \"none\""));
  EXPECT_THAT(Bad("sim://street?pace=fast"), HasSubstr("\"clock\" or \"none\""));
  EXPECT_THAT(Bad("sim://street?duration=0s"), HasSubstr("longer than nothing"));
  EXPECT_THAT(Bad("sim://street?duration=5"), HasSubstr("10s"));
  EXPECT_THAT(Bad("sim://street?start=today"), HasSubstr("2026-01-31T12:00:00Z"));
  EXPECT_THAT(Bad("sim://street?people=3&people=4"), HasSubstr("people is given twice"));
  EXPECT_THAT(Bad("sim://street?night=%zz"), HasSubstr("hexadecimal"));
}

TEST(SimUrl, NamesTheFaultThatIsWrong) {
  EXPECT_THAT(Bad("sim://street?faults=cut@5s,freze@9s"), HasSubstr("did you mean \"freeze\"?"));
  EXPECT_THAT(Bad("sim://street?faults=cut"), HasSubstr("cut@10s"));
  EXPECT_THAT(Bad("sim://street?faults=cut@x"), HasSubstr("such as 500ms, 10s"));
  EXPECT_THAT(Bad("sim://street?faults=cut@5s+-3s"), HasSubstr("\"cut@5s+-3s\""));
  EXPECT_THAT(Bad("sim://street?faults=cut@5s:7"), HasSubstr("takes no value"));
  EXPECT_THAT(Bad("sim://street?faults=slow@5s"), HasSubstr("needs a value"));
  EXPECT_THAT(Bad("sim://street?faults=slow@5s:2x"), HasSubstr("0.001 to 1"));
  EXPECT_THAT(Bad("sim://street?faults=resize@5s:big"), HasSubstr("WIDTHxHEIGHT"));
  EXPECT_THAT(Bad("sim://street?faults=wrap@5s+2s"), HasSubstr("no length"));
  EXPECT_THAT(Bad("sim://street?faults=,"), HasSubstr("no fault \"\""));
}

TEST(SimOptions, TheHashIsOfTheStreamAndNotOfItsPace) {
  const Hash128 one = HashOf(Good("sim://street?seed=3&duration=60s"));
  EXPECT_EQ(one, HashOf(Good("sim://street?duration=1m&seed=3&pace=none")));
  EXPECT_NE(one, HashOf(Good("sim://street?seed=4&duration=60s")));
  EXPECT_NE(one, HashOf(Good("sim://street?seed=3&duration=60s&faults=cut@1s")));
}

TEST(SimOptions, FrameTimesAndFramesFitTogether) {
  for (const double fps : {0.1, 7.0, 15.0, 29.97, 240.0}) {
    SimOptions o;
    o.fps = fps;
    for (const int64_t k : {0, 1, 2, 99, 100'000, 7'654'321}) {
      const int64_t t = o.FrameTimeUs(k);
      EXPECT_EQ(o.FrameAtOrAfter(t), k);
      EXPECT_EQ(o.FrameAtOrAfter(t + 1), k + 1);
    }
  }
}

}  // namespace
}  // namespace sightline::sim
