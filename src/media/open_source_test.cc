#include "media/open_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "media/image_codec.h"
#include "media/sources/image_source.h"
#include "media/test_clips.h"

namespace sightline {
namespace {

using test::Ffmpeg;
using test::OptionsFor;
using test::Seen;
using test::TempDir;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// A picture of one colour, `value` in every channel.
void MakePicture(const std::string& path, uint8_t value, int width = 8, int height = 6) {
  const std::vector<uint8_t> bgr(static_cast<size_t>(width) * height * 3, value);
  const ImageView view{.format = PixelFormat::kBgr24,
                       .width = width,
                       .height = height,
                       .planes = {bgr.data(), nullptr, nullptr},
                       .strides = {width * 3, 0, 0}};
  ASSERT_TRUE(WriteImage(path, view).ok());
}

struct Opened {
  Seen seen;
  std::vector<uint8_t> first_bytes;  // the first byte of every frame
};

Opened Open(const SourceOptions& options) {
  Opened opened;
  FrameLedger ledger;
  auto source = OpenSource(options, ledger);
  opened.seen.status = source.status();
  if (!source.ok()) return opened;
  opened.seen.info = (*source)->info();
  for (;;) {
    auto next = (*source)->Next();
    if (!next.ok()) opened.seen.status = next.status();
    if (!next.ok() || !next->has_value()) break;
    const Frame& frame = **next;
    opened.seen.frames.push_back(
        {frame.meta, frame.image.format, frame.image.matrix, frame.image.range, {}});
    opened.first_bytes.push_back(frame.image.planes[0][0]);
    ledger.CountProcessed();
  }
  opened.seen.counts = ledger.Snapshot();
  return opened;
}

std::string ErrorOf(const std::string& url) {
  const Opened opened = Open(OptionsFor(url));
  EXPECT_FALSE(opened.seen.status.ok()) << url;
  const std::string message(MessageOf(opened.seen.status));
  EXPECT_EQ(message.find('\n'), std::string::npos);
  return message;
}

TEST(OpenSource, AFolderGivesItsPicturesInNaturalOrder) {
  const TempDir dir;
  MakePicture(dir / "img10.png", 10);
  MakePicture(dir / "img2.png", 2);
  MakePicture(dir / "img1.jpg", 1);
  test::Write(dir / "notes.txt", {1, 2, 3});
  std::filesystem::create_directory(dir / "sub.png");
  SourceOptions options = OptionsFor(dir.path());
  options.start_utc_us = 1'000'000;
  const Opened opened = Open(options);
  ASSERT_TRUE(opened.seen.status.ok()) << opened.seen.status;
  ExpectLaws(opened.seen);
  EXPECT_EQ(opened.first_bytes, (std::vector<uint8_t>{1, 2, 10}));
  EXPECT_EQ(opened.seen.info.container, "image");
  EXPECT_EQ(opened.seen.info.codec, "jpeg");
  EXPECT_EQ(opened.seen.info.width, 8);
  EXPECT_EQ(opened.seen.info.frames_estimate, 3);
  EXPECT_EQ(opened.seen.frames[2].meta.time.pts_us, 80'000);
  EXPECT_EQ(opened.seen.frames[2].meta.time.capture_utc_us, 1'080'000);
  EXPECT_EQ(opened.seen.frames[2].meta.time.clock, ClockSource::kConfigured);
}

TEST(OpenSource, GlobsAndFileUrls) {
  const TempDir dir;
  MakePicture(dir / "a 1.png", 1);
  MakePicture(dir / "a 2.png", 2);
  MakePicture(dir / "b.png", 3);
  EXPECT_EQ(Open(OptionsFor(dir / "a*.png")).first_bytes, (std::vector<uint8_t>{1, 2}));
  EXPECT_EQ(Open(OptionsFor(dir / "?.png")).first_bytes, (std::vector<uint8_t>{3}));
  EXPECT_EQ(Open(OptionsFor("file://" + (dir / "a%202.png"))).first_bytes,
            (std::vector<uint8_t>{2}));
  EXPECT_EQ(Open(OptionsFor("FILE://localhost" + (dir / "b.png"))).first_bytes,
            (std::vector<uint8_t>{3}));
  MakePicture(dir / "[b].png", 4);  // a name that looks like a glob
  EXPECT_EQ(Open(OptionsFor(dir / "[b].png")).first_bytes, (std::vector<uint8_t>{4}));
  EXPECT_THAT(ErrorOf("file://elsewhere/x.png"), HasSubstr("file:///"));
  EXPECT_THAT(ErrorOf("file:///x%2"), HasSubstr("hexadecimal"));
}

TEST(OpenSource, ABadPictureAmongGoodOnesIsDroppedAndCounted) {
  const TempDir dir;
  MakePicture(dir / "1.png", 1);
  test::Write(dir / "2.png", {});
  test::Write(dir / "3.jpg", {'n', 'o'});
  MakePicture(dir / "4.png", 4);
  const Opened opened = Open(OptionsFor(dir.path()));
  ASSERT_TRUE(opened.seen.status.ok());
  ExpectLaws(opened.seen);
  EXPECT_EQ(opened.first_bytes, (std::vector<uint8_t>{1, 4}));
  EXPECT_EQ(opened.seen.counts.frames_in, 4u);
  EXPECT_EQ(opened.seen.counts.dropped[static_cast<size_t>(DropReason::kDecodeError)], 2u);
  EXPECT_EQ(opened.seen.frames[1].meta.ordinal, 3u);
}

TEST(OpenSource, SelectionLeavesPicturesUnread) {
  const TempDir dir;
  for (int i = 0; i < 10; ++i) MakePicture(dir / fmt::format("{}.png", i), static_cast<uint8_t>(i));
  test::Write(dir / "1.png", {});  // left out, so nobody minds
  SourceOptions options = OptionsFor(dir.path());
  options.selection.every_nth = 4;
  const Opened opened = Open(options);
  EXPECT_EQ(opened.first_bytes, (std::vector<uint8_t>{0, 4, 8}));
  EXPECT_EQ(opened.seen.counts.total_dropped(), 0u);
  EXPECT_EQ(opened.seen.counts.skipped[static_cast<size_t>(SkipReason::kEveryNth)], 7u);
}

TEST(OpenSource, ErrorsAreOneLineThatSaysWhat) {
  const TempDir dir;
  test::Write(dir / "empty.mp4", {});
  test::Write(dir / "empty.jpg", {});
  test::Write(dir / "garbage.mp4", std::vector<uint8_t>(5000, 'z'));
  test::Write(dir / "words.txt", {'h', 'e', 'l', 'l', 'o', '\n'});
  test::Write(dir / "half.png", {0x89, 'P', 'N', 'G', 13, 10, 26, 10, 0, 0});
  std::filesystem::create_directory(dir / "none");
  EXPECT_THAT(ErrorOf(""), HasSubstr("empty"));
  EXPECT_THAT(ErrorOf(dir / "missing.mp4"),
              AllOf(HasSubstr("missing.mp4"), HasSubstr("no such file")));
  EXPECT_THAT(ErrorOf(dir / "empty.mp4"), AllOf(HasSubstr("empty.mp4"), HasSubstr("0 bytes")));
  EXPECT_THAT(ErrorOf(dir / "empty.jpg"), HasSubstr("0 bytes"));
  EXPECT_THAT(ErrorOf(dir / "garbage.mp4"), HasSubstr("garbage.mp4"));
  EXPECT_THAT(ErrorOf(dir / "words.txt"), HasSubstr("words.txt"));
  EXPECT_THAT(ErrorOf(dir / "half.png"), HasSubstr("PNG"));
  EXPECT_THAT(ErrorOf(dir / "none"), HasSubstr("no pictures"));
  EXPECT_THAT(ErrorOf(dir / "none/*.jpg"), HasSubstr("nothing matches"));
  EXPECT_THAT(ErrorOf(dir / "*.mp4"), HasSubstr("none of them a picture"));
  EXPECT_THAT(ErrorOf("/dev/null"), HasSubstr("not a regular file"));
}

TEST(OpenSource, OtherSchemesAreRefusedWithoutTellingSecrets) {
  const std::string message = ErrorOf("rtsp://admin:hunter2@camera/stream");
  EXPECT_THAT(message, AllOf(HasSubstr("rtsp://"), Not(HasSubstr("hunter2"))));
}

TEST(OpenSource, ASchemeMayBeRegistered) {
  const TempDir dir;
  MakePicture(dir / "x.png", 77);
  const std::string path = dir / "x.png";
  RegisterSourceScheme("Fake",
                       [path](const SourceOptions& options,
                              FrameLedger& ledger) -> absl::StatusOr<std::unique_ptr<FrameSource>> {
                         EXPECT_EQ(options.url, "fake://anything");
                         SourceOptions local = options;
                         local.url = path;
                         return ImageSource::Create(local, ledger);
                       });
  EXPECT_EQ(Open(OptionsFor("fake://anything")).first_bytes, (std::vector<uint8_t>{77}));
}

TEST(OpenSource, TellsPicturesFromVideosByTheirBytes) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  ASSERT_TRUE(Ffmpeg(test::TestPicture("64x48", 5) + "-c:v mjpeg " + (dir / "clip.mjpeg")));
  ASSERT_TRUE(Ffmpeg(test::TestPicture("64x48", 5) + (dir / "clip.gif")));
  ASSERT_TRUE(
      Ffmpeg(test::TestPicture("64x48", 1) + "-c:v png -f image2 " + (dir / "picture.mp4")));
  EXPECT_EQ(Open(OptionsFor(dir / "clip.mjpeg")).seen.frames.size(), 5u);
  EXPECT_EQ(Open(OptionsFor(dir / "clip.gif")).seen.frames.size(), 5u);
  EXPECT_EQ(Open(OptionsFor(dir / "picture.mp4")).seen.info.container, "image");
}

// A video file may not lead to other files: playlists and scripts are refused.
TEST(OpenSource, PlaylistsAreRefused) {
  SKIP_WITHOUT_FFMPEG();
  const TempDir dir;
  ASSERT_TRUE(Ffmpeg(test::TestPicture("64x48", 5) + "-c:v mpeg4 " + (dir / "a.ts")));
  const auto text = [&](const std::string& name, const std::string& content) {
    test::Write(dir / name, std::vector<uint8_t>(content.begin(), content.end()));
    return ErrorOf(dir / name);
  };
  text("list.m3u8",
       "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n" + (dir / "a.ts") + "\n#EXT-X-ENDLIST\n");
  text("list.ffconcat", "ffconcat version 1.0\nfile 'a.ts'\n");
  text("list.mp4", "ffconcat version 1.0\nfile 'a.ts'\n");
  text("call.sdp",
       "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5000 RTP/AVP 96\n"
       "a=rtpmap:96 H264/90000\n");
}

TEST(ImageSource, NaturalOrder) {
  EXPECT_TRUE(NaturallyBefore("img2", "img10"));
  EXPECT_FALSE(NaturallyBefore("img10", "img2"));
  EXPECT_TRUE(NaturallyBefore("a/9/x", "a/10/a"));
  EXPECT_TRUE(NaturallyBefore("a", "ab"));
  EXPECT_TRUE(NaturallyBefore("01", "1"));
  EXPECT_FALSE(NaturallyBefore("1", "01"));
  EXPECT_FALSE(NaturallyBefore("x1", "x1"));
  EXPECT_TRUE(NaturallyBefore("99999999999999999999998", "99999999999999999999999"));
}

TEST(ImageSource, CancelEndsTheReading) {
  const TempDir dir;
  MakePicture(dir / "1.png", 1);
  MakePicture(dir / "2.png", 2);
  FrameLedger ledger;
  auto source = ImageSource::Create(OptionsFor(dir.path()), ledger);
  ASSERT_TRUE(source.ok());
  ASSERT_TRUE((*source)->Next().ok());
  (*source)->Cancel();
  EXPECT_EQ((*source)->Next().status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(ledger.Snapshot().frames_in, 1u);
}

}  // namespace
}  // namespace sightline
