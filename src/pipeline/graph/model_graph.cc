#include "pipeline/graph/model_graph.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <deque>
#include <numeric>
#include <span>
#include <utility>

#include "base/log.h"
#include "base/mutex.h"
#include "base/nearest_word.h"
#include "base/time.h"
#include "base/uuid.h"
#include "detect/box_fusion.h"
#include "pipeline/camera_setup.h"
#include "pipeline/detection_job.h"
#include "pipeline/graph/crop.h"
#include "pipeline/model_pool.h"

namespace sightline {
namespace {

// Jobs of one detector that are with the batchers of parts.
class Outstanding {
 public:
  void Add() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    ++count_;
  }
  void Finish() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (--count_ == 0) none_.NotifyAll();  // under the lock: afterwards this may be gone
  }
  void WaitForAll() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    while (count_ > 0) none_.Wait(mutex_);
  }

 private:
  Mutex mutex_;
  CondVar none_;
  size_t count_ GUARDED_BY(mutex_) = 0;
};

class PartJob final : public DetectionJob {
 public:
  void Done(const absl::Status& its_status) override {
    status = its_status;
    outstanding->Finish();
  }

  Outstanding* outstanding = nullptr;
  absl::Status status;  // valid when nothing is outstanding
  size_t of = 0;        // which of the frames
  int32_t item = 0;     // which of its objects
  int x = 0;            // of the crop
  int y = 0;
};

// Whether it speaks of nothing that has a confidence: embeddings, anomalies, maps.
bool SaysNothingSure(const Detections& result) {
  return result.items.empty() && result.classes.empty() &&
         (!result.embedding.empty() || result.anomaly.width > 0 || result.class_map.width > 0);
}

float BestConfidence(const Detections& result) {
  float best = 0;
  for (const Detection& item : result.items) best = std::max(best, item.confidence);
  for (const ClassScore& one : result.classes) best = std::max(best, one.confidence);
  return best;
}

// -1, a class without a name, for an id that the model has no label for; a model without labels has
// ids all the same.
int32_t Mapped(const std::vector<int32_t>& class_ids, int32_t id) {
  if (class_ids.empty()) return id;
  return id >= 0 && static_cast<size_t>(id) < class_ids.size() ? class_ids[id] : -1;
}

void MapClasses(const std::vector<int32_t>& class_ids, Detections* result) {
  for (Detection& item : result->items) item.class_id = Mapped(class_ids, item.class_id);
  for (ClassScore& one : result->classes) one.class_id = Mapped(class_ids, one.class_id);
  for (uint16_t& id : result->class_map.class_ids) {
    id = static_cast<uint16_t>(Mapped(class_ids, id));
  }
}

// How sure a stage is of an object: of the classes it is to confirm, the best.
float ConfidenceOf(const Detections& said, const std::vector<int32_t>& class_ids) {
  const auto counts = [&](int32_t id) {
    return class_ids.empty() || std::ranges::find(class_ids, id) != class_ids.end();
  };
  float best = 0;
  for (const Detection& item : said.items) {
    if (counts(item.class_id)) best = std::max(best, item.confidence);
  }
  for (const ClassScore& one : said.classes) {
    if (counts(one.class_id)) best = std::max(best, one.confidence);
  }
  return best;
}

class GraphDetector final : public Detector {
 public:
  GraphDetector(std::shared_ptr<const ModelGraph> graph, std::unique_ptr<Detector> first)
      : graph_(std::move(graph)), first_(std::move(first)) {}

  const DetectorInfo& info() const override { return graph_->info; }

  void Detect(std::span<DetectJob> jobs) override {
    times_ = {};
    int64_t begin_us = Clock::Real().NowMonotonicUs();
    if (first_ != nullptr) {
      first_->Detect(jobs);
      if (const DetectTimes* times = first_->last_times()) {
        times_ = *times;
        begin_us = Clock::Real().NowMonotonicUs();
      }
    }
    if (first_ == nullptr) AskEnsemble(jobs);
    for (const DetectJob& job : jobs) job.result->labels = graph_->info.labels;
    for (size_t i = 0; i < graph_->fallbacks.size(); ++i) {
      FallBack(graph_->fallbacks[i], graph_->metrics->fallbacks[i], jobs);
    }
    for (size_t i = 0; i < graph_->crops.size(); ++i) {
      LookCloser(graph_->crops[i], graph_->metrics->crops[i], jobs);
    }
    times_.inference_us += Clock::Real().NowMonotonicUs() - begin_us;
  }

