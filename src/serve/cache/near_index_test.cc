#include "serve/cache/near_index.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>

#include "base/test_clock.h"
#include "serve/cache/memory_store.h"
#include "serve/cache/model_cache.h"

namespace sightline::serve {
namespace {

CacheKey Key(int number) { return CacheKeyHasher().Add(number).Finish(); }

PictureLook Hash64(uint64_t bits) {
  PictureLook look;
  look.hash.bits = 64;
  look.hash.words[0] = bits;
  return look;
}

PictureLook Direction(std::vector<float> values) {
  double length = 0;
  for (const float value : values) length += static_cast<double>(value) * value;
  PictureLook look;
  for (const float value : values) {
    look.embedding.push_back(static_cast<float>(value / std::sqrt(length)));
  }
  return look;
}

TEST(NearIndex, FindsTheNearestWithinTheRadius) {
  NearIndex index({});
  EXPECT_FALSE(index.Nearest(Key(0), Hash64(0), 64));
  index.Add(Key(0), Hash64(0b1111), Key(1));
  index.Add(Key(0), Hash64(0b0011), Key(2));
  EXPECT_FALSE(index.Nearest(Key(0), Hash64(0), 1));
  const auto found = index.Nearest(Key(0), Hash64(0), 2);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->key, Key(2));
  EXPECT_EQ(found->distance, 2);
  EXPECT_EQ(index.Nearest(Key(0), Hash64(0b1111), 64)->distance, 0);
  index.Erase(Key(2));
  EXPECT_EQ(index.Nearest(Key(0), Hash64(0), 64)->key, Key(1));
  EXPECT_EQ(index.size(), 1u);
}

TEST(NearIndex, ScopesDoNotSeeEachOther) {
  NearIndex index({});
  index.Add(Key(0), Hash64(7), Key(1));
  EXPECT_FALSE(index.Nearest(Key(9), Hash64(7), 64));
  index.Add(Key(9), Hash64(0xff), Key(2));
  EXPECT_EQ(index.Nearest(Key(9), Hash64(7), 64)->key, Key(2));
}

TEST(NearIndex, OverwritesTheOldest) {
  NearIndex index({.max_entries = 3});
  for (int i = 0; i < 5; ++i) index.Add(Key(0), Hash64(uint64_t{1} << (8 * i)), Key(i));
  EXPECT_EQ(index.size(), 3u);
  EXPECT_EQ(index.overwritten(), 2u);
  EXPECT_FALSE(index.Nearest(Key(0), Hash64(1), 0));
  for (int i = 2; i < 5; ++i) {
    EXPECT_EQ(index.Nearest(Key(0), Hash64(uint64_t{1} << (8 * i)), 0)->key, Key(i));
  }
}

TEST(NearIndex, EmbeddingsByCosine) {
  NearIndex index({});
  index.Add(Key(0), Direction({1, 0, 0}), Key(1));
  index.Add(Key(0), Direction({0, 1, 0}), Key(2));
  const auto found = index.Nearest(Key(0), Direction({1, 0.5f, 0}), 0.2);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->key, Key(1));
  EXPECT_NEAR(found->distance, 1 - 1 / std::sqrt(1.25), 1e-6);
  EXPECT_FALSE(index.Nearest(Key(0), Direction({1, 0.5f, 0}), 0.1));
  EXPECT_FALSE(index.Nearest(Key(0), Direction({1, 0}), 2)) << "of another size";
  index.Add(Key(0), Direction({1, 0}), Key(3));
  EXPECT_EQ(index.size(), 2u);
  PictureLook broken = Direction({1, 0, 0});
  broken.embedding[0] = std::nanf("");
  EXPECT_FALSE(index.Nearest(Key(0), broken, 2));
}

TEST(NearIndex, EmbeddingsAreBoundedByBytes) {
  NearIndex index({.max_entries = 1000, .max_embedding_bytes = 10 * 40 * sizeof(float)});
  std::mt19937 random(1);
  for (int i = 0; i < 50; ++i) {
    std::vector<float> values(40);
    for (float& value : values) value = static_cast<float>(random() % 1000) + 1;
    index.Add(Key(0), Direction(values), Key(i));
  }
  EXPECT_EQ(index.size(), 10u);
}

