#include "media/sources/video_file_source.h"

#include <gtest/gtest.h>

#include <optional>
#include <random>

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

constexpr char kSize[] = "176x144";

// What selection spares the decoder.
enum class Spares { kNothing, kSome, kAll };

struct ClipKind {
  const char* name;
  const char* extension;
  const char* encode;      // ffmpeg's arguments
  const char* raw_format;  // ffmpeg's name of the format that we hand on
  PixelFormat format;
  double bytes_per_pixel;  // of an even-sized picture
  Spares spares = Spares::kNothing;
};

const ClipKind kKinds[] = {
    {"h264_mp4", "mp4", "-c:v libx264 -bf 3 -g 30 -pix_fmt yuv420p", "yuv420p", PixelFormat::kI420,
     1.5, Spares::kSome},
    {"h264_mkv", "mkv", "-c:v libx264 -bf 2 -pix_fmt yuv420p", "yuv420p", PixelFormat::kI420, 1.5,
     Spares::kSome},
    {"h264_ts", "ts", "-c:v libx264 -bf 3 -pix_fmt yuv420p", "yuv420p", PixelFormat::kI420, 1.5,
     Spares::kSome},
    {"h264_raw", "h264", "-c:v libx264 -bf 3 -pix_fmt yuv420p", "yuv420p", PixelFormat::kI420, 1.5},
    {"h264_422", "mp4", "-c:v libx264 -pix_fmt yuv422p", "yuv422p", PixelFormat::kI422, 2,
     Spares::kSome},
    {"h264_444", "mkv", "-c:v libx264 -pix_fmt yuv444p", "yuv444p", PixelFormat::kI444, 3,
     Spares::kSome},
    {"ffv1_gray", "mkv", "-c:v ffv1 -pix_fmt gray", "gray", PixelFormat::kGray8, 1},
    {"h264_rgb", "mkv", "-c:v libx264rgb -qp 0 -pix_fmt rgb24", "bgr24", PixelFormat::kBgr24, 3},
    {"h264_intra_refresh", "mp4",
     "-c:v libx264 -x264-params intra-refresh=1:bframes=0 -pix_fmt yuv420p", "yuv420p",
     PixelFormat::kI420, 1.5},
    {"h264_interlaced", "ts", "-c:v libx264 -flags +ildct+ilme -pix_fmt yuv420p", "yuv420p",
     PixelFormat::kI420, 1.5},
    {"h265_mp4", "mp4", "-c:v libx265 -x265-params log-level=none:bframes=4 -pix_fmt yuv420p",
     "yuv420p", PixelFormat::kI420, 1.5, Spares::kSome},
    {"h265_ts", "ts", "-c:v libx265 -x265-params log-level=none -pix_fmt yuv420p", "yuv420p",
     PixelFormat::kI420, 1.5, Spares::kSome},
    {"mpeg4_avi", "avi", "-c:v mpeg4 -q:v 4", "yuv420p", PixelFormat::kI420, 1.5},
    {"mpeg4_avi_b", "avi", "-c:v mpeg4 -q:v 4 -bf 2", "yuv420p", PixelFormat::kI420, 1.5},
    {"mpeg4_mp4_b", "mp4", "-c:v mpeg4 -q:v 4 -bf 2", "yuv420p", PixelFormat::kI420, 1.5,
     Spares::kSome},
    {"mpeg2_ts", "ts", "-c:v mpeg2video -q:v 4 -bf 2", "yuv420p", PixelFormat::kI420, 1.5,
     Spares::kSome},
    {"mpeg1_mpg", "mpg", "-c:v mpeg1video -q:v 4 -bf 2", "yuv420p", PixelFormat::kI420, 1.5,
     Spares::kSome},
    {"mjpeg_avi", "avi", "-c:v mjpeg -q:v 4 -pix_fmt yuvj420p", "yuvj420p", PixelFormat::kI420, 1.5,
     Spares::kAll},
    {"mjpeg_mkv_422", "mkv", "-c:v mjpeg -q:v 4 -pix_fmt yuvj422p", "yuvj422p", PixelFormat::kI422,
     2, Spares::kAll},
    {"mjpeg_raw", "mjpeg", "-c:v mjpeg -q:v 4 -pix_fmt yuvj420p", "yuvj420p", PixelFormat::kI420,
     1.5, Spares::kAll},
    {"vp8_webm", "webm",
     "-c:v libvpx -b:v 300k -auto-alt-ref 1 -lag-in-frames 16 -deadline realtime -cpu-used 8",
     "yuv420p", PixelFormat::kI420, 1.5},
    {"vp9_webm", "webm",
     "-c:v libvpx-vp9 -b:v 300k -auto-alt-ref 1 -lag-in-frames 16 -deadline realtime -cpu-used 8",
     "yuv420p", PixelFormat::kI420, 1.5},
    {"ffv1_mkv", "mkv", "-c:v ffv1 -pix_fmt yuv420p", "yuv420p", PixelFormat::kI420, 1.5},
    {"raw_avi", "avi", "-c:v rawvideo -pix_fmt bgr24", "bgr24", PixelFormat::kBgr24, 3,
     Spares::kAll},
    {"nv12_nut", "nut", "-c:v rawvideo -pix_fmt nv12", "nv12", PixelFormat::kNv12, 1.5,
     Spares::kAll},
    {"png_mov", "mov", "-c:v png -pix_fmt rgb24", "rgb24", PixelFormat::kRgb24, 3, Spares::kAll},
    {"gif", "gif", "", "bgr24", PixelFormat::kBgr24, 3},
};

