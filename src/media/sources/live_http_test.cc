// Live streams over HTTP (MJPEG, HLS, MPEG-TS) and UDP, and servers that are none.
#include <gmock/gmock.h>

#include <chrono>
#include <random>
#include <thread>

#include "media/image_codec.h"
#include "media/sources/test_live.h"

namespace sightline::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Jpeg(int width, int height) {
  const std::vector<uint8_t> pixels(static_cast<size_t>(width) * height * 3, 90);
  ImageView view{.format = PixelFormat::kBgr24, .width = width, .height = height};
  view.planes[0] = pixels.data();
  view.strides[0] = width * 3;
  const absl::StatusOr<std::vector<uint8_t>> jpeg = EncodeJpeg(view);
  EXPECT_TRUE(jpeg.ok());
  return {jpeg->begin(), jpeg->end()};
}

std::string Text(const std::string& path) {
  const std::vector<uint8_t> bytes = Bytes(path);
  return {bytes.begin(), bytes.end()};
}

// A clip as MPEG-TS; empty without ffmpeg.
std::string MakeTs(const TempDir& dir, const std::string& arguments) {
  const std::string path = dir / "clip.ts";
  if (!Ffmpeg(arguments + " -muxdelay 0 -muxpreload 0 -f mpegts '" + path + "'")) return "";
  return Text(path);
}

constexpr const char* kH264 = "-c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p";

TEST(LiveHttp, MjpegOfAnOddSize) {
  HttpServer server;
  server.AddMjpeg("/video", Jpeg(97, 55), -1);
  Live live(server.Url("/video"));
  const std::vector<FrameMeta> frames = live.Read(30);
  ASSERT_EQ(frames.size(), 30u) << live.status;
  ExpectLiveLaws(frames, live);
  EXPECT_EQ(live.stream->info().codec, "mjpeg");
  EXPECT_EQ(live.stream->info().container, "mpjpeg");
  EXPECT_EQ(frames[7].width, 97);
  EXPECT_EQ(frames[7].height, 55);
  EXPECT_EQ(frames[7].time.clock, ClockSource::kArrival);
}

// Nothing is held back while the stream is looked at: one picture of it is enough.
TEST(LiveHttp, TheFirstPictureNeedsNoOther) {
  TcpServer server([jpeg = Jpeg(960, 640)](int fd) {
    ReadHead(fd);
    SendAll(fd,
            "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
            "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: " +
                std::to_string(jpeg.size()) + "\r\n\r\n" + jpeg + "\r\n--frame\r\n");
    ReadHead(fd);  // until the viewer leaves
  });
  Live live("http://127.0.0.1:" + std::to_string(server.port()) + "/video");
  EXPECT_EQ(live.Read(1).size(), 1u) << live.status;
}

TEST(LiveHttp, MjpegEndsWithItsConnection) {
  HttpServer server;
  server.AddMjpeg("/video", Jpeg(96, 64), 12);
  Live live(server.Url("/video"));
  const std::vector<FrameMeta> frames = live.ReadAll();
  EXPECT_TRUE(live.ended || absl::IsUnavailable(live.status)) << live.status;
  EXPECT_EQ(frames.size(), 12u);
  ExpectLiveLaws(frames, live);
}

TEST(LiveHttp, ADamagedPictureIsCountedAndPassedOver) {
  const std::string good = Jpeg(96, 64);
  std::string bad = good;
  bad.resize(24);  // not even a header of it
  const auto part = [](const std::string& jpeg) {
    return "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: " + std::to_string(jpeg.size()) +
           "\r\n\r\n" + jpeg + "\r\n";
  };
  std::string body;
  for (int i = 0; i < 20; ++i) body += part(i == 10 ? bad : good);
  HttpServer server;
  server.Add("/video", "multipart/x-mixed-replace; boundary=frame", body);
  Live live(server.Url("/video"));
  const std::vector<FrameMeta> frames = live.ReadAll();
  EXPECT_TRUE(live.ended) << live.status;
  EXPECT_EQ(frames.size(), 19u);
  EXPECT_EQ(live.dropped(DropReason::kDecodeError), 1u);
  ExpectLiveLaws(frames, live);
}

TEST(LiveHttp, BasicAloneIsRefusedWithoutTls) {
  HttpServer server;
  server.WantBasic();
  server.AddMjpeg("/video", Jpeg(96, 64), 12);
  Live live(server.Url("/video", "viewer:secretword"));
  EXPECT_TRUE(absl::IsUnauthenticated(live.Connect())) << live.status;
  EXPECT_THAT(std::string(MessageOf(live.status)), HasSubstr("only basic authentication"));
  EXPECT_FALSE(server.saw_authorization());
  LiveOptions trusted;
  trusted.allow_basic_without_tls = true;
  Live allowed(server.Url("/video", "viewer:secretword"), trusted);
  EXPECT_EQ(allowed.ReadAll().size(), 12u) << allowed.status;
}

TEST(LiveHttp, AnUnknownPathIsUnavailable) {
  HttpServer server;
  Live live(server.Url("/video"));
  EXPECT_TRUE(absl::IsUnavailable(live.Connect())) << live.status;
  EXPECT_THAT(std::string(MessageOf(live.status)), HasSubstr("404"));
}

