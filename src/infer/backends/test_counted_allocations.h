// For tests: counts the allocations of a thread that are not a library's. Replaces operator new and
// delete, so exactly one file of a test program includes it.
#pragma once

#include <cstdlib>
#include <new>

#include "base/allocation_scope.h"

namespace sightline::test {
inline thread_local bool counting = false;
inline thread_local int allocations = 0;

// How many this thread makes while `work` runs.
template <typename Work>
int CountAllocations(const Work& work) {
  allocations = 0;
  counting = true;
  work();
  counting = false;
  return allocations;
}
}  // namespace sightline::test

#pragma GCC diagnostic ignored "-Wmismatched-new-delete"  // new and delete are both replaced here
void* operator new(size_t bytes) {
  if (sightline::test::counting && !sightline::LibraryAllocations::Inside()) {
    ++sightline::test::allocations;
  }
  void* memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
