// Opens the parts of a graph of models and puts them together.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/uuid.h"
#include "pipeline/camera_setup.h"
#include "pipeline/graph/model_graph.h"
#include "pipeline/model_pool.h"

namespace sightline {
namespace {

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

}  // namespace sightline
