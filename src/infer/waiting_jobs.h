// The jobs that wait before a model, but those of live sources (latest_jobs.h): the most urgent
// priority first; within one, first in first out for each source, sources in turns.
//
// Everything lives in arrays of `capacity` made at the start: a slot for each job, and a record for
// each source with jobs of one priority waiting, found by hash and lined up in the order of their
// turns. Not thread-safe. Cost: constant, but next_deadline_us() and TakeLate() look at every job
// while any of them has a deadline.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "infer/batcher.h"

namespace sightline {

class WaitingJobs {
 public:
  explicit WaitingJobs(size_t capacity);

  static size_t RowsOf(const std::vector<BatchJob*>& batch) {
    size_t rows = 0;
    for (const BatchJob* job : batch) rows += RowsOf(*job);
    return rows;
  }

  size_t size() const { return size_; }
  size_t rows() const { return rows_; }  // of all jobs
  size_t capacity() const { return slots_.size(); }
  // When the job that waits longest was added; size() > 0.
  int64_t oldest_us() const { return slots_[oldest_].job->added_us; }
  // Of the jobs that have a deadline, the first; INT64_MAX when none has.
  int64_t next_deadline_us() const;
  // The most urgent priority of which there are jobs; kPriorityLevels + 1 when there are none.
  int priority() const;

  // size() < capacity(); the job's added_us is set, and `priority` is 1 to kPriorityLevels.
  void Add(BatchJob* job, int priority);

  // Before the first Take() for a batch: the quota counts anew.
  void BeginBatch() { ++batch_number_; }
  // Fills `batch` up to `most` rows with jobs of that priority: one of each source in turn, no more than
  // `quota` jobs of one source while another waits (0 = no quota: turns alone are an equal share). Ends at
  // the first that does not fit; into an empty batch each does.
  void Take(int priority, size_t most, size_t quota, std::vector<BatchJob*>& batch);

  // Moves the jobs whose deadline is not behind `now_us` any more to `late`.
  void TakeLate(int64_t now_us, std::vector<BatchJob*>& late);
  // Moves jobs that were added before `added_us` to `old`, the oldest first and at most `most`: of each
  // source so many that it keeps an equal share of the places, so that who sends little loses nothing.
  void TakeOld(int64_t added_us, size_t most, std::vector<BatchJob*>& old);

  // All of them, the oldest first; other.capacity() has room for them.
  void MoveTo(WaitingJobs& other);

 private:
  static constexpr uint32_t kNone = UINT32_MAX;

  struct Slot {
    BatchJob* job = nullptr;
    uint32_t source = kNone;  // index
    uint32_t next = kNone;    // of the same source, or of the free ones
    uint32_t previous = kNone;
    uint32_t older = kNone;
    uint32_t newer = kNone;
  };
  struct Source {
    uint64_t key = 0;        // priority and id
    uint32_t first = kNone;  // slot
    uint32_t last = kNone;   // slot
    uint32_t next_in_bucket = kNone;
    uint32_t next_in_turn = kNone;
    uint32_t previous_in_turn = kNone;
    uint64_t batch_number = 0;
    size_t taken = 0;  // by that batch
  };
  // The sources with jobs of one priority, by turn.
  struct Turns {
    uint32_t first = kNone;
    uint32_t last = kNone;
    size_t sources = 0;
  };

  static size_t RowsOf(const BatchJob& job) {
    return static_cast<size_t>(std::max<int64_t>(1, job.rows));
  }
  static uint64_t KeyOf(int priority, uint32_t id) {
    return uint64_t{static_cast<uint32_t>(priority)} << 32 | id;
  }
  Turns& TurnsOf(const Source& source) { return turns_[source.key >> 32]; }
  size_t BucketOf(uint64_t key) const {
    return static_cast<size_t>((key * 0x9E3779B97F4A7C15 >> 32) % buckets_.size());  // Fibonacci
  }
  uint32_t FindOrMake(uint64_t key);
  BatchJob* Remove(uint32_t slot);
  void Forget(uint32_t source);
  void JoinTurns(Turns& turns, uint32_t source);
  void LeaveTurns(Turns& turns, uint32_t source);

  std::vector<Slot> slots_;
  std::vector<Source> sources_;
  std::vector<uint32_t> buckets_;
  std::array<Turns, kPriorityLevels + 1> turns_;  // [0] is not used
  uint32_t free_slot_ = 0;
  uint32_t free_source_ = 0;
  uint32_t oldest_ = kNone;  // slots by arrival
  uint32_t newest_ = kNone;
  size_t size_ = 0;
  size_t rows_ = 0;
  size_t with_deadline_ = 0;
  uint64_t batch_number_ = 0;
};

}  // namespace sightline
