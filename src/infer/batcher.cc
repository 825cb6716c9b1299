#include "infer/batcher.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/mutex.h"
#include "base/thread.h"
#include "infer/latest_jobs.h"

namespace sightline {
namespace {

constexpr uint32_t kNone = UINT32_MAX;

// The waiting jobs, first in first out for each source, sources in turns. Not thread-safe.
//
// Everything lives in arrays of `capacity` made at the start: a slot for each job, and a record for
// each source that has jobs waiting, found by hash and lined up in the order of their turns.
class WaitingJobs {
 public:
  explicit WaitingJobs(size_t capacity)
      : slots_(capacity), sources_(capacity), buckets_(capacity * 2, kNone) {
    for (size_t i = 0; i < capacity; ++i) {
      const uint32_t next = i + 1 < capacity ? static_cast<uint32_t>(i + 1) : kNone;
      slots_[i].next = next;
      sources_[i].next_in_bucket = next;
    }
  }

  size_t size() const { return size_; }
  size_t capacity() const { return slots_.size(); }
  // When the job that waits longest was added; size() > 0.
  int64_t oldest_us() const { return slots_[oldest_].added_us; }

  // size() < capacity().
  void Add(BatchJob* job, int64_t now_us) {
    const uint32_t index = free_slot_;
    Slot& slot = slots_[index];
    free_slot_ = slot.next;
    slot = {.job = job, .added_us = now_us, .next = kNone, .older = newest_, .newer = kNone};
    (newest_ == kNone ? oldest_ : slots_[newest_].newer) = index;
    newest_ = index;
    Source& source = sources_[FindOrMake(job->source)];
    (source.first == kNone ? source.first : slots_[source.last].next) = index;
    source.last = index;
    ++size_;
  }

  // Fills `batch` with at most `most` jobs: one of each source in turn, no more than `quota` of one
  // source while another waits (0 = no quota: turns alone are an equal share).
  void Take(size_t most, size_t quota, std::vector<BatchJob*>& batch) {
    ++batch_number_;
    size_t passed_over = 0;  // sources in a row that have had their quota
    while (batch.size() < most && size_ > 0 && passed_over < active_) {
      Source& source = sources_[turn_first_];
      if (source.batch_number != batch_number_) {
        source.batch_number = batch_number_;
        source.taken = 0;
      }
      if (quota > 0 && source.taken >= quota && active_ > 1) {
        ++passed_over;
        MoveToTheEnd();
        continue;
      }
      passed_over = 0;
      ++source.taken;
      batch.push_back(TakeFirst(source));
      if (source.first == kNone) {
        Forget();
      } else {
        MoveToTheEnd();
      }
    }
  }

 private:
  struct Slot {
    BatchJob* job = nullptr;
    int64_t added_us = 0;
    uint32_t next = kNone;  // of the same source, or of the free ones
    uint32_t older = kNone;
    uint32_t newer = kNone;
  };
  struct Source {
    uint32_t id = 0;
    uint32_t first = kNone;  // slot
    uint32_t last = kNone;   // slot
    uint32_t next_in_bucket = kNone;
    uint32_t next_in_turn = kNone;
    uint64_t batch_number = 0;
    size_t taken = 0;  // by that batch
  };

  size_t BucketOf(uint32_t id) const {
    return (id * uint64_t{0x9E3779B97F4A7C15} >> 32) % buckets_.size();  // Fibonacci hashing
  }

  uint32_t FindOrMake(uint32_t id) {
    uint32_t& bucket = buckets_[BucketOf(id)];
    for (uint32_t i = bucket; i != kNone; i = sources_[i].next_in_bucket) {
      if (sources_[i].id == id) return i;
    }
    const uint32_t index = free_source_;
    free_source_ = sources_[index].next_in_bucket;
    sources_[index] = {.id = id, .next_in_bucket = bucket};
    bucket = index;
    (turn_first_ == kNone ? turn_first_ : sources_[turn_last_].next_in_turn) = index;
    turn_last_ = index;
    ++active_;
    return index;
  }

