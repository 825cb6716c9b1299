// For the tests of this folder: a temporary folder, a clock that the test moves, short names.
#pragma once

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <thread>

#include "base/output_wait.h"
#include "base/test_full_disk.h"
#include "base/time.h"
#include "store/read.h"

namespace sightline {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "sightline_store_XXXXXX").string();
    const char* made = mkdtemp(pattern.data());
    EXPECT_NE(made, nullptr);
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

class ManualClock final : public Clock {
 public:
  int64_t NowUtcUs() const override { return now_us; }
  int64_t NowMonotonicUs() const override { return now_us; }
  int64_t now_us = 1'000'000;
};

inline std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

inline void WriteFile(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

// The whole content of a database as text; fails the test when it cannot be read.
inline std::string DumpOf(const std::string& path) {
  auto reader = DatabaseReader::Open(path);
  EXPECT_TRUE(reader.ok()) << reader.status();
  if (!reader.ok()) return "";
  auto dump = (*reader)->Dump();
  EXPECT_TRUE(dump.ok()) << dump.status();
  return dump.ok() ? *dump : "";
}

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

// No file grows, as test::FullDisk has it, and SQLite is told that there is no room: of a file that is too
// large it makes an error like any other. Prepare() before the database is opened.
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

inline std::string ErrorText(const absl::Status& status) { return std::string(MessageOf(status)); }

}  // namespace sightline
