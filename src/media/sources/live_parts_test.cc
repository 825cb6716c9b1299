// The parts of a live stream that need no network: addresses, clocks, hardware, Create().
#include <gmock/gmock.h>

#include "base/redact.h"
#include "media/sources/live_address.h"
#include "media/sources/live_clock.h"
#include "media/sources/test_live.h"

namespace sightline::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(LiveAddress, IsTakenApart) {
  const auto address = ParseLiveAddress("RTSP://ad%40min:p@ss:w@[::1]:8554/a/b?c=d", "cam");
  ASSERT_TRUE(address.ok()) << address.status();
  EXPECT_EQ(address->kind, LiveKind::kRtsp);
  EXPECT_FALSE(address->tls);
  EXPECT_EQ(address->credentials, "ad%40min:p@ss:w");
  EXPECT_EQ(address->host, "::1");
  EXPECT_EQ(address->port, 8554);
  EXPECT_EQ(address->rest, "/a/b?c=d");
  EXPECT_EQ(address->url, "rtsp://ad%40min:p@ss:w@[::1]:8554/a/b?c=d");
}

TEST(LiveAddress, HasThePortOfItsScheme) {
  EXPECT_EQ(ParseLiveAddress("rtsp://cam/x", "cam")->port, 554);
  EXPECT_EQ(ParseLiveAddress("rtsps://cam/x", "cam")->port, 322);
  EXPECT_EQ(ParseLiveAddress("https://cam", "cam")->port, 443);
  EXPECT_TRUE(ParseLiveAddress("https://cam", "cam")->tls);
  EXPECT_EQ(ParseLiveAddress("udp://@:5000", "cam")->port, 5000);
}

TEST(LiveAddress, AUserWithoutAPasswordHasAnEmptyOne) {
  EXPECT_EQ(ParseLiveAddress("rtsp://admin@cam/x", "cam")->url, "rtsp://admin:@cam/x");
}

TEST(LiveAddress, DevicesHaveTwoNames) {
  EXPECT_EQ(ParseLiveAddress("/dev/video3", "cam")->url, "/dev/video3");
  EXPECT_EQ(ParseLiveAddress("v4l2:///dev/video3", "cam")->url, "/dev/video3");
  EXPECT_FALSE(ParseLiveAddress("v4l2:///etc/passwd", "cam").ok());
}

TEST(LiveAddress, NonsenseIsRefusedWithoutShowingIt) {
  for (const std::string bad :
       {"", "clip.mp4", "ftp://user:geheim@cam/x", "rtsp://", "rtsp://user:geheim@/x",
        "rtsp://user:geheim@cam:0/x", "rtsp://user:geheim@cam:99999/x",
        "rtsp://user:geheim@cam:5x/x", "rtsp://user:geheim@[::1/x", "rtsp://user:geheim@[::1]9/x",
        "rtsp://user:geheim@cam/x\r\nInjected: yes", "rtsp://user:geheim@cam/a b", "udp://cam"}) {
    const auto address = ParseLiveAddress(bad, "cam");
    EXPECT_TRUE(absl::IsInvalidArgument(address.status())) << bad;
    EXPECT_THAT(std::string(MessageOf(address.status())), Not(HasSubstr("geheim"))) << bad;
  }
  EXPECT_FALSE(ParseLiveAddress("rtsp://cam/" + std::string(1000, 'x'), "cam").ok());
  EXPECT_FALSE(ParseLiveAddress("rtsp://u:" + std::string(130, 'x') + "@cam/", "cam").ok());
}

TEST(LiveAddress, SecretsAreHidden) {
  const auto address = ParseLiveAddress("rtsp://door:ge%3Aheim7@cam/x", "cam://door");
  ASSERT_TRUE(address.ok());
  HideSecretsOf(*address, "cam://door");
  for (const char* text : {"rtsp://door:ge%3Aheim7@cam/x", "ge%3Aheim7", "ge:heim7"}) {
    EXPECT_THAT(WithoutSecrets(text), Not(HasSubstr("heim7")));
  }
}

