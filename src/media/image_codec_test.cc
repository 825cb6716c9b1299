#include "media/image_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/sha.h>

#include <array>
#include <fstream>
#include <random>

#include "media/orientation.h"
#include "media/picture_decoder.h"
#include "media/test_clips.h"

namespace sightline {
namespace {

using test::Bytes;
using test::TempDir;
using testing::HasSubstr;

const std::string kGolden = std::string(SIGHTLINE_SOURCE_DIR) + "/tests/golden/images/";

std::string Sha256(const std::vector<uint8_t>& bytes) {
  std::array<uint8_t, SHA256_DIGEST_LENGTH> digest{};
  SHA256(bytes.data(), bytes.size(), digest.data());
  std::string hex;
  for (const uint8_t byte : digest) hex += fmt::format("{:02x}", byte);
  return hex;
}

struct Expected {
  std::string name;
  int width = 0;
  int height = 0;
  std::string sha256;  // "-": not compared
};

std::vector<Expected> ReadExpected() {
  std::ifstream file(kGolden + "expected.txt");
  std::vector<Expected> all;
  for (Expected one; file >> one.name >> one.width >> one.height >> one.sha256;) all.push_back(one);
  return all;
}

std::vector<uint8_t> Noise(int width, int height) {
  std::mt19937 random(7);
  std::vector<uint8_t> bgr(static_cast<size_t>(width) * height * 3);
  for (size_t i = 0; i < bgr.size(); ++i) {
    bgr[i] = static_cast<uint8_t>(i * 5 / static_cast<size_t>(width) + random() % 16);
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

TEST(ImageCodec, DecodesToThePixelsOfOpenCvsImread) {
  const std::vector<Expected> all = ReadExpected();
  ASSERT_GE(all.size(), 30u);
  for (const Expected& expected : all) {
    SCOPED_TRACE(expected.name);
    const absl::StatusOr<DecodedImage> image = ReadImage(kGolden + expected.name);
    ASSERT_TRUE(image.ok()) << image.status();
    EXPECT_EQ(image->width, expected.width);
    EXPECT_EQ(image->height, expected.height);
    if (expected.sha256 != "-") {
      EXPECT_EQ(Sha256(image->bgr), expected.sha256);
    }
    const auto header = ReadImageHeader(Bytes(kGolden + expected.name));
    ASSERT_TRUE(header.ok()) << header.status();
    EXPECT_EQ(header->width, expected.width);
    EXPECT_EQ(header->height, expected.height);
    const bool gif = expected.name.ends_with(".gif");
    EXPECT_EQ(LooksLikeImage(Bytes(kGolden + expected.name)), !gif);
    EXPECT_TRUE(HasImageExtension(expected.name));
  }
}

TEST(ImageCodec, RefusesEveryTruncation) {
  for (const Expected& expected : ReadExpected()) {
    const std::vector<uint8_t> whole = Bytes(kGolden + expected.name);
    for (const double part : {0.0, 0.02, 0.3, 0.6, 0.9}) {
      SCOPED_TRACE(fmt::format("{} {}", expected.name, part));
      const auto size = static_cast<size_t>(static_cast<double>(whole.size()) * part);
      const auto image = DecodeImage({whole.data(), size});
      ASSERT_FALSE(image.ok());
      EXPECT_FALSE(MessageOf(image.status()).empty());
    }
  }
}

TEST(ImageCodec, SurvivesFlippedBytes) {
  std::mt19937 random(11);
  for (const Expected& expected : ReadExpected()) {
    const std::vector<uint8_t> whole = Bytes(kGolden + expected.name);
    for (int round = 0; round < 40; ++round) {
      std::vector<uint8_t> bytes = whole;
      for (int i = 0; i < 4; ++i) bytes[random() % bytes.size()] = static_cast<uint8_t>(random());
      const auto image = DecodeImage(bytes);
      if (image.ok()) {
        EXPECT_EQ(image->bgr.size(), static_cast<size_t>(image->width) * image->height * 3);
      }
    }
  }
}

TEST(ImageCodec, SaysWhatIsWrong) {
  const TempDir dir;
  test::Write(dir / "empty.jpg", {});
  test::Write(dir / "words.png", std::vector<uint8_t>(100, 'x'));
  const auto message = [&](const std::string& path) {
    return std::string(MessageOf(ReadImage(path).status()));
  };
  EXPECT_THAT(message(dir / "empty.jpg"), HasSubstr("empty"));
  EXPECT_THAT(message(dir / "words.png"), HasSubstr("not a picture"));
  EXPECT_THAT(message(dir / "none.png"), HasSubstr("no such file"));
  EXPECT_THAT(message(dir.path()), HasSubstr("folder"));
  for (const char* name : {"empty.jpg", "words.png", "none.png"}) {
    EXPECT_THAT(message(dir / name), HasSubstr(dir / name));
  }
}

// A PNG of a few bytes that claims 60000 x 60000 pixels.
TEST(ImageCodec, RefusesBombsByTheirHeader) {
  std::vector<uint8_t> png = Bytes(kGolden + "rgb.png");
  const std::vector<uint8_t> huge = {0x00, 0x00, 0xea, 0x60, 0x00, 0x00, 0xea, 0x60};
  std::copy(huge.begin(), huge.end(), png.begin() + 16);
  EXPECT_FALSE(DecodeImage(png).ok());  // its checksum is wrong, too

  std::vector<uint8_t> jpeg = Bytes(kGolden + "420.jpg");
  for (size_t i = 2; i + 9 < jpeg.size(); ++i) {
    if (jpeg[i] == 0xff && jpeg[i + 1] == 0xc0) {
      jpeg[i + 5] = jpeg[i + 7] = 0xea;
      jpeg[i + 6] = jpeg[i + 8] = 0x60;
      break;
    }
  }
  const absl::Status status = DecodeImage(jpeg).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("60000x60000"));
}

// Where the marker stands, from the beginning.
size_t FindMarker(const std::vector<uint8_t>& jpeg, uint8_t marker, size_t from = 0) {
  for (size_t i = from; i + 1 < jpeg.size(); ++i) {
    if (jpeg[i] == 0xff && jpeg[i + 1] == marker) return i;
  }
  ADD_FAILURE() << "no such marker";
  return 0;
}

// The progressive picture with its last scan so many times more, said to be of that size.
std::vector<uint8_t> ManyScans(int more, int side) {
  std::vector<uint8_t> jpeg = Bytes(kGolden + "progressive.jpg");
  size_t last = FindMarker(jpeg, 0xda);
  for (size_t i = last; i + 1 < jpeg.size(); ++i) {
    if (jpeg[i] == 0xff && jpeg[i + 1] == 0xda) last = i;
  }
  const size_t end = FindMarker(jpeg, 0xd9, last);
  const std::vector<uint8_t> scan(jpeg.begin() + static_cast<int64_t>(last),
                                  jpeg.begin() + static_cast<int64_t>(end));
  std::vector<uint8_t> repeated;
  for (int i = 0; i < more; ++i) repeated.insert(repeated.end(), scan.begin(), scan.end());
  jpeg.insert(jpeg.begin() + static_cast<int64_t>(end), repeated.begin(), repeated.end());
  if (side > 0) {
    const size_t frame = FindMarker(jpeg, 0xc2);
    jpeg[frame + 5] = jpeg[frame + 7] = static_cast<uint8_t>(side >> 8);
    jpeg[frame + 6] = jpeg[frame + 8] = static_cast<uint8_t>(side & 0xff);
  }
  return jpeg;
}

TEST(ImageCodec, RefusesJpegsOfTooManyScansBeforeTheyAreDecoded) {
  const auto refused = [](const std::vector<uint8_t>& bytes) {
    return absl::IsResourceExhausted(DecodeImage(bytes).status());
  };
  std::vector<uint8_t> bomb = ManyScans(400, 4096);
  const absl::Status status = DecodeImage(bomb).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("more than 20 scans over 4096x4096"));
  PictureDecoder decoder;
  EXPECT_TRUE(absl::IsResourceExhausted(decoder.Open(bomb)));
  // Stray bytes and fill bytes before a marker, which the decoder passes over, hide nothing.
  const size_t frame = FindMarker(bomb, 0xc2);
  bomb.insert(bomb.begin() + static_cast<int64_t>(frame), {0x00, 0x12, 0xff, 0xff});
  EXPECT_TRUE(refused(bomb));
  // The usual number at the largest size is not too many, and many of a small one are not.
  EXPECT_FALSE(refused(ManyScans(0, 4096)));
  EXPECT_FALSE(refused(ManyScans(10, 4096)));
  EXPECT_FALSE(refused(ManyScans(400, 0)));
  EXPECT_FALSE(refused(ManyScans(100, 1024)));
  EXPECT_TRUE(refused(ManyScans(400, 1024)));
}

TEST(ImageCodec, CountsScansOfSequentialJpegs) {
  // One scan of all components, said to be one of several: the frame has a component more.
  std::vector<uint8_t> jpeg = Bytes(kGolden + "420.jpg");
  const size_t at = FindMarker(jpeg, 0xda);
  const std::vector<uint8_t> lone = {0xff, 0xda, 0x00, 0x08, 0x01, 0x01, 0x00, 0x00, 0x3f, 0x00};
  std::vector<uint8_t> scans;
  for (int i = 0; i < 100; ++i) scans.insert(scans.end(), lone.begin(), lone.end());
  jpeg.insert(jpeg.begin() + static_cast<int64_t>(at), scans.begin(), scans.end());
  const size_t frame = FindMarker(jpeg, 0xc0);
  jpeg[frame + 5] = jpeg[frame + 7] = 0x10;  // 4096 and some
  jpeg[frame + 6] = jpeg[frame + 8] = 0x00;
  EXPECT_TRUE(absl::IsResourceExhausted(DecodeImage(jpeg).status()));
}

// A black PNG of 4096x4096 pixels that claims to be 1x1: 50 MB behind its only row.
TEST(ImageCodec, RefusesPngsThatInflateToMoreThanTheirPixels) {
  constexpr int kSide = 4096;
  const std::vector<uint8_t> black(size_t{kSide} * kSide * 3, 0);
  auto png = EncodePng(View(black, kSide, kSide));
  ASSERT_TRUE(png.ok()) << png.status();
  for (const uint8_t interlaced : {0, 1}) {
    SCOPED_TRACE(int{interlaced});
    std::vector<uint8_t> bomb = *png;
    const std::array<uint8_t, 8> one_by_one = {0, 0, 0, 1, 0, 0, 0, 1};
    std::copy(one_by_one.begin(), one_by_one.end(), bomb.begin() + 16);
    bomb[28] = interlaced;
    uint32_t crc = ~0u;  // of the chunk's name and contents (PNG, annex D)
    for (size_t i = 12; i < 29; ++i) {
      crc ^= bomb[i];
      for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    for (int i = 0; i < 4; ++i) bomb[29 + i] = static_cast<uint8_t>(~crc >> (24 - 8 * i));
    const absl::Status status = DecodeImage(bomb).status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("more data than pixels"));
  }
}

TEST(ImageCodec, KeepsToTheLimitsOfTheCaller) {
  const std::vector<uint8_t> bytes = Bytes(kGolden + "rgb.png");
  EXPECT_TRUE(DecodeImage(bytes, {.max_image_side_px = 37}).ok());
  for (const char* name :
       {"rgb.png", "420.jpg", "lossy.webp", "color.bmp", "lzw.tif", "moving.gif"}) {
    EXPECT_EQ(DecodeImage(Bytes(kGolden + name), {.max_image_side_px = 36}).ok(), false) << name;
  }
}

TEST(ImageCodec, PngRoundTripIsExact) {
  const std::vector<uint8_t> bgr = Noise(61, 47);
  const auto png = EncodePng(View(bgr, 61, 47));
  ASSERT_TRUE(png.ok()) << png.status();
  const auto image = DecodeImage(*png);
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->bgr, bgr);
}

TEST(ImageCodec, JpegRoundTripIsNear) {
  const std::vector<uint8_t> bgr = Noise(64, 48);
  const auto good = EncodeJpeg(View(bgr, 64, 48), 95);
  const auto poor = EncodeJpeg(View(bgr, 64, 48), 20);
  ASSERT_TRUE(good.ok() && poor.ok());
  EXPECT_LT(poor->size(), good->size());
  const auto image = DecodeImage(*good);
  ASSERT_TRUE(image.ok());
  double error = 0;
  for (size_t i = 0; i < bgr.size(); ++i) error += std::abs(int{bgr[i]} - int{image->bgr[i]});
  EXPECT_LT(error / static_cast<double>(bgr.size()), 10);
}

TEST(ImageCodec, WritesWholeFilesOrNone) {
  const TempDir dir;
  const std::vector<uint8_t> bgr = Noise(16, 8);
  const ImageView view = View(bgr, 16, 8);
  ASSERT_TRUE(WriteImage(dir / "a.PNG", view).ok());
  ASSERT_TRUE(WriteImage(dir / "a.jpg", view).ok());
  EXPECT_EQ(ReadImage(dir / "a.PNG")->bgr, bgr);
  EXPECT_EQ(ReadImage(dir / "a.jpg")->width, 16);
  EXPECT_FALSE(WriteImage(dir / "a.xyz", view).ok());
  EXPECT_FALSE(WriteImage(dir / "plain", view).ok());
  EXPECT_THAT(std::string(MessageOf(WriteImage(dir / "no/such/a.png", view))),
              HasSubstr("no/such/a.png"));
  size_t files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(dir.path()))
    ++files;
  EXPECT_EQ(files, 2u);
}

