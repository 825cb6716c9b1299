#include "serve/cache/model_caches.h"

#include <chrono>
#include <utility>

#include "base/thread.h"
#include "serve/cache/memory_store.h"

namespace sightline::serve {
namespace {

using enum MetricType;

// How late somebody may be told that its time is over; chosen.
constexpr std::chrono::milliseconds kLook{5};

constexpr MetricInfo kHits = {"sightline_cache_hits_total", kCounter,
                              "Answers that were not computed for the request, by kind"};
constexpr MetricInfo kMisses = {"sightline_cache_misses_total", kCounter,
                                "Computations that the cache asked for"};
constexpr MetricInfo kFailures = {"sightline_cache_failures_total", kCounter,
                                  "Computations that failed; their errors are not kept"};
constexpr MetricInfo kLate = {"sightline_cache_late_total", kCounter,
                              "Requests whose time ended while another's computation was awaited"};
constexpr MetricInfo kAlone = {"sightline_cache_alone_total", kCounter,
                               "Computations beside one of the same, because too many waited"};
constexpr MetricInfo kWaiting = {"sightline_cache_waiting", kGauge,
                                 "Requests that wait for another's computation"};
constexpr MetricInfo kEntries = {"sightline_cache_entries", kGauge, "Values in memory"};
constexpr MetricInfo kBytes = {"sightline_cache_bytes", kGauge,
                               "Memory of values with their keys and of the looks of pictures"};
constexpr MetricInfo kLimit = {"sightline_cache_limit_bytes", kGauge,
                               "The bound of the values in memory"};
constexpr MetricInfo kEvictions = {"sightline_cache_evictions_total", kCounter,
                                   "Values that went for room"};
constexpr MetricInfo kExpired = {"sightline_cache_expired_total", kCounter,
                                 "Values that were too old when they were asked for"};
constexpr MetricInfo kTooLarge = {"sightline_cache_too_large_total", kCounter,
                                  "Values that were larger than the store takes"};
constexpr MetricInfo kStoreFailures = {
    "sightline_cache_store_failures_total", kCounter,
    "Look-ups and writes that Redis did not answer in time, or at all"};
constexpr MetricInfo kStoreDropped = {"sightline_cache_store_dropped_total", kCounter,
                                      "Of those, not sent because too many were on their way"};
constexpr MetricInfo kStoreAway = {"sightline_cache_store_away", kGauge,
                                   "1 while Redis cannot be reached"};

void Collect(std::string_view name, const ModelCache& cache, MetricWriter& writer) {
  const CacheCounts counts = cache.results().Counts();
  const auto hits = [&](std::string_view kind, uint64_t value) {
    writer.Write(kHits, {{"model", name}, {"kind", kind}}, static_cast<double>(value));
  };
  hits("exact", counts.exact);
  hits("perceptual", counts.perceptual);
  hits("embedding", counts.embedding);
  hits("shared", counts.shared);
  const auto write = [&](const MetricInfo& metric, uint64_t value) {
    writer.Write(metric, {{"model", name}}, static_cast<double>(value));
  };
  write(kMisses, counts.misses);
  write(kFailures, counts.failures);
  write(kLate, counts.late);
  write(kAlone, counts.alone);
  write(kWaiting, counts.waiting);
  write(kEntries, counts.store.entries);
  write(kBytes, counts.store.bytes + cache.look_bytes());
  write(kLimit, counts.store.limit_bytes);
  write(kEvictions, counts.store.evictions);
  write(kExpired, counts.store.expired);
  write(kTooLarge, counts.store.too_large);
  write(kStoreFailures, counts.store.failures);
  write(kStoreDropped, counts.store.dropped);
  write(kStoreAway, counts.store.is_away ? 1 : 0);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ModelCaches>> ModelCaches::Create(MakeStore make_store,
                                                                 const Clock& clock) {
  std::unique_ptr<ModelCaches> made(new ModelCaches(std::move(make_store), clock));
  ModelCaches* const raw = made.get();
  SL_ASSIGN_OR_RETURN(made->thread_, StartThread("cache", [raw] { raw->Loop(); }));
  return made;
}

ModelCaches::~ModelCaches() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  wake_.NotifyAll();
  if (thread_.joinable()) thread_.join();
}

ModelCache* ModelCaches::Find(std::string_view name, const CacheSettings& settings) {
  if (settings.kind == CacheKind::kOff) return nullptr;
  const MutexLock lock(mutex_);
  const auto at = caches_.find(name);
  if (at != caches_.end()) return at->second.get();
  std::shared_ptr<CacheStore> store;
  if (make_store_) {
    store = make_store_(settings);
  } else {
    store = std::make_shared<MemoryStore>(MemoryStoreOptions{.max_bytes = settings.max_bytes,
                                                             .max_entries = settings.max_entries,
                                                             .ttl_us = settings.ttl_us,
                                                             .clock = &clock_});
  }
  auto cache = std::make_unique<ModelCache>(settings, std::move(store), clock_);
  cache->results().OnDeadline([this] {
    {
      const MutexLock lock(mutex_);
      is_watching_ = true;
    }
    wake_.NotifyOne();
  });
  return caches_.emplace(std::string(name), std::move(cache)).first->second.get();
}

void ModelCaches::Loop() {
  std::vector<ModelCache*> caches;
  while (true) {
    {
      MutexLock lock(mutex_);
      while (!is_watching_ && !stopping_) wake_.Wait(mutex_);
      if (!stopping_) wake_.WaitFor(mutex_, kLook);
      if (stopping_) return;
      is_watching_ = false;
      caches.clear();
      for (const auto& [name, cache] : caches_) caches.push_back(cache.get());
    }
    bool some_wait = false;
    for (ModelCache* const cache : caches) some_wait |= cache->results().ReleaseLate() != 0;
    if (!some_wait) continue;
    const MutexLock lock(mutex_);
    is_watching_ = true;
  }
}

void ModelCaches::CollectMetrics(MetricWriter& writer) const {
  const MutexLock lock(mutex_);
  for (const auto& [name, cache] : caches_) Collect(name, *cache, writer);
}

}  // namespace sightline::serve
