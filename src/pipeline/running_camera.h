// A camera of a running engine, from its configuration: its source, its model, its rules, its pipeline.
#pragma once

#include <memory>
#include <string>

#include "base/mutex.h"
#include "base/status.h"
#include "pipeline/camera_pipeline.h"
#include "pipeline/config/config.h"
#include "pipeline/engine_factories.h"
#include "pipeline/model_pool.h"
#include "pipeline/supervised_source.h"

namespace sightline {

// The zones and lines in force, for whoever draws them. Threads: safe.
class RulesInForce {
 public:
  // `camera` is an index into config->cameras.
  RulesInForce(std::shared_ptr<const Config> config, size_t camera);
  void Set(std::shared_ptr<const Config> config, size_t camera) EXCLUDES(mutex_);
  // How often they were set anew: what FrameResult::rules_version goes by.
  uint32_t version() const EXCLUDES(mutex_);
  absl::StatusOr<CameraRules> InPixels(int width, int height, const LabelSet& labels) const
      EXCLUDES(mutex_);

 private:
  mutable Mutex mutex_;
  std::shared_ptr<const Config> config_ GUARDED_BY(mutex_);
  size_t camera_ GUARDED_BY(mutex_) = 0;
  uint32_t version_ GUARDED_BY(mutex_) = 0;
};

// What a camera hands on to the one that takes its place under the same id.
struct CameraHeritage {
  std::shared_ptr<FrameLedger> ledger;
  std::shared_ptr<CameraMetrics> metrics;
  std::shared_ptr<StreamPosition> position;
  std::shared_ptr<RulesInForce> rules;
};

class RunningCamera {
 public:
  // Opens the source and the model; no thread is started. `number`: CameraInfo::index, of no other
  // camera that lives. `life`: CameraInfo::life, unless the stream of `before` goes on. `before`: the
  // one of the same id whose place it takes, once that is joined; may be null.
  static absl::StatusOr<std::unique_ptr<RunningCamera>> Open(
      std::shared_ptr<const Config> config, size_t index, uint32_t number, uint32_t life,
      const EngineFactories& factories, ModelPool& models, const RunningCamera* before);

  const std::string& id() const { return outline.camera->id; }
  bool live() const { return outline.source.live; }

  // Whether it reads the same recording as that one of the same id did: its results stand for theirs.
  bool Replaces(const RunningCamera& before) const;

  // Whether zones, lines and tracker of that configuration's camera fit this one's picture.
  absl::Status CheckRules(const Config& config, size_t index) const;
  // Takes them from the next frame on.
  void ChangeRules(std::shared_ptr<const Config> config, size_t index);

  // Takes the place of the one before it, which is joined, and begins.
  void Go();

  CameraOutline outline;
  std::shared_ptr<Model> model;
  CameraHeritage heritage;
  SupervisedSource* source = nullptr;  // of a live camera; the pipeline owns it
  std::unique_ptr<CameraPipeline> pipeline;
  bool ended = false;  // guarded by the engine's mutex

 private:
  RunningCamera() = default;
  std::shared_ptr<const Config> config_;
  size_t index_ = 0;  // into config_->cameras
  bool took_over_ = false;
  absl::Status OpenSource(const CameraConfig& config, const EngineFactories& factories,
                          CameraParts* parts);
};

}  // namespace sightline
