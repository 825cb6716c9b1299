#include "serve/pictures/picture_value.h"

#include <gtest/gtest.h>

#include <random>

namespace sightline::serve {
namespace {

PictureAnswer Answer() {
  PictureAnswer answer;
  answer.model = "m";
  answer.version = "3";
  answer.width = 640;
  answer.height = 480;
  answer.drawn = "not really a picture";
  Detections& found = answer.results;
  found.labels = std::make_shared<LabelSet>(LabelSet{{"cat", "", "dog"}});
  found.items = {{{1, 2, 3, 4}, 0.5f, 2, 0}, {{5, 6, 7, 8}, 0.25f, 0, -1}};
  found.keypoints_per_item = 2;
  found.keypoints = {{{1, 2}, 0.5f}, {{3, 4}, 1}};
  found.rotated_boxes = {{{1, 2}, 3, 4, 0.5f}};
  found.masks = {{{0, 0, 8, 8}, 4, 2, {3, 5}}};
  found.classes = {{2, 0.75f}};
  found.embedding = {0.6f, 0.8f};
  found.class_map = {{0, 0, 2, 2}, 2, 1, {7, 9}};
  found.anomaly = {3.5f, {0, 0, 1, 1}, 1, 2, {0.5f, 4}};
  return answer;
}

TEST(PictureValue, ComesBackAsItWas) {
  const auto packed = PackPicture(Answer());
  ASSERT_TRUE(packed.ok()) << packed.status();
  const auto back = UnpackPicture(*packed);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->model, "m");
  EXPECT_EQ(back->version, "3");
  EXPECT_EQ(back->results.frame.width, 640);
  EXPECT_EQ(back->drawn, "not really a picture");
  EXPECT_EQ(back->results.labels->names, Answer().results.labels->names);
  ASSERT_EQ(back->results.items.size(), 2u);
  EXPECT_EQ(back->results.items[0].box_px, (Box{1, 2, 3, 4}));
  EXPECT_EQ(back->results.items[1].detail, -1);
  EXPECT_EQ(back->results.masks[0].runs, (std::vector<uint32_t>{3, 5}));
  EXPECT_EQ(back->results.class_map.class_ids, (std::vector<uint16_t>{7, 9}));
  EXPECT_EQ(back->results.embedding, Answer().results.embedding);
  EXPECT_EQ(*PackPicture(*back), *packed) << "byte for byte: nothing was lost";
  PictureAnswer empty;
  EXPECT_TRUE(UnpackPicture(*PackPicture(empty)).ok());
  PictureAnswer staged = Answer();
  staged.results.stages.emplace_back();
  EXPECT_TRUE(absl::IsUnimplemented(PackPicture(staged).status()));
}

TEST(PictureValue, DamagedBytesAreRefused) {
  const std::string bytes = *PackPicture(Answer());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_TRUE(absl::IsDataLoss(UnpackPicture(bytes.substr(0, size)).status())) << size;
  }
  EXPECT_TRUE(absl::IsDataLoss(UnpackPicture(bytes + "x").status()));
  PictureAnswer beyond = Answer();
  beyond.results.items[0].detail = 1;
  EXPECT_TRUE(absl::IsDataLoss(UnpackPicture(*PackPicture(beyond)).status()));
  beyond = Answer();
  beyond.results.masks[0].runs = {3, 6};
  EXPECT_TRUE(absl::IsDataLoss(UnpackPicture(*PackPicture(beyond)).status()));
  std::mt19937 random(1);
  for (int i = 0; i < 20'000; ++i) {
    std::string changed = bytes;
    for (int k = 0; k < 1 + i % 3; ++k) {
      changed[random() % changed.size()] = static_cast<char>(random());
    }
    const auto back = UnpackPicture(changed);
    if (!back.ok()) continue;
    EXPECT_LE(back->results.items.size(), changed.size());
  }
}

}  // namespace
}  // namespace sightline::serve
