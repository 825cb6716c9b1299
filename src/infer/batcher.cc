#include "infer/batcher.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/mutex.h"
#include "base/thread.h"
#include "infer/batch_policy.h"
#include "infer/latest_jobs.h"
#include "infer/waiting_jobs.h"

namespace sightline {
namespace {

constexpr size_t kMostWaiting = 1 << 20;  // 100 MB of slots; chosen
constexpr int64_t kBatchSizeBounds[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512};

absl::Status CheckOptions(const BatcherOptions& options) {
  const std::string& name = options.name;
  if (options.queue_capacity < 1 || options.queue_capacity > kMostWaiting) {
    return InvalidArgument("model {}: a queue of {} jobs; 1 to {} are possible", name,
                           options.queue_capacity, kMostWaiting);
  }
  if (options.max_batch < 1) {
    return InvalidArgument("model {}: batches of at most {}; at least 1 is needed", name,
                           options.max_batch);
  }
  if (options.preferred_sizes.size() > kMostPreferredSizes) {
    return InvalidArgument("model {}: {} preferred batch sizes; {} are possible", name,
                           options.preferred_sizes.size(), kMostPreferredSizes);
  }
  for (const int size : options.preferred_sizes) {
    if (size >= 1 && size <= options.max_batch) continue;
    return InvalidArgument("model {}: {} cannot be a preferred batch size, 1 to {} can", name, size,
                           options.max_batch);
  }
  if (options.default_priority < 1 || options.default_priority > kPriorityLevels) {
    return InvalidArgument("model {}: a priority of {}; 1 to {} are possible", name,
                           options.default_priority, kPriorityLevels);
  }
  if (options.max_delay_us < 0 || options.max_delay_us > kLongestDurationUs ||
      options.max_age_us < 0 || options.clock == nullptr) {
    return InvalidArgument("model {}: a delay of {} us, an age of {} us", name,
                           options.max_delay_us, options.max_age_us);
  }
  if (options.nice < 0 || options.nice > 19) {
    return InvalidArgument("model {}: {} cannot be added to a nice value, 0 to 19 can", name,
                           options.nice);
  }
  return absl::OkStatus();
}

class BatcherImpl final : public Batcher {
 public:
  BatcherImpl(const BatcherOptions& options, std::vector<std::unique_ptr<BatchRunner>> runners)
      : name_(options.name),
        nice_(options.nice),
        clock_(*options.clock),
        runners_(std::move(runners)),
        options_(options),
        policy_(options),
        waiting_(options.queue_capacity) {}
  ~BatcherImpl() override { Stop(/*discard=*/true); }

  // Once, before anything is submitted. After an error the threads that there are wait for Stop().
  absl::Status Start() {
    threads_.reserve(runners_.size());
    for (const auto& runner : runners_) {
      SL_ASSIGN_OR_RETURN(
          std::thread thread,
          StartThread("batch-" + name_, [this, &runner = *runner] { RunnerLoop(runner); }));
      threads_.push_back(std::move(thread));
    }
    return absl::OkStatus();
  }

  absl::Status Submit(BatchJob* job) override EXCLUDES(mutex_) {
    CondVar* to_wake = nullptr;
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
      to_wake = AddJob(job);
    }
    if (to_wake != nullptr) to_wake->NotifyOne();
    return absl::OkStatus();
  }

  absl::Status TrySubmit(BatchJob* job) override EXCLUDES(mutex_) {
    CondVar* to_wake = nullptr;
    {
      MutexLock lock(mutex_);
      if (stopping_) return Refused();
      if (!HasRoom()) {
        ++stats_.dropped;
        return ResourceExhausted("model {} is busy: {} jobs are waiting", name_,
                                 options_.queue_capacity);
      }
      to_wake = AddJob(job);
    }
    if (to_wake != nullptr) to_wake->NotifyOne();
    return absl::OkStatus();
  }

  absl::Status SubmitLatest(BatchJob* job, size_t most_waiting) override EXCLUDES(mutex_) {
    BatchJob* evicted = nullptr;
    CondVar* to_wake = nullptr;
    {
      MutexLock lock(mutex_);
      if (stopping_) return Refused();
      job->added_us = clock_.NowMonotonicUs();
      evicted =
          latest_.Add(job, job->added_us, std::max<size_t>(1, most_waiting), PriorityOf(*job));
      if (evicted != nullptr) ++stats_.dropped;
      to_wake = CountAdded(job->added_us);
    }
    if (to_wake != nullptr) to_wake->NotifyOne();
    if (evicted != nullptr) {
      evicted->Done(DeadlineExceeded("a newer frame took its place before model {}", name_));
    }
    return absl::OkStatus();
  }

