#include "evaluate/picture_split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace sightline::evaluate {
namespace {

std::vector<Hash128> Contents(int count) {
  std::vector<Hash128> contents;
  for (int i = 0; i < count; ++i) contents.push_back(HashString("picture " + std::to_string(i)));
  return contents;
}

TEST(PictureSplit, PartsAreDisjointAndComplete) {
  const PictureSplit split = SplitPictures(Contents(1000), 0.5, 5000, 1);
  EXPECT_EQ(split.work.size(), 500u);
  EXPECT_EQ(split.judge.size(), 500u);
  std::vector<size_t> all = split.work;
  all.insert(all.end(), split.judge.begin(), split.judge.end());
  std::ranges::sort(all);
  EXPECT_EQ(std::ranges::adjacent_find(all), all.end());
  EXPECT_EQ(split.copies, 0u);
  EXPECT_EQ(split.beyond, 0u);
}

TEST(PictureSplit, EqualBytesAreOnePicture) {
  std::vector<Hash128> contents = Contents(50);
  const std::vector<Hash128> copies = contents;
  contents.insert(contents.end(), copies.begin(), copies.end());
  const PictureSplit split = SplitPictures(contents, 0.5, 5000, 1);
  EXPECT_EQ(split.copies, 50u);
  EXPECT_EQ(split.work.size() + split.judge.size(), 50u);
}

TEST(PictureSplit, FollowsFromContentAndSeedAlone) {
  std::vector<Hash128> contents = Contents(100);
  const auto work_of = [&](uint64_t seed) {
    std::vector<Hash128> chosen;
    for (const size_t i : SplitPictures(contents, 0.5, 5000, seed).work) {
      chosen.push_back(contents[i]);
    }
    std::ranges::sort(chosen);
    return chosen;
  };
  const std::vector<Hash128> before = work_of(1);
  std::ranges::reverse(contents);
  EXPECT_EQ(work_of(1), before) << "the order of the files does not matter";
  EXPECT_NE(work_of(2), before);
}

TEST(PictureSplit, TakesAsManyAsWanted) {
  const PictureSplit split = SplitPictures(Contents(100), 0.25, 40, 1);
  EXPECT_EQ(split.work.size(), 10u);
  EXPECT_EQ(split.judge.size(), 30u);
  EXPECT_EQ(split.beyond, 60u);
  EXPECT_TRUE(SplitPictures({}, 0.5, 40, 1).work.empty());
}

}  // namespace
}  // namespace sightline::evaluate
