// Videos that are cut off, damaged, joined together or odd: the ledger's law holds, times rise,
// nothing crashes, and what can be read is read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "media/sources/video_file_source.h"
#include "media/test_clips.h"

namespace sightline {
namespace {

using test::Bytes;
using test::Ffmpeg;
using test::OptionsFor;
using test::ReadVideo;
using test::Seen;
using test::TempDir;
using test::TestPicture;
using testing::HasSubstr;

struct Container {
  const char* extension;
  const char* encode;
};
const Container kContainers[] = {
    {"mp4", "-c:v libx264 -bf 2 -g 10 -pix_fmt yuv420p -movflags +faststart"},
    {"ts", "-c:v libx264 -bf 2 -g 10 -pix_fmt yuv420p"},
    {"mkv", "-c:v libx265 -x265-params log-level=none -pix_fmt yuv420p"},
    {"avi", "-c:v mpeg4 -bf 2 -g 10"},
    {"mpg", "-c:v mpeg2video -bf 2 -g 10"},
    {"mov", "-c:v mjpeg -pix_fmt yuvj420p -movflags +faststart"},
    {"webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 200k"},
};

std::vector<SourceOptions> WaysToRead(const std::string& path) {
  std::vector<SourceOptions> ways(4, OptionsFor(path));
  ways[1].selection.every_nth = 3;
  ways[2].selection.target_fps = 7;
  ways[3].decode_threads = 3;
  return ways;
}

// Whatever the damage: either an error in one line, or the laws.
void ExpectSane(const std::string& path) {
  for (const SourceOptions& options : WaysToRead(path)) {
    SCOPED_TRACE(testing::Message()
                 << options.selection.every_nth << " " << options.selection.target_fps);
    const Seen seen = ReadVideo(options);
    ExpectLaws(seen);
    if (!seen.status.ok()) {
      EXPECT_EQ(MessageOf(seen.status).find('\n'), std::string_view::npos);
      EXPECT_THAT(std::string(MessageOf(seen.status)), HasSubstr(path));
    }
  }
}

class Damaged : public testing::TestWithParam<Container> {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_FFMPEG();
    clip_ = dir_ / (std::string("clip.") + GetParam().extension);
    ASSERT_TRUE(Ffmpeg(TestPicture("128x96", 50) + GetParam().encode + " " + clip_));
    bytes_ = Bytes(clip_);
    ASSERT_GT(bytes_.size(), 1000u);
  }
  const TempDir dir_;
  std::string clip_;
  std::vector<uint8_t> bytes_;
};

TEST_P(Damaged, CutOffAnywhere) {
  std::mt19937 random(1);
  const std::string cut = dir_ / (std::string("cut.") + GetParam().extension);
  size_t most = 0;
  for (int round = 0; round < 8; ++round) {
    const size_t size = round == 0 ? bytes_.size() * 7 / 8 : 1 + random() % (bytes_.size() - 1);
    test::Write(cut, {bytes_.begin(), bytes_.begin() + static_cast<int64_t>(size)});
    SCOPED_TRACE(size);
    ExpectSane(cut);
    most = std::max(most, ReadVideo(cut).frames.size());
  }
  EXPECT_GT(most, 25u);  // what is there is read
}

TEST_P(Damaged, FlippedBytes) {
  std::mt19937 random(2);
  const std::string flipped = dir_ / (std::string("flipped.") + GetParam().extension);
  for (int round = 0; round < 8; ++round) {
    std::vector<uint8_t> bytes = bytes_;
    for (int i = 0; i < 1 << round; ++i)
      bytes[random() % bytes.size()] = static_cast<uint8_t>(random());
    test::Write(flipped, bytes);
    SCOPED_TRACE(round);
    ExpectSane(flipped);
  }
}

INSTANTIATE_TEST_SUITE_P(Containers, Damaged, testing::ValuesIn(kContainers),
                         [](const auto& info) { return std::string(info.param.extension); });

uint64_t DecodeErrors(const Seen& seen) {
  return seen.counts.dropped[static_cast<size_t>(DropReason::kDecodeError)];
}

// MJPEG packets overwritten with zeros: each is one frame, refused by the decoder, counted once.
TEST(DamagedVideo, RefusedFramesAreCountedOnce) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  const std::string clip = dir / "clip.avi";
  ASSERT_TRUE(Ffmpeg(TestPicture("128x96", 30) + "-c:v mjpeg -pix_fmt yuvj420p " + clip));
  std::vector<uint8_t> bytes = Bytes(clip);
  int frame = 0;
  for (size_t i = 0; i + 3 < bytes.size(); ++i) {
    if (bytes[i] != 0xff || bytes[i + 1] != 0xd8 || bytes[i + 2] != 0xff) continue;
    if (++frame % 10 == 4) std::fill_n(bytes.begin() + static_cast<int64_t>(i), 400, 0);
  }
  ASSERT_EQ(frame, 30);
  test::Write(clip, bytes);
  const Seen all = ReadVideo(clip);
  ASSERT_TRUE(all.status.ok()) << all.status;
  ExpectLaws(all);
  EXPECT_EQ(all.counts.frames_in, 30u);
  EXPECT_EQ(DecodeErrors(all), 3u);
  // Of every third frame (0, 3, 6 ...) number 3 is damaged; 13 and 23 are left out anyway.
  SourceOptions options = OptionsFor(clip);
  options.selection.every_nth = 3;
  for (const bool skip : {true, false}) {
    const Seen selected = ReadVideo(options, {.skip_before_decoding = skip});
    ExpectLaws(selected);
    EXPECT_EQ(selected.counts.frames_in, 30u);
    EXPECT_EQ(DecodeErrors(selected), 1u);
    EXPECT_EQ(selected.frames.size(), 9u);
  }
}