  size_t Shed(int64_t added_us, const absl::Status& why) override EXCLUDES(mutex_) {
    std::vector<BatchJob*> old;
    {
      MutexLock lock(mutex_);
      waiting_.TakeOld(added_us, kMostShed, old);
      stats_.dropped += old.size();
      LetWaitersIn();
    }
    for (BatchJob* job : old) job->Done(why);
    return old.size();
  }

  absl::Status Reconfigure(const BatcherOptions& wanted) override EXCLUDES(mutex_) {
    SL_RETURN_IF_ERROR(CheckOptions(wanted));
    MutexLock lock(mutex_);
    options_ = wanted;
    options_.name = name_;
    options_.clock = &clock_;
    options_.nice = nice_;
    policy_.Configure(options_);
    if (options_.queue_capacity > waiting_.capacity()) {
      WaitingJobs larger(options_.queue_capacity);
      waiting_.MoveTo(larger);
      waiting_ = std::move(larger);
    }
    LetWaitersIn();
    company_.NotifyAll();
    work_.NotifyAll();
    return absl::OkStatus();
  }

  BatcherOptions options() const override EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return options_;
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
    company_.NotifyAll();
    if (SL_BUG_IF(runs_for_ == this, "batcher {} stopped from its own thread", name_)) return;
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

  BatcherCounts Counts() const override EXCLUDES(mutex_) {
    BatcherCounts counts;
    counts.queue_us = queue_us_.Counts();
    counts.batch_size = batch_size_.Counts();
    MutexLock lock(mutex_);
    counts.queue = stats_;
    counts.queue.depth = Depth();
    counts.late = late_;
    counts.waited = waited_;
    counts.in_vain = in_vain_;
    return counts;
  }

 private:
  // A thread that waits in Submit; lives on its stack.
  struct Waiter {
    CondVar wake;
    bool let_in = false;  // a place is promised to it
    Waiter* next = nullptr;
  };

  // What a runner has to do next; its vectors are used again.
  struct Turn {
    std::vector<BatchJob*> batch;
    std::vector<absl::Status> statuses;
    std::vector<BatchJob*> stale;  // live jobs that have waited too long
    std::vector<BatchJob*> late;   // jobs whose deadline has passed
    bool discard = false;
    int64_t began_us = 0;
  };

  bool HasRoom() const REQUIRES(mutex_) {
    return first_waiter_ == nullptr && waiting_.size() + promised_ < options_.queue_capacity;
  }

  absl::Status Refused() REQUIRES(mutex_) {
    ++stats_.dropped;
    return Unavailable("the batcher of model {} has been stopped", name_);
  }

  int PriorityOf(const BatchJob& job) const REQUIRES(mutex_) {
    return job.priority <= 0 ? options_.default_priority : std::min(job.priority, kPriorityLevels);
  }

  CondVar* AddJob(BatchJob* job) REQUIRES(mutex_) {
    job->added_us = clock_.NowMonotonicUs();
    waiting_.Add(job, PriorityOf(*job));
    return CountAdded(job->added_us);
  }

  size_t Depth() const REQUIRES(mutex_) { return waiting_.size() + latest_.size(); }
  size_t RowsWaiting() const REQUIRES(mutex_) { return waiting_.rows() + latest_.size(); }

  // What is to be notified, without the lock, for which whoever was woken would wait; null: nothing.
  CondVar* CountAdded(int64_t now_us) REQUIRES(mutex_) {
    const size_t rows = RowsWaiting();
    ++stats_.pushed;
    stats_.max_depth = std::max(stats_.max_depth, Depth());
    policy_.OnArrival(now_us, rows);
    if (!gathering_) return &work_;
    return rows >= wake_at_ ? &company_ : nullptr;
  }

  // Since when the job that waits longest does; Depth() > 0.
  int64_t OldestUs() const REQUIRES(mutex_) {
    const int64_t live = latest_.size() > 0 ? latest_.oldest_us() : INT64_MAX;
    return waiting_.size() > 0 ? std::min(live, waiting_.oldest_us()) : live;
  }

