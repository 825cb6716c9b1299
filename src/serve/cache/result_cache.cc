#include "serve/cache/result_cache.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/metrics.h"
#include "base/mutex.h"

namespace sightline::serve {
namespace {

constexpr size_t kFlightParts = 16;

bool IsCallersOwn(const absl::Status& status) {
  return absl::IsCancelled(status) || absl::IsDeadlineExceeded(status);
}

}  // namespace

std::string_view ToString(CacheHit hit) {
  switch (hit) {
    case CacheHit::kNone:
      return "none";
    case CacheHit::kShared:
      return "shared";
    case CacheHit::kExact:
      return "exact";
    case CacheHit::kPerceptual:
      return "perceptual";
    case CacheHit::kEmbedding:
      return "embedding";
  }
  return "";
}

// Kept by the computations on their way.
class ResultCache::Core : public std::enable_shared_from_this<ResultCache::Core> {
 public:
  Core(std::shared_ptr<CacheStore> store, const ResultCacheOptions& options)
      : store_(std::move(store)), options_(options) {}

  void Get(const CacheKey& key, Compute compute, Done done, int64_t deadline_us, CacheHit kind);
  void Find(const CacheKey& key, CacheHit kind, CacheStore::Found found);
  void Put(const CacheKey& key, CachedBytes value) { store_->Put(key, std::move(value)); }
  int64_t ReleaseLate();
  void OnDeadline(std::function<void()> wake) { wake_ = std::move(wake); }
  CacheCounts Counts() const;

 private:
  struct Caller {
    Compute compute;
    Done done;
    int64_t deadline_us = 0;
  };
  struct Part {
    mutable Mutex mutex;
    // Those who wait for the one who computes, who is not among them.
    std::unordered_map<CacheKey, std::deque<Caller>, CacheKeyHash> flights GUARDED_BY(mutex);
  };
  // One run of a computation. Whichever is the second of "it was answered" and "its call returned"
  // goes on from there, so that a row of computations that fail at once is a loop and no recursion.
  struct Run {
    ~Run();
    std::shared_ptr<Core> core;
    CacheKey key;
    Done done;
    std::optional<absl::StatusOr<CachedBytes>> result;
    std::atomic<bool> is_answered{false};
    std::atomic<bool> is_second{false};
  };

  Part& PartOf(const CacheKey& key) { return parts_[key.bytes[30] % kFlightParts]; }
  // `caller` computes, and those after it whose turn it becomes.
  void Lead(const CacheKey& key, Caller caller);
  // Gives the result to who waits for it; the one whose turn it is to compute, if any.
  std::optional<Caller> Settle(const CacheKey& key, absl::StatusOr<CachedBytes> result, Done done);
  void Answer(const CacheKey& key, const absl::StatusOr<CachedBytes>& result, CacheHit leader,
              Done done);
  std::deque<Caller> TakeFlight(const CacheKey& key);
  void ComputeAlone(Caller caller);
  Counter& CounterOf(CacheHit hit);