TEST(LiveHttp, HlsOfThreeSegments) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  ASSERT_TRUE(Ffmpeg(TestPicture("128x96", 75) + kH264 +
                     " -g 25 -f hls -hls_time 1 -hls_list_size 0 -hls_segment_filename '" +
                     (dir / "part%d.ts") + "' '" + (dir / "live.m3u8") + "'"));
  HttpServer server;
  server.Add("/live.m3u8", "application/vnd.apple.mpegurl", Text(dir / "live.m3u8"));
  for (const char* name : {"part0.ts", "part1.ts", "part2.ts"}) {
    server.Add(std::string("/") + name, "video/mp2t", Text(dir / name));
  }
  Live live(server.Url("/live.m3u8"));
  const std::vector<FrameMeta> frames = live.ReadAll();
  EXPECT_TRUE(live.ended) << live.status;
  EXPECT_EQ(frames.size(), 75u);
  ExpectLiveLaws(frames, live);
  EXPECT_EQ(live.stream->info().container, "hls");
}

// A playlist is the camera's word, and the camera may be hostile.
TEST(LiveHttp, APlaylistNamesNoFilesOfThisMachine) {
  const TempDir dir;
  const std::string path = dir / "secret.ts";
  Write(path, {1, 2, 3});
  HttpServer server;
  server.Add("/live.m3u8", "application/vnd.apple.mpegurl",
             "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://" + path + "\n#EXT-X-ENDLIST\n");
  Live live(server.Url("/live.m3u8"));
  EXPECT_TRUE(absl::IsUnavailable(live.Connect())) << live.status;
}

TEST(LiveHttp, The33BitCounterWrapsWithoutANewEpoch) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  // 2^33 / 90000 = 95443.7 s
  const std::string ts =
      MakeTs(dir, TestPicture("128x96", 100) + kH264 + " -g 25 -output_ts_offset 95441.7");
  HttpServer server;
  server.Add("/clip.ts", "video/mp2t", ts);
  Live live(server.Url("/clip.ts"));
  const std::vector<FrameMeta> frames = live.ReadAll();
  EXPECT_TRUE(live.ended) << live.status;
  ASSERT_EQ(frames.size(), 100u);
  ExpectLiveLaws(frames, live);
  EXPECT_EQ(frames.back().time.epoch, 0u);
  EXPECT_NEAR(frames.back().time.pts_us, 99 * 40'000, 1000);
}

TEST(LiveHttp, FramesBeforeTheFirstKeyFrameAreDropped) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  std::string ts = MakeTs(dir, TestPicture("128x96", 100) + kH264 + " -g 50");
  ts.erase(0, ts.size() / 188 / 4 * 188);  // joined in the first group
  HttpServer server;
  server.Add("/clip.ts", "video/mp2t", ts);
  Live live(server.Url("/clip.ts"));
  const std::vector<FrameMeta> frames = live.ReadAll();
  EXPECT_TRUE(live.ended) << live.status;
  EXPECT_EQ(frames.size(), 50u);
  EXPECT_GT(live.dropped(DropReason::kNoKeyFrame), 0u);
  EXPECT_EQ(live.dropped(DropReason::kDecodeError), 0u);
  EXPECT_EQ(frames[0].ordinal, live.dropped(DropReason::kNoKeyFrame));
  ExpectLiveLaws(frames, live);
}

TEST(LiveHttp, PicturesThatWaitForOthersComeInOrder) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  const std::string ts =
      MakeTs(dir, TestPicture("128x96", 60) +
                      "-c:v libx264 -preset veryfast -bf 3 -g 30 -pix_fmt yuv420p");
  HttpServer server;
  server.Add("/clip.ts", "video/mp2t", ts);
  Live live(server.Url("/clip.ts"));
  const std::vector<FrameMeta> frames = live.ReadAll();
  EXPECT_TRUE(live.ended) << live.status;
  EXPECT_EQ(frames.size(), 60u);
  ExpectLiveLaws(frames, live);
  EXPECT_EQ(live.ledger.Snapshot().total_dropped(), 0u);
}

TEST(LiveHttp, AChangeOfSizeGoesOn) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  const std::string ts = MakeTs(dir, TestPicture("128x96", 30) + kH264) +
                         MakeTs(dir, TestPicture("98x70", 30) + kH264);
  HttpServer server;
  server.Add("/clip.ts", "video/mp2t", ts);
  Live live(server.Url("/clip.ts"));
  const std::vector<FrameMeta> frames = live.ReadAll();
  EXPECT_TRUE(live.ended) << live.status;
  ASSERT_GE(frames.size(), 58u);
  EXPECT_EQ(frames.front().width, 128);
  EXPECT_EQ(frames.back().width, 98);
  EXPECT_EQ(frames.back().time.epoch, 1u);
  EXPECT_EQ(live.stream->parameters_changed(), 1u);
  ExpectLiveLaws(frames, live);
}