TEST(LiveAddress, LiveOnesAreTold) {
  EXPECT_TRUE(IsLiveAddress("rtsp://cam/x"));
  EXPECT_TRUE(IsLiveAddress("RTSPS://cam/x"));
  EXPECT_TRUE(IsLiveAddress("/dev/video0"));
  EXPECT_FALSE(IsLiveAddress("clips/rtsp.mp4"));
  EXPECT_FALSE(IsLiveAddress("sim://street"));
  EXPECT_FALSE(IsLiveAddress("file:///clip.mp4"));
}

TEST(LiveStreamCreate, ChecksWithoutConnecting) {
  LiveOptions half;
  half.tls.certificate_file = "client.pem";
  EXPECT_TRUE(absl::IsInvalidArgument(Live("rtsps://cam/x", half).status));
  LiveOptions negative;
  negative.read_timeout_us = -1;
  EXPECT_TRUE(absl::IsInvalidArgument(Live("rtsp://cam/x", negative).status));
  EXPECT_TRUE(absl::IsInvalidArgument(Live("clip.mp4").status));
  Live good("rtsp://cam/x");
  EXPECT_TRUE(good.status.ok()) << good.status;
  EXPECT_TRUE(absl::IsFailedPrecondition(good.stream->Next().status()));
}

TEST(LiveDevice, AMissingOneIsUnavailable) {
  Live live("/dev/video987");
  const absl::Status status = live.Connect();
  EXPECT_TRUE(absl::IsUnavailable(status) || absl::IsUnimplemented(status)) << status;
}

TEST(LiveDevice, WhatIsNoCameraIsUnimplemented) {
  Live live("v4l2:///dev/null");
  EXPECT_TRUE(absl::IsUnimplemented(live.Connect())) << live.status;
  EXPECT_THAT(std::string(MessageOf(live.status)), HasSubstr("device"));
}

constexpr int64_t kNow = 1'700'000'000'000'000;

LiveClock Ticking() {
  LiveClock::Options options;
  options.stream.time_base_den = 1'000'000;
  return LiveClock(options);
}