// Long ones go through vectors, and agree with a plain sum.
TEST(NearIndex, DistancesOfLongEmbeddingsAreThoseOfAPlainSum) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  for (const size_t length : {1, 7, 31, 32, 33, 512, 1001}) {
    std::vector<float> a(length), b(length);
    for (float& value : a) value = normal(random);
    for (float& value : b) value = normal(random);
    const PictureLook x = Direction(a), y = Direction(b);
    double dot = 0;
    for (size_t i = 0; i < length; ++i) dot += static_cast<double>(x.embedding[i]) * y.embedding[i];
    NearIndex index({});
    index.Add(Key(0), x, Key(1));
    const auto found = index.Nearest(Key(0), y, 2.1);
    ASSERT_TRUE(found) << length;
    EXPECT_NEAR(found->distance, std::max(0.0, 1 - dot), 1e-5) << length;
  }
}

class ModelCacheTest : public ::testing::Test {
 protected:
  static CacheSettings Settings() {
    CacheSettings settings;
    settings.kind = CacheKind::kPerceptual;
    settings.radius = 4;
    return settings;
  }
  CachedAnswer Ask(const CacheKey& scope, uint64_t bits, const std::string& computed) {
    CachedAnswer got;
    cache_.GetAlike(
        scope, Hash64(bits),
        [&](ResultCache::Computed done) { done(std::make_shared<const std::string>(computed)); },
        [&](absl::StatusOr<CachedAnswer>&& answer) { got = *std::move(answer); });
    return got;
  }

  MovedClock clock_;
  std::shared_ptr<MemoryStore> store_ =
      std::make_shared<MemoryStore>(MemoryStoreOptions{.ttl_us = 1000, .clock = &clock_});
  ModelCache cache_{Settings(), store_, clock_};
};

TEST_F(ModelCacheTest, AnswersWhatLooksAlikeAndSaysSo) {
  EXPECT_EQ(Ask(Key(0), 0, "first").hit, CacheHit::kNone);
  const CachedAnswer near = Ask(Key(0), 0b101, "second");
  EXPECT_EQ(*near.bytes, "first");
  EXPECT_EQ(near.hit, CacheHit::kPerceptual);
  EXPECT_EQ(near.distance, 2);
  const CachedAnswer same = Ask(Key(0), 0, "third");
  EXPECT_EQ(*same.bytes, "first");
  EXPECT_EQ(same.hit, CacheHit::kPerceptual);
  EXPECT_EQ(same.distance, 0);
  EXPECT_EQ(*Ask(Key(0), 0xff, "far").bytes, "far");
  EXPECT_EQ(*Ask(Key(1), 0, "another scope").bytes, "another scope");
  const CacheCounts counts = cache_.results().Counts();
  EXPECT_EQ(counts.perceptual, 2u);
  EXPECT_EQ(counts.misses, 3u);
  EXPECT_EQ(cache_.looks(), 3u);
}

TEST_F(ModelCacheTest, WhatExpiredIsComputedAnewAndNoLongerCompared) {
  Ask(Key(0), 0, "first");
  clock_.now_us += 1000;
  const CachedAnswer again = Ask(Key(0), 1, "second");
  EXPECT_EQ(*again.bytes, "second");
  EXPECT_EQ(again.hit, CacheHit::kNone);
  EXPECT_EQ(cache_.looks(), 1u);
}

TEST_F(ModelCacheTest, AFailureIsNeverCompared) {
  absl::Status status;
  cache_.GetAlike(
      Key(0), Hash64(0), [](ResultCache::Computed done) { done(Internal("the model failed")); },
      [&](absl::StatusOr<CachedAnswer>&& answer) { status = answer.status(); });
  EXPECT_TRUE(absl::IsInternal(status));
  EXPECT_EQ(cache_.looks(), 0u);
  EXPECT_EQ(*Ask(Key(0), 0, "now").bytes, "now");
}

TEST_F(ModelCacheTest, PdqOfLowQualityIsNotComparable) {
  PictureLook look;
  look.hash.bits = 256;
  look.hash.quality = 10;
  EXPECT_FALSE(cache_.IsComparable(look));
  look.hash.quality = 60;
  EXPECT_TRUE(cache_.IsComparable(look));
  EXPECT_TRUE(cache_.IsComparable(Hash64(0)));
  EXPECT_FALSE(cache_.IsComparable({}));
}

}  // namespace
}  // namespace sightline::serve