  BatchJob* TakeFirst(Source& source) {
    const uint32_t index = source.first;
    Slot& slot = slots_[index];
    source.first = slot.next;
    (slot.older == kNone ? oldest_ : slots_[slot.older].newer) = slot.newer;
    (slot.newer == kNone ? newest_ : slots_[slot.newer].older) = slot.older;
    slot.next = free_slot_;
    free_slot_ = index;
    --size_;
    return std::exchange(slot.job, nullptr);
  }

  void MoveToTheEnd() {
    if (turn_first_ == turn_last_) return;
    const uint32_t index = turn_first_;
    turn_first_ = sources_[index].next_in_turn;
    sources_[index].next_in_turn = kNone;
    sources_[turn_last_].next_in_turn = index;
    turn_last_ = index;
  }

  // The source whose turn it is has no jobs left.
  void Forget() {
    const uint32_t index = turn_first_;
    turn_first_ = sources_[index].next_in_turn;
    if (turn_first_ == kNone) turn_last_ = kNone;
    uint32_t* link = &buckets_[BucketOf(sources_[index].id)];
    while (*link != index) link = &sources_[*link].next_in_bucket;
    *link = sources_[index].next_in_bucket;
    sources_[index].next_in_bucket = free_source_;
    free_source_ = index;
    --active_;
  }

  std::vector<Slot> slots_;
  std::vector<Source> sources_;
  std::vector<uint32_t> buckets_;
  uint32_t free_slot_ = 0;
  uint32_t free_source_ = 0;
  uint32_t oldest_ = kNone;  // slots by arrival
  uint32_t newest_ = kNone;
  uint32_t turn_first_ = kNone;  // sources with jobs, by turn
  uint32_t turn_last_ = kNone;
  size_t size_ = 0;
  size_t active_ = 0;
  uint64_t batch_number_ = 0;
};

int64_t NowUs() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

class BatcherImpl final : public Batcher {
 public:
  BatcherImpl(const BatcherOptions& options, std::vector<std::unique_ptr<BatchRunner>> runners)
      : options_(options), runners_(std::move(runners)), waiting_(options.queue_capacity) {
    SL_CHECK(!runners_.empty(), "batcher {} has no runner", options_.name);
    SL_CHECK(
        options_.queue_capacity > 0 && options_.queue_capacity < kNone && options_.max_batch > 0,
        "batcher {}: a queue of {}, batches of {}", options_.name, options_.queue_capacity,
        options_.max_batch);
  }
  ~BatcherImpl() override { Stop(/*discard=*/true); }

  // Once, before anything is submitted. After an error the threads that there are wait for Stop().
  absl::Status Start() {
    threads_.reserve(runners_.size());
    for (const auto& runner : runners_) {
      SL_ASSIGN_OR_RETURN(
          std::thread thread,
          StartThread("batch-" + options_.name, [this, &runner = *runner] { RunnerLoop(runner); }));
      threads_.push_back(std::move(thread));
    }
    return absl::OkStatus();
  }

  absl::Status Submit(BatchJob* job) override EXCLUDES(mutex_) {
    {
      MutexLock lock(mutex_);
      if (!stopping_ && !HasRoom()) {
        // In line, so that a source which submits all the time does not keep others out.
        Waiter waiter;
        (first_waiter_ == nullptr ? first_waiter_ : last_waiter_->next) = &waiter;
        last_waiter_ = &waiter;
        while (!waiter.let_in && !stopping_) waiter.wake.Wait(mutex_);
        if (waiter.let_in) --promised_;
      }
      // After Stop() nobody looks at the line any more, and it is left as it is.
      if (stopping_) return Refused();
      AddJob(job);
    }
    work_.NotifyOne();
    return absl::OkStatus();
  }