  const DetectTimes* last_times() const override { return &times_; }

 private:
  PartJob& NextJob() {
    if (used_ == parts_.size()) parts_.emplace_back().outstanding = &outstanding_;
    PartJob& job = parts_[used_++];
    job.detections.ClearResults();
    return job;
  }

  void Submit(const Model& model, PartJob& job) {
    job.source = job.frame.meta.camera != nullptr ? job.frame.meta.camera->index : 0;
    outstanding_.Add();
    const absl::Status taken = model.batcher->Submit(&job);
    if (!taken.ok()) job.Done(taken);
  }

  // Waits for what was submitted, then gives each to `use`, and lets go of the pictures.
  template <typename Use>
  void Collect(const Use& use) {
    outstanding_.WaitForAll();
    for (size_t i = 0; i < used_; ++i) {
      use(parts_[i]);
      parts_[i].frame = Frame();
    }
    used_ = 0;
  }

  void AskEnsemble(std::span<DetectJob> jobs) {
    for (size_t i = 0; i < jobs.size(); ++i) {
      jobs[i].status = absl::OkStatus();
      jobs[i].result->frame = jobs[i].frame->meta;
      jobs[i].result->ClearResults();
    }
    looks_.resize(jobs.size());
    for (auto& looks : looks_) looks.assign(graph_->ensemble.size(), {});
    // By member, so that a member's batch has all the frames.
    for (size_t member = 0; member < graph_->ensemble.size(); ++member) {
      for (size_t i = 0; i < jobs.size(); ++i) {
        PartJob& job = NextJob();
        job.frame = *jobs[i].frame;
        job.of = i;
        job.item = static_cast<int32_t>(member);
        Submit(*graph_->ensemble[member].model, job);
      }
    }
    Collect([&](PartJob& part) {
      DetectJob& job = jobs[part.of];
      const GraphPart& member = graph_->ensemble[part.item];
      if (!part.status.ok()) {
        if (job.status.ok()) {
          job.status = part.status;
          job.failure = part.failure;
        }
        return;
      }
      if (part.detections.items.empty() &&
          (!part.detections.classes.empty() || SaysNothingSure(part.detections))) {
        job.status = FailedPrecondition(
            "model {} gives no boxes, and nothing else can be fused: take it out of `ensemble`",
            member.model->config.name);
        job.failure = DropReason::kPostprocessError;
        return;
      }
      MapClasses(member.class_ids, &part.detections);
      looks_[part.of][part.item].swap(part.detections.items);
    });
    for (size_t i = 0; i < jobs.size(); ++i) {
      if (!jobs[i].status.ok()) continue;
      jobs[i].result->items = FuseBoxes(looks_[i], graph_->fusion_iou);
      for (Detection& item : jobs[i].result->items) item.detail = -1;
    }
  }

  void FallBack(const GraphFallback& step, GraphStepMetrics& metrics, std::span<DetectJob> jobs) {
    for (size_t i = 0; i < jobs.size(); ++i) {
      if (!jobs[i].status.ok()) continue;
      if (SaysNothingSure(*jobs[i].result)) {
        Failed(FailedPrecondition("what it is to judge by has no confidence"), metrics);
        continue;
      }
      const float best = BestConfidence(*jobs[i].result);
      if (best < step.from || best >= step.below) continue;
      PartJob& job = NextJob();
      job.frame = *jobs[i].frame;
      job.of = i;
      metrics.asked.Add();
      Submit(*step.part.model, job);
    }
    Collect([&](PartJob& part) {
      if (!part.status.ok()) return Failed(part.status, metrics);
      MapClasses(step.part.class_ids, &part.detections);
      jobs[part.of].result->SwapResults(part.detections);
    });
  }

