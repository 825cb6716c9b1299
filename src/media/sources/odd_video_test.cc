// Videos that are whole but not the common case: pixel formats, rotation, variable rate, sound,
// threads, clocks, limits; and how a source behaves towards its user.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

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

struct Converted {
  const char* name;
  const char* encode;
  PixelFormat format;
  const char* raw_format;  // ffmpeg's name of that
};
const Converted kConverted[] = {
    {"yuv420p10", "-c:v ffv1 -pix_fmt yuv420p10le", PixelFormat::kI420, "yuv420p"},
    {"yuv422p10", "-c:v ffv1 -pix_fmt yuv422p10le", PixelFormat::kI422, "yuv422p"},
    {"yuv444p12", "-c:v ffv1 -pix_fmt yuv444p12le", PixelFormat::kI444, "yuv444p"},
    {"yuv411p", "-c:v ffv1 -pix_fmt yuv411p", PixelFormat::kI422, "yuv422p"},
    {"yuv410p", "-c:v ffv1 -pix_fmt yuv410p", PixelFormat::kI420, "yuv420p"},
    {"yuv440p", "-c:v ffv1 -pix_fmt yuv440p", PixelFormat::kI444, "yuv444p"},
    {"yuva420p", "-c:v ffv1 -pix_fmt yuva420p", PixelFormat::kI420, "yuv420p"},
    {"gray16", "-c:v ffv1 -pix_fmt gray16le", PixelFormat::kGray8, "gray"},
    {"bgra", "-c:v ffv1 -pix_fmt bgra", PixelFormat::kBgr24, "bgr24"},
    {"gbrp", "-c:v ffv1 -pix_fmt gbrp", PixelFormat::kBgr24, "bgr24"},
    {"palette", "-c:v png -pix_fmt pal8", PixelFormat::kBgr24, "bgr24"},
    {"bits", "-c:v rawvideo -pix_fmt monob", PixelFormat::kGray8, "gray"},
    {"packed", "-c:v rawvideo -pix_fmt uyvy422", PixelFormat::kI422, "yuv422p"},
    {"odd_vp9", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8", PixelFormat::kI420, "yuv420p"},
    {"odd_mjpeg", "-c:v mjpeg -pix_fmt yuvj422p", PixelFormat::kI422, "yuvj422p"},
};

class ConvertedFormat : public testing::TestWithParam<Converted> {};

TEST_P(ConvertedFormat, IsNearWhatFfmpegMakesOfIt) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  const std::string clip = dir / "clip.mkv";
  // The test picture comes in even sizes only. Matroska does not take every kind of raw video.
  const bool raw = std::string(GetParam().encode).find("rawvideo") != std::string::npos;
  ASSERT_TRUE(Ffmpeg(TestPicture("128x96", 3) + "-vf scale=127:73 " + GetParam().encode + " -f " +
                     (raw ? "nut " : "matroska ") + clip));
  FrameLedger ledger;
  auto source = VideoFileSource::Create(OptionsFor(clip), ledger);
  ASSERT_TRUE(source.ok()) << source.status();
  std::vector<uint8_t> ours;
  for (int i = 0; i < 3; ++i) {
    auto next = (*source)->Next();
    ASSERT_TRUE(next.ok() && next->has_value());
    const Frame& frame = **next;
    EXPECT_EQ(frame.image.format, GetParam().format);
    EXPECT_EQ(frame.image.width, 127);
    EXPECT_EQ(frame.image.height, 73);
    const std::vector<uint8_t> packed = test::Packed(frame.image);
    ours.insert(ours.end(), packed.begin(), packed.end());
  }
  ASSERT_TRUE(Ffmpeg("-i " + clip +
                     " -vsync passthrough -sws_flags accurate_rnd+bicubic -f rawvideo -pix_fmt " +
                     GetParam().raw_format + " " + (dir / "raw")));
  const std::vector<uint8_t> theirs = Bytes(dir / "raw");
  ASSERT_EQ(ours.size(), theirs.size());
  double sum = 0;
  for (size_t i = 0; i < ours.size(); ++i) sum += std::abs(int{ours[i]} - int{theirs[i]});
  EXPECT_LT(sum / static_cast<double>(ours.size()), 0.5);
}

