// SRT from ffmpeg over the loopback.
#include <string_view>

#include "media/sources/test_live.h"

namespace sightline::test {
namespace {

bool HaveSrt() {
  return std::system("ffmpeg -hide_banner -protocols 2>/dev/null | grep -qw srt") == 0;
}

// A port of this machine's loopback on which nobody receives.
int FreeUdpPort() {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* any = reinterpret_cast<sockaddr*>(&address);
  EXPECT_EQ(::bind(fd, any, size), 0);
  EXPECT_EQ(::getsockname(fd, any, &size), 0);
  ::close(fd);
  return ntohs(address.sin_port);
}

class SrtCamera {
 public:
  SrtCamera() : url_("srt://127.0.0.1:" + std::to_string(FreeUdpPort())) {
    std::vector<std::string> words = {"ffmpeg",
                                      "-nostdin",
                                      "-v",
                                      "quiet",
                                      "-re",
                                      "-f",
                                      "lavfi",
                                      "-i",
                                      "testsrc2=size=128x96:rate=25",
                                      "-c:v",
                                      "libx264",
                                      "-preset",
                                      "ultrafast",
                                      "-tune",
                                      "zerolatency",
                                      "-g",
                                      "10",
                                      "-pix_fmt",
                                      "yuv420p",
                                      "-f",
                                      "mpegts",
                                      url_ + "?mode=listener"};
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    if (::posix_spawnp(&pid_, "ffmpeg", nullptr, nullptr, argv.data(), environ) != 0) pid_ = -1;
  }
  SrtCamera(const SrtCamera&) = delete;
  SrtCamera& operator=(const SrtCamera&) = delete;
  ~SrtCamera() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  const std::string& url() const { return url_; }

 private:
  const std::string url_;
  pid_t pid_ = -1;
};

TEST(LiveSrt, FramesArrive) {
  if (!HaveSrt()) GTEST_SKIP() << "there is no ffmpeg that speaks SRT";
  // It serves the first that calls, and is called in vain while it is still starting.
  constexpr int kMostAttempts = 4;
  for (int attempt = 1; attempt <= kMostAttempts; ++attempt) {
    const SrtCamera camera;
    Live live(camera.url());
    if (!live.Connect().ok() && attempt < kMostAttempts) continue;
    live.connected = live.status.ok();
    ASSERT_TRUE(live.status.ok()) << live.status;
    const std::vector<FrameMeta> frames = live.Read(30);
    ASSERT_EQ(frames.size(), 30u) << live.status;
    ExpectLiveLaws(frames, live);
    EXPECT_EQ(frames[0].width, 128);
    EXPECT_EQ(live.stream->info().container, "mpegts");
    return;
  }
}

TEST(LiveSrt, NobodyThereIsAnError) {
  if (!HaveSrt()) GTEST_SKIP() << "there is no ffmpeg that speaks SRT";
  LiveOptions options;
  options.connect_timeout_us = 1'000'000;
  Live live("srt://127.0.0.1:" + std::to_string(FreeUdpPort()), options);
  const absl::Status status = live.Connect();
  EXPECT_TRUE(absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status)) << status;
}

}  // namespace
}  // namespace sightline::test
