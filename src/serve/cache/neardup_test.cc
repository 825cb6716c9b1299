// Hashes of real pictures, decoded here: those of imagehash and pdqhash over Pillow's own decoding
// (tests/golden/vision/perceptual_hashes_media.json), and those that the collector of the pictures wrote
// down (neardup/expected_hashes.json).
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "media/image_codec.h"
#include "vision/perceptual_hash.h"

namespace sightline::serve {
namespace {

using nlohmann::json;

std::string MediaFolder() {
  const char* const data = std::getenv("SIGHTLINE_TEST_DATA");
  if (data == nullptr) return "";
  const std::string folder = std::string(data) + "/media/";
  return std::ifstream(folder + "neardup/expected_hashes.json") ? folder : "";
}
#define SKIP_WITHOUT_MEDIA(folder) \
  if ((folder).empty()) GTEST_SKIP() << "SKIPPED: SIGHTLINE_TEST_DATA has no media/neardup"

std::string HashOf(const std::string& path, HashKind kind) {
  const absl::StatusOr<DecodedImage> image = ReadImage(path);
  EXPECT_TRUE(image.ok()) << image.status();
  if (!image.ok()) return "";
  return ToHex(*HashPicture(image->view(), kind));
}

int BitsApart(const std::string& a, const std::string& b) {
  return __builtin_popcountll(std::stoull(a, nullptr, 16) ^ std::stoull(b, nullptr, 16));
}

TEST(NearDuplicates, HashesAreThoseOfTheReferences) {
  const std::string folder = MediaFolder();
  SKIP_WITHOUT_MEDIA(folder);
  const json golden = json::parse(
      std::ifstream(SIGHTLINE_SOURCE_DIR "/tests/golden/vision/perceptual_hashes_media.json"));
  ASSERT_GE(golden.at("files").size(), 20u);
  for (const json& file : golden.at("files")) {
    const std::string path = folder + file.at("file").get<std::string>();
    EXPECT_EQ(HashOf(path, HashKind::kAverage), file.at("ahash")) << path;
    EXPECT_EQ(HashOf(path, HashKind::kDifference), file.at("dhash")) << path;
    EXPECT_EQ(HashOf(path, HashKind::kDct), file.at("phash")) << path;
    EXPECT_EQ(HashOf(path, HashKind::kPdq), file.at("pdq")) << path;
  }
}

TEST(NearDuplicates, HashesAreThoseThatWereWrittenDownWithThePictures) {
  const std::string folder = MediaFolder();
  SKIP_WITHOUT_MEDIA(folder);
  const json expected = json::parse(std::ifstream(folder + "neardup/expected_hashes.json"));
  const json& imagehash = expected.at("imagehash");
  const std::string image = folder + "neardup/" + imagehash.at("image").get<std::string>();
  EXPECT_EQ(HashOf(image, HashKind::kAverage), imagehash.at("average_hash"));
  EXPECT_EQ(HashOf(image, HashKind::kDct), imagehash.at("phash"));
  EXPECT_EQ(HashOf(image, HashKind::kDifference), imagehash.at("dhash"));
  // That one is turned by its EXIF data, which imagehash and imagededup leave out of account.
  const std::string turned = "ukbench09268.jpg";
  const std::string mixed = folder + "neardup/imagededup/tests/data/mixed_images/";
  for (const auto& [name, hash] : expected.at("imagehash_lib_on_imagededup_images").items()) {
    if (name == "source" || name == turned) continue;
    EXPECT_EQ(HashOf(mixed + name, HashKind::kDct), hash) << name;
  }
  // imagededup decodes and resizes in its own way: within a few bits, as its row says.
  const json& dedup = expected.at("imagededup");
  for (const auto& [name, hash] : dedup.at("phash_mixed_images").items()) {
    if (name == turned) continue;
    EXPECT_LE(BitsApart(HashOf(mixed + name, HashKind::kDct), hash), 4) << name;
  }
  // PDQ of the bridge as ThreatExchange's own examples have it.
  EXPECT_EQ(
      HashOf(folder + "neardup/threatexchange/pdq/data/bridge-mods/aaa-orig.jpg", HashKind::kPdq),
      "f8f8f0cee0f4a84f06370a22038f63f0b36e2ed596621e1d33e6b39c4e9c9b22");
  EXPECT_FALSE(ReadImage(mixed + "ukbench09268_corrupt.jpg").ok());
}

}  // namespace
}  // namespace sightline::serve
