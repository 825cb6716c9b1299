#include "serve/cache/memory_store.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <string>

#include "base/test_clock.h"

namespace sightline::serve {
namespace {

CacheKey Key(int number) { return CacheKeyHasher().Add(number).Finish(); }
CachedBytes Bytes(size_t size, char fill = 'x') {
  return std::make_shared<const std::string>(size, fill);
}

TEST(CacheKey, IsTheSha256OfItsFieldsWithTheirLengths) {
  // By Python's hashlib: sha256(struct.pack("<Q", 3) + b"abc").
  EXPECT_EQ(ToHex(CacheKeyHasher().Add(std::string_view("abc")).Finish()),
            "ce91dc5eec0139adf091900d225971d6ad246a845bad791b5693a9d0d55dd391");
}

TEST(CacheKey, FieldsDoNotRunIntoEachOther) {
  const auto of = [](std::string_view a, std::string_view b) {
    return CacheKeyHasher().Add(a).Add(b).Finish();
  };
  EXPECT_NE(of("ab", "c"), of("a", "bc"));
  EXPECT_NE(of("", "abc"), of("abc", ""));
  EXPECT_EQ(of("ab", "c"), of("ab", "c"));
  CacheKeyHasher twice;
  const CacheKey first = twice.Add(1).Finish();
  EXPECT_EQ(twice.Add(1).Finish(), first);
}

TEST(MemoryStore, KeepsAndForgetsByTime) {
  MovedClock clock;
  MemoryStore store({.ttl_us = 1000, .clock = &clock});
  EXPECT_EQ(store.FindNow(Key(1)), nullptr);
  store.Put(Key(1), Bytes(3, 'a'));
  ASSERT_NE(store.FindNow(Key(1)), nullptr);
  EXPECT_EQ(*store.FindNow(Key(1)), "aaa");
  clock.now_us += 999;
  EXPECT_NE(store.FindNow(Key(1)), nullptr);
  clock.now_us += 1;
  EXPECT_EQ(store.FindNow(Key(1)), nullptr);
  EXPECT_EQ(store.Counts().expired, 1u);
  EXPECT_EQ(store.Counts().bytes, 0u);
  EXPECT_EQ(store.Counts().entries, 0u);
}

TEST(MemoryStore, AReplacedValueIsYoungAgainAndCountedOnce) {
  MovedClock clock;
  MemoryStore store({.ttl_us = 1000, .clock = &clock});
  store.Put(Key(1), Bytes(100));
  const uint64_t bytes = store.Counts().bytes;
  clock.now_us += 600;
  store.Put(Key(1), Bytes(100, 'y'));
  EXPECT_EQ(store.Counts().bytes, bytes);
  clock.now_us += 600;
  ASSERT_NE(store.FindNow(Key(1)), nullptr);
  EXPECT_EQ(store.FindNow(Key(1))->front(), 'y');
  store.Erase(Key(1));
  EXPECT_EQ(store.FindNow(Key(1)), nullptr);
  EXPECT_EQ(store.Counts().bytes, 0u);
}

TEST(MemoryStore, TheLeastRecentlyUsedGoFirst) {
  MemoryStore store({.max_bytes = 3 * (MemoryStore::kEntryBytes + 1000), .max_entries = 100});
  for (int i = 0; i < 3; ++i) store.Put(Key(i), Bytes(1000));
  EXPECT_NE(store.FindNow(Key(0)), nullptr);
  store.Put(Key(3), Bytes(1000));
  EXPECT_NE(store.FindNow(Key(0)), nullptr);
  EXPECT_EQ(store.FindNow(Key(1)), nullptr);
  EXPECT_NE(store.FindNow(Key(2)), nullptr);
  EXPECT_EQ(store.Counts().evictions, 1u);
  EXPECT_LE(store.Counts().bytes, store.Counts().limit_bytes);
}

TEST(MemoryStore, BoundsEntriesAndRefusesWhatDoesNotFit) {
  MemoryStore store({.max_bytes = 100'000, .max_entries = 4});
  for (int i = 0; i < 10; ++i) store.Put(Key(i), Bytes(1));
  EXPECT_EQ(store.Counts().entries, 4u);
  EXPECT_EQ(store.Counts().evictions, 6u);
  store.Put(Key(20), Bytes(100'001));
  EXPECT_EQ(store.FindNow(Key(20)), nullptr);
  EXPECT_EQ(store.Counts().too_large, 1u);
  EXPECT_EQ(store.Counts().entries, 4u) << "what does not fit drives nothing out";
}

TEST(MemoryStore, AValueOutlivesItsEviction) {
  MemoryStore store({.max_bytes = 2 * (MemoryStore::kEntryBytes + 1000)});
  store.Put(Key(1), Bytes(1000, 'a'));
  const CachedBytes held = store.FindNow(Key(1));
  for (int i = 2; i < 9; ++i) store.Put(Key(i), Bytes(1000));
  EXPECT_EQ(store.FindNow(Key(1)), nullptr);
  EXPECT_EQ(held->front(), 'a');
}

// What the allocator says that it gave out, against what the store counts.
TEST(MemoryStore, CountsWhatItReallyTakes) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "SKIPPED: a sanitizer's allocator has overheads of its own";
#endif
  for (const size_t size : {size_t{1}, size_t{100}, size_t{5000}}) {
    MemoryStore store({.max_bytes = size_t{100} << 20});
    const size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    for (int i = 0; i < 5000; ++i) store.Put(Key(i), Bytes(size));
    const size_t taken = mallinfo2().uordblks + mallinfo2().hblkhd - before;
    EXPECT_EQ(store.Counts().entries, 5000u);
    EXPECT_LE(taken, store.Counts().bytes) << size;
    EXPECT_GE(taken, store.Counts().bytes / 2) << size;
  }
}

}  // namespace
}  // namespace sightline::serve
