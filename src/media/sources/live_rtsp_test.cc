// Against a real RTSP server (tests/servers).
#include <gmock/gmock.h>

#include <cstdlib>
#include <mutex>
#include <thread>

#include "base/redact.h"
#include "media/sources/test_live.h"

namespace sightline::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class RtspKinds : public testing::TestWithParam<std::pair<const char*, RtspTransport>> {};

TEST_P(RtspKinds, FramesArrive) {
  const auto [codec, transport] = GetParam();
  RtspServer server({"--codec", codec, "--size", "328x248"});
  SKIP_UNLESS_STARTED(server);
  LiveOptions options;
  options.rtsp_transport = transport;
  Live live(server.Url(), options);
  const std::vector<FrameMeta> frames = live.Read(40);
  ASSERT_TRUE(live.status.ok()) << live.status;
  ASSERT_EQ(frames.size(), 40u);
  ExpectLiveLaws(frames, live);
  const SourceInfo& info = live.stream->info();
  EXPECT_TRUE(info.live);
  EXPECT_EQ(info.container, "rtsp");
  EXPECT_EQ(info.codec, codec == std::string("h265") ? "hevc" : codec);
  EXPECT_EQ(info.width, 328);
  EXPECT_EQ(info.height, 248);
  EXPECT_TRUE(info.fingerprint == Hash128{});
  EXPECT_EQ(frames[0].width, 328);
  EXPECT_EQ(live.stream->hardware().name, "none");
}

INSTANTIATE_TEST_SUITE_P(All, RtspKinds,
                         testing::Values(std::pair{"h264", RtspTransport::kTcp},
                                         std::pair{"h264", RtspTransport::kUdp},
                                         std::pair{"h265", RtspTransport::kTcp},
                                         std::pair{"h265", RtspTransport::kUdp},
                                         std::pair{"mjpeg", RtspTransport::kTcp},
                                         std::pair{"mjpeg", RtspTransport::kUdp}),
                         [](const auto& info) {
                           return std::string(info.param.first) +
                                  (info.param.second == RtspTransport::kTcp ? "_tcp" : "_udp");
                         });

TEST(LiveRtsp, SenderReportsGiveTheCaptureTime) {
  RtspServer server;
  SKIP_UNLESS_STARTED(server);
  Live live(server.Url());
  std::vector<FrameMeta> frames = live.Read(30);
  // Reports come every few seconds.
  while (live.status.ok() && frames.size() < 1500 &&
         frames.back().time.clock != ClockSource::kSender) {
    for (const FrameMeta& frame : live.Read(1)) frames.push_back(frame);
  }
  ASSERT_TRUE(live.status.ok()) << live.status;
  ASSERT_EQ(frames.back().time.clock, ClockSource::kSender);
  // Arrival times that were later are waited for; after that the sender's times go with the stamps.
  for (const FrameMeta& frame : live.Read(50)) frames.push_back(frame);
  ExpectLiveLaws(frames, live);
  const FrameMeta& before = frames[frames.size() - 11];
  const FrameMeta& last = frames.back();
  ASSERT_EQ(last.time.clock, ClockSource::kSender);
  EXPECT_NEAR(last.time.capture_utc_us - before.time.capture_utc_us,
              last.time.pts_us - before.time.pts_us, 1000);
}