  // Fills `batch` from both kinds of sources, priority by priority, up to `most` rows.
  void Take(size_t most, std::vector<BatchJob*>& batch) REQUIRES(mutex_) {
    waiting_.BeginBatch();
    while (WaitingJobs::RowsOf(batch) < most && Depth() > 0) {
      const size_t before = batch.size();
      TakeOnePriority(most, batch);
      if (batch.size() == before) return;
    }
  }

  void TakeOnePriority(size_t most, std::vector<BatchJob*>& batch) REQUIRES(mutex_) {
    const auto quota = static_cast<size_t>(std::max(options_.max_per_source, 0));
    const int recorded = waiting_.priority();
    const int live = latest_.priority();
    if (recorded < live) return waiting_.Take(recorded, most, quota, batch);
    size_t for_live = most;
    size_t rows = WaitingJobs::RowsOf(batch);
    if (recorded == live) {
      // Half and half; an odd place goes to either in turn.
      const size_t places = most - rows;
      const size_t share = (places + (live_turn_ ? 1 : 0)) / 2;
      live_turn_ = !live_turn_;
      for_live = rows + std::max(share, places - std::min(places, waiting_.rows()));
    }
    for (; rows < for_live && latest_.priority() == live; ++rows) batch.push_back(latest_.Take());
    if (recorded == live) waiting_.Take(recorded, most, quota, batch);
  }

  void LetWaitersIn() REQUIRES(mutex_) {
    while (first_waiter_ != nullptr && waiting_.size() + promised_ < options_.queue_capacity) {
      Waiter* waiter = first_waiter_;
      first_waiter_ = waiter->next;
      if (first_waiter_ == nullptr) last_waiter_ = nullptr;
      ++promised_;
      waiter->let_in = true;
      waiter->wake.NotifyOne();  // under the lock: afterwards `waiter` may be gone
    }
  }

  // Takes out what is not to be run any more.
  void TakeExpired(int64_t now_us, Turn& turn) REQUIRES(mutex_) {
    waiting_.TakeLate(now_us, turn.late);
    late_ += turn.late.size();
    if (options_.max_age_us > 0 && latest_.size() > 0) {
      latest_.TakeStale(now_us - options_.max_age_us, turn.stale);
    }
    stats_.dropped += turn.late.size() + turn.stale.size();
  }

  // Waits for the next batch, and for its company where that pays. False when there is nothing more to
  // come.
  bool NextTurn(size_t runner_most, Turn& turn) EXCLUDES(mutex_) {
    turn.batch.clear();
    turn.stale.clear();
    turn.late.clear();
    MutexLock lock(mutex_);
    ++free_runners_;
    size_t take = 0;
    bool held_back = false;
    while (!stopping_) {
      if (Depth() == 0 || gathering_) {
        held_back = false;
        work_.Wait(mutex_);
        continue;
      }
      turn.began_us = clock_.NowMonotonicUs();
      TakeExpired(turn.began_us, turn);
      if (!turn.late.empty() || !turn.stale.empty()) break;
      const BatchPolicy::Decision decision =
          policy_.Decide({.now_us = turn.began_us,
                          .waiting = RowsWaiting(),
                          .oldest_us = OldestUs(),
                          .next_deadline_us = waiting_.next_deadline_us(),
                          .most = std::min(runner_most, static_cast<size_t>(options_.max_batch)),
                          .free_runners = free_runners_});
      take = decision.take;
      if (take > 0) {
        waited_ += held_back ? 1 : 0;
        in_vain_ += held_back && decision.in_vain ? 1 : 0;
        break;
      }
      gathering_ = held_back = true;
      wake_at_ = decision.wake_at;
      company_.WaitFor(mutex_, std::chrono::microseconds(decision.until_us - turn.began_us));
      gathering_ = false;
    }
    --free_runners_;
    if (stopping_) {
      turn.began_us = clock_.NowMonotonicUs();
      TakeExpired(turn.began_us, turn);
      take = std::min(runner_most, static_cast<size_t>(options_.max_batch));
    }
    Take(take, turn.batch);
    turn.discard = discard_;
    stats_.popped += turn.batch.size();
    if (discard_) stats_.dropped += turn.batch.size();
    if (!turn.batch.empty() && !discard_) {
      policy_.OnBegin(WaitingJobs::RowsOf(turn.batch), RowsWaiting());
      batch_size_.Observe(static_cast<int64_t>(turn.batch.size()));
      for (const BatchJob* job : turn.batch) queue_us_.Observe(turn.began_us - job->added_us);
    }
    LetWaitersIn();
    // Another runner may have slept through the sign for what is left.
    if (Depth() > 0) work_.NotifyOne();
    return !turn.batch.empty() || !turn.stale.empty() || !turn.late.empty();
  }

