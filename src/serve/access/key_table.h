// The keys of a running server: read again when their file changes.
//
// A file that is gone or wrong afterwards leaves the keys as they were, with an error in the log: a typing
// mistake shall not lock everyone out. At the start it is an error.
//
// Threads: safe. Find() never blocks on the disk: the thread "keys" looks at the file every kLookUs.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "base/time.h"
#include "serve/access/key_file.h"

namespace sightline::serve {

// A record in use, with what is derived from it.
struct KnownKey {
  KeyRecord record;
  uint32_t source = 0;  // for the batcher: the same for a key as long as the server lives, never 0
  std::shared_ptr<const std::vector<std::string>> models;  // null: all
};

class KeyTable {
 public:
  static constexpr int64_t kLookUs = 500'000;

  // `watch`: whether the file is looked at again; tests call Look() themselves.
  static absl::StatusOr<std::unique_ptr<KeyTable>> Open(const std::string& path, bool watch = true,
                                                        const Clock& clock = Clock::Real());
  ~KeyTable();

  // The record of that key, if it is one, proves itself and is valid now; else null.
  // Cost: a look-up, and a SHA-256 where the id is known.
  std::shared_ptr<const KnownKey> Find(std::string_view key) const EXCLUDES(mutex_);

  // The record of that id, if there is one and it is valid now; else null. For callers who have proved
  // themselves before.
  std::shared_ptr<const KnownKey> FindId(std::string_view id) const EXCLUDES(mutex_);

  // Reads the file again if it is another one than before.
  void Look() EXCLUDES(mutex_);
  size_t size() const EXCLUDES(mutex_);

 private:
  using Keys = std::unordered_map<std::string, std::shared_ptr<const KnownKey>>;
  struct FileState {
    uint64_t device = 0, inode = 0;
    int64_t size = -1, changed_ns = 0, status_ns = 0;
    bool operator==(const FileState&) const = default;
  };

  KeyTable(std::string path, const Clock& clock) : path_(std::move(path)), clock_(clock) {}
  static FileState StateOf(const std::string& path);
  void Use(std::vector<KeyRecord> records) EXCLUDES(mutex_);
  void Loop() EXCLUDES(mutex_);

  const std::string path_;
  const Clock& clock_;
  mutable Mutex mutex_;
  CondVar wake_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::shared_ptr<const Keys> keys_ GUARDED_BY(mutex_) = std::make_shared<Keys>();
  std::unordered_map<std::string, uint32_t> sources_;  // by id; of whoever calls Use()
  FileState state_;                                    // of the same
  bool failed_ = false;                                // of the same
  std::thread thread_;
};

}  // namespace sightline::serve