TEST(LiveHttp, H265OfAnOddSize) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  const std::string ts = MakeTs(dir, TestPicture("128x96", 30, ",format=yuv444p,scale=97:55") +
                                         "-c:v libx265 -preset ultrafast -x265-params "
                                         "log-level=none -pix_fmt yuv444p");
  HttpServer server;
  server.Add("/clip.ts", "video/mp2t", ts);
  Live live(server.Url("/clip.ts"));
  const std::vector<FrameMeta> frames = live.ReadAll();
  EXPECT_TRUE(live.ended) << live.status;
  ASSERT_EQ(frames.size(), 30u);
  EXPECT_EQ(frames[3].width, 97);
  EXPECT_EQ(frames[3].height, 55);
  ExpectLiveLaws(frames, live);
}

TEST(LiveUdp, MpegTs) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  const std::string ts = MakeTs(dir, TestPicture("128x96", 50) + kH264 + " -g 10");
  // The port is held while libav uses it, too: with SO_REUSEADDR the last one bound is sent to.
  const int holder = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(holder, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* any = reinterpret_cast<sockaddr*>(&address);
  ASSERT_EQ(::bind(holder, any, size), 0);
  ASSERT_EQ(::getsockname(holder, any, &size), 0);
  std::atomic<bool> stop{false};
  std::thread sender([&] {
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    while (!stop) {
      for (size_t at = 0; at < ts.size() && !stop; at += 1316) {
        ::sendto(fd, ts.data() + at, std::min<size_t>(1316, ts.size() - at), 0, any, size);
        std::this_thread::sleep_for(std::chrono::milliseconds(2));  // a pace that can be kept
      }
    }
    ::close(fd);
  });
  Live live("udp://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) +
            "?reuse=1&localaddr=127.0.0.1");
  const std::vector<FrameMeta> frames = live.Read(60);
  stop = true;
  sender.join();
  ::close(holder);
  EXPECT_EQ(frames.size(), 60u) << live.status;
  ExpectLiveLaws(frames, live);
}

class NoCameraAtAll : public testing::TestWithParam<const char*> {
 protected:
  std::string Url(int port) const {
    return std::string(GetParam()) + "://viewer:secretword@127.0.0.1:" + std::to_string(port) +
           "/live";
  }
};

TEST_P(NoCameraAtAll, GarbageIsUnavailable) {
  TcpServer server([](int fd) {
    std::mt19937 random(7);
    std::string bytes(4096, '\0');
    for (int i = 0; i < 500; ++i) {
      for (char& c : bytes) c = static_cast<char>(random());
      if (!SendAll(fd, bytes)) return;
    }
  });
  LiveOptions unhurried;  // RTSP is read byte by byte
  unhurried.connect_timeout_us = 0;
  Live live(Url(server.port()), unhurried);
  EXPECT_TRUE(absl::IsUnavailable(live.Connect())) << live.status;
  EXPECT_THAT(std::string(MessageOf(live.status)), HasSubstr("cam://door"));
  EXPECT_THAT(std::string(MessageOf(live.status)), Not(HasSubstr("secretword")));
}

TEST_P(NoCameraAtAll, AnEndAtOnceIsUnavailable) {
  TcpServer server([](int) {});
  Live live(Url(server.port()));
  EXPECT_TRUE(absl::IsUnavailable(live.Connect())) << live.status;
}

TEST_P(NoCameraAtAll, NobodyListeningIsUnavailable) {
  int port = 0;
  {
    port = TcpServer([](int) {}).port();
  }
  Live live(Url(port));
  EXPECT_TRUE(absl::IsUnavailable(live.Connect())) << live.status;
  EXPECT_THAT(std::string(MessageOf(live.status)), HasSubstr("refused"));
}

TEST_P(NoCameraAtAll, CancelEndsABlackHole) {
  std::atomic<bool> connected{false};
  TcpServer server([&](int fd) {
    connected = true;
    while (!ReadHead(fd).empty()) {
    }
  });
  Live live(Url(server.port()));
  absl::Status status;
  std::thread connecting([&] { status = live.stream->Connect(); });
  while (!connected) std::this_thread::yield();
  live.stream->Cancel();
  connecting.join();
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
}

TEST_P(NoCameraAtAll, GiveUpEndsABlackHole) {
  TcpServer server([&](int fd) {
    while (!ReadHead(fd).empty()) {
    }
  });
  int asked = 0;
  LiveOptions options;
  options.give_up = [&] { return ++asked > 5; };
  Live live(Url(server.port()), options);
  EXPECT_TRUE(absl::IsCancelled(live.Connect())) << live.status;
}

TEST_P(NoCameraAtAll, TheConnectTimeoutEndsABlackHole) {
  TcpServer server([&](int fd) {
    while (!ReadHead(fd).empty()) {
    }
  });
  LiveOptions options;
  options.connect_timeout_us = 300'000;
  Live live(Url(server.port()), options);
  EXPECT_TRUE(absl::IsDeadlineExceeded(live.Connect())) << live.status;
}

INSTANTIATE_TEST_SUITE_P(Schemes, NoCameraAtAll,
                         testing::Values("rtsp", "rtsps", "rtmp", "http", "https"));

}  // namespace
}  // namespace sightline::test
