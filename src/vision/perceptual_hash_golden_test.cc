// Perceptual hashes, bit by bit those of imagehash and pdqhash (tests/golden/vision, made by
// tools/golden/perceptual_hashes.py).
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "vision/color.h"
#include "vision/perceptual_hash.h"

namespace sightline {
namespace {

using nlohmann::json;

// The picture that made_picture() of the script makes, in R, G, B.
std::vector<uint8_t> MadePicture(int64_t width, int64_t height, int64_t seed) {
  std::vector<uint8_t> pixels;
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (int64_t c = 0; c < 3; ++c) {
        const int64_t px = std::max<int64_t>(2, width * (2 + (seed * 7 + c * 3) % 5) / 8);
        const int64_t py = std::max<int64_t>(2, height * (2 + (seed * 5 + c * 2) % 7) / 8);
        const int64_t wave = std::abs((x * 2) % (2 * px) - px) * 120 / px +
                             std::abs((y * 2 + seed * 3) % (2 * py) - py) * 120 / py;
        const int64_t noise = (x * 73856093 ^ y * 19349663 ^ (c + seed) * 83492791) % 16;
        const int64_t patch = (x * 5 / width + 2 * (y * 4 / height) + seed + c) % 5 == 0 ? 60 : 0;
        pixels.push_back(static_cast<uint8_t>(std::min<int64_t>(wave + noise + patch, 255)));
      }
    }
  }
  return pixels;
}

ImageView ViewOf(const std::vector<uint8_t>& pixels, int width, int height, PixelFormat format) {
  ImageView view;
  view.format = format;
  view.width = width;
  view.height = height;
  view.planes[0] = pixels.data();
  view.strides[0] = (format == PixelFormat::kGray8 ? 1 : 3) * width;
  return view;
}

PerceptualHash Hash(const ImageView& view, HashKind kind) {
  absl::StatusOr<PerceptualHash> hash = HashPicture(view, kind);
  EXPECT_TRUE(hash.ok()) << hash.status();
  return hash.ok() ? *hash : PerceptualHash();
}

TEST(PerceptualHashGolden, EveryBitIsThatOfTheReference) {
  std::ifstream file(SIGHTLINE_SOURCE_DIR "/tests/golden/vision/perceptual_hashes.json");
  ASSERT_TRUE(file) << "tests/golden/vision/perceptual_hashes.json is missing";
  const json golden = json::parse(file);
  ASSERT_GE(golden.at("cases").size(), 40u);
  for (const json& c : golden.at("cases")) {
    SCOPED_TRACE(c.dump());
    const int width = c.at("wh")[0], height = c.at("wh")[1];
    const std::vector<uint8_t> rgb = MadePicture(width, height, c.at("seed"));
    std::vector<uint8_t> bgr(rgb.size());
    std::vector<uint8_t> grey;
    for (size_t i = 0; i < rgb.size(); i += 3) {
      bgr[i] = rgb[i + 2], bgr[i + 1] = rgb[i + 1], bgr[i + 2] = rgb[i];
      grey.push_back(static_cast<uint8_t>(
          (rgb[i] * 19595 + rgb[i + 1] * 38470 + rgb[i + 2] * 7471 + 0x8000) >> 16));
    }
    for (const ImageView& view : {ViewOf(rgb, width, height, PixelFormat::kRgb24),
                                  ViewOf(bgr, width, height, PixelFormat::kBgr24)}) {
      EXPECT_EQ(ToHex(Hash(view, HashKind::kAverage)), c.at("ahash"));
      EXPECT_EQ(ToHex(Hash(view, HashKind::kDifference)), c.at("dhash"));
      EXPECT_EQ(ToHex(Hash(view, HashKind::kDct)), c.at("phash"));
      const PerceptualHash pdq = Hash(view, HashKind::kPdq);
      EXPECT_EQ(ToHex(pdq), c.at("pdq"));
      EXPECT_EQ(pdq.quality, c.at("pdq_quality"));
    }
    const ImageView view = ViewOf(grey, width, height, PixelFormat::kGray8);
    EXPECT_EQ(ToHex(Hash(view, HashKind::kAverage)), c.at("ahash"));
    EXPECT_EQ(ToHex(Hash(view, HashKind::kDifference)), c.at("dhash"));
    EXPECT_EQ(ToHex(Hash(view, HashKind::kDct)), c.at("phash"));
    EXPECT_EQ(ToHex(Hash(view, HashKind::kPdq)), c.at("pdq_grey"));
  }
}

