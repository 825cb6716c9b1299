// For tests: a disk without room as SQLite and every other writer of files meet it.
#pragma once

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <functional>
#include <memory>
#include <thread>

#include "base/output_wait.h"
#include "base/test_full_disk.h"

namespace sightline {

// SQLite's own writing replaced by `function`.
inline bool ReplaceSqliteWrites(ssize_t (*function)(int, const void*, size_t, off_t)) {
  sqlite3_vfs* vfs = sqlite3_vfs_find(nullptr);
  bool replaced = false;
  for (const char* name : {"pwrite", "pwrite64"}) {
    replaced |= vfs->xSetSystemCall(vfs, name, reinterpret_cast<sqlite3_syscall_ptr>(function)) ==
                SQLITE_OK;
  }
  return replaced;
}

inline void RestoreSqliteWrites() {
  sqlite3_vfs* vfs = sqlite3_vfs_find(nullptr);
  vfs->xSetSystemCall(vfs, nullptr, nullptr);
}

// As test::FullDisk, for SQLite too, which calls the system by a table of its own. Prepare() before the
// database is opened.
class FullDisk {
 public:
  static bool Prepare() {
    return ReplaceSqliteWrites([](int fd, const void* data, size_t size, off_t offset) {
      if (!is_full_) return pwrite(fd, data, size, offset);
      errno = ENOSPC;
      return ssize_t{-1};
    });
  }
  FullDisk() { is_full_ = true; }
  ~FullDisk() { is_full_ = false; }

 private:
  static inline std::atomic<bool> is_full_{false};
  const test::FullDisk files_;
};

// Calls `write` while the disk is full, and gives it room once an output has waited for it.
inline void WithFullDisk(const OutputWait& wait, const std::function<void()>& write) {
  ASSERT_TRUE(FullDisk::Prepare());
  auto disk = std::make_unique<FullDisk>();
  std::atomic<bool> over{false};
  std::thread janitor([&] {
    while (wait.reason().empty() && !over) std::this_thread::yield();
    EXPECT_FALSE(over) << "it ended without waiting";
    disk.reset();
  });
  write();
  over = true;
  janitor.join();
}

}  // namespace sightline