INSTANTIATE_TEST_SUITE_P(Formats, ConvertedFormat, testing::ValuesIn(kConverted),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(OddVideo, ColoursAreWhatTheStreamSays) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  const auto read = [&](const std::string& tags) {
    const std::string clip = dir / "clip.mp4";
    EXPECT_TRUE(
        Ffmpeg(TestPicture("64x48", 2) + "-c:v libx264 -pix_fmt yuv420p " + tags + " " + clip));
    return ReadVideo(clip).frames.at(0);
  };
  EXPECT_EQ(read("").matrix, ColorMatrix::kBt601);
  EXPECT_EQ(read("").range, ColorRange::kLimited);
  EXPECT_EQ(read("-colorspace bt709").matrix, ColorMatrix::kBt709);
  EXPECT_EQ(read("-colorspace smpte170m").matrix, ColorMatrix::kBt601);
  EXPECT_EQ(read("-colorspace bt2020nc").matrix, ColorMatrix::kBt709);
  EXPECT_EQ(read("-color_range pc").range, ColorRange::kFull);
}

TEST(OddVideo, RotationIsApplied) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  ASSERT_TRUE(
      Ffmpeg(TestPicture("96x64", 3) + "-c:v libx264 -pix_fmt yuv420p " + (dir / "plain.mp4")));
  ASSERT_TRUE(
      Ffmpeg(TestPicture("96x64", 3) + "-c:v libx264 -pix_fmt yuv422p " + (dir / "plain422.mp4")));
  for (const char* degrees : {"90", "180", "270"}) {
    SCOPED_TRACE(degrees);
    const std::string turned = dir / "turned.mp4";
    ASSERT_TRUE(Ffmpeg("-i " + (dir / "plain.mp4") + " -c copy -metadata:s:v:0 rotate=" + degrees +
                       " " + turned));
    const Seen seen = ReadVideo(turned);
    ASSERT_TRUE(seen.status.ok());
    const bool sideways = std::string(degrees) != "180";
    EXPECT_EQ(seen.info.width, sideways ? 64 : 96);
    EXPECT_EQ(seen.frames.at(0).meta.height, sideways ? 96 : 64);
    // ffmpeg turns it, too.
    const auto reference = test::FramesByFfmpeg(turned, "yuv420p", 96 * 64 * 3 / 2, dir / "raw");
    ASSERT_EQ(reference.size(), seen.frames.size());
    for (size_t i = 0; i < reference.size(); ++i) EXPECT_EQ(seen.frames[i].pixels, reference[i]);
  }
  ASSERT_TRUE(Ffmpeg("-i " + (dir / "plain422.mp4") + " -c copy -metadata:s:v:0 rotate=90 " +
                     (dir / "t422.mp4")));
  const Seen seen = ReadVideo(dir / "t422.mp4");
  EXPECT_EQ(seen.frames.at(0).format, PixelFormat::kI420);
  EXPECT_EQ(seen.frames.at(0).meta.width, 64);
}

TEST(OddVideo, VariableRateKeepsItsStamps) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  const std::string clip = dir / "clip.mp4";
  ASSERT_TRUE(
      Ffmpeg("-f lavfi -i testsrc2=size=64x48:rate=25 -vf 'select=not(mod(n\\,3))+not(mod(n\\,7))' "
             "-frames:v 40 -vsync vfr -c:v libx264 -bf 2 -pix_fmt yuv420p " +
             clip));
  const Seen seen = ReadVideo(clip);
  ASSERT_TRUE(seen.status.ok());
  ASSERT_EQ(seen.frames.size(), 40u);
  int n = 0;
  for (const test::SeenFrame& frame : seen.frames) {
    EXPECT_NEAR(frame.meta.time.pts_us, n * 40'000, 100);
    do {
      ++n;
    } while (n % 3 != 0 && n % 7 != 0);
  }
  SourceOptions options = OptionsFor(clip);
  options.selection.target_fps = 5;
  const Seen fewer = ReadVideo(options);
  ExpectLaws(fewer);
  EXPECT_LE(fewer.frames.size(), static_cast<size_t>(std::ceil(n / 25.0 * 5)) + 1);
  EXPECT_GE(fewer.frames.size(), 15u);
}