TEST(DamagedVideo, NothingButGarbageInsideIsAnError) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  const std::string clip = dir / "clip.avi";
  ASSERT_TRUE(Ffmpeg(TestPicture("128x96", 10) + "-c:v mjpeg -pix_fmt yuvj420p " + clip));
  std::vector<uint8_t> bytes = Bytes(clip);
  for (size_t i = 0; i + 3 < bytes.size(); ++i) {
    if (bytes[i] == 0xff && bytes[i + 1] == 0xd8)
      std::fill_n(bytes.begin() + static_cast<int64_t>(i), 600, 1);
  }
  test::Write(clip, bytes);
  const Seen seen = ReadVideo(clip);
  EXPECT_FALSE(seen.status.ok());
  ExpectLaws(seen);
}

// Two recordings end to end: the clock starts again, the size changes, nothing is lost.
TEST(DamagedVideo, JoinedStreamsOfAnotherSize) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  const std::string x264 = "-c:v libx264 -bf 2 -pix_fmt yuv420p ";
  ASSERT_TRUE(Ffmpeg(TestPicture("128x96", 30) + x264 + (dir / "a.ts")));
  ASSERT_TRUE(Ffmpeg(TestPicture("192x112", 20) + x264 + (dir / "b.ts")));
  std::vector<uint8_t> joined = Bytes(dir / "a.ts");
  const std::vector<uint8_t> second = Bytes(dir / "b.ts");
  joined.insert(joined.end(), second.begin(), second.end());
  test::Write(dir / "joined.ts", joined);
  const int expected = test::CountFramesByFfprobe(dir / "joined.ts");
  ASSERT_GE(expected, 48);
  for (const SourceOptions& options : WaysToRead(dir / "joined.ts")) {
    const Seen seen = ReadVideo(options);
    ASSERT_TRUE(seen.status.ok()) << seen.status;
    ExpectLaws(seen);
    EXPECT_GE(seen.counts.frames_in, static_cast<uint64_t>(expected));
    EXPECT_LE(seen.counts.frames_in, 50u);
    EXPECT_EQ(seen.frames.front().meta.width, 128);
    EXPECT_EQ(seen.frames.back().meta.width, 192);
    EXPECT_EQ(seen.frames.back().meta.time.epoch, 1u);
  }
}

TEST(DamagedVideo, AWrappedClockIsNoNewEpoch) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  // 33 bits at 90 kHz end after 95443.7 s; the muxer's own delay comes on top.
  ASSERT_TRUE(Ffmpeg(TestPicture("128x96", 100) +
                     "-c:v libx264 -bf 2 -pix_fmt yuv420p -output_ts_offset 95441 -muxdelay 0 " +
                     (dir / "wrap.ts")));
  for (const SourceOptions& options : WaysToRead(dir / "wrap.ts")) {
    const Seen seen = ReadVideo(options);
    ASSERT_TRUE(seen.status.ok()) << seen.status;
    ExpectLaws(seen);
    EXPECT_EQ(seen.counts.frames_in, 100u);
    for (const test::SeenFrame& frame : seen.frames) {
      EXPECT_EQ(frame.meta.time.epoch, 0u);
      EXPECT_NEAR(frame.meta.time.pts_us, frame.meta.ordinal * 40'000, 20);
    }
  }
}

TEST(DamagedVideo, AJumpAheadStartsAnEpoch) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  ASSERT_TRUE(Ffmpeg(TestPicture("128x96", 40) +
                     "-vf 'setpts=PTS+gte(N\\,20)*100/TB' -vsync passthrough "
                     "-c:v libx264 -bf 0 -pix_fmt yuv420p " +
                     (dir / "jump.mkv")));
  const Seen seen = ReadVideo(dir / "jump.mkv");
  ASSERT_TRUE(seen.status.ok()) << seen.status;
  ExpectLaws(seen);
  ASSERT_EQ(seen.frames.size(), 40u);
  EXPECT_EQ(seen.frames[19].meta.time.epoch, 0u);
  EXPECT_EQ(seen.frames[20].meta.time.epoch, 1u);
  EXPECT_EQ(seen.frames[20].meta.time.pts_us, 0);
  EXPECT_NEAR(seen.frames[39].meta.time.capture_utc_us, 39 * 40'000, 2'000);
}

}  // namespace
}  // namespace sightline
