// The caches of all served models, by name, and the one thread that looks after those who wait in them.
//
// Caches live as long as this does: a model that is loaded anew finds what was computed before, under
// the same key where its content is the same.
// Threads: safe. Cost of Find(): a lock and a look-up.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/metrics.h"
#include "base/mutex.h"
#include "base/status.h"
#include "serve/cache/model_cache.h"

namespace sightline::serve {

class ModelCaches {
 public:
  // The store of a cache with these settings; empty: in memory.
  using MakeStore = std::function<std::shared_ptr<CacheStore>(const CacheSettings& settings)>;

  // ResourceExhausted without a thread. `clock` outlives it.
  static absl::StatusOr<std::unique_ptr<ModelCaches>> Create(MakeStore make_store,
                                                             const Clock& clock);
  ~ModelCaches();

  // Null where the settings say off. The first settings of a name hold.
  ModelCache* Find(std::string_view name, const CacheSettings& settings) EXCLUDES(mutex_);

  // Labels `model`: docs/serving_cache.md lists them.
  void CollectMetrics(MetricWriter& writer) const EXCLUDES(mutex_);

 private:
  ModelCaches(MakeStore make_store, const Clock& clock)
      : make_store_(std::move(make_store)), clock_(clock) {}
  void Loop() EXCLUDES(mutex_);

  const MakeStore make_store_;
  const Clock& clock_;
  mutable Mutex mutex_;
  CondVar wake_;
  std::map<std::string, std::unique_ptr<ModelCache>, std::less<>> caches_ GUARDED_BY(mutex_);
  bool is_watching_ GUARDED_BY(mutex_) = false;  // somebody waits until a time
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace sightline::serve