TEST(OddVideo, SoundAndCoverPicturesAreNotFrames) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  ASSERT_TRUE(Ffmpeg("-f lavfi -i testsrc2=size=64x48:rate=1 -frames:v 1 " + (dir / "cover.png")));
  ASSERT_TRUE(
      Ffmpeg("-f lavfi -i testsrc2=size=64x48:rate=25 -f lavfi -i sine -i " + (dir / "cover.png") +
             " -map 2 -map 1 -map 0 -t 1 -c:v:1 libx264 -pix_fmt:v:1 yuv420p -c:a aac -c:v:0 copy "
             "-disposition:v:0 attached_pic " +
             (dir / "clip.mp4")));
  const Seen seen = ReadVideo(dir / "clip.mp4");
  ASSERT_TRUE(seen.status.ok()) << seen.status;
  EXPECT_EQ(seen.info.codec, "h264");
  EXPECT_EQ(seen.frames.size(), 25u);
  ASSERT_TRUE(Ffmpeg("-f lavfi -i sine -t 1 -c:a aac " + (dir / "sound.m4a")));
  EXPECT_THAT(std::string(MessageOf(ReadVideo(dir / "sound.m4a").status)), HasSubstr("no video"));
}

TEST(OddVideo, DecoderThreadsChangeNothing) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  for (const char* encode :
       {"-c:v libx264 -bf 3", "-c:v mpeg4 -bf 2", "-c:v libx265 -x265-params log-level=none"}) {
    ASSERT_TRUE(
        Ffmpeg(TestPicture("128x96", 60) + encode + " -pix_fmt yuv420p " + (dir / "clip.mp4")));
    const Seen one = ReadVideo(dir / "clip.mp4");
    SourceOptions options = OptionsFor(dir / "clip.mp4");
    options.decode_threads = 4;
    const Seen four = ReadVideo(options);
    ASSERT_EQ(one.frames.size(), 60u);
    ASSERT_EQ(four.frames.size(), 60u);
    for (size_t i = 0; i < 60; ++i) {
      EXPECT_EQ(one.frames[i].pixels, four.frames[i].pixels);
      EXPECT_EQ(one.frames[i].meta.time.pts_us, four.frames[i].meta.time.pts_us);
    }
  }
}

TEST(OddVideo, CaptureTimeComesFromTheConfigurationElseTheContainerElse1970) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  ASSERT_TRUE(Ffmpeg(TestPicture("64x48", 3) +
                     "-c:v mpeg4 -metadata creation_time=2024-05-06T07:08:09Z " +
                     (dir / "dated.mp4")));
  ASSERT_TRUE(Ffmpeg(TestPicture("64x48", 3) + "-c:v mpeg4 " + (dir / "plain.avi")));
  const Seen dated = ReadVideo(dir / "dated.mp4");
  EXPECT_EQ(dated.info.clock, ClockSource::kContainer);
  EXPECT_EQ(dated.frames.at(1).meta.time.capture_utc_us, 1'714'979'289'040'000);
  const Seen plain = ReadVideo(dir / "plain.avi");
  EXPECT_EQ(plain.info.clock, ClockSource::kEpoch);
  EXPECT_EQ(plain.frames.at(1).meta.time.capture_utc_us, 40'000);
  SourceOptions options = OptionsFor(dir / "dated.mp4");
  options.start_utc_us = 5;
  const Seen configured = ReadVideo(options);
  EXPECT_EQ(configured.frames.at(0).meta.time.clock, ClockSource::kConfigured);
  EXPECT_EQ(configured.frames.at(0).meta.time.capture_utc_us, 5);
}

TEST(OddVideo, TheFingerprintIsOfTheContent) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  ASSERT_TRUE(Ffmpeg(TestPicture("64x48", 3) + "-c:v mpeg4 " + (dir / "a.avi")));
  ASSERT_TRUE(Ffmpeg(TestPicture("64x48", 4) + "-c:v mpeg4 " + (dir / "b.avi")));
  std::filesystem::copy(dir / "a.avi", dir / "moved.avi");
  EXPECT_EQ(ReadVideo(dir / "a.avi").info.fingerprint,
            ReadVideo(dir / "moved.avi").info.fingerprint);
  EXPECT_NE(ReadVideo(dir / "a.avi").info.fingerprint, ReadVideo(dir / "b.avi").info.fingerprint);
  EXPECT_NE(ReadVideo(dir / "a.avi").info.fingerprint, Hash128{});
}

TEST(OddVideo, LimitsHold) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  ASSERT_TRUE(Ffmpeg(TestPicture("128x96", 2) + "-c:v mpeg4 " + (dir / "a.avi")));
  FrameLedger ledger;
  const auto refused =
      VideoFileSource::Create(OptionsFor(dir / "a.avi"), ledger, {.max_video_side_px = 127});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted) << refused.status();
  EXPECT_THAT(std::string(MessageOf(refused.status())), HasSubstr("128x96"));
  EXPECT_TRUE(
      VideoFileSource::Create(OptionsFor(dir / "a.avi"), ledger, {.max_video_side_px = 128}).ok());
}