  const std::shared_ptr<CacheStore> store_;
  const ResultCacheOptions options_;
  std::function<void()> wake_;
  std::array<Part, kFlightParts> parts_;
  std::atomic<uint64_t> waiting_{0};
  std::atomic<uint64_t> with_deadline_{0};
  Counter exact_, perceptual_, embedding_, shared_, misses_, failures_, late_, alone_;
};

ResultCache::Core::Run::~Run() {
  if (is_answered.load(std::memory_order_acquire)) return;
  // Nobody is left who could answer.
  if (auto next =
          core->Settle(key, Internal("the computation ended without an answer"), std::move(done))) {
    core->Lead(key, *std::move(next));
  }
}

Counter& ResultCache::Core::CounterOf(CacheHit hit) {
  switch (hit) {
    case CacheHit::kNone:
      return misses_;
    case CacheHit::kShared:
      return shared_;
    case CacheHit::kExact:
      return exact_;
    case CacheHit::kPerceptual:
      return perceptual_;
    case CacheHit::kEmbedding:
      return embedding_;
  }
  return misses_;
}

void ResultCache::Core::Get(const CacheKey& key, Compute compute, Done done, int64_t deadline_us,
                            CacheHit kind) {
  if (CachedBytes bytes = store_->FindNow(key)) {
    CounterOf(kind).Add();
    return done(CachedAnswer{std::move(bytes), kind});
  }
  Caller caller{std::move(compute), std::move(done), deadline_us};
  Part& part = PartOf(key);
  bool is_waiting = false, is_alone = false;
  {
    const MutexLock lock(part.mutex);
    const auto [at, is_first] = part.flights.try_emplace(key);
    if (!is_first) {
      is_alone = waiting_.load(std::memory_order_relaxed) >= options_.max_waiting;
      is_waiting = !is_alone;
    }
    if (is_waiting) {
      at->second.push_back(std::move(caller));
      waiting_.fetch_add(1, std::memory_order_relaxed);
      if (deadline_us > 0) with_deadline_.fetch_add(1, std::memory_order_relaxed);
    }
  }
  if (is_alone) return ComputeAlone(std::move(caller));
  if (is_waiting) {
    if (deadline_us > 0 && wake_) wake_();
    return;
  }
  // Once more: it may have come between the first look and here. From here on nobody else writes it.
  store_->Find(key, [self = shared_from_this(), key, kind,
                     caller = std::make_shared<Caller>(std::move(caller))](CachedBytes bytes) {
    if (bytes == nullptr) return self->Lead(key, std::move(*caller));
    self->Answer(key, std::move(bytes), kind, std::move(caller->done));
  });
}

void ResultCache::Core::ComputeAlone(Caller caller) {
  misses_.Add();
  alone_.Add();
  caller.compute([self = shared_from_this(),
                  done = std::move(caller.done)](absl::StatusOr<CachedBytes> result) {
    if (!result.ok()) {
      self->failures_.Add();
      return done(result.status());
    }
    done(CachedAnswer{*std::move(result), CacheHit::kNone});
  });
}

void ResultCache::Core::Lead(const CacheKey& key, Caller caller) {
  std::optional<Caller> next = std::move(caller);
  while (next) {
    misses_.Add();
    const auto run = std::make_shared<Run>();
    run->core = shared_from_this();
    run->key = key;
    run->done = std::move(next->done);
    const Compute compute = std::move(next->compute);
    next.reset();
    compute([run](absl::StatusOr<CachedBytes> result) {
      if (run->is_answered.exchange(true, std::memory_order_acq_rel)) return;
      run->result = std::move(result);
      if (!run->is_second.exchange(true, std::memory_order_acq_rel)) return;
      if (auto after = run->core->Settle(run->key, *std::move(run->result), std::move(run->done))) {
        run->core->Lead(run->key, *std::move(after));
      }
    });
    if (!run->is_second.exchange(true, std::memory_order_acq_rel)) return;
    next = Settle(key, *std::move(run->result), std::move(run->done));
  }
}

std::deque<ResultCache::Core::Caller> ResultCache::Core::TakeFlight(const CacheKey& key) {
  Part& part = PartOf(key);
  std::deque<Caller> waiting;
  const MutexLock lock(part.mutex);
  const auto at = part.flights.find(key);
  if (at == part.flights.end()) return waiting;
  waiting = std::move(at->second);
  part.flights.erase(at);
  waiting_.fetch_sub(waiting.size(), std::memory_order_relaxed);
  for (const Caller& caller : waiting) {
    if (caller.deadline_us > 0) with_deadline_.fetch_sub(1, std::memory_order_relaxed);
  }
  return waiting;
}

std::optional<ResultCache::Core::Caller> ResultCache::Core::Settle(
    const CacheKey& key, absl::StatusOr<CachedBytes> result, Done done) {
  if (result.ok() && *result == nullptr) result = Internal("the computation gave nothing");
  if (result.ok()) {
    store_->Put(key, *result);  // before others can begin a computation of it
    Answer(key, result, CacheHit::kNone, std::move(done));
    return std::nullopt;
  }
  failures_.Add();
  if (!IsCallersOwn(result.status())) {
    Answer(key, result, CacheHit::kNone, std::move(done));
    return std::nullopt;
  }
  std::optional<Caller> next;
  {
    Part& part = PartOf(key);
    const MutexLock lock(part.mutex);
    const auto at = part.flights.find(key);
    if (at != part.flights.end() && at->second.empty()) {
      part.flights.erase(at);
    } else if (at != part.flights.end()) {
      next = std::move(at->second.front());
      at->second.pop_front();
      waiting_.fetch_sub(1, std::memory_order_relaxed);
      if (next->deadline_us > 0) with_deadline_.fetch_sub(1, std::memory_order_relaxed);
    }
  }
  done(result.status());
  return next;
}

void ResultCache::Core::Answer(const CacheKey& key, const absl::StatusOr<CachedBytes>& result,
                               CacheHit leader, Done done) {
  const std::deque<Caller> waiting = TakeFlight(key);
  if (!result.ok()) {
    done(result.status());
    for (const Caller& caller : waiting) caller.done(result.status());
    return;
  }
  if (leader != CacheHit::kNone) CounterOf(leader).Add();
  done(CachedAnswer{*result, leader});
  const CacheHit others = leader == CacheHit::kNone ? CacheHit::kShared : leader;
  for (const Caller& caller : waiting) {
    CounterOf(others).Add();
    caller.done(CachedAnswer{*result, others});
  }
}

void ResultCache::Core::Find(const CacheKey& key, CacheHit kind, CacheStore::Found found) {
  if (CachedBytes bytes = store_->FindNow(key)) {
    CounterOf(kind).Add();
    return found(std::move(bytes));
  }
  store_->Find(key, [self = shared_from_this(), kind, found = std::move(found)](CachedBytes bytes) {
    if (bytes != nullptr) self->CounterOf(kind).Add();
    found(std::move(bytes));
  });
}

int64_t ResultCache::Core::ReleaseLate() {
  if (with_deadline_.load(std::memory_order_relaxed) == 0) return 0;
  const int64_t now_us = options_.clock->NowMonotonicUs();
  int64_t next_us = 0;
  std::vector<Caller> late;
  for (Part& part : parts_) {
    const MutexLock lock(part.mutex);
    for (auto& [key, waiting] : part.flights) {
      for (Caller& caller : waiting) {
        if (caller.deadline_us > 0 && caller.deadline_us <= now_us) {
          late.push_back(std::move(caller));
          caller.done = nullptr;
        } else if (caller.deadline_us > 0) {
          next_us = next_us == 0 ? caller.deadline_us : std::min(next_us, caller.deadline_us);
        }
      }
      std::erase_if(waiting, [](const Caller& caller) { return caller.done == nullptr; });
    }
  }
  waiting_.fetch_sub(late.size(), std::memory_order_relaxed);
  with_deadline_.fetch_sub(late.size(), std::memory_order_relaxed);
  late_.Add(late.size());
  for (const Caller& caller : late) {
    caller.done(DeadlineExceeded(
        "the timeout passed while the same was being computed for an earlier request"));
  }
  return next_us;
}

CacheCounts ResultCache::Core::Counts() const {
  CacheCounts counts;
  counts.exact = exact_.value();
  counts.perceptual = perceptual_.value();
  counts.embedding = embedding_.value();
  counts.shared = shared_.value();
  counts.misses = misses_.value();
  counts.failures = failures_.value();
  counts.late = late_.value();
  counts.alone = alone_.value();
  counts.waiting = waiting_.load(std::memory_order_relaxed);
  counts.store = store_->Counts();
  return counts;
}

ResultCache::ResultCache(std::shared_ptr<CacheStore> store, const ResultCacheOptions& options)
    : core_(std::make_shared<Core>(std::move(store), options)) {}

ResultCache::~ResultCache() = default;

void ResultCache::Get(const CacheKey& key, Compute compute, Done done, int64_t deadline_us,
                      CacheHit kind) {
  core_->Get(key, std::move(compute), std::move(done), deadline_us, kind);
}

void ResultCache::Find(const CacheKey& key, CacheHit kind, CacheStore::Found found) {
  core_->Find(key, kind, std::move(found));
}

void ResultCache::Put(const CacheKey& key, CachedBytes value) { core_->Put(key, std::move(value)); }

int64_t ResultCache::ReleaseLate() { return core_->ReleaseLate(); }

void ResultCache::OnDeadline(std::function<void()> wake) { core_->OnDeadline(std::move(wake)); }

CacheCounts ResultCache::Counts() const { return core_->Counts(); }

}  // namespace sightline::serve
