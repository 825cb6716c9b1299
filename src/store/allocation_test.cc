// The sinks allocate nothing per frame once warm. Counts operator new in this whole test program.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "base/allocation_scope.h"
#include "store/jsonl_sink.h"
#include "store/sqlite_sink.h"
#include "store/store_test_support.h"
#include "store/synthetic_results.h"

namespace {
std::atomic<int64_t> allocations{0};

void* Count(size_t size) {
  if (!sightline::LibraryAllocations::Inside()) ++allocations;
  void* memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
}  // namespace

void* operator new(size_t size) { return Count(size); }
void* operator new[](size_t size) { return Count(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }

namespace sightline {
namespace {

int64_t AllocationsOfWarmSink(ResultSink& sink) {
  const SyntheticResults source("camera_with_a_long_name", 10, 3, /*stages=*/true);
  FrameResult frame;
  uint64_t ordinal = 0;
  const auto write = [&](int frames) {
    int64_t counted = 0;
    for (int i = 0; i < frames; ++i) {
      source.Fill(ordinal++, frame);
      const int64_t before = allocations;
      EXPECT_TRUE(sink.Write(frame).ok());
      counted += allocations - before;
    }
    return counted;
  };
  write(500);
  return write(2000);
}

TEST(Allocations, TheCounterCounts) {
  const int64_t before = allocations;
  const auto number = std::make_unique<std::string>(100, 'x');
  EXPECT_EQ(allocations - before, 2);
}

TEST(Allocations, SqliteSinkHasNoneOnceWarm) {
  const TemporaryFolder folder;
  const auto sink = *SqliteSink::Create({.path = folder / "a.db", .batch_rows = 500});
  EXPECT_EQ(AllocationsOfWarmSink(*sink), 0);
}

TEST(Allocations, JsonlSinkHasNoneOnceWarm) {
  const TemporaryFolder folder;
  const auto sink = *JsonlSink::Create({.path = folder / "a.jsonl", .flush_bytes = 100'000});
  EXPECT_EQ(AllocationsOfWarmSink(*sink), 0);
}

}  // namespace
}  // namespace sightline