TEST(OddVideo, CancelEndsTheReadingAndTheLawHolds) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  ASSERT_TRUE(
      Ffmpeg(TestPicture("64x48", 30) + "-c:v libx264 -bf 3 -pix_fmt yuv420p " + (dir / "a.mp4")));
  for (const int every_nth : {1, 3}) {
    FrameLedger ledger;
    SourceOptions options = OptionsFor(dir / "a.mp4");
    options.selection.every_nth = every_nth;
    auto source = VideoFileSource::Create(options, ledger);
    ASSERT_TRUE(source.ok());
    for (int i = 0; i < 4; ++i) {
      auto next = (*source)->Next();
      ASSERT_TRUE(next.ok() && next->has_value());
      ledger.CountProcessed();
    }
    (*source)->Cancel();
    EXPECT_EQ((*source)->Next().status().code(), absl::StatusCode::kCancelled);
    EXPECT_EQ(ledger.Snapshot().in_flight(), 0);
  }
}

TEST(OddVideo, FramesOutliveTheirSource) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  ASSERT_TRUE(
      Ffmpeg(TestPicture("64x48", 20) + "-c:v libx264 -pix_fmt yuv420p " + (dir / "a.mp4")));
  const Seen seen = ReadVideo(dir / "a.mp4");
  std::vector<Frame> held;
  {
    FrameLedger ledger;
    auto source = VideoFileSource::Create(OptionsFor(dir / "a.mp4"), ledger);
    ASSERT_TRUE(source.ok());
    for (;;) {
      auto next = (*source)->Next();
      ASSERT_TRUE(next.ok());
      if (!next->has_value()) break;
      held.push_back(**next);
    }
    auto after = (*source)->Next();  // the end stays the end
    EXPECT_TRUE(after.ok() && !after->has_value());
  }
  ASSERT_EQ(held.size(), 20u);
  for (size_t i = 0; i < held.size(); ++i)
    EXPECT_EQ(HashBytes(test::Packed(held[i].image)), seen.frames[i].pixels);
}

// Real recordings, against ffprobe.
TEST(RealVideo, FrameCountsAreThoseOfFfprobe) {
  SKIP_WITHOUT_FFMPEG();
  std::vector<std::string> clips;
  const std::string doc = "/usr/share/doc/opencv-doc/examples/data/";
  for (const char* name : {"vtest.avi", "Megamind.avi", "Megamind_bugy.avi", "tree.avi"}) {
    if (std::filesystem::exists(doc + name)) clips.push_back(doc + name);
  }
  if (const char* data = std::getenv("SIGHTLINE_TEST_DATA")) {
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(std::string(data) + "/media/video")) {
      const std::string extension = entry.path().extension();
      if (extension == ".mp4" || extension == ".avi" || extension == ".mkv" ||
          extension == ".h265") {
        clips.push_back(entry.path());
      }
    }
  }
  if (clips.empty()) GTEST_SKIP() << "neither opencv-doc nor SIGHTLINE_TEST_DATA is there";
  for (const std::string& clip : clips) {
    SCOPED_TRACE(clip);
    const Seen seen = ReadVideo(clip);
    ASSERT_TRUE(seen.status.ok()) << seen.status;
    ExpectLaws(seen);
    EXPECT_EQ(static_cast<int>(seen.frames.size()), test::CountFramesByFfprobe(clip));
    EXPECT_EQ(seen.counts.total_dropped(), 0u);
    SourceOptions options = OptionsFor(clip);
    options.selection = {.every_nth = 3, .target_fps = 5};
    const Seen fewer = ReadVideo(options);
    ExpectLaws(fewer);
    EXPECT_EQ(fewer.counts.frames_in, seen.counts.frames_in);
    for (const test::SeenFrame& frame : fewer.frames) {
      ASSERT_EQ(frame.pixels, seen.frames.at(frame.meta.ordinal).pixels) << frame.meta.ordinal;
      ASSERT_EQ(frame.meta.time.pts_us, seen.frames[frame.meta.ordinal].meta.time.pts_us);
    }
  }
}

}  // namespace
}  // namespace sightline
