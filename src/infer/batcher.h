// One batcher per model, shared by all its sources: collects jobs and hands them in batches to
// runners, one runner (a model instance) per thread.
//
// Policy: Submit blocks while the queue is full (recorded sources), TrySubmit refuses (servers),
// SubmitLatest makes room by giving the source's oldest job back (live sources). Sources take turns in
// a batch, at most `max_per_source` jobs each while others wait; live ones as LatestJobs has it, and
// half of a batch is theirs where both kinds wait. A runner that is idle never waits for a fuller batch unless max_delay_us asks
// for it. Memory: the queue's slots are allocated once; jobs belong to their submitters, who keep
// them alive until Done() was called.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/bounded_queue.h"
#include "base/status.h"

namespace sightline {

class BatchJob {
 public:
  virtual ~BatchJob() = default;
  // Called exactly once per accepted job, on the runner's thread or, for a job whose place a newer one
  // took, on that one's. An error means that the job was not run (Cancelled: shutdown;
  // DeadlineExceeded: newer ones came or it grew stale) or that the runner failed on it.
  virtual void Done(const absl::Status& status) = 0;

  uint32_t source = 0;  // who it comes from, for fairness
};

// Runs batches on one thread. Run() calls Done() on every job of the batch.
class BatchRunner {
 public:
  virtual ~BatchRunner() = default;
  virtual int max_batch() const = 0;
  virtual void Run(std::span<BatchJob* const> batch) = 0;
};

struct BatcherOptions {
  std::string name;            // of the model; names the threads and counters
  size_t queue_capacity = 32;  // jobs waiting
  int max_batch = 1;
  int max_per_source = 0;    // of a batch, while others wait; 0 = an equal share
  int64_t max_delay_us = 0;  // how long a job may wait for company
  int64_t max_age_us = 0;    // live jobs that have waited longer are not run; 0 = no limit
};

class Batcher {
 public:
  // One thread per runner. ResourceExhausted when the system gives too few threads; none is left.
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
  // Refuses new jobs, runs those that wait (or, with `discard`, Done()s them with Cancelled), joins
  // the threads. Idempotent.
  virtual void Stop(bool discard) = 0;
  virtual QueueStats Stats() const = 0;
};

}  // namespace sightline
