#include "media/video_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <thread>

#include "base/check.h"
#include "base/test_full_disk.h"
#include "base/whole_file.h"
#include "media/test_clips.h"

namespace sightline {
namespace {

using test::OptionsFor;
using test::ReadVideo;
using test::Seen;
using test::TempDir;
using testing::HasSubstr;

// A smooth picture that moves with `shift`, in BGR.
std::vector<uint8_t> Picture(int width, int height, int shift) {
  std::vector<uint8_t> bgr;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      bgr.push_back(static_cast<uint8_t>((x * 2 + shift * 3) % 200 + 20));
      bgr.push_back(static_cast<uint8_t>(y * 200 / height + 20));
      bgr.push_back(static_cast<uint8_t>(128));
    }
  }
  return bgr;
}

ImageView View(const std::vector<uint8_t>& bgr, int width, int height) {
  return {.format = PixelFormat::kBgr24,
          .width = width,
          .height = height,
          .planes = {bgr.data(), nullptr, nullptr},
          .strides = {width * 3, 0, 0}};
}

absl::Status WriteFrames(VideoWriter& writer, int width, int height, int frames) {
  for (int i = 0; i < frames; ++i) {
    const std::vector<uint8_t> bgr = Picture(width, height, i);
    SL_RETURN_IF_ERROR(writer.Write(View(bgr, width, height), i * 40'000));
  }
  return absl::OkStatus();
}

TEST(VideoWriter, WritesWhatCanBeReadAgainWithItsStamps) {
  const TempDir dir;
  auto writer = VideoWriter::Create({.path = dir / "a.mp4", .width = 96, .height = 64, .fps = 30});
  ASSERT_TRUE(writer.ok()) << writer.status();
  std::vector<int64_t> stamps;
  for (int i = 0; i < 100; ++i) stamps.push_back(i * 33'333 + (i % 3) * 7'001);  // variable rate
  for (int i = 0; i < 100; ++i) {
    const std::vector<uint8_t> bgr = Picture(96, 64, i);
    ASSERT_TRUE((*writer)->Write(View(bgr, 96, 64), stamps[static_cast<size_t>(i)]).ok());
  }
  ASSERT_TRUE((*writer)->Close().ok());
  ASSERT_TRUE((*writer)->Close().ok());
  EXPECT_FALSE((*writer)->Write(View(Picture(96, 64, 0), 96, 64), 0).ok());
  const Seen seen = ReadVideo(dir / "a.mp4");
  ASSERT_TRUE(seen.status.ok()) << seen.status;
  ExpectLaws(seen);
  ASSERT_EQ(seen.frames.size(), 100u);
  const int tolerance_us = (*writer)->codec() == "libx264" ? 0 : 20;
  for (size_t i = 0; i < 100; ++i) {
    EXPECT_NEAR(seen.frames[i].meta.time.pts_us, stamps[i], tolerance_us) << i;
  }
  EXPECT_EQ(seen.frames[0].format, PixelFormat::kI420);
}

TEST(VideoWriter, OddSizesGetOneMoreRowAndColumn) {
  const TempDir dir;
  auto writer = VideoWriter::Create({.path = dir / "a.mp4", .width = 127, .height = 73});
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE(WriteFrames(**writer, 127, 73, 5).ok());
  ASSERT_TRUE((*writer)->Close().ok());
  const Seen seen = ReadVideo(dir / "a.mp4");
  ASSERT_EQ(seen.frames.size(), 5u);
  EXPECT_EQ(seen.frames[0].meta.width, 128);
  EXPECT_EQ(seen.frames[0].meta.height, 74);
}

// The picture that comes back is the one that went in, within what the encoder loses.
TEST(VideoWriter, KeepsThePictureInEveryFormat) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  constexpr int w = 96;
  constexpr int h = 64;
  const std::vector<uint8_t> bgr = Picture(w, h, 0);
  const auto check = [&](const ImageView& image, ColorMatrix matrix) {
    auto writer = VideoWriter::Create(
        {.path = dir / "a.mp4", .width = w, .height = h, .quality = 4, .matrix = matrix});
    ASSERT_TRUE(writer.ok()) << writer.status();
    for (int i = 0; i < 3; ++i) ASSERT_TRUE((*writer)->Write(image, i * 40'000).ok());
    ASSERT_TRUE((*writer)->Close().ok());
    ASSERT_TRUE(test::Ffmpeg("-i " + (dir / "a.mp4") +
                             " -frames:v 1 -sws_flags accurate_rnd+full_chroma_int "
                             "-f rawvideo -pix_fmt bgr24 " +
                             (dir / "raw")));
    const std::vector<uint8_t> back = test::Bytes(dir / "raw");
    ASSERT_EQ(back.size(), bgr.size());
    constexpr size_t kRow = size_t{w} * 3;
    for (size_t row = 0; row < bgr.size(); row += kRow) {
      double error = 0;
      for (size_t i = row; i < row + kRow; ++i) error += std::abs(int{bgr[i]} - int{back[i]});
      EXPECT_LT(error / kRow, 5) << "row " << row / kRow;
    }
  };
  check(View(bgr, w, h), ColorMatrix::kBt601);
  check(View(bgr, w, h), ColorMatrix::kBt709);
  // The same picture as YUV, by ffmpeg, in two matrices; written to files of either.
  test::Write(dir / "in.raw", bgr);
  for (const char* matrix : {"bt601", "bt709"}) {
    ASSERT_TRUE(test::Ffmpeg("-f rawvideo -pix_fmt bgr24 -s 96x64 -i " + (dir / "in.raw") +
                             " -vf scale=out_color_matrix=" + matrix +
                             ":out_range=tv -f rawvideo -pix_fmt "
                             "yuv420p " +
                             (dir / "in.yuv")));
    const std::vector<uint8_t> yuv = test::Bytes(dir / "in.yuv");
    ASSERT_EQ(yuv.size(), static_cast<size_t>(w * h * 3 / 2));
    const ImageView view{.format = PixelFormat::kI420,
                         .matrix = matrix[2] == '7' ? ColorMatrix::kBt709 : ColorMatrix::kBt601,
                         .width = w,
                         .height = h,
                         .planes = {yuv.data(), yuv.data() + w * h, yuv.data() + w * h * 5 / 4},
                         .strides = {w, w / 2, w / 2}};
    check(view, ColorMatrix::kBt601);
    check(view, ColorMatrix::kBt709);
  }
}

// A picture that ends where readable memory ends.
class PictureAtTheBrink {
 public:
  PictureAtTheBrink(PixelFormat format, int width, int height)
      : image_{.format = format, .width = width, .height = height} {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    for (int p = 0; p < PlaneCount(format); ++p) {
      const int row = PlaneRowBytes(format, p, width);
      const auto bytes = static_cast<size_t>(row) * PlaneRows(format, p, height);
      const size_t pages = (bytes + page - 1) / page + 1;
      void* const at =
          mmap(nullptr, pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      SL_CHECK(at != MAP_FAILED, "mmap");
      mapped_.emplace_back(at, pages * page);
      uint8_t* const brink = static_cast<uint8_t*>(at) + (pages - 1) * page;
      SL_CHECK(mprotect(brink, page, PROT_NONE) == 0, "mprotect");
      for (size_t i = 0; i < bytes; ++i) *(brink - bytes + i) = static_cast<uint8_t>(i * 7 % 200);
      image_.planes[p] = brink - bytes;
      image_.strides[p] = row;
    }
  }
  ~PictureAtTheBrink() {
    for (const auto& [at, bytes] : mapped_) munmap(at, bytes);
  }
  const ImageView& image() const { return image_; }

 private:
  ImageView image_;
  std::vector<std::pair<void*, size_t>> mapped_;
};

// swscale reads whole vectors: a picture whose last byte is its page's last must not end the program.
TEST(VideoWriter, ReadsNothingBeyondThePicture) {
  for (const PixelFormat format :
       {PixelFormat::kBgr24, PixelFormat::kRgb24, PixelFormat::kGray8, PixelFormat::kI420,
        PixelFormat::kI422, PixelFormat::kI444, PixelFormat::kNv12}) {
    for (const auto& [width, height] : {std::pair{64, 48}, {67, 49}, {33, 2}, {34, 1}}) {
      for (const ColorMatrix matrix : {ColorMatrix::kBt601, ColorMatrix::kBt709}) {
        SCOPED_TRACE(std::string(ToString(format)) + " " + std::to_string(width) + "x" +
                     std::to_string(height));
        const TempDir dir;
        const PictureAtTheBrink picture(format, width, height);
        auto writer = VideoWriter::Create(
            {.path = dir / "a.mp4", .width = width, .height = height, .matrix = matrix});
        ASSERT_TRUE(writer.ok()) << writer.status();
        EXPECT_TRUE((*writer)->Write(picture.image(), 0).ok());
        EXPECT_TRUE((*writer)->Close().ok());
      }
    }
  }
}

TEST(VideoWriter, StampsThatStepBackGoOnAfterTheLast) {
  const TempDir dir;
  auto writer = VideoWriter::Create({.path = dir / "a.mp4", .width = 32, .height = 32, .fps = 25});
  ASSERT_TRUE(writer.ok());
  const std::vector<uint8_t> bgr = Picture(32, 32, 0);
  for (const int64_t pts : {0, 40'000, 80'000, 0, 50'000, 50'000}) {
    ASSERT_TRUE((*writer)->Write(View(bgr, 32, 32), pts).ok());
  }
  ASSERT_TRUE((*writer)->Close().ok());
  const Seen seen = ReadVideo(dir / "a.mp4");
  std::vector<int64_t> stamps;
  for (const test::SeenFrame& frame : seen.frames) stamps.push_back(frame.meta.time.pts_us);
  EXPECT_EQ(stamps, (std::vector<int64_t>{0, 40'000, 80'000, 120'000, 170'000, 210'000}));
}

// What is on the disk before Close() is a film already, as after a kill.
TEST(VideoWriter, AnUnfinishedFilePlays) {
  const TempDir dir;
  auto writer = VideoWriter::Create({.path = dir / "a.mp4", .width = 96, .height = 64, .fps = 25});
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(WriteFrames(**writer, 96, 64, 250).ok());
  std::filesystem::copy(dir / "a.mp4.partial", dir / "killed.mp4");
  const Seen seen = ReadVideo(dir / "killed.mp4");
  ASSERT_TRUE(seen.status.ok()) << seen.status;
  EXPECT_GE(seen.frames.size(), 150u);  // two seconds in the fragment, a few frames in the encoder
  EXPECT_EQ(seen.counts.total_dropped(), 0u);
  ASSERT_TRUE((*writer)->Close().ok());
  EXPECT_EQ(ReadVideo(dir / "a.mp4").frames.size(), 250u);
}

TEST(VideoWriter, AFullDiskIsSaidSoWithThePath) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  const TempDir dir;
  std::filesystem::create_symlink("/dev/full", dir / "full.mp4");
  auto writer = VideoWriter::Create({.path = dir / "full.mp4", .width = 96, .height = 64});
  absl::Status status = writer.status();
  if (writer.ok()) {
    status = WriteFrames(**writer, 96, 64, 200);
    if (status.ok()) status = (*writer)->Close();
    EXPECT_FALSE((*writer)->Close().ok());
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("full.mp4"));
}

TEST(VideoWriter, RefusesWhatCannotBe) {
  const TempDir dir;
  EXPECT_FALSE(VideoWriter::Create({.path = dir / "a.mp4", .width = 0, .height = 64}).ok());
  EXPECT_FALSE(VideoWriter::Create({.path = dir / "a.mp4", .width = 64, .height = 100'000}).ok());
  EXPECT_THAT(
      std::string(MessageOf(
          VideoWriter::Create({.path = dir / "no/a.mp4", .width = 64, .height = 64}).status())),
      HasSubstr("no/a.mp4"));
  auto writer = VideoWriter::Create({.path = dir / "b.mp4", .width = 64, .height = 64, .fps = -1});
  ASSERT_TRUE(writer.ok());
  const std::vector<uint8_t> bgr = Picture(32, 64, 0);
  EXPECT_EQ((*writer)->Write(View(bgr, 32, 64), 0).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE((*writer)->Close().ok());  // no frame at all is a file, too
}

TEST(VideoWriter, WaitsForRoom) {
  const TempDir dir;
  const VideoWriter::Options options{.path = dir / "whole.mp4", .width = 96, .height = 64};
  auto whole = VideoWriter::Create(options);
  ASSERT_TRUE(whole.ok()) << whole.status();
  ASSERT_TRUE(WriteFrames(**whole, 96, 64, 200).ok());
  ASSERT_TRUE((*whole)->Close().ok());
  VideoWriter::Options waiting = options;
  waiting.path = dir / "full.mp4";
  waiting.wait = std::make_shared<OutputWait>();
  auto writer = VideoWriter::Create(waiting);
  ASSERT_TRUE(writer.ok()) << writer.status();
  auto disk = std::make_unique<test::FullDisk>();
  std::thread janitor([&] {
    while (waiting.wait->reason().empty()) std::this_thread::yield();
    disk.reset();
  });
  ASSERT_TRUE(WriteFrames(**writer, 96, 64, 200).ok());
  janitor.join();
  ASSERT_TRUE((*writer)->Close().ok());
  // Frame by frame, not byte by byte: x264 does not always give the same bytes for the same pictures.
  const Seen seen = ReadVideo(waiting.path), whole_one = ReadVideo(options.path);
  ASSERT_TRUE(seen.status.ok()) << seen.status;
  ASSERT_EQ(seen.frames.size(), 200u);
  ASSERT_EQ(whole_one.frames.size(), 200u);
  for (size_t i = 0; i < seen.frames.size(); ++i) {
    EXPECT_EQ(seen.frames[i].meta.time.pts_us, whole_one.frames[i].meta.time.pts_us) << i;
  }
}

}  // namespace
}  // namespace sightline
