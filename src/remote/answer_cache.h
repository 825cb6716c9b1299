// Answers to what was asked before: the least recently used go first, and none is kept longer than its
// time. Never on disk.
//
// Threads: safe. Memory: max_entries answers, some 200 bytes each plus 56 a box. Cost: one lock, O(1).
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <unordered_map>

#include "base/mutex.h"
#include "base/time.h"
#include "base/uuid.h"
#include "remote/question.h"

namespace sightline {

class AnswerCache {
 public:
  // max_entries 0: keeps nothing. `clock` must live as long.
  AnswerCache(size_t max_entries, int64_t ttl_us, const Clock& clock)
      : max_entries_(max_entries), ttl_us_(ttl_us), clock_(clock) {}

  std::optional<Answer> Find(const Hash128& key) EXCLUDES(mutex_);
  // An answer that is there is replaced and young again.
  void Put(const Hash128& key, const Answer& answer) EXCLUDES(mutex_);
  size_t size() const EXCLUDES(mutex_);

 private:
  struct Entry {
    Hash128 key;
    int64_t end_us = 0;  // on the monotonic clock
    Answer answer;
  };
  struct Low {
    size_t operator()(const Hash128& key) const { return static_cast<size_t>(key.low); }
  };

  const size_t max_entries_;
  const int64_t ttl_us_;
  const Clock& clock_;
  mutable Mutex mutex_;
  std::list<Entry> by_use_ GUARDED_BY(mutex_);  // the last used first
  std::unordered_map<Hash128, std::list<Entry>::iterator, Low> by_key_ GUARDED_BY(mutex_);
};

}  // namespace sightline