// The law that selection before decoding changes nothing but the work: the frames that come out are
// those of the whole clip, with the same numbers, times and pixels, and so is the ledger.
void ExpectSelectionChangesNothing(const std::string& clip, const Seen& all, Spares spares) {
  const FrameSelection selections[] = {{.every_nth = 2},
                                       {.every_nth = 7},
                                       {.every_nth = 1000},
                                       {.every_nth = 1, .target_fps = 10},
                                       {.every_nth = 2, .target_fps = 4}};
  for (const FrameSelection& selection : selections) {
    SCOPED_TRACE(testing::Message() << selection.every_nth << " " << selection.target_fps);
    SourceOptions options = OptionsFor(clip);
    options.selection = selection;
    const Seen skipping = ReadVideo(options);
    const Seen decoding = ReadVideo(options, {.skip_before_decoding = false});
    ASSERT_TRUE(skipping.status.ok()) << skipping.status;
    ExpectLaws(skipping);
    EXPECT_EQ(skipping.counts.frames_in, all.counts.frames_in);
    EXPECT_EQ(skipping.counts.skipped, decoding.counts.skipped);
    EXPECT_EQ(skipping.counts.total_dropped(), 0u);
    ASSERT_EQ(skipping.frames.size(), decoding.frames.size());
    ASSERT_GE(skipping.frames.size(), 1u);
    for (size_t i = 0; i < skipping.frames.size(); ++i) {
      const test::SeenFrame& frame = skipping.frames[i];
      ASSERT_EQ(frame.meta.ordinal, decoding.frames[i].meta.ordinal);
      ASSERT_EQ(frame.pixels, decoding.frames[i].pixels);
      const test::SeenFrame& same = all.frames[frame.meta.ordinal];
      ASSERT_EQ(frame.pixels, same.pixels);
      ASSERT_EQ(frame.meta.time.pts_us, same.meta.time.pts_us);
      ASSERT_EQ(frame.meta.ordinal % selection.every_nth, 0u);
    }
    EXPECT_LE(skipping.spared, skipping.counts.total_skipped());
    if (spares == Spares::kAll) {
      EXPECT_EQ(skipping.spared, skipping.counts.total_skipped());
    }
    if (spares == Spares::kSome) {
      EXPECT_GT(skipping.spared, 0u);
    }
    if (spares == Spares::kNothing) {
      EXPECT_EQ(skipping.spared, 0u);
    }
  }
}

class EveryKind : public testing::TestWithParam<ClipKind> {};

TEST_P(EveryKind, GivesTheFramesThatFfmpegGives) {
  SKIP_WITHOUT_FFMPEG();
  const ClipKind& kind = GetParam();
  const TempDir dir;
  const std::string clip = dir / (std::string("clip.") + kind.extension);
  ASSERT_TRUE(Ffmpeg(TestPicture(kSize, 40) + kind.encode + " " + clip));
  const Seen seen = ReadVideo(clip);
  ASSERT_TRUE(seen.status.ok()) << seen.status;
  ExpectLaws(seen);
  EXPECT_EQ(seen.counts.frames_in, seen.frames.size());
  const auto frame_bytes = static_cast<size_t>(176 * 144 * kind.bytes_per_pixel);
  const std::vector<Hash128> reference =
      test::FramesByFfmpeg(clip, kind.raw_format, frame_bytes, dir / "raw");
  ASSERT_EQ(seen.frames.size(), reference.size());
  EXPECT_GE(seen.frames.size(), 39u);
  for (size_t i = 0; i < reference.size(); ++i) {
    ASSERT_EQ(seen.frames[i].format, kind.format);
    if (kind.format !=
        PixelFormat::kBgr24) {  // ffmpeg's default RGB conversion rounds less carefully
      ASSERT_EQ(seen.frames[i].pixels, reference[i]) << "frame " << i;
    }
    EXPECT_EQ(seen.frames[i].meta.ordinal, i);
    if (seen.info.codec != "gif") {
      EXPECT_NEAR(seen.frames[i].meta.time.pts_us, i * 40'000, 1000);
    }
  }
  if (!HasFailure()) ExpectSelectionChangesNothing(clip, seen, kind.spares);
}

INSTANTIATE_TEST_SUITE_P(Kinds, EveryKind, testing::ValuesIn(kKinds),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace sightline