  void LookCloser(const GraphCrops& stage, GraphStepMetrics& metrics, std::span<DetectJob> jobs) {
    for (size_t i = 0; i < jobs.size(); ++i) {
      if (jobs[i].status.ok()) SubmitCrops(stage, metrics, jobs[i], i);
    }
    // Items that go are marked by their class and taken out when all answers are in.
    Collect([&](PartJob& part) {
      if (!part.status.ok()) return Failed(part.status, metrics);
      Detections& result = *jobs[part.of].result;
      if (stage.keep_above && SaysNothingSure(part.detections)) {
        return Failed(FailedPrecondition("what it says has no confidence to keep objects by"),
                      metrics);
      }
      MoveBy(part.x, part.y, &part.detections);
      part.detections.labels = stage.model->info.labels;
      if (stage.keep_above &&
          ConfidenceOf(part.detections, stage.keep_class_ids) < *stage.keep_above) {
        metrics.not_kept.Add();
        result.items[part.item].class_id = kNotKept;
        return;
      }
      StageResult& said = result.stages.emplace_back();
      said.stage = stage.name;
      said.item = part.item;
      said.result.frame = part.detections.frame;
      said.result.labels = part.detections.labels;
      said.result.SwapResults(part.detections);
    });
    if (!stage.keep_above) return;
    for (DetectJob& job : jobs) {
      if (job.status.ok()) TakeOutNotKept(job.result);
    }
  }

  // The surest objects of the stage's classes, at most stage.most.
  void SubmitCrops(const GraphCrops& stage, GraphStepMetrics& metrics, const DetectJob& job,
                   size_t index) {
    const std::vector<Detection>& items = job.result->items;
    order_.clear();
    for (size_t i = 0; i < items.size(); ++i) {
      if (stage.class_ids.empty() ||
          std::ranges::find(stage.class_ids, items[i].class_id) != stage.class_ids.end()) {
        order_.push_back(static_cast<int32_t>(i));
      }
    }
    std::ranges::stable_sort(
        order_, [&](int32_t a, int32_t b) { return items[a].confidence > items[b].confidence; });
    int submitted = 0;
    for (const int32_t item : order_) {
      std::optional<Crop> crop;
      if (submitted < stage.most) {
        crop = CropOf(*job.frame, items[item].box_px, stage.margin, stage.min_side_px);
      }
      if (!crop) {
        metrics.left_out.Add();
        continue;
      }
      ++submitted;
      PartJob& part = NextJob();
      part.frame = std::move(crop->frame);
      part.of = index;
      part.item = item;
      part.x = crop->x;
      part.y = crop->y;
      metrics.asked.Add();
      Submit(*stage.model, part);
    }
  }

  static void TakeOutNotKept(Detections* result) {
    size_t kept = 0;
    std::vector<int32_t> now_at(result->items.size(), -1);
    for (size_t i = 0; i < result->items.size(); ++i) {
      if (result->items[i].class_id == kNotKept) continue;
      now_at[i] = static_cast<int32_t>(kept);
      result->items[kept++] = result->items[i];
    }
    if (kept == result->items.size()) return;
    result->items.resize(kept);
    std::erase_if(result->stages, [&](StageResult& stage) {
      if (stage.item >= 0) stage.item = now_at[stage.item];
      return stage.item < 0;
    });
  }

  void Failed(const absl::Status& status, GraphStepMetrics& metrics) {
    // The first of them, for whoever looks for the reason; the rest are in the counters.
    const bool first = metrics.failed.value() == 0;
    metrics.failed.Add();
    if (first) {
      Log().warn("model {}: {}: {}; this and what follows is counted", graph_->info.name,
                 metrics.step, MessageOf(status));
    }
  }

  static constexpr int32_t kNotKept = INT32_MIN;

  const std::shared_ptr<const ModelGraph> graph_;
  const std::unique_ptr<Detector> first_;
  DetectTimes times_;
  Outstanding outstanding_;
  std::deque<PartJob> parts_;  // reused; they stay where they are
  size_t used_ = 0;
  std::vector<std::vector<std::vector<Detection>>> looks_;  // of a frame, by member
  std::vector<int32_t> order_;
};