  void RunBatch(BatchRunner& runner, Turn& turn) EXCLUDES(mutex_) {
    turn.statuses.assign(turn.batch.size(), absl::OkStatus());
    const size_t rows = WaitingJobs::RowsOf(turn.batch);
    runner.Run(turn.batch, turn.statuses);
    {
      MutexLock lock(mutex_);
      const int64_t now_us = clock_.NowMonotonicUs();
      policy_.OnEnd(now_us, rows, now_us - turn.began_us);
    }
    for (size_t i = 0; i < turn.batch.size(); ++i) turn.batch[i]->Done(turn.statuses[i]);
  }

  void RunnerLoop(BatchRunner& runner) {
    runs_for_ = this;
    LowerThreadPriority(nice_);
    const auto most = static_cast<size_t>(std::max(1, runner.max_batch()));
    Turn turn;
    while (NextTurn(most, turn)) {
      for (BatchJob* job : turn.stale) {
        job->Done(DeadlineExceeded("it waited too long for model {}", name_));
      }
      for (BatchJob* job : turn.late) {
        job->Done(DeadlineExceeded("its deadline passed before model {} had time for it", name_));
      }
      if (turn.batch.empty()) continue;
      if (!turn.discard) {
        RunBatch(runner, turn);
        continue;
      }
      for (BatchJob* job : turn.batch) job->Done(Cancelled("not run: shutting down"));
    }
  }

  static inline thread_local const BatcherImpl* runs_for_ = nullptr;  // of this thread

  const std::string name_;
  const int nice_;
  const Clock& clock_;
  const std::vector<std::unique_ptr<BatchRunner>> runners_;
  Histogram queue_us_{kStageBoundsUs};
  Histogram batch_size_{kBatchSizeBounds, /*per_unit=*/1};
  mutable Mutex mutex_;
  CondVar work_;     // for runners that have nothing to do
  CondVar company_;  // for the one that waits for a fuller batch
  BatcherOptions options_ GUARDED_BY(mutex_);
  BatchPolicy policy_ GUARDED_BY(mutex_);
  WaitingJobs waiting_ GUARDED_BY(mutex_);  // of Submit and TrySubmit
  LatestJobs latest_ GUARDED_BY(mutex_);    // of SubmitLatest
  bool live_turn_ GUARDED_BY(mutex_) = true;
  size_t free_runners_ GUARDED_BY(mutex_) = 0;
  bool gathering_ GUARDED_BY(mutex_) = false;  // a runner waits for company_
  size_t wake_at_ GUARDED_BY(mutex_) = 0;      // when so many wait
  Waiter* first_waiter_ GUARDED_BY(mutex_) = nullptr;
  Waiter* last_waiter_ GUARDED_BY(mutex_) = nullptr;
  size_t promised_ GUARDED_BY(mutex_) = 0;  // places that let-in waiters have yet to take
  bool stopping_ GUARDED_BY(mutex_) = false;
  bool discard_ GUARDED_BY(mutex_) = false;
  QueueStats stats_ GUARDED_BY(mutex_);
  uint64_t late_ GUARDED_BY(mutex_) = 0;
  uint64_t waited_ GUARDED_BY(mutex_) = 0;
  uint64_t in_vain_ GUARDED_BY(mutex_) = 0;
  std::once_flag joined_;
  std::vector<std::thread> threads_;  // last: they use everything above
};

}  // namespace

absl::StatusOr<std::unique_ptr<Batcher>> Batcher::Create(
    const BatcherOptions& options, std::vector<std::unique_ptr<BatchRunner>> runners) {
  SL_RETURN_IF_ERROR(CheckOptions(options));
  if (runners.empty()) return InvalidArgument("model {} has no runner", options.name);
  auto batcher = std::make_unique<BatcherImpl>(options, std::move(runners));
  SL_RETURN_IF_ERROR(batcher->Start());
  return batcher;
}

}  // namespace sightline
