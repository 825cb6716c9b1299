// Marks calls into libraries that allocate as they please (libav, the inference runtime), so that
// the test which counts the hot path's own allocations can leave those out. Costs one
// thread-local increment; does nothing else.
#pragma once

namespace sightline {

class LibraryAllocations {
 public:
  LibraryAllocations() { ++depth_; }
  ~LibraryAllocations() { --depth_; }
  LibraryAllocations(const LibraryAllocations&) = delete;
  LibraryAllocations& operator=(const LibraryAllocations&) = delete;
  static bool Inside() { return depth_ > 0; }

 private:
  static inline thread_local int depth_ = 0;
};

}  // namespace sightline