TEST(PerceptualHash, NamesAndDistances) {
  for (const char* const name : {"ahash", "dhash", "phash", "pdq"}) {
    const absl::StatusOr<HashKind> kind = HashKindNamed(name);
    ASSERT_TRUE(kind.ok());
    EXPECT_EQ(ToString(*kind), name);
  }
  EXPECT_TRUE(absl::IsInvalidArgument(HashKindNamed("whash").status()));
  PerceptualHash a, b;
  a.bits = b.bits = 256;
  b.words = {1, 3, 0, uint64_t{1} << 63};
  EXPECT_EQ(HammingDistance(a, b), 4);
  EXPECT_EQ(HammingDistance(b, b), 0);
  EXPECT_EQ(ToHex(b), "8000000000000000000000000000000000000000000000030000000000000001");
}

TEST(PerceptualHash, RefusesWhatHasNoHash) {
  const std::vector<uint8_t> pixels(3 * 4 * 4, 7);
  const ImageView small = ViewOf(pixels, 4, 4, PixelFormat::kRgb24);
  EXPECT_TRUE(absl::IsInvalidArgument(HashPicture(small, HashKind::kPdq).status()));
  EXPECT_TRUE(HashPicture(small, HashKind::kDct).ok());
  ImageView none = small;
  none.planes[0] = nullptr;
  for (const HashKind kind : {HashKind::kAverage, HashKind::kPdq}) {
    EXPECT_TRUE(absl::IsInvalidArgument(HashPicture(none, kind).status()));
  }
}

TEST(PerceptualHash, AFlatPictureHasNoQuality) {
  const std::vector<uint8_t> pixels(3 * 200 * 100, 128);
  EXPECT_EQ(Hash(ViewOf(pixels, 200, 100, PixelFormat::kRgb24), HashKind::kPdq).quality, 0);
}

// Luma alone, as pictures come from a decoder.
TEST(PerceptualHash, OfYuvIsNearThatOfItsColours) {
  constexpr int kWidth = 320, kHeight = 240;
  const std::vector<uint8_t> rgb = MadePicture(kWidth, kHeight, 3);
  std::vector<uint8_t> luma(size_t{kWidth} * kHeight), chroma(size_t{kWidth} * kHeight / 4, 128);
  for (size_t i = 0; i < luma.size(); ++i) {
    luma[i] = static_cast<uint8_t>(
        (rgb[3 * i] * 19595 + rgb[3 * i + 1] * 38470 + rgb[3 * i + 2] * 7471 + 0x8000) >> 16);
  }
  ImageView view = ViewOf(luma, kWidth, kHeight, PixelFormat::kI420);
  view.strides = {kWidth, kWidth / 2, kWidth / 2};
  view.planes[1] = view.planes[2] = chroma.data();
  view.range = ColorRange::kFull;
  const ImageView colours = ViewOf(rgb, kWidth, kHeight, PixelFormat::kRgb24);
  for (const HashKind kind : {HashKind::kAverage, HashKind::kDifference, HashKind::kDct}) {
    EXPECT_EQ(Hash(view, kind), Hash(colours, kind)) << ToString(kind);
  }
  EXPECT_LE(HammingDistance(Hash(view, HashKind::kPdq), Hash(colours, HashKind::kPdq)), 10);
}

}  // namespace
}  // namespace sightline
