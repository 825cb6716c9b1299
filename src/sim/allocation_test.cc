// Counts operator new while a camera is read: after warm-up it must not be called.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "sim/sim_source.h"

namespace {
std::atomic<bool> counting{false};
std::atomic<uint64_t> allocations{0};
}  // namespace

// Sanitizers bring an operator new of their own.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define SIGHTLINE_COUNTS_ALLOCATIONS 1
void* operator new(std::size_t size) {
  if (counting) ++allocations;
  void* memory = std::malloc(size > 0 ? size : 1);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
#endif

namespace sightline::sim {
namespace {

TEST(Allocations, ReadingACameraAllocatesNothingPerFrame) {
#ifndef SIGHTLINE_COUNTS_ALLOCATIONS
  GTEST_SKIP() << "a sanitizer counts its own allocations";
#endif
  for (const char* url :
       {"sim://street?people=20&cars=4&seed=7&size=160x90&pace=none&duration=120s",
        "sim://street?people=20&render=none&pace=none&duration=120s"}) {
    SourceOptions options;
    options.url = url;
    FrameLedger ledger;
    auto source = SimSource::Create(options, ledger);
    ASSERT_TRUE(source.ok()) << source.status();
    allocations = 0;
    int frames = 0;
    for (;; ++frames) {
      counting = frames >= 5;
      auto next = (*source)->Next();
      const bool more = next.ok() && next->has_value();
      counting = false;
      if (!more) break;
    }
    EXPECT_EQ(frames, 1800);
    EXPECT_EQ(allocations, 0u) << url;
  }
}

}  // namespace
}  // namespace sightline::sim
