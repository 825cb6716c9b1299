#include "serve/cache/near_index.h"

#include <algorithm>

#include "vision/hash_kernels.h"

namespace sightline::serve {
namespace {

int Distance(const std::array<uint64_t, 4>& a, const std::array<uint64_t, 4>& b, int bits) {
  int distance = __builtin_popcountll(a[0] ^ b[0]);
  if (bits <= 64) return distance;
  for (size_t i = 1; i < a.size(); ++i) distance += __builtin_popcountll(a[i] ^ b[i]);
  return distance;
}

}  // namespace

std::optional<NearIndex::Found> NearIndex::Nearest(const CacheKey& scope, const PictureLook& look,
                                                   double radius) const {
  const bool by_hash = look.embedding.empty();
  const HashKernels& kernels = BestHashKernels();
  const MutexLock lock(mutex_);
  if (!by_hash && look.embedding.size() != dimensions_) return std::nullopt;
  std::optional<Found> best;
  // From the youngest to the oldest.
  size_t at = next_;
  for (size_t i = 0; i < entries_.size(); ++i) {
    at = at == 0 ? entries_.size() - 1 : at - 1;
    const Entry& entry = entries_[at];
    if (!entry.is_used) continue;
    double distance = 0;
    if (by_hash) {
      distance = Distance(entry.words, look.hash.words, look.hash.bits);
    } else {
      distance = 1.0 - kernels.dot(embeddings_.data() + at * dimensions_, look.embedding.data(),
                                   static_cast<int>(dimensions_));
      distance = std::max(distance, 0.0);
    }
    // A NaN is near nothing.
    if (!(distance <= radius) || (best && distance >= best->distance)) continue;
    if (entry.scope == scope) best = Found{entry.key, distance};
  }
  return best;
}

size_t NearIndex::Limit(size_t embedding) const {
  if (embedding == 0) return options_.max_entries;
  return std::min(options_.max_entries, options_.max_embedding_bytes / (embedding * sizeof(float)));
}

void NearIndex::Add(const CacheKey& scope, const PictureLook& look, const CacheKey& key) {
  const MutexLock lock(mutex_);
  const size_t limit = Limit(look.embedding.size());
  if (limit == 0 || (!entries_.empty() && look.embedding.size() != dimensions_)) return;
  dimensions_ = look.embedding.size();
  if (entries_.size() < limit) {
    next_ = entries_.size();
    entries_.emplace_back();
    embeddings_.resize(entries_.size() * dimensions_);
  } else if (entries_[next_].is_used) {
    overwritten_.Add();
    --used_;
  }
  entries_[next_] = {look.hash.words, scope, key, true};
  std::copy(look.embedding.begin(), look.embedding.end(),
            embeddings_.begin() + static_cast<ptrdiff_t>(next_ * dimensions_));
  ++used_;
  next_ = entries_.size() < limit ? entries_.size() : (next_ + 1) % limit;
}

void NearIndex::Erase(const CacheKey& key) {
  const MutexLock lock(mutex_);
  for (Entry& entry : entries_) {
    if (!entry.is_used || entry.key != key) continue;
    entry.is_used = false;
    --used_;
  }
}

size_t NearIndex::size() const {
  const MutexLock lock(mutex_);
  return used_;
}

size_t NearIndex::bytes() const {
  const MutexLock lock(mutex_);
  return entries_.capacity() * sizeof(Entry) + embeddings_.capacity() * sizeof(float);
}

}  // namespace sightline::serve