  absl::Status TrySubmit(BatchJob* job) override EXCLUDES(mutex_) {
    {
      MutexLock lock(mutex_);
      if (stopping_) return Refused();
      if (!HasRoom()) {
        ++stats_.dropped;
        return Full();
      }
      AddJob(job);
    }
    work_.NotifyOne();
    return absl::OkStatus();
  }

  absl::Status SubmitLatest(BatchJob* job, size_t most_waiting) override EXCLUDES(mutex_) {
    BatchJob* evicted = nullptr;
    {
      MutexLock lock(mutex_);
      if (stopping_) return Refused();
      evicted = latest_.Add(job, NowUs(), std::max<size_t>(1, most_waiting));
      CountAdded();
      if (evicted != nullptr) ++stats_.dropped;
    }
    if (evicted != nullptr) {
      evicted->Done(
          DeadlineExceeded("a newer frame took its place before model {}", options_.name));
    } else {
      work_.NotifyOne();
    }
    return absl::OkStatus();
  }

  void Stop(bool discard) override EXCLUDES(mutex_) {
    {
      MutexLock lock(mutex_);
      stopping_ = true;
      discard_ |= discard;
      for (Waiter* waiter = first_waiter_; waiter != nullptr; waiter = waiter->next) {
        waiter->wake.NotifyOne();
      }
      first_waiter_ = last_waiter_ = nullptr;
    }
    work_.NotifyAll();
    if (SL_BUG_IF(runs_for_ == this, "batcher {} stopped from its own thread", options_.name)) {
      return;
    }
    std::call_once(joined_, [this] {
      for (std::thread& thread : threads_) thread.join();
    });
  }

  QueueStats Stats() const override EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    QueueStats stats = stats_;
    stats.depth = Depth();
    return stats;
  }

 private:
  // A thread that waits in Submit; lives on its stack.
  struct Waiter {
    CondVar wake;
    bool let_in = false;  // a place is promised to it
    Waiter* next = nullptr;
  };

  bool HasRoom() const REQUIRES(mutex_) {
    return first_waiter_ == nullptr && waiting_.size() + promised_ < waiting_.capacity();
  }

  absl::Status Refused() REQUIRES(mutex_) {
    ++stats_.dropped;
    return Unavailable("the batcher of model {} has been stopped", options_.name);
  }

  absl::Status Full() const {
    return ResourceExhausted("model {} is busy: {} frames are waiting", options_.name,
                             options_.queue_capacity);
  }

  void AddJob(BatchJob* job) REQUIRES(mutex_) {
    waiting_.Add(job, options_.max_delay_us > 0 ? NowUs() : 0);
    CountAdded();
  }

  size_t Depth() const REQUIRES(mutex_) { return waiting_.size() + latest_.size(); }

  void CountAdded() REQUIRES(mutex_) {
    ++stats_.pushed;
    stats_.max_depth = std::max(stats_.max_depth, Depth());
  }

  // Since when the job that waits longest does; Depth() > 0.
  int64_t OldestUs() const REQUIRES(mutex_) {
    const int64_t live = latest_.size() > 0 ? latest_.oldest_us() : INT64_MAX;
    return waiting_.size() > 0 ? std::min(live, waiting_.oldest_us()) : live;
  }

  // Fills `batch` from both kinds of sources.
  void Take(size_t most, std::vector<BatchJob*>& batch) REQUIRES(mutex_) {
    const auto quota = static_cast<size_t>(std::max(options_.max_per_source, 0));
    if (latest_.size() == 0) return waiting_.Take(most, quota, batch);
    // Half and half; an odd place goes to either in turn.
    const size_t share = (most + (live_turn_ ? 1 : 0)) / 2;
    live_turn_ = !live_turn_;
    const size_t live =
        waiting_.size() == 0 ? most : std::max(share, most - std::min(most, waiting_.size()));
    while (batch.size() < live && latest_.size() > 0) batch.push_back(latest_.Take());
    waiting_.Take(most, quota, batch);
  }

