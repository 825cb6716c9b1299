#include "infer/waiting_jobs.h"

#include <unordered_map>

namespace sightline {

WaitingJobs::WaitingJobs(size_t capacity)
    : slots_(capacity), sources_(capacity), buckets_(capacity * 2, kNone) {
  for (size_t i = 0; i < capacity; ++i) {
    const uint32_t next = i + 1 < capacity ? static_cast<uint32_t>(i + 1) : kNone;
    slots_[i].next = next;
    sources_[i].next_in_bucket = next;
  }
}

int64_t WaitingJobs::next_deadline_us() const {
  int64_t first_us = INT64_MAX;
  if (with_deadline_ == 0) return first_us;
  for (uint32_t i = oldest_; i != kNone; i = slots_[i].newer) {
    const int64_t deadline_us = slots_[i].job->deadline_us;
    if (deadline_us != 0) first_us = std::min(first_us, deadline_us);
  }
  return first_us;
}

int WaitingJobs::priority() const {
  int priority = 1;
  while (priority <= kPriorityLevels && turns_[static_cast<size_t>(priority)].sources == 0) {
    ++priority;
  }
  return priority;
}

void WaitingJobs::Add(BatchJob* job, int priority) {
  const uint32_t index = free_slot_;
  Slot& slot = slots_[index];
  free_slot_ = slot.next;
  const uint32_t source_index = FindOrMake(KeyOf(priority, job->source));
  Source& source = sources_[source_index];
  slot = {.job = job,
          .source = source_index,
          .next = kNone,
          .previous = source.last,
          .older = newest_,
          .newer = kNone};
  (newest_ == kNone ? oldest_ : slots_[newest_].newer) = index;
  newest_ = index;
  (source.first == kNone ? source.first : slots_[source.last].next) = index;
  source.last = index;
  ++size_;
  rows_ += RowsOf(*job);
  if (job->deadline_us != 0) ++with_deadline_;
}

void WaitingJobs::Take(int priority, size_t most, size_t quota, std::vector<BatchJob*>& batch) {
  Turns& turns = turns_[static_cast<size_t>(priority)];
  size_t passed_over = 0;  // sources in a row that have had their quota
  size_t rows = RowsOf(batch);
  while (rows < most && passed_over < turns.sources) {
    const uint32_t index = turns.first;
    Source& source = sources_[index];
    if (source.batch_number != batch_number_) {
      source.batch_number = batch_number_;
      source.taken = 0;
    }
    const bool had_enough = quota > 0 && source.taken >= quota && turns.sources > 1;
    if (had_enough) {
      ++passed_over;
    } else {
      const size_t more = RowsOf(*slots_[source.first].job);
      if (rows > 0 && rows + more > most) return;
      rows += more;
      passed_over = 0;
      ++source.taken;
      const bool is_last = source.first == source.last;
      batch.push_back(Remove(source.first));
      if (is_last) continue;  // it is forgotten
    }
    LeaveTurns(turns, index);
    JoinTurns(turns, index);
  }
}

void WaitingJobs::TakeLate(int64_t now_us, std::vector<BatchJob*>& late) {
  if (with_deadline_ == 0) return;
  for (uint32_t i = oldest_; i != kNone;) {
    const uint32_t newer = slots_[i].newer;
    const int64_t deadline_us = slots_[i].job->deadline_us;
    if (deadline_us != 0 && deadline_us <= now_us) late.push_back(Remove(i));
    i = newer;
  }
}

void WaitingJobs::TakeOld(int64_t added_us, size_t most, std::vector<BatchJob*>& old) {
  std::unordered_map<uint32_t, size_t> waiting;  // by source
  for (uint32_t i = oldest_; i != kNone; i = slots_[i].newer) ++waiting[slots_[i].job->source];
  // Who is alone has nobody to share with.
  const size_t share = waiting.size() > 1 ? capacity() / waiting.size() : 0;
  for (uint32_t i = oldest_; i != kNone && old.size() < most;) {
    BatchJob* const job = slots_[i].job;
    if (job->added_us >= added_us) return;
    const uint32_t newer = slots_[i].newer;
    size_t& left = waiting[job->source];
    if (left > share) {
      --left;
      old.push_back(Remove(i));
    }
    i = newer;
  }
}

void WaitingJobs::MoveTo(WaitingJobs& other) {
  while (oldest_ != kNone) {
    const auto priority = static_cast<int>(sources_[slots_[oldest_].source].key >> 32);
    other.Add(Remove(oldest_), priority);
  }
}

uint32_t WaitingJobs::FindOrMake(uint64_t key) {
  uint32_t& bucket = buckets_[BucketOf(key)];
  for (uint32_t i = bucket; i != kNone; i = sources_[i].next_in_bucket) {
    if (sources_[i].key == key) return i;
  }
  const uint32_t index = free_source_;
  free_source_ = sources_[index].next_in_bucket;
  sources_[index] = {.key = key, .next_in_bucket = bucket};
  bucket = index;
  JoinTurns(TurnsOf(sources_[index]), index);
  return index;
}

BatchJob* WaitingJobs::Remove(uint32_t index) {
  Slot& slot = slots_[index];
  Source& source = sources_[slot.source];
  (slot.previous == kNone ? source.first : slots_[slot.previous].next) = slot.next;
  (slot.next == kNone ? source.last : slots_[slot.next].previous) = slot.previous;
  (slot.older == kNone ? oldest_ : slots_[slot.older].newer) = slot.newer;
  (slot.newer == kNone ? newest_ : slots_[slot.newer].older) = slot.older;
  if (source.first == kNone) Forget(slot.source);
  slot.next = free_slot_;
  free_slot_ = index;
  --size_;
  rows_ -= RowsOf(*slot.job);
  if (slot.job->deadline_us != 0) --with_deadline_;
  return std::exchange(slot.job, nullptr);
}

// It has no jobs left.
void WaitingJobs::Forget(uint32_t index) {
  LeaveTurns(TurnsOf(sources_[index]), index);
  uint32_t* link = &buckets_[BucketOf(sources_[index].key)];
  while (*link != index) link = &sources_[*link].next_in_bucket;
  *link = sources_[index].next_in_bucket;
  sources_[index].next_in_bucket = free_source_;
  free_source_ = index;
}

void WaitingJobs::JoinTurns(Turns& turns, uint32_t index) {
  sources_[index].previous_in_turn = turns.last;
  sources_[index].next_in_turn = kNone;
  (turns.last == kNone ? turns.first : sources_[turns.last].next_in_turn) = index;
  turns.last = index;
  ++turns.sources;
}

void WaitingJobs::LeaveTurns(Turns& turns, uint32_t index) {
  const Source& source = sources_[index];
  (source.previous_in_turn == kNone ? turns.first
                                    : sources_[source.previous_in_turn].next_in_turn) =
      source.next_in_turn;
  (source.next_in_turn == kNone ? turns.last : sources_[source.next_in_turn].previous_in_turn) =
      source.previous_in_turn;
  --turns.sources;
}

}  // namespace sightline
