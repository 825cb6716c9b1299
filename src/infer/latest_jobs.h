// The waiting jobs of live sources: few of each, the newest of them, shared out fairly.
//
// A live source that is faster than the model has at most `most_waiting` jobs here; a further one
// takes the place of its oldest. Which source is next: of those that have had least so far, within
// `kSlack` jobs of each other, the one whose newest job came last. Under overload every source gets
// its share to within a few jobs, and what is run is fresh: with 20 sources and three times what the
// model can do, jobs have waited for a sixth of a frame's time in the mean, where taking turns gives
// half of it. The most urgent priority goes first, and shares are among those of one; a source has that
// of its newest job. The shares are start-time fair queueing (Goyal, Vin and Cheng, 1996) with equal
// weights: a source that was silent makes up for at most `kCredit` jobs later.
//
// Not thread-safe. Cost: a pass over the sources per call. Memory: grows with the number of sources
// ever seen.
#pragma once

#include <algorithm>
#include <climits>
#include <cstdint>
#include <utility>
#include <vector>

#include "infer/batcher.h"

namespace sightline {

class LatestJobs {
 public:
  static constexpr uint64_t kSlack = 1;   // chosen by simulation: 0 runs older jobs, 4 shares worse
  static constexpr uint64_t kCredit = 8;  // chosen: less punishes who waits for its next frame

  size_t size() const { return size_; }
  // When the job that waits longest was added; size() > 0.
  int64_t oldest_us() const {
    int64_t oldest = INT64_MAX;
    for (const Source& source : sources_) {
      if (!source.waiting.empty()) oldest = std::min(oldest, source.waiting.front().added_us);
    }
    return oldest;
  }

  // The job whose place it took; null when there was room. most_waiting >= 1.
  BatchJob* Add(BatchJob* job, int64_t now_us, size_t most_waiting, int priority = kUsualPriority) {
    Source& source = FindOrMake(job->source);
    BatchJob* evicted = nullptr;
    if (source.priority != priority) {
      // What it missed among others is no credit among these.
      source.priority = priority;
      source.served = std::max(source.served, least_served_);
    }
    if (source.waiting.size() >= most_waiting) {
      evicted = TakeOldest(source);
    } else if (source.waiting.empty()) {
      source.served = std::max(source.served, least_served_ - std::min(least_served_, kCredit));
    }
    source.waiting.push_back({job, now_us});
    ++size_;
    return evicted;
  }

  // Moves the jobs added before `limit_us` to `stale`.
  void TakeStale(int64_t limit_us, std::vector<BatchJob*>& stale) {
    for (Source& source : sources_) {
      while (!source.waiting.empty() && source.waiting.front().added_us < limit_us) {
        stale.push_back(TakeOldest(source));
      }
    }
  }

  // The most urgent priority of those that wait; INT_MAX when nothing waits.
  int priority() const {
    int urgent = INT_MAX;
    for (const Source& source : sources_) {
      if (!source.waiting.empty()) urgent = std::min(urgent, source.priority);
    }
    return urgent;
  }

  // Null when nothing waits.
  BatchJob* Take() {
    const int urgent = priority();
    uint64_t least = UINT64_MAX;
    for (const Source& source : sources_) {
      if (!source.waiting.empty() && source.priority == urgent) {
        least = std::min(least, source.served);
      }
    }
    Source* next = nullptr;
    for (Source& source : sources_) {
      if (source.waiting.empty() || source.priority != urgent) continue;
      if (source.served > least + kSlack) continue;
      if (next == nullptr || source.waiting.back().added_us > next->waiting.back().added_us) {
        next = &source;
      }
    }
    if (next == nullptr) return nullptr;
    least_served_ = std::max(least_served_, least);
    ++next->served;
    // Its oldest first: the frames of a source stay in order, and none that had room is passed over.
    return TakeOldest(*next);
  }

 private:
  struct Waiting {
    BatchJob* job = nullptr;
    int64_t added_us = 0;
  };
  struct Source {
    uint32_t id = 0;
    int priority = kUsualPriority;
    uint64_t served = 0;           // jobs taken, raised where it was silent
    std::vector<Waiting> waiting;  // oldest first; a few at most
  };

  BatchJob* TakeOldest(Source& source) {
    BatchJob* const job = source.waiting.front().job;
    source.waiting.erase(source.waiting.begin());
    --size_;
    return job;
  }

  Source& FindOrMake(uint32_t id) {
    for (Source& source : sources_) {
      if (source.id == id) return source;
    }
    sources_.push_back(
        {.id = id, .priority = kUsualPriority, .served = least_served_, .waiting = {}});
    return sources_.back();
  }

  std::vector<Source> sources_;
  size_t size_ = 0;
  uint64_t least_served_ = 0;  // of those that waited when a job was taken; never goes back
};

}  // namespace sightline
