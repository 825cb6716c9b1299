#include "pipeline/graph/model_graph.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <deque>
#include <span>
#include <utility>

#include "base/log.h"
#include "base/mutex.h"
#include "base/time.h"
#include "detect/box_fusion.h"
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
    if (first && !absl::IsCancelled(status)) {  // that is the end of the run, no fault
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

}  // namespace

std::unique_ptr<Detector> MakeGraphDetector(std::shared_ptr<const ModelGraph> graph,
                                            std::unique_ptr<Detector> first) {
  return std::make_unique<GraphDetector>(std::move(graph), std::move(first));
}

}  // namespace sightline
