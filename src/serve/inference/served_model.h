// One version of a model, loaded and ready: its sessions behind a batcher, what it wants and gives, and
// what it has done.
//
// Threads: safe. A ServedModel must not be destroyed on one of its batcher's threads: whoever takes it
// out of use calls Stop() first.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "infer/backend.h"
#include "infer/batcher.h"
#include "infer/model_format.h"
#include "serve/cache/model_cache.h"
#include "serve/inference/admission.h"
#include "serve/inference/infer_call.h"
#include "serve/inference/infer_message.h"
#include "serve/inference/model_statistics.h"
#include "types/detections.h"

namespace sightline::serve {

// When a model's detectors for whole pictures (serve/pictures) are opened: a second set of sessions.
enum class PictureUse : uint8_t { kOnDemand, kAtLoad, kOff };
struct PictureSettings {
  PictureUse use = PictureUse::kOnDemand;
  bool shrink = true;  // JPEGs are decoded no larger than needed
};

// How a model is run. All defaults are chosen.
struct ModelSettings {
  int instances = 0;  // sessions, each on a thread; 0 = one a core, or two on a GPU
  int threads = 1;    // of one session
  // Rows of one run. Below 0: as many as kUsualMaxBatch where rows turn out to be independent of each
  // other (row_probe.h), else 0. 0: the first dimension is none of rows.
  int max_batch = -1;
  std::vector<int> preferred_batches = {};
  int64_t max_delay_us = 5000;  // at most, and only where it pays (infer/batch_policy.h)
  size_t queue = 256;           // requests that wait; more are refused
  int priority = kUsualPriority;
  int64_t timeout_us = 0;  // of requests that say nothing; 0 = none
  // Requests that would wait longer before they are begun are refused at once (admission.h); 0 = only
  // those that have a timeout, by that; kWaitByLoad = also any during an overload.
  static constexpr int64_t kWaitByLoad = -1;
  int64_t max_wait_us = kWaitByLoad;
  std::vector<std::string> providers = {};
  PictureSettings pictures = {};
  CacheSettings cache = {};
};
inline constexpr int kUsualMaxBatch = 32;
// Of the threads that run models (BatcherOptions::nice), so that those which read and refuse requests have
// their turn in time on a machine that is all busy. Measured at ten times the load that two cores can do:
// 99 of 100 refusals are there in 3.9 ms, with 0 in 6 ms.
inline constexpr int kRunnersNice = 5;
inline constexpr int kAnyBatch = 0;  // for backends: what comes in a run is not known

struct ModelVersionOptions {
  std::string name;
  std::string version;  // "1"
  std::string file;
  std::shared_ptr<const LabelSet> labels = {};  // may be null
  bool is_described = false;                    // by a model.yaml
  std::string backend = {};                     // as wished; "" = the one that suits the file
  ModelSettings settings = {};
  const Clock* clock = &Clock::Real();  // outlives the model
};

// What else was opened of a model's files, for other kinds of requests. It ends with the model.
class ModelCompanion {
 public:
  virtual ~ModelCompanion() = default;
  // As ServedModel::Stop(), or with `discard` Discard().
  virtual void Stop(bool discard) = 0;
  // False: it could not be opened, and tells everyone why.
  virtual bool works() const = 0;
};

class ServedModel;

// A model that has no sessions of its own: its requests are answered by others.
struct EnsembleOptions {
  std::string name;
  std::string of;  // the model that answers
  std::vector<TensorInfo> inputs;
  std::vector<TensorInfo> outputs;
  int max_batch = 0;
  // Takes a request that fits; answers it by InferCall::Done(), which ends it.
  std::function<void(std::unique_ptr<InferCall>)> run;
};

class ServedModel {
 public:
  static constexpr std::string_view kEnsemble = "ensemble";

  // Opens the sessions and runs each once on zeros. Errors are those of the backend, and
  // InvalidArgument for settings that the model cannot have.
  // Cost: loading the model, and some inferences.
  static absl::StatusOr<std::shared_ptr<ServedModel>> Open(const ModelVersionOptions& options,
                                                           InferenceBackend& backend);

  // `base` is the model that answers; its version and settings are the ensemble's.
  static std::shared_ptr<ServedModel> MakeEnsemble(const ServedModel& base,
                                                   EnsembleOptions ensemble);

