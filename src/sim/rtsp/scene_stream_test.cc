#include "sim/rtsp/scene_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace sightline::sim {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

class TestClock final : public Clock {
 public:
  int64_t NowUtcUs() const override { return 1'000'000'000 + now_us; }
  int64_t NowMonotonicUs() const override { return 5'000 + now_us; }
  mutable int64_t now_us = 0;
};

// Watches within [from, to) of the camera's life.
class TestOutlet final : public StreamOutlet {
 public:
  TestOutlet(const TestClock& clock, int64_t from_us, int64_t to_us)
      : clock_(clock), from_us_(from_us), to_us_(to_us) {}
  bool Watched() const override { return clock_.now_us >= from_us_ && clock_.now_us < to_us_; }
  void Send(const CodedPicture& picture) override {
    sent.push_back({{picture.bytes.begin(), picture.bytes.end()}, picture.pts_us, picture.key});
    EXPECT_EQ(admission, Admission::kOpen);
  }
  void Admit(Admission now) override {
    if (admissions.empty() || now != admission) admissions.push_back(now);
    admission = now;
  }
  struct Sent {
    std::vector<uint8_t> bytes;
    int64_t pts_us;
    bool key;
  };
  std::vector<Sent> sent;
  std::vector<Admission> admissions;
  Admission admission = Admission::kOpen;

 private:
  const TestClock& clock_;
  const int64_t from_us_;
  const int64_t to_us_;
};

struct Watched {
  std::vector<TestOutlet::Sent> sent;
  std::vector<Admission> admissions;
  std::vector<int64_t> frames;  // numbers by the camera's life
  std::vector<int64_t> keys;    // those that begin with a key frame
};

Watched Watch(const std::string& scene, StreamCodec codec = StreamCodec::kH264, int64_t from_us = 0,
              int64_t to_us = 1'000'000'000) {
  TestClock clock;
  SceneStreamOptions options;
  options.scene = *ParseSimUrl("sim://street?size=64x48&fps=10&people=2&" + scene);
  options.codec = codec;
  options.clock = &clock;
  options.sleep = [&clock](int64_t wait_us) { clock.now_us += wait_us; };
  TestOutlet outlet(clock, from_us, to_us);
  SceneStream stream(options, outlet);
  EXPECT_EQ(stream.birth().utc_us, 1'000'000'000);
  EXPECT_EQ(stream.Run(), absl::OkStatus());
  Watched watched{.sent = outlet.sent, .admissions = outlet.admissions, .frames = {}, .keys = {}};
  for (const TestOutlet::Sent& one : outlet.sent) {
    EXPECT_EQ(one.pts_us % 100'000, 0);
    watched.frames.push_back(one.pts_us / 100'000);
    if (one.key) watched.keys.push_back(watched.frames.back());
  }
  return watched;
}

constexpr auto kOpen = Admission::kOpen;
constexpr auto kCut = Admission::kCut;
constexpr auto kRefuse = Admission::kRefuse;

TEST(SceneStream, SendsEveryFrameWithAKeyFrameASecond) {
  const Watched watched = Watch("duration=2.5s");
  ASSERT_THAT(watched.frames, SizeIs(25));
  EXPECT_EQ(watched.frames.front(), 0);
  EXPECT_EQ(watched.frames.back(), 24);
  EXPECT_THAT(watched.keys, ElementsAre(0, 10, 20));
  EXPECT_THAT(watched.admissions, ElementsAre(kOpen, kCut)) << "who comes after the end is told so";
}

TEST(SceneStream, BeginsWithAKeyFrameForWhoComesLateAndSendsNothingBefore) {
  const Watched watched = Watch("duration=2s", StreamCodec::kH264, 550'000, 1'150'000);
  EXPECT_THAT(watched.frames, ElementsAre(6, 7, 8, 9, 10, 11));
  EXPECT_THAT(watched.keys, ElementsAre(6));
}

TEST(SceneStream, ClosesTheDoorForCutsAndRefusals) {
  const Watched watched = Watch("duration=2s&faults=cut@0.5s%2B0.3s,refuse@1s%2B0.2s");
  EXPECT_THAT(watched.admissions, ElementsAre(kOpen, kCut, kOpen, kRefuse, kOpen, kCut));
  EXPECT_EQ(std::count(watched.frames.begin(), watched.frames.end(), 6), 0);
  EXPECT_EQ(std::count(watched.frames.begin(), watched.frames.end(), 11), 0);
  EXPECT_THAT(watched.keys, ElementsAre(0, 8, 12));
}

TEST(SceneStream, SendsNothingInAStallAndLeavesTheDoorOpen) {
  const Watched watched = Watch("duration=1s&faults=stall@0.3s%2B0.4s");
  EXPECT_THAT(watched.frames, ElementsAre(0, 1, 2, 7, 8, 9));
  EXPECT_THAT(watched.admissions, ElementsAre(kOpen, kCut));
}

TEST(SceneStream, RepeatsAFrozenPictureToTheBit) {
  const Watched watched = Watch("duration=1s&faults=freeze@0.3s%2B0.4s");
  ASSERT_THAT(watched.frames, SizeIs(10));
  EXPECT_THAT(watched.keys, ElementsAre(0, 3, 4, 5, 6, 7));
  for (size_t i = 4; i < 7; ++i) EXPECT_EQ(watched.sent[i].bytes, watched.sent[3].bytes);
  EXPECT_NE(watched.sent[7].bytes, watched.sent[3].bytes);
}

TEST(SceneStream, SpoilsGarbageAndNothingElse) {
  for (const StreamCodec codec : {StreamCodec::kH264, StreamCodec::kMjpeg}) {
    const Watched good = Watch("duration=0.6s", codec);
    const Watched bad = Watch("duration=0.6s&faults=garbage@0.2s%2B0.2s", codec);
    ASSERT_EQ(good.frames, bad.frames);
    for (size_t i = 0; i < good.sent.size(); ++i) {
      const bool spoiled = i == 2 || i == 3;
      EXPECT_EQ(good.sent[i].bytes != bad.sent[i].bytes, spoiled) << i;
      EXPECT_EQ(good.sent[i].bytes.size(), bad.sent[i].bytes.size());
    }
  }
}

TEST(SceneStream, BeginsAnewWithAnotherSize) {
  const Watched watched = Watch("duration=1s&faults=resize@0.5s:128x96");
  EXPECT_THAT(watched.keys, ElementsAre(0, 5));
  EXPECT_THAT(watched.frames, SizeIs(10));
}

TEST(Spoil, KeepsParametersStartCodesAndHeads) {
  std::vector<uint8_t> unit = {0, 0,    0, 1, 0x67, 1, 2, 3, 4, 0,   0,
                               1, 0x65, 9, 8, 7,    6, 0, 0, 1, 0x41};
  const std::vector<uint8_t> before = unit;
  Spoil(StreamCodec::kH264, unit, 1);
  EXPECT_TRUE(std::equal(unit.begin(), unit.begin() + 15, before.begin()));
  EXPECT_NE(unit[15], before[15]);
  EXPECT_EQ(std::vector<uint8_t>(unit.end() - 4, unit.end()),
            std::vector<uint8_t>(before.end() - 4, before.end()));
  std::vector<uint8_t> nothing;
  Spoil(StreamCodec::kMjpeg, nothing, 1);
  std::vector<uint8_t> short_one = {0, 0, 1};
  Spoil(StreamCodec::kH265, short_one, 1);
  EXPECT_THAT(short_one, SizeIs(3));
}

}  // namespace
}  // namespace sightline::sim
