#include "media/sources/skip_planner.h"

#include <algorithm>
#include <limits>

namespace sightline {

SkipPlanner::SkipPlanner(const FrameSelection& selection, const StreamClock::Options& clock)
    : selector_(selection), clock_(clock), ring_(kRemembered) {
  undecided_.reserve(kRemembered);
  const __int128 ticks =
      static_cast<__int128>(StreamClock::kMaxAheadUs) * clock.time_base_den /
      std::max<__int128>(static_cast<__int128>(clock.time_base_num) * 1'000'000, 1);
  max_ahead_ticks_ =
      static_cast<int64_t>(std::min<__int128>(ticks, std::numeric_limits<int64_t>::max() / 4));
}

bool SkipPlanner::Push(uint64_t sequence, std::optional<int64_t> pts, std::optional<int64_t> dts) {
  constexpr int64_t kSane = std::numeric_limits<int64_t>::max() / 4;  // sums below cannot overflow
  if (!pts || *pts < -kSane || *pts > kSane) broken_ = true;
  if (pts && dts && (*dts > *pts || *dts < -kSane)) broken_ = true;
  if (broken_) return false;
  if (dts && last_dts_ && (*dts < *last_dts_ || *dts > *last_dts_ + max_ahead_ticks_)) {
    DecideAll();  // what was before the jump is presented before what comes after it
    ++run_;
  }
  if (dts) last_dts_ = dts;
  Entry& entry = ring_[sequence % ring_.size()];
  if (pushed_ >= ring_.size()) std::erase(undecided_, entry.key);
  entry = Entry{.key = {run_, *pts, sequence}};
  pushed_ = sequence + 1;
  undecided_.insert(std::upper_bound(undecided_.begin(), undecided_.end(), entry.key), entry.key);
  if (dts) DecideUpTo({run_, *dts, std::numeric_limits<uint64_t>::max()});
  return true;
}

std::optional<SkipPlanner::Plan> SkipPlanner::Take() {
  if (taken_ == pushed_) return std::nullopt;
  const Entry& entry = ring_[taken_ % ring_.size()];
  if (!entry.decided && pushed_ - taken_ < kMaxLookahead) return std::nullopt;
  ++taken_;
  return Plan{entry.key, entry.decided && entry.may_skip};
}

void SkipPlanner::End() { DecideAll(); }

const SkipPlanner::Entry* SkipPlanner::Find(uint64_t sequence) const {
  if (sequence >= pushed_) return nullptr;
  const Entry& entry = ring_[sequence % ring_.size()];
  return entry.key.sequence == sequence ? &entry : nullptr;
}

std::optional<PresentationKey> SkipPlanner::KeyOf(uint64_t sequence) const {
  const Entry* entry = Find(sequence);
  if (entry == nullptr) return std::nullopt;
  return entry->key;
}

void SkipPlanner::Correct(uint64_t sequence, uint64_t ordinal) {
  const Entry* entry = Find(sequence);
  if (entry == nullptr || !entry->decided) return;
  correction_ = static_cast<int64_t>(ordinal - entry->place);
}

void SkipPlanner::DecideUpTo(PresentationKey limit) {
  size_t done = 0;
  for (; done < undecided_.size() && undecided_[done] <= limit; ++done) {
    const PresentationKey& key = undecided_[done];
    Entry& entry = ring_[key.sequence % ring_.size()];
    const uint64_t place = next_place_++;
    const FrameTime time = clock_.Next(key.pts);
    const bool skip =
        selector_.Consider(place + static_cast<uint64_t>(correction_), time).has_value();
    entry.decided = true;
    entry.place = place;
    entry.may_skip = skip;
  }
  undecided_.erase(undecided_.begin(), undecided_.begin() + static_cast<int64_t>(done));
}

void SkipPlanner::DecideAll() {
  DecideUpTo({std::numeric_limits<uint32_t>::max(), std::numeric_limits<int64_t>::max(),
              std::numeric_limits<uint64_t>::max()});
}

}  // namespace sightline