  const std::string& name() const { return options_.name; }
  const std::string& version() const { return options_.version; }
  std::string_view backend() const { return backend_; }  // "onnxruntime"
  ModelFormat format() const { return format_; }
  // As the file declares them, the dimension of rows included.
  std::span<const TensorInfo> inputs() const { return inputs_; }
  std::span<const TensorInfo> outputs() const { return outputs_; }
  // Rows of one run; 0: the first dimension is none of rows.
  int max_batch() const { return max_batch_; }
  const ModelSettings& settings() const { return options_.settings; }
  int instances() const { return instances_; }
  const LabelSet* labels() const { return options_.labels.get(); }
  const ModelVersionOptions& options() const { return options_; }
  // Differs between all that were opened in this process.
  uint64_t load() const { return load_; }
  bool is_ensemble() const { return !ensemble_of_.empty(); }
  const std::string& ensemble_of() const { return ensemble_of_; }  // the model that answers

  // Null until there is one.
  std::shared_ptr<ModelCompanion> companion() const EXCLUDES(companion_mutex_);
  // False, and nothing is kept, after Stop() or where there is one.
  bool SetCompanion(std::shared_ptr<ModelCompanion> companion) EXCLUDES(companion_mutex_);
  // What its answers depend on beside the request: its file's bytes, labels, runtime and providers, as a
  // hash. Of a file that changed while it was loaded, or whose weights lie in others, a word that no
  // other load has. "" without a cache.
  const std::string& content() const { return content_; }

  // Takes the request; the answer comes by `call->done`. When it is refused `call` is left as it was:
  // InvalidArgument for what does not fit the model; ResourceExhausted when too many wait; Unavailable
  // after Stop().
  static absl::Status Submit(std::shared_ptr<ServedModel> model, std::unique_ptr<InferCall>& call);

  // Whether the call's request fits the model: InvalidArgument, as Submit(), which then does not look again.
  absl::Status Prepare(InferCall& call) const;

  // Answers what waits, then refuses. Idempotent; not on a thread of its own.
  void Stop() EXCLUDES(companion_mutex_) { End(/*discard=*/false); }
  // The same, but what waits is answered Cancelled.
  void Discard() EXCLUDES(companion_mutex_) { End(/*discard=*/true); }

  ModelStatistics& statistics() { return statistics_; }
  const ModelStatistics& statistics() const { return statistics_; }
  BatcherCounts batcher_counts() const { return batcher_ ? batcher_->Counts() : BatcherCounts(); }
  // None of an ensemble.
  Admission& admission() { return *admission_; }
  const Admission& admission() const { return *admission_; }
  // For a request of the usual priority whose head came: how much longer than it may it would wait,
  // which is counted as a refusal; kReserved; or 0 where there is no limit.
  static constexpr int64_t kReserved = -1;
  int64_t Reserve();
  // For one that is about to be submitted: ResourceExhausted when it would wait too long, by max_wait_us or
  // its own limit (0: none). `context` may be null; a reservation of it is redeemed. None of an ensemble.
  absl::Status CheckWait(int priority, int64_t timeout_us, RequestContext* context);
  // The request of a job that Enqueue() accepted is over.
  void Ended(const BatchJob& job, const CallTimes& times, int64_t now_us);
  // Accepts the request of `job` and gives it to `batcher`: then the job may be gone. Otherwise it is the
  // caller's again: ResourceExhausted when the queue is full, which begins an overload. None of an ensemble.
  absl::Status Enqueue(Batcher& batcher, BatchJob* job);
  const Clock& clock() const { return *options_.clock; }

 private:
  explicit ServedModel(const ModelVersionOptions& options);
  void End(bool discard) EXCLUDES(companion_mutex_);
  int64_t MaxWaitUs(int64_t now_us) const;  // 0 = any
  absl::Status PrepareInput(size_t port, const InferInput& input, InferCall& call) const;
  absl::Status PrepareOutputs(InferCall& call) const;

  const ModelVersionOptions options_;
  const uint64_t load_;
  std::string backend_;
  ModelFormat format_ = ModelFormat::kOnnx;
  std::string content_;
  std::vector<TensorInfo> inputs_;
  std::vector<TensorInfo> outputs_;
  int max_batch_ = 0;
  int instances_ = 0;
  ModelStatistics statistics_;
  mutable Mutex companion_mutex_;
  std::shared_ptr<ModelCompanion> companion_ GUARDED_BY(companion_mutex_);
  bool stopped_ GUARDED_BY(companion_mutex_) = false;
  std::string ensemble_of_;
  std::function<void(std::unique_ptr<InferCall>)> run_;  // of an ensemble
  std::unique_ptr<Admission> admission_;                 // none of an ensemble
  std::unique_ptr<Batcher> batcher_;                     // last: its threads use what stands above
};

}  // namespace sightline::serve
