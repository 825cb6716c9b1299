// What a served model has done, in the counters of Triton's statistics extension.
//
// Per request: `success` and `fail` count whole requests, from their being received to their answer;
// `queue` is from being received to the beginning of the batch; `compute_*` are the phases of the batch
// that a request was in. Per execution, by its number of rows: the same phases.
// Threads: safe. Memory: bounded by the largest batch.
#pragma once

#include <cstdint>
#include <map>

#include "base/mutex.h"

namespace sightline::serve {

struct CountedTime {
  uint64_t count = 0;
  uint64_t us = 0;
  void Add(int64_t took_us) {
    ++count;
    us += took_us > 0 ? static_cast<uint64_t>(took_us) : 0;
  }
};

// On the monotonic clock, in us.
struct CallTimes {
  int64_t received_us = 0;
  int64_t began_us = 0;   // the batch's
  int64_t filled_us = 0;  // inputs are in place
  int64_t ran_us = 0;
  int64_t emptied_us = 0;  // outputs are copied

  // How long its batch ran; 0 when it was in none, or that failed.
  int64_t RunUs() const {
    return began_us > 0 && emptied_us > began_us ? emptied_us - began_us : 0;
  }
};

struct ModelCounts {
  struct Execution {
    CountedTime compute_input, compute_infer, compute_output;
  };
  int64_t last_inference_utc_us = 0;
  uint64_t inferences = 0;  // rows of successful requests
  uint64_t executions = 0;
  CountedTime success, fail, queue, compute_input, compute_infer, compute_output;
  CountedTime cache_hit, cache_miss;
  std::map<int64_t, Execution> by_rows;
};

class ModelStatistics {
 public:
  void Succeeded(int64_t rows, const CallTimes& times, int64_t now_us, int64_t now_utc_us)
      EXCLUDES(mutex_);
  void Failed(int64_t received_us, int64_t now_us) EXCLUDES(mutex_);
  // A request that the cache answered: a success without an inference.
  void CacheHit(int64_t received_us, int64_t now_us) EXCLUDES(mutex_);
  // One that it did not answer, which goes on to the model.
  void CacheMissed(int64_t received_us, int64_t now_us) EXCLUDES(mutex_);
  void Executed(int64_t rows, const CallTimes& times) EXCLUDES(mutex_);
  ModelCounts Counts() const EXCLUDES(mutex_);

 private:
  mutable Mutex mutex_;
  ModelCounts counts_ GUARDED_BY(mutex_);
};

}  // namespace sightline::serve