  void LetWaitersIn() REQUIRES(mutex_) {
    while (first_waiter_ != nullptr && waiting_.size() + promised_ < waiting_.capacity()) {
      Waiter* waiter = first_waiter_;
      first_waiter_ = waiter->next;
      if (first_waiter_ == nullptr) last_waiter_ = nullptr;
      ++promised_;
      waiter->let_in = true;
      waiter->wake.NotifyOne();  // under the lock: afterwards `waiter` may be gone
    }
  }

  // Fills `batch`, waiting for the first job and, if asked to, for its company; `stale` has jobs that
  // have waited too long. False when there is nothing more to come.
  bool NextBatch(size_t most, std::vector<BatchJob*>& batch, std::vector<BatchJob*>& stale,
                 bool& discard) EXCLUDES(mutex_) {
    batch.clear();
    stale.clear();
    MutexLock lock(mutex_);
    const size_t enough = std::min(most, waiting_.capacity());
    while (!stopping_ && Depth() < enough) {
      if (Depth() == 0) {
        work_.Wait(mutex_);
        continue;
      }
      if (options_.max_delay_us <= 0) break;
      const int64_t left_us = OldestUs() + options_.max_delay_us - NowUs();
      if (left_us <= 0) break;
      work_.WaitFor(mutex_, std::chrono::microseconds(left_us));
    }
    if (options_.max_age_us > 0 && latest_.size() > 0) {
      latest_.TakeStale(NowUs() - options_.max_age_us, stale);
      stats_.dropped += stale.size();
    }
    Take(most, batch);
    discard = discard_;
    stats_.popped += batch.size();
    if (discard) stats_.dropped += batch.size();
    LetWaitersIn();
    // A runner that waited for company may have slept through the sign for what is left.
    if (Depth() > 0) work_.NotifyOne();
    return !batch.empty() || !stale.empty();
  }

  void RunnerLoop(BatchRunner& runner) {
    runs_for_ = this;
    const size_t most =
        static_cast<size_t>(std::max(1, std::min(options_.max_batch, runner.max_batch())));
    std::vector<BatchJob*> batch;
    batch.reserve(most);
    std::vector<BatchJob*> stale;
    bool discard = false;
    while (NextBatch(most, batch, stale, discard)) {
      for (BatchJob* job : stale) {
        job->Done(DeadlineExceeded("it waited too long for model {}", options_.name));
      }
      if (!discard) {
        if (!batch.empty()) runner.Run(batch);
        continue;
      }
      for (BatchJob* job : batch) job->Done(Cancelled("not run: shutting down"));
    }
  }

  static inline thread_local const BatcherImpl* runs_for_ = nullptr;  // of this thread

  const BatcherOptions options_;
  const std::vector<std::unique_ptr<BatchRunner>> runners_;
  mutable Mutex mutex_;
  CondVar work_;
  WaitingJobs waiting_ GUARDED_BY(mutex_);  // of Submit and TrySubmit
  LatestJobs latest_ GUARDED_BY(mutex_);    // of SubmitLatest
  bool live_turn_ GUARDED_BY(mutex_) = true;
  Waiter* first_waiter_ GUARDED_BY(mutex_) = nullptr;
  Waiter* last_waiter_ GUARDED_BY(mutex_) = nullptr;
  size_t promised_ GUARDED_BY(mutex_) = 0;  // places that let-in waiters have yet to take
  bool stopping_ GUARDED_BY(mutex_) = false;
  bool discard_ GUARDED_BY(mutex_) = false;
  QueueStats stats_ GUARDED_BY(mutex_);
  std::once_flag joined_;
  std::vector<std::thread> threads_;  // last: they use everything above
};

}  // namespace

absl::StatusOr<std::unique_ptr<Batcher>> Batcher::Create(
    const BatcherOptions& options, std::vector<std::unique_ptr<BatchRunner>> runners) {
  auto batcher = std::make_unique<BatcherImpl>(options, std::move(runners));
  SL_RETURN_IF_ERROR(batcher->Start());
  return batcher;
}

}  // namespace sightline
