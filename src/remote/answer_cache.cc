#include "remote/answer_cache.h"

namespace sightline {

std::optional<Answer> AnswerCache::Find(const Hash128& key) {
  const MutexLock lock(mutex_);
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return std::nullopt;
  if (clock_.NowMonotonicUs() >= found->second->end_us) {
    by_use_.erase(found->second);
    by_key_.erase(found);
    return std::nullopt;
  }
  by_use_.splice(by_use_.begin(), by_use_, found->second);
  return found->second->answer;
}

void AnswerCache::Put(const Hash128& key, const Answer& answer) {
  if (max_entries_ == 0) return;
  const MutexLock lock(mutex_);
  if (const auto found = by_key_.find(key); found != by_key_.end()) {
    by_use_.erase(found->second);
    by_key_.erase(found);
  } else if (by_key_.size() == max_entries_) {
    by_key_.erase(by_use_.back().key);
    by_use_.pop_back();
  }
  by_use_.push_front({key, clock_.NowMonotonicUs() + ttl_us_, answer});
  by_key_[key] = by_use_.begin();
}

size_t AnswerCache::size() const {
  const MutexLock lock(mutex_);
  return by_key_.size();
}

}  // namespace sightline
