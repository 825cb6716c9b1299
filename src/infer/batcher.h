// One batcher per model, shared by all its sources: collects jobs and hands them in batches to
// runners, one runner (a model instance) per thread.
//
// Policy: Submit blocks while the queue is full (recorded sources), TrySubmit refuses (servers),
// SubmitLatest makes room by giving the source's oldest job back (live sources). The most urgent
// priority goes first, and the others wait for as long as it has jobs. Within one, sources take turns
// in a batch, at most `max_per_source` jobs each while others wait; live ones as LatestJobs has it,
// and half of a batch is theirs where both kinds wait. A job whose deadline passes while it waits is
// not run.
//
// How long a batch waits for company: batch_policy.h. Runners that are free share what waits.
//
// Memory: the queue's slots are allocated once and when it is made larger; jobs belong to their
// submitters, who keep them alive until Done() was called.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/bounded_queue.h"
#include "base/metrics.h"
#include "base/status.h"
#include "base/time.h"

namespace sightline {

// Priorities are 1, the most urgent, to this.
inline constexpr int kPriorityLevels = 16;
inline constexpr int kUsualPriority = 8;

class BatchJob {
 public:
  virtual ~BatchJob() = default;
  // Called exactly once per accepted job, on a runner's thread or, for a job whose place a newer one
  // took or which was shed, on that of the caller who did it. An error means that the job was not run
  // (Cancelled: shutdown; DeadlineExceeded: newer ones came, it grew stale, or its deadline passed;
  // what Shed() was given) or that the runner failed on it.
  virtual void Done(const absl::Status& status) = 0;

  // Set before it is submitted.
  uint32_t source = 0;  // who it comes from, for fairness
  int priority = 0;     // 1 to kPriorityLevels, beyond that the last; 0 = the batcher's default
  // Not begun any more from then on, by the batcher's clock; 0 = none. Not of SubmitLatest, which has
  // max_age_us.
  int64_t deadline_us = 0;
  // Of a batch that it fills: 1, or more for a request that brings several. Not of SubmitLatest.
  int64_t rows = 1;

  int64_t added_us = 0;  // by the batcher: when it was accepted
};

// Runs batches on one thread.
class BatchRunner {
 public:
  virtual ~BatchRunner() = default;
  // The most rows that Run() takes, but one job may have more; the same at every call.
  virtual int max_batch() const = 0;
  // Sets the status of each job that it fails on; they are OK to begin with. The batcher calls Done()
  // when it is back.
  virtual void Run(std::span<BatchJob* const> batch, std::span<absl::Status> statuses) = 0;
};

struct BatcherOptions {
  std::string name;            // of the model; names the threads and counters; never changes
  size_t queue_capacity = 32;  // jobs waiting, but those of SubmitLatest
  int max_batch = 1;           // in rows; no larger than the runner's own
  // Sizes that the device likes best. A batch has the largest of them that there are jobs for, the
  // rest waits for the next; where there are too few for the smallest, all go. Empty = any size.
  std::vector<int> preferred_sizes = {};
  int max_per_source = 0;    // of a batch, while others wait; 0 = an equal share
  int64_t max_delay_us = 0;  // how long a job may wait for company
  // Only as long as it pays (batch_policy.h); else always until the batch is full, of the largest
  // preferred size, or the delay is over.
  bool adaptive_delay = true;
  int default_priority = kUsualPriority;
  int64_t max_age_us = 0;  // live jobs that have waited longer are not run; 0 = no limit
  const Clock* clock = &Clock::Real();  // outlives the batcher; never changes
  // Added to the nice value of the threads, 0 to 19; never changes. With it, threads that talk to
  // clients are not kept waiting by inference on a machine that is busy.
  int nice = 0;
};

// What has been measured; counters never go back.
struct BatcherCounts {
  QueueStats queue;            // `dropped`: refused, replaced, stale or late
  uint64_t late = 0;           // jobs whose deadline passed
  uint64_t waited = 0;         // batches that were held back for company
  uint64_t in_vain = 0;        // of these, those to which fewer came than expected
  HistogramCounts queue_us;    // from being accepted to the beginning of the batch
  HistogramCounts batch_size;  // jobs of each batch
};

class Batcher {
 public:
  // One thread per runner. InvalidArgument for options that make no sense, or no runner;
  // ResourceExhausted when the system gives too few threads; none is left.
  static absl::StatusOr<std::unique_ptr<Batcher>> Create(
      const BatcherOptions& options, std::vector<std::unique_ptr<BatchRunner>> runners);
  virtual ~Batcher() = default;  // Stop()s

  // Waits for room. Unavailable after Stop(); then Done() is not called.
  virtual absl::Status Submit(BatchJob* job) = 0;
  // ResourceExhausted when full.
  virtual absl::Status TrySubmit(BatchJob* job) = 0;
  // Never waits. With `most_waiting` (at least 1) jobs of the same source waiting, the oldest of them
  // is Done() with DeadlineExceeded and this one takes its place. Unavailable after Stop().
  virtual absl::Status SubmitLatest(BatchJob* job, size_t most_waiting) = 0;

  // Of Submit and TrySubmit, jobs that were accepted before `added_us` and have not begun are Done()
  // with `why`, on this thread, the oldest first; returns how many. At most kMostShed, and none of a
  // source that has no more than an equal share of the queue while others wait.
  virtual size_t Shed(int64_t added_us, const absl::Status& why) = 0;
  static constexpr size_t kMostShed = 1024;  // chosen: some ms of a thread that answers clients

  // From now on by these options, but for name and clock; what waits and runs is kept, also where the
  // queue is made smaller than what is in it. InvalidArgument as Create(); then all is as it was.
  virtual absl::Status Reconfigure(const BatcherOptions& options) = 0;
  virtual BatcherOptions options() const = 0;

  // Refuses new jobs, runs those that wait (or, with `discard`, Done()s them with Cancelled), joins
  // the threads. Idempotent.
  virtual void Stop(bool discard) = 0;
  virtual QueueStats Stats() const = 0;
  virtual BatcherCounts Counts() const = 0;
};

}  // namespace sightline