// Class names of several models as one list.
class JointLabels {
 public:
  // The ids that the labels of a further part have here.
  absl::StatusOr<std::vector<int32_t>> Add(const DetectorInfo& part) {
    const std::vector<std::string>& names = part.labels->names;
    if (parts_ > 0 && names.empty() != names_.empty()) {
      return InvalidArgument(
          "model {} has no class names, but another part of the graph has; give it `labels`, so "
          "that their classes can be told to be the same",
          names.empty() ? part.name : first_);
    }
    std::vector<int32_t> ids;
    if (parts_++ == 0) {
      // As they are, repeated ones too: its results keep their ids.
      first_ = part.name;
      names_ = names;
      ids.resize(names.size());
      std::iota(ids.begin(), ids.end(), 0);
      return ids;
    }
    for (const std::string& name : names) {
      const auto found = std::ranges::find(names_, name);
      ids.push_back(static_cast<int32_t>(found - names_.begin()));
      if (found == names_.end()) names_.push_back(name);
    }
    return ids;
  }
  std::shared_ptr<const LabelSet> Take() {
    return std::make_shared<const LabelSet>(LabelSet{std::move(names_)});
  }

 private:
  std::vector<std::string> names_;
  std::string first_;
  int parts_ = 0;
};

using GetModel = std::function<absl::StatusOr<std::shared_ptr<Model>>(const ModelConfig&)>;

absl::StatusOr<std::shared_ptr<Model>> PartOf(const ModelConfig& config, const std::string& name,
                                              const GetModel& get) {
  const auto part = config.parts.find(name);
  if (part == config.parts.end()) return NotFound("model {}: no model {}", config.name, name);
  SL_ASSIGN_OR_RETURN(std::shared_ptr<Model> model, get(*part->second));
  if (model->info.stateful) {
    return InvalidArgument(
        "model {} remembers the pictures of one camera and cannot be a part of model {}", name,
        config.name);
  }
  return model;
}

// Puts a graph together, part by part.
class GraphMaker {
 public:
  GraphMaker(const ModelConfig& config, const GetModel& get)
      : config_(config), get_(get), graph_(std::make_shared<ModelGraph>()) {
    graph_->metrics = std::make_shared<GraphMetrics>();
    graph_->fusion_iou = config.fusion_iou;
  }

  absl::StatusOr<std::shared_ptr<const ModelGraph>> Make(const DetectorInfo* first) {
    DetectorInfo& info = graph_->info;
    if (first != nullptr) {
      info = *first;
      SL_RETURN_IF_ERROR(labels_.Add(*first).status());
      AddIdentity(*first);
    } else {
      SL_RETURN_IF_ERROR(AddEnsemble());
    }
    for (const FallbackConfig& fallback : config_.fallback) {
      SL_RETURN_IF_ERROR(AddFallback(fallback));
    }
    info.labels = labels_.Take();
    for (const CropsConfig& crops : config_.crops) SL_RETURN_IF_ERROR(AddCrops(crops));
    info.name = config_.name;
    info.identity = HashString(identity_);
    return graph_;
  }

 private:
  void AddIdentity(const DetectorInfo& part) {
    identity_ += fmt::format("{:x} {:x};", part.identity.low, part.identity.high);
  }

  absl::StatusOr<GraphPart> AddPart(const std::string& name) {
    GraphPart part;
    SL_ASSIGN_OR_RETURN(part.model, PartOf(config_, name, get_));
    SL_ASSIGN_OR_RETURN(part.class_ids, labels_.Add(part.model->info));
    graph_->info.may_wait_us += part.model->info.may_wait_us;
    AddIdentity(part.model->info);
    return part;
  }

  absl::Status AddEnsemble() {
    DetectorInfo& info = graph_->info;
    info.max_batch = config_.max_batch.value_or(1);
    identity_ += fmt::format("fusion {};", config_.fusion_iou);
    for (const std::string& name : config_.ensemble) {
      SL_ASSIGN_OR_RETURN(GraphPart part, AddPart(name));
      graph_->ensemble.push_back(std::move(part));
    }
    info.describe = fmt::format("boxes of {} fused (IoU {:.4g})",
                                fmt::join(config_.ensemble, " and "), config_.fusion_iou);
    return absl::OkStatus();
  }

