// Recordings on HTTP servers, and what is none.
#include "media/sources/http_recording.h"

#include <gmock/gmock.h>

#include "media/image_codec.h"
#include "media/test_clips.h"
#include "media/test_servers.h"

namespace sightline::test {
namespace {

std::string Text(const std::string& path) {
  const std::vector<uint8_t> bytes = Bytes(path);
  return {bytes.begin(), bytes.end()};
}

struct Read {
  absl::Status status;
  bool recording = false;
  SourceInfo info;
  std::vector<FrameMeta> frames;
  FrameCounts counts;
};

Read ReadAll(const SourceOptions& options) {
  Read read;
  FrameLedger ledger;
  const auto source = OpenHttpRecording(options, ledger);
  read.status = source.status();
  read.recording = source.ok() && *source != nullptr;
  if (!read.recording) return read;
  read.info = (*source)->info();
  for (;;) {
    const absl::StatusOr<std::optional<Frame>> frame = (*source)->Next();
    read.status = frame.status();
    if (!frame.ok() || !frame->has_value()) break;
    read.frames.push_back((*frame)->meta);
    ledger.CountProcessed();
  }
  read.counts = ledger.Snapshot();
  EXPECT_EQ(read.counts.in_flight(), 0);
  return read;
}

// With pictures that wait for others, and the index at the end.
std::string MakeMp4(const TempDir& dir, int frames) {
  const std::string path = dir / "clip.mp4";
  EXPECT_TRUE(Ffmpeg(TestPicture("128x96", frames) +
                     "-c:v libx264 -preset veryfast -bf 2 -g 25 -pix_fmt yuv420p '" + path + "'"));
  return path;
}

TEST(HttpRecording, IsReadLikeTheFile) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  const std::string path = MakeMp4(dir, 60);
  HttpServer server;
  server.AllowRanges();
  server.Add("/x", "video/mp4", Text(path));
  const Read http = ReadAll(OptionsFor(server.Url("/x")));
  ASSERT_TRUE(http.status.ok()) << http.status;
  ASSERT_TRUE(http.recording);
  const Seen file = ReadVideo(OptionsFor(path));
  ASSERT_EQ(http.frames.size(), 60u);
  ASSERT_EQ(file.frames.size(), 60u);
  EXPECT_FALSE(http.info.live);
  EXPECT_EQ(http.info.duration_us, file.info.duration_us);
  for (size_t i = 0; i < 60; ++i) {
    EXPECT_EQ(http.frames[i].ordinal, i);
    EXPECT_EQ(http.frames[i].time.pts_us, static_cast<int64_t>(i) * 40'000);
    EXPECT_EQ(http.frames[i].time.epoch, 0u);
  }
  EXPECT_EQ(http.counts.total_dropped(), 0u);
}

TEST(HttpRecording, HasTheSameFingerprintEveryTimeAndAnotherThanOthers) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  HttpServer server;
  server.AllowRanges();
  server.Add("/one", "video/mp4", Text(MakeMp4(dir, 30)));
  server.Add("/moved", "", Text(dir / "clip.mp4"));
  server.Add("/other", "video/mp4", Text(MakeMp4(dir, 31)));
  const Read one = ReadAll(OptionsFor(server.Url("/one")));
  ASSERT_TRUE(one.recording) << one.status;
  EXPECT_FALSE(one.info.fingerprint == Hash128{});
  EXPECT_TRUE(one.info.fingerprint == ReadAll(OptionsFor(server.Url("/moved"))).info.fingerprint);
  EXPECT_FALSE(one.info.fingerprint == ReadAll(OptionsFor(server.Url("/other"))).info.fingerprint);
}

TEST(HttpRecording, IsReadFromAServerThatCannotSeek) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  ASSERT_TRUE(Ffmpeg(TestPicture("128x96", 50) + "-c:v libx264 -g 10 -pix_fmt yuv420p -f mpegts '" +
                     (dir / "clip.ts") + "'"));
  HttpServer server;
  server.Add("/clip", "video/mp2t", Text(dir / "clip.ts"));
  const Read read = ReadAll(OptionsFor(server.Url("/clip")));
  EXPECT_TRUE(read.status.ok()) << read.status;
  EXPECT_EQ(read.frames.size(), 50u);
}

TEST(HttpRecording, GoesOnWhereTheConnectionBroke) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  ASSERT_TRUE(Ffmpeg(TestPicture("320x240", 100) +
                     "-c:v libx264 -g 25 -pix_fmt yuv420p -movflags +faststart '" +
                     (dir / "clip.mp4") + "'"));
  HttpServer server;
  server.AllowRanges();
  server.BreakOnce();
  server.Add("/clip", "video/mp4", Text(dir / "clip.mp4"));
  const Read read = ReadAll(OptionsFor(server.Url("/clip")));
  EXPECT_TRUE(read.status.ok()) << read.status;
  EXPECT_EQ(read.frames.size(), 100u);
  EXPECT_EQ(read.counts.total_dropped(), 0u);
}

TEST(HttpRecording, APlaylistWithAnEndIsOneAndWithoutIsLive) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  ASSERT_TRUE(Ffmpeg(TestPicture("128x96", 75) +
                     "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 25 -f hls -hls_time 1 "
                     "-hls_list_size 0 -hls_segment_filename '" +
                     (dir / "part%d.ts") + "' '" + (dir / "all.m3u8") + "'"));
  const std::string ended = Text(dir / "all.m3u8");
  HttpServer server;
  server.Add("/ended", "application/vnd.apple.mpegurl", ended);
  server.Add("/live", "application/vnd.apple.mpegurl",
             ended.substr(0, ended.find("#EXT-X-ENDLIST")));
  for (const char* name : {"part0.ts", "part1.ts", "part2.ts"}) {
    server.Add(std::string("/") + name, "video/mp2t", Text(dir / name));
  }
  const Read read = ReadAll(OptionsFor(server.Url("/ended")));
  EXPECT_TRUE(read.status.ok()) << read.status;
  EXPECT_EQ(read.frames.size(), 75u);
  EXPECT_TRUE(read.info.fingerprint == ReadAll(OptionsFor(server.Url("/ended"))).info.fingerprint);
  const Read live = ReadAll(OptionsFor(server.Url("/live")));
  EXPECT_TRUE(live.status.ok()) << live.status;
  EXPECT_FALSE(live.recording);
}

TEST(HttpRecording, PicturesAndStreamsWithoutALengthAreNone) {
  const std::vector<uint8_t> pixels(size_t{640} * 480 * 3, 90);
  ImageView view{.format = PixelFormat::kBgr24, .width = 640, .height = 480};
  view.planes[0] = pixels.data();
  view.strides[0] = 640 * 3;
  const std::vector<uint8_t> jpeg = EncodeJpeg(view).value();
  HttpServer server;
  server.Add("/snapshot.mp4", "image/jpeg", {jpeg.begin(), jpeg.end()});
  server.AddMjpeg("/video.mp4", {jpeg.begin(), jpeg.end()}, -1);
  for (const char* path : {"/snapshot.mp4", "/video.mp4"}) {
    const Read read = ReadAll(OptionsFor(server.Url(path)));
    EXPECT_TRUE(read.status.ok()) << path << ": " << read.status;
    EXPECT_FALSE(read.recording) << path;
  }
  EXPECT_TRUE(absl::IsUnavailable(ReadAll(OptionsFor(server.Url("/nothing"))).status));
}

}  // namespace
}  // namespace sightline::test