TEST(ImageCodec, AFullDiskIsSaidSo) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  const TempDir dir;
  std::filesystem::create_symlink("/dev/full", dir / "full.png");
  const std::vector<uint8_t> bgr = Noise(16, 8);
  EXPECT_EQ(WriteImage(dir / "full.png", View(bgr, 16, 8)).code(),
            absl::StatusCode::kResourceExhausted);
}

// Turning right and back again changes nothing, in every format, for odd sizes, too.
TEST(Orientation, TurnsUndoEachOther) {
  const int w = 37;
  const int h = 21;
  std::mt19937 random(5);
  std::vector<uint8_t> source(static_cast<size_t>(w) * h * 4);
  for (uint8_t& byte : source) byte = static_cast<uint8_t>(random());
  const std::pair<Orientation, Orientation> undone[] = {
      {Orientation::kMirror, Orientation::kMirror},
      {Orientation::kRotate180, Orientation::kRotate180},
      {Orientation::kFlip, Orientation::kFlip},
      {Orientation::kTranspose, Orientation::kTranspose},
      {Orientation::kRotate90, Orientation::kRotate270},
      {Orientation::kTransverse, Orientation::kTransverse},
      {Orientation::kRotate270, Orientation::kRotate90}};
  for (const PixelFormat format : {PixelFormat::kGray8, PixelFormat::kBgr24}) {
    const int bytes = format == PixelFormat::kGray8 ? 1 : 3;
    ImageView view{.format = format, .width = w, .height = h};
    view.planes[0] = source.data();
    view.strides[0] = w * bytes;
    for (const auto& [there, back] : undone) {
      std::vector<uint8_t> turned(source.size());
      std::vector<uint8_t> again(source.size());
      ImageView middle{.format = format, .width = w, .height = h};
      if (SwapsSides(there)) std::swap(middle.width, middle.height);
      middle.strides[0] = middle.width * bytes;
      middle.planes[0] = turned.data();
      ASSERT_TRUE(TurnUpright(view, there, {turned.data()}, middle.strides));
      ASSERT_TRUE(TurnUpright(middle, back, {again.data()}, view.strides));
      EXPECT_TRUE(std::equal(again.begin(), again.begin() + w * h * bytes, source.begin()));
      EXPECT_FALSE(std::equal(turned.begin(), turned.begin() + w * h * bytes, source.begin()));
    }
  }
}

}  // namespace
}  // namespace sightline