  absl::Status AddFallback(const FallbackConfig& fallback) {
    GraphFallback step{.from = fallback.from, .below = fallback.below};
    SL_ASSIGN_OR_RETURN(step.part, AddPart(fallback.model));
    identity_ += fmt::format("fallback {} {};", step.from, step.below);
    graph_->info.describe += fmt::format("; {} where the best confidence is from {:.4g} to {:.4g}",
                                         fallback.model, step.from, step.below);
    // A model may be asked twice, in two ranges.
    std::string step_name = "fallback " + fallback.model;
    const auto is_taken = [&](const GraphStepMetrics& other) { return other.step == step_name; };
    if (std::ranges::any_of(graph_->metrics->fallbacks, is_taken)) {
      step_name += fmt::format(" from {:.4g}", step.from);
    }
    graph_->metrics->fallbacks.emplace_back().step = std::move(step_name);
    graph_->fallbacks.push_back(std::move(step));
    return absl::OkStatus();
  }

  absl::Status AddCrops(const CropsConfig& crops) {
    GraphCrops stage{.name = std::make_shared<const std::string>(crops.name),
                     .model = nullptr,
                     .class_ids = {},
                     .margin = crops.margin,
                     .min_side_px = crops.min_side,
                     .most = crops.most,
                     .keep_above = crops.keep_above};
    SL_ASSIGN_OR_RETURN(stage.model, PartOf(config_, crops.model, get_));
    graph_->info.may_wait_us += stage.most * stage.model->info.may_wait_us;
    const std::string where = fmt::format("model {}, crops {}", config_.name, crops.name);
    SL_ASSIGN_OR_RETURN(stage.class_ids, ClassIds(crops.classes, *graph_->info.labels, where));
    SL_ASSIGN_OR_RETURN(stage.keep_class_ids,
                        ClassIds(crops.keep_classes, *stage.model->info.labels, where));
    AddIdentity(stage.model->info);
    identity_ += fmt::format("crops {} {} {} {} {} {} {};", crops.name, stage.margin,
                             stage.min_side_px, stage.most, stage.keep_above.value_or(-1),
                             fmt::join(stage.class_ids, ","), fmt::join(stage.keep_class_ids, ","));
    std::string& describe = graph_->info.describe;
    describe +=
        fmt::format("; {} by {} on crops of {}", crops.name, crops.model,
                    crops.classes.empty() ? std::string("all objects")
                                          : fmt::format("{}", fmt::join(crops.classes, ", ")));
    if (stage.keep_above) describe += fmt::format(", kept above {:.4g}", *stage.keep_above);
    graph_->metrics->crops.emplace_back().step = "crops " + crops.name;
    graph_->crops.push_back(std::move(stage));
    return absl::OkStatus();
  }

  static absl::StatusOr<std::vector<int32_t>> ClassIds(const std::vector<std::string>& names,
                                                       const LabelSet& labels,
                                                       const std::string& where) {
    auto ids = ClassIdsOf(names, labels);
    if (!ids.ok()) return WithContext(ids.status(), where);
    return ids;
  }

  const ModelConfig& config_;
  const GetModel& get_;
  const std::shared_ptr<ModelGraph> graph_;
  JointLabels labels_;
  std::string identity_;  // what enters it, as text
};

}  // namespace

bool IsGraph(const ModelConfig& config) {
  return !config.ensemble.empty() || !config.fallback.empty() || !config.crops.empty();
}

absl::StatusOr<std::shared_ptr<const ModelGraph>> MakeModelGraph(const ModelConfig& config,
                                                                 const DetectorInfo* first,
                                                                 const GetModel& get) {
  return GraphMaker(config, get).Make(first);
}

std::unique_ptr<Detector> MakeGraphDetector(std::shared_ptr<const ModelGraph> graph,
                                            std::unique_ptr<Detector> first) {
  return std::make_unique<GraphDetector>(std::move(graph), std::move(first));
}

}  // namespace sightline