TEST(LiveClock, ArrivalUntilTheSenderSays) {
  LiveClock clock = Ticking();
  const FrameTime first = clock.Next(5'000'000, kNow, std::nullopt);
  EXPECT_EQ(first.pts_us, 0);
  EXPECT_EQ(first.capture_utc_us, kNow);
  EXPECT_EQ(first.clock, ClockSource::kArrival);
  // The sender's time lies before the last arrival: held, then followed.
  const FrameTime held = clock.Next(5'040'000, kNow + 40'000, kNow - 60'000);
  EXPECT_EQ(held.capture_utc_us, kNow + 1);
  EXPECT_EQ(held.clock, ClockSource::kSender);
  const FrameTime then = clock.Next(5'440'000, kNow + 440'000, kNow + 340'000);
  EXPECT_EQ(then.capture_utc_us, kNow + 340'000);
  EXPECT_EQ(then.epoch, 0u);
}

TEST(LiveClock, ASenderWithoutASetClockIsNotBelieved) {
  LiveClock clock = Ticking();
  const FrameTime time = clock.Next(0, kNow, 86'400'000'000);  // in 1970
  EXPECT_EQ(time.clock, ClockSource::kArrival);
  EXPECT_EQ(time.capture_utc_us, kNow);
  EXPECT_EQ(clock.disbelieved(), 1u);
}

TEST(LiveClock, AStepBackOfTheWallClockStartsAnEpoch) {
  LiveClock clock = Ticking();
  clock.Next(0, kNow, std::nullopt);
  clock.Next(40'000, kNow + 40'000, std::nullopt);
  const FrameTime stepped = clock.Next(80'000, kNow - 3'600'000'000, std::nullopt);
  EXPECT_EQ(stepped.epoch, 1u);
  EXPECT_EQ(stepped.pts_us, 0);
  EXPECT_EQ(stepped.capture_utc_us, kNow - 3'600'000'000);
  const FrameTime next = clock.Next(120'000, kNow - 3'599'960'000, std::nullopt);
  EXPECT_EQ(next.epoch, 1u);
  EXPECT_EQ(next.pts_us, 40'000);
  // A jump of the stream comes on top.
  const FrameTime jumped = clock.Next(900'000'000, kNow - 3'599'920'000, std::nullopt);
  EXPECT_EQ(jumped.epoch, 2u);
  EXPECT_EQ(jumped.pts_us, 0);
}

TEST(LiveClock, GoesOnFromAnEarlierConnection) {
  LiveClock::Options options;
  options.last_capture_utc_us = kNow;
  LiveClock clock(options);
  const FrameTime first = clock.Next(77, kNow - 1000, std::nullopt);
  EXPECT_EQ(first.epoch, 0u);
  EXPECT_EQ(first.pts_us, 0);
  EXPECT_EQ(first.capture_utc_us, kNow + 1);
  // After a long step back the connection's own epoch is the new one.
  LiveClock stepped(options);
  EXPECT_EQ(stepped.Next(77, kNow - 3'600'000'000, std::nullopt).epoch, 0u);
}

TEST(SenderClock, DrawsALineAndKnowsTheWrap) {
  SenderClock clock(90'000);
  EXPECT_FALSE(clock.At(0).has_value());
  clock.Read(kNow, 1'000'000);
  EXPECT_EQ(clock.At(1'500'000), kNow + 500'000);
  // libav computes readings across a wrap of the 32-bit counter off by a whole turn.
  const int64_t turn_us = (int64_t{1} << 32) * 1'000'000 / 90'000;
  clock.Read(kNow + 40'000 - turn_us, 1'040'000);
  EXPECT_EQ(clock.At(1'040'000), kNow + 40'000);
  clock.Read(kNow + 90'000, 1'080'000);  // corrected by 10 ms
  EXPECT_EQ(clock.At(1'080'000), kNow + 90'000);
  clock.Read(std::numeric_limits<int64_t>::max(), 5);
  EXPECT_EQ(clock.At(1'080'000), kNow + 90'000);
}

TEST(HardwareDecode, SaysWhatAndWhy) {
  const HardwareChoice none = ChooseHardwareDecode("none", "h264");
  EXPECT_EQ(none.name, "none");
  EXPECT_FALSE(none.why.empty());
  const HardwareChoice unknown = ChooseHardwareDecode("magic", "h264");
  EXPECT_EQ(unknown.name, "none");
  EXPECT_THAT(unknown.why, HasSubstr("magic"));
  const HardwareChoice found = ChooseHardwareDecode("auto", "h264");
  bool any = false;
  for (const HardwareAbility& ability : ProbeHardwareDecoders()) {
    any = any || ability.usable;
    EXPECT_EQ(ability.usable, ability.why.empty());
  }
  EXPECT_EQ(found.name != "none", any) << found.why;
  EXPECT_FALSE(found.why.empty());
}

TEST(HardwareDecode, SoftwareTakesOverWhereThereIsNone) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  ASSERT_TRUE(Ffmpeg(TestPicture("128x96", 20) + "-c:v libx264 -preset ultrafast '" +
                     (dir / "clip.ts") + "'"));
  const std::vector<uint8_t> bytes = Bytes(dir / "clip.ts");
  HttpServer server;
  server.Add("/clip.ts", "video/mp2t", {bytes.begin(), bytes.end()});
  LiveOptions options;
  options.hardware = "auto";
  Live live(server.Url("/clip.ts"), options);
  EXPECT_EQ(live.ReadAll().size(), 20u) << live.status;
  EXPECT_FALSE(live.stream->hardware().why.empty());
}

}  // namespace
}  // namespace sightline::test
