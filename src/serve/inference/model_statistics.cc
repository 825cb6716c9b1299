#include "serve/inference/model_statistics.h"

namespace sightline::serve {

void ModelStatistics::Succeeded(int64_t rows, const CallTimes& times, int64_t now_us,
                                int64_t now_utc_us) {
  const MutexLock lock(mutex_);
  counts_.inferences += static_cast<uint64_t>(rows);
  counts_.last_inference_utc_us = now_utc_us;
  counts_.success.Add(now_us - times.received_us);
  counts_.queue.Add(times.began_us - times.received_us);
  counts_.compute_input.Add(times.filled_us - times.began_us);
  counts_.compute_infer.Add(times.ran_us - times.filled_us);
  counts_.compute_output.Add(times.emptied_us - times.ran_us);
}

void ModelStatistics::Failed(int64_t received_us, int64_t now_us) {
  const MutexLock lock(mutex_);
  counts_.fail.Add(now_us - received_us);
}

void ModelStatistics::CacheHit(int64_t received_us, int64_t now_us) {
  const MutexLock lock(mutex_);
  counts_.success.Add(now_us - received_us);
  counts_.cache_hit.Add(now_us - received_us);
}

void ModelStatistics::CacheMissed(int64_t received_us, int64_t now_us) {
  const MutexLock lock(mutex_);
  counts_.cache_miss.Add(now_us - received_us);
}

void ModelStatistics::Executed(int64_t rows, const CallTimes& times) {
  const MutexLock lock(mutex_);
  ++counts_.executions;
  ModelCounts::Execution& execution = counts_.by_rows[rows];
  execution.compute_input.Add(times.filled_us - times.began_us);
  execution.compute_infer.Add(times.ran_us - times.filled_us);
  execution.compute_output.Add(times.emptied_us - times.ran_us);
}

ModelCounts ModelStatistics::Counts() const {
  const MutexLock lock(mutex_);
  return counts_;
}

}  // namespace sightline::serve