TEST(LiveRtsp, TheRtpCounterWrapsWithoutANewEpoch) {
  RtspServer server({"--rtp-offset", std::to_string((int64_t{1} << 32) - 90'000)});  // one second
  SKIP_UNLESS_STARTED(server);
  Live live(server.Url());
  const std::vector<FrameMeta> frames = live.Read(75);
  ASSERT_EQ(frames.size(), 75u) << live.status;
  ExpectLiveLaws(frames, live);
  EXPECT_EQ(frames.back().time.epoch, 0u);
  for (size_t i = 1; i < frames.size(); ++i) {
    EXPECT_LT(frames[i].time.pts_us - frames[i - 1].time.pts_us, 5'000'000);
    EXPECT_LT(frames[i].time.capture_utc_us - frames[i - 1].time.capture_utc_us, 60'000'000);
  }
}

TEST(LiveRtsp, DigestIsAnswered) {
  RtspServer server({"--auth", "digest", "--user", "viewer", "--password", "secret word"});
  SKIP_UNLESS_STARTED(server);
  Live live(server.Url("viewer:secret%20word"));
  EXPECT_EQ(live.Read(5).size(), 5u) << live.status;
}

TEST(LiveRtsp, DigestIsPreferredToBasic) {
  RtspServer server({"--auth", "both", "--user", "viewer", "--password", "secretword"});
  SKIP_UNLESS_STARTED(server);
  Live live(server.Url("viewer:secretword"));
  EXPECT_EQ(live.Read(5).size(), 5u) << live.status;
}

TEST(LiveRtsp, AWrongOrMissingPasswordIsUnauthenticated) {
  RtspServer server({"--auth", "digest", "--user", "viewer", "--password", "secretword"});
  SKIP_UNLESS_STARTED(server);
  Live wrong(server.Url("viewer:mistaken"));
  EXPECT_TRUE(absl::IsUnauthenticated(wrong.Connect())) << wrong.status;
  EXPECT_THAT(std::string(MessageOf(wrong.status)),
              AllOf(HasSubstr("cam://door"), HasSubstr("password"), Not(HasSubstr("mistaken"))));
  Live missing(server.Url());
  EXPECT_TRUE(absl::IsUnauthenticated(missing.Connect())) << missing.status;
}

TEST(LiveRtsp, BasicAloneIsRefusedWithoutTls) {
  RtspServer server({"--auth", "basic", "--user", "viewer", "--password", "secretword"});
  SKIP_UNLESS_STARTED(server);
  Live live(server.Url("viewer:secretword"));
  EXPECT_TRUE(absl::IsUnauthenticated(live.Connect())) << live.status;
  EXPECT_THAT(std::string(MessageOf(live.status)), HasSubstr("only basic authentication"));
  LiveOptions trusted;
  trusted.allow_basic_without_tls = true;
  Live allowed(server.Url("viewer:secretword"), trusted);
  EXPECT_EQ(allowed.Read(3).size(), 3u) << allowed.status;
}

// The one that matters: what went over the wire.
TEST(LiveRtsp, BasicAloneNeverSeesThePassword) {
  std::mutex mutex;
  std::string heard;
  TcpServer server([&](int fd) {
    for (std::string head = ReadHead(fd); !head.empty(); head = ReadHead(fd)) {
      const std::lock_guard<std::mutex> lock(mutex);
      heard += head;
      const size_t cseq = head.find("CSeq: ");
      SendAll(fd, "RTSP/1.0 401 Unauthorized\r\n" +
                      head.substr(cseq, head.find("\r\n", cseq) - cseq) +
                      "\r\nWWW-Authenticate: Basic realm=\"camera\"\r\n\r\n");
    }
  });
  Live live("rtsp://viewer:secretword@127.0.0.1:" + std::to_string(server.port()) + "/live");
  EXPECT_TRUE(absl::IsUnauthenticated(live.Connect())) << live.status;
  EXPECT_THAT(std::string(MessageOf(live.status)), HasSubstr("only basic authentication"));
  const std::lock_guard<std::mutex> lock(mutex);
  EXPECT_THAT(heard, HasSubstr("OPTIONS"));
  EXPECT_THAT(heard, Not(HasSubstr("Authorization")));
}

TEST(LiveRtsp, AnUnknownPathIsUnavailable) {
  RtspServer server;
  SKIP_UNLESS_STARTED(server);
  Live live(server.Url("", "rtsp", "/nothing"));
  EXPECT_TRUE(absl::IsUnavailable(live.Connect())) << live.status;
  EXPECT_THAT(std::string(MessageOf(live.status)), HasSubstr("404"));
}

TEST(LiveRtsp, SoundAloneIsUnimplemented) {
  RtspServer server({"--codec", "audio"});
  SKIP_UNLESS_STARTED(server);
  Live live(server.Url());
  EXPECT_TRUE(absl::IsUnimplemented(live.Connect())) << live.status;
}

TEST(LiveRtsp, AKilledServerEndsTheStream) {
  for (const RtspTransport transport : {RtspTransport::kTcp, RtspTransport::kUdp}) {
    RtspServer server;
    SKIP_UNLESS_STARTED(server);
    LiveOptions options;
    options.rtsp_transport = transport;
    Live live(server.Url(), options);
    ASSERT_EQ(live.Read(5).size(), 5u) << live.status;
    server.Signal(SIGKILL);
    live.ReadAll();
    EXPECT_TRUE(live.ended || absl::IsUnavailable(live.status)) << live.status;
    EXPECT_EQ(live.ledger.Snapshot().in_flight(), 0);
  }
}

TEST(LiveRtsp, AStoppedServerIsGivenUp) {
  RtspServer server;
  SKIP_UNLESS_STARTED(server);
  std::atomic<bool> stopped{false};
  std::atomic<int> asked{0};
  LiveOptions options;
  options.give_up = [&] { return stopped && ++asked > 30; };
  Live live(server.Url(), options);
  ASSERT_EQ(live.Read(5).size(), 5u) << live.status;
  server.Signal(SIGSTOP);
  stopped = true;
  live.ReadAll();
  EXPECT_TRUE(absl::IsCancelled(live.status)) << live.status;
  // It stays what it was.
  EXPECT_TRUE(absl::IsCancelled(live.stream->Next().status()));
}

// A camera that sends a few access units of H.264 and then nothing more.
class ShortCamera {
 public:
  // `units`: each the NAL units of one picture.
  explicit ShortCamera(std::vector<std::vector<std::string>> units)
      : units_(std::move(units)), server_([this](int fd) { Serve(fd); }) {}
  std::string Url() const { return "rtsp://127.0.0.1:" + std::to_string(server_.port()) + "/live"; }

 private:
  void Serve(int fd) {
    for (std::string head = ReadHead(fd); !head.empty(); head = ReadHead(fd)) {
      const size_t cseq = head.find("CSeq: ");
      std::string answer = "RTSP/1.0 200 OK\r\n" +
                           head.substr(cseq, head.find("\r\n", cseq) - cseq) + "\r\nSession: 1\r\n";
      if (head.starts_with("DESCRIBE")) {
        const std::string sdp =
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
            "a=rtpmap:96 H264/90000\r\na=control:video\r\n";
        answer += "Content-Type: application/sdp\r\nContent-Length: " + std::to_string(sdp.size()) +
                  "\r\n\r\n" + sdp;
      } else {
        answer += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n";
      }
      SendAll(fd, answer);
      if (head.starts_with("PLAY")) Play(fd);
    }
  }
  void Play(int fd) const {
    uint16_t sequence = 0;
    for (size_t unit = 0; unit < units_.size(); ++unit) {
      for (const std::string& nal : units_[unit]) {
        const auto big_endian = [](uint32_t value, int bytes) {
          std::string text;
          for (int i = bytes - 1; i >= 0; --i) text += static_cast<char>(value >> (8 * i));
          return text;
        };
        const bool last = &nal == &units_[unit].back();
        SendAll(fd, std::string{'$', '\0'} + big_endian(static_cast<uint32_t>(nal.size()) + 12, 2) +
                        '\x80' + static_cast<char>(last ? 0xE0 : 0x60) + big_endian(sequence++, 2) +
                        big_endian(static_cast<uint32_t>(unit) * 3600, 4) + big_endian(7, 4) + nal);
      }
    }
  }

  const std::vector<std::vector<std::string>> units_;
  TcpServer server_;
};

// The pictures of an H.264 file with start codes.
std::vector<std::vector<std::string>> AccessUnits(const std::vector<uint8_t>& bytes) {
  std::vector<std::vector<std::string>> units(1);
  const std::string all(bytes.begin(), bytes.end());
  const std::string code("\0\0\1", 3);
  for (size_t at = all.find(code); at != std::string::npos;) {
    const size_t next = all.find(code, at + 3);
    std::string nal = all.substr(at + 3, next == std::string::npos ? next : next - at - 3);
    while (nal.ends_with('\0')) nal.pop_back();
    const int type = nal[0] & 31;
    units.back().push_back(std::move(nal));
    if (type == 1 || type == 5) units.emplace_back();
    at = next;
  }
  units.pop_back();
  return units;
}

// Nothing is held back to look at the stream or to learn how its pictures are ordered: the first
// one is there when the second begins.
TEST(LiveRtsp, TheFirstPictureNeedsOnlyTheNext) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  ASSERT_TRUE(Ffmpeg(TestPicture("128x96", 2) +
                     "-c:v libx264 -preset ultrafast -tune zerolatency -x264-params "
                     "sliced-threads=0:slices=1 -pix_fmt yuv420p -f h264 '" +
                     (dir / "clip.h264") + "'"));
  const auto units = AccessUnits(Bytes(dir / "clip.h264"));
  ASSERT_EQ(units.size(), 2u);
  const ShortCamera camera(units);
  Live live(camera.Url());
  const std::vector<FrameMeta> frames = live.Read(1);
  ASSERT_EQ(frames.size(), 1u) << live.status;
  EXPECT_EQ(frames[0].width, 128);
  EXPECT_EQ(live.stream->info().width, 128);
  EXPECT_EQ(live.ledger.Snapshot().total_dropped(), 0u);
}

// Time passes by a step at every look at it.
class SteppingClock final : public Clock {
 public:
  int64_t NowUtcUs() const override { return Real().NowUtcUs(); }
  int64_t NowMonotonicUs() const override { return now_us_ += step_us.load(); }
  std::atomic<int64_t> step_us{0};

 private:
  mutable std::atomic<int64_t> now_us_{1};
};

TEST(LiveRtsp, AStoppedServerTimesOut) {
  RtspServer server;
  SKIP_UNLESS_STARTED(server);
  SteppingClock clock;
  LiveOptions options;
  options.clock = &clock;
  Live live(server.Url(), options);
  ASSERT_EQ(live.Read(5).size(), 5u) << live.status;
  server.Signal(SIGSTOP);
  clock.step_us = 1'000'000;
  live.ReadAll();
  EXPECT_TRUE(absl::IsDeadlineExceeded(live.status)) << live.status;
}

TEST(LiveRtsp, CaptureTimesRiseOverConnections) {
  RtspServer server;
  SKIP_UNLESS_STARTED(server);
  LiveOptions options;
  options.last_capture_utc_us = Clock::Real().NowUtcUs() + 1'000'000;  // the clock was set back
  Live live(server.Url(), options);
  const std::vector<FrameMeta> frames = live.Read(3);
  ASSERT_EQ(frames.size(), 3u) << live.status;
  EXPECT_GT(frames[0].time.capture_utc_us, options.last_capture_utc_us);
}

TEST(LiveRtsp, TheSelectionLeavesOutAndCounts) {
  for (const char* codec : {"h264", "mjpeg"}) {
    RtspServer server({"--codec", codec, "--frames", "90"});
    SKIP_UNLESS_STARTED(server);
    Live live(server.Url(), {}, {.every_nth = 3});
    const std::vector<FrameMeta> frames = live.Read(20);
    ASSERT_EQ(frames.size(), 20u) << live.status;
    ExpectLiveLaws(frames, live);
    for (const FrameMeta& frame : frames) EXPECT_EQ(frame.ordinal % 3, 0u);
    const FrameCounts counts = live.ledger.Snapshot();
    EXPECT_EQ(counts.skipped[static_cast<size_t>(SkipReason::kEveryNth)],
              counts.frames_in - counts.processed - counts.total_dropped());
  }
}

}  // namespace
}  // namespace sightline::test
