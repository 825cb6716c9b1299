// When a free runner takes what waits, and how much of it.
//
// A device that is idle does no work, so waiting must bring more than it costs. Where a call takes
// a + c x jobs, one more job saves a, and waiting g for it delays the k jobs that are there: it pays
// while k x g < a. Both sides are measured: a from how long batches of several sizes take, g as the
// median time from one arrival, or from the end of a batch, to the next arrival. Who is expected is
// measured, too: the most jobs that were waiting or running at once of late, less those that are. So
//   - one client alone, or a camera, never waits, and arrivals that are independent of each other (their
//     gaps are no small part of a) wait for no one;
//   - clients that come back as soon as they have their answers are waited for, for some
//     microseconds, and one batch of all is run instead of one and then the others;
//   - where calls gain nothing by their size (a = 0: most models on a processor), nobody waits.
// Whoever was expected in vain is not expected again. No job waits longer than max_delay_us.
//
// With several free runners each takes its share of what waits.
//
// A state machine without threads and clock: times are given. Times in us. Cost: under 100 ns a call,
// nothing allocates.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "infer/batcher.h"

namespace sightline {

// The most preferred sizes that a batcher takes.
inline constexpr size_t kMostPreferredSizes = 32;

class BatchPolicy {
 public:
  explicit BatchPolicy(const BatcherOptions& options) { Configure(options); }
  void Configure(const BatcherOptions& options);

  // "Jobs" are those of one row: a job of several counts as so many.
  // A job was accepted; `waiting` with it.
  void OnArrival(int64_t now_us, size_t waiting);
  // A batch of so many begins; `waiting` are left. Its end, before anybody is told of it.
  void OnBegin(size_t jobs, size_t waiting);
  void OnEnd(int64_t now_us, size_t jobs, int64_t took_us);

  struct Look {
    int64_t now_us = 0;
    size_t waiting = 0;  // at least 1
    int64_t oldest_us = 0;
    int64_t next_deadline_us = INT64_MAX;
    size_t most = 1;          // that the runner takes
    size_t free_runners = 1;  // with the one that asks
  };
  struct Decision {
    size_t take = 0;       // 0: wait
    int64_t until_us = 0;  // for so long,
    size_t wake_at = 0;    // or until so many wait
    bool in_vain = false;  // it had waited for others
  };
  Decision Decide(const Look& look);

  // As measured so far, for people and tests.
  int64_t call_cost_us() const;  // a
  int64_t usual_gap_us() const { return static_cast<int64_t>(gap_us_); }
  size_t expected() const { return peak_ > peak_before_ ? peak_ : peak_before_; }

 private:
  // How long batches take, by size: 1, 2, 3..4, 5..8, ...
  struct Sizes {
    double jobs = 0;  // mean of the size
    double took_us = 0;
    bool seen = false;
  };
  size_t LargestPreferred(size_t jobs) const;
  void FitCallCost();

  int64_t max_delay_us_ = 0;
  bool adaptive_ = true;
  std::array<int, kMostPreferredSizes> preferred_{};  // rising
  size_t preferred_count_ = 0;

  size_t running_ = 0;
  size_t peak_ = 0;         // most jobs at once since the last batch began
  size_t peak_before_ = 0;  // and in the time before
  int64_t last_event_us_ = INT64_MIN;
  double gap_us_ = 0;  // median; 0 = not known
  std::array<Sizes, 12> sizes_{};
  double call_cost_us_ = 0;
};

}  // namespace sightline
