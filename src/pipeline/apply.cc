// Another configuration for a running engine: prepared until nothing can fail any more, then done.
#include <malloc.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "base/log.h"
#include "base/time.h"
#include "pipeline/engine.h"

namespace sightline {
namespace {

constexpr size_t kMostLeft = 1000;     // summaries of cameras that were taken out; chosen
constexpr size_t kMostKnown = 10'000;  // cameras whose past in the run is known; chosen

// What a camera takes over between two frames; all else begins it anew.
bool IsTakenInPlace(const std::string& key) {
  return key == "zones" || key == "lines" || key == "coordinates" || key == "tracker";
}

// Why a running engine cannot take a change of that setting; empty: it can.
std::string WhyNot(const SettingChange& change) {
  if (!change.camera.empty() || change.key == "models" || change.key == "tracker") return "";
  if (change.path == "limits.duration") return "";
  if (change.path == "outputs.video.crf") {
    return "the videos that are being written keep theirs";
  }
  if (change.path == "outputs.trace") return "cameras that go on would keep theirs";
  if (change.key == "outputs") return "";
  return "it is settled when a run begins";
}

const CameraConfig* Find(const Config& config, const std::string& id) {
  const auto found = std::find_if(config.cameras.begin(), config.cameras.end(),
                                  [&](const CameraConfig& camera) { return camera.id == id; });
  return found == config.cameras.end() ? nullptr : &*found;
}

}  // namespace

absl::StatusOr<ConfigDiff> Engine::Apply(Config wanted) {
  auto change =
      std::make_unique<Change>(Change{.config = std::make_shared<const Config>(std::move(wanted))});
  {
    MutexLock lock(mutex_);
    if (phase_ != Phase::kRunning) return FailedPrecondition("no run is under way");
    if (changing_)
      return Unavailable("another change of the configuration is under way; try again");
    changing_ = true;
    change->before = config_;
  }
  change->diff = DiffConfigs(*change->before, *change->config);
  ConfigDiff diff = change->diff;
  absl::Status status;
  if (!diff.empty()) status = Prepare(change.get());
  if (status.ok() && !diff.empty()) Commit(std::move(*change));
  change.reset();  // what was prepared in vain gives its files back before another may begin
  // Decoders of cameras that left were megabytes, with what goes on in between: without this the C
  // library keeps their pages, and memory is that of the most cameras there ever were. Some ms.
  if (!diff.empty()) malloc_trim(0);
  {
    MutexLock lock(mutex_);
    changing_ = false;
    changed_.NotifyAll();
  }
  SL_RETURN_IF_ERROR(status);
  return diff;
}

absl::Status Engine::Prepare(Change* change) {
  for (const SettingChange& setting : change->diff.changes) {
    const std::string why = WhyNot(setting);
    if (!why.empty()) {
      return FailedPrecondition(
          "{} cannot change while a run is under way: {}; stop it and start it anew", setting.path,
          why);
    }
  }
  SL_RETURN_IF_ERROR(PrepareCameras(change));
  SL_RETURN_IF_ERROR(PrepareSinks(change));
  // Ending a camera or an output means to wait for what it has yet to write.
  const std::string waiting = lanes_.WaitingFor();
  if (!waiting.empty() && (!change->leaving.empty() || !change->sinks.removed.empty())) {
    return Unavailable("outputs cannot be written for now, and what they hold comes first: {}",
                       waiting);
  }
  for (const auto& camera : change->fresh) SL_RETURN_IF_ERROR(StartCamera(*camera));
  return absl::OkStatus();
}

// Whether the camera can take over to `index` of the new configuration without being begun anew.
bool Engine::GoesOn(const Change& change, const RunningCamera& camera, size_t index,
                    bool* new_rules) const {
  const CameraConfig& before = *Find(*change.before, camera.id());
  const CameraConfig& after = change.config->cameras[index];
  if (!SameModel(change.before->models[before.model_index],
                 change.config->models[after.model_index])) {
    return false;
  }
  bool in_place = true;
  for (const SettingChange& setting : change.diff.changes) {
    if (setting.camera != camera.id() || setting.key == "priority") continue;
    *new_rules = true;
    in_place = in_place && IsTakenInPlace(setting.key);
  }
  if (!*new_rules) return true;
  // One that has ended has no next frame, and one that has not begun no size yet.
  MutexLock lock(mutex_);
  return in_place && !camera.ended && (!camera.live() || camera.pipeline->width() > 0);
}

absl::Status Engine::PrepareCameras(Change* change) {
  const Cameras running = cameras();
  const std::vector<CameraConfig>& wanted = change->config->cameras;
  const auto find = [&](const std::string& id) {
    return std::find_if(running.begin(), running.end(),
                        [&](const auto& camera) { return camera->id() == id; });
  };
  std::vector<size_t> to_open;
  for (size_t i = 0; i < wanted.size(); ++i) {
    const auto found = find(wanted[i].id);
    bool new_rules = false;
    if (found == running.end() || !GoesOn(*change, **found, i, &new_rules)) {
      to_open.push_back(i);
      continue;
    }
    if (new_rules) {
      SL_RETURN_IF_ERROR(
          WithContext((*found)->CheckRules(*change->config, i), "camera " + wanted[i].id));
      change->new_rules.emplace_back(*found, i);
    }
    change->kept.push_back(*found);
  }
  TellBeforeOpening(*change->config, to_open);
  for (const size_t i : to_open) {
    const auto found = find(wanted[i].id);
    const std::string context = "camera " + wanted[i].id;
    const RunningCamera* const before = found != running.end() ? found->get() : nullptr;
    absl::StatusOr<std::unique_ptr<RunningCamera>> fresh =
        RunningCamera::Open(change->config, i, FreeNumber(*change, running),
                            PastOf(wanted[i].id).lives, factories_, models_, before);
    SL_RETURN_IF_ERROR(WithContext(fresh.status(), context));
    change->fresh.push_back(*std::move(fresh));
  }
  for (const auto& camera : running) {
    if (std::find(change->kept.begin(), change->kept.end(), camera) == change->kept.end()) {
      change->leaving.push_back(camera);
    }
  }
  return absl::OkStatus();
}

// The lowest that no camera has: what is kept for each by its number stays small.
uint32_t Engine::FreeNumber(const Change& change, const Cameras& running) {
  uint32_t number = 0;
  const auto is_taken = [&](const auto& camera) { return camera->outline.camera->index == number; };
  while (std::any_of(running.begin(), running.end(), is_taken) ||
         std::any_of(change.fresh.begin(), change.fresh.end(), is_taken)) {
    ++number;
  }
  return number;
}

Engine::Past Engine::PastOf(const std::string& camera) const {
  const auto known = past_.find(camera);
  return known == past_.end() ? Past() : known->second;
}

absl::Status Engine::PrepareSinks(Change* change) {
  const Config& config = *change->config;
  const auto is_live = [](const auto& camera) { return camera->live(); };
  change->live = std::any_of(change->fresh.begin(), change->fresh.end(), is_live) ||
                 std::any_of(change->kept.begin(), change->kept.end(), is_live);
  SL_RETURN_IF_ERROR(lanes_.Stage("", factories_.plan_sinks(config, change->live), &change->sinks));
  const auto stage = [&](const RunningCamera& camera) -> absl::Status {
    if (!factories_.plan_camera_sinks) return absl::OkStatus();
    return lanes_.Stage(camera.id(), factories_.plan_camera_sinks(config, camera.outline),
                        &change->sinks);
  };
  const auto& changes = change->diff.changes;
  const bool outputs_changed = std::any_of(changes.begin(), changes.end(), [](const auto& setting) {
    return setting.camera.empty() && setting.key == "outputs";
  });
  for (const auto& camera : change->kept) {
    if (outputs_changed) SL_RETURN_IF_ERROR(stage(*camera));
  }
  for (const auto& camera : change->fresh) SL_RETURN_IF_ERROR(stage(*camera));
  for (const std::string& id : change->diff.removed) {
    SL_RETURN_IF_ERROR(lanes_.Stage(id, {}, &change->sinks));
  }
  return absl::OkStatus();
}

void Engine::Commit(Change change) {
  for (const auto& camera : change.leaving) camera->pipeline->RequestStop();
  for (const auto& camera : change.leaving) {
    const auto next = std::find_if(change.fresh.begin(), change.fresh.end(),
                                   [&](const auto& fresh) { return fresh->id() == camera->id(); });
    TakeOut(*camera, next == change.fresh.end() ? nullptr : next->get());
  }
  for (const auto& camera : change.fresh) {
    Past& past = past_[camera->id()];
    past.lives = camera->outline.camera->life + 1;
    camera->pipeline->CountFrom(past.counts);
  }
  ForgetPasts(change);
  // Only now, behind the last results of those that have left.
  lanes_.Commit(std::move(change.sinks));
  lanes_.EnableWaiting(change.live);
  {
    MutexLock lock(mutex_);
    for (const auto& [camera, index] : change.new_rules) camera->ChangeRules(change.config, index);
    config_ = change.config;
    cameras_ = change.kept;
    cameras_.insert(cameras_.end(), change.fresh.begin(), change.fresh.end());
  }
  models_.ChangeBatches(change.config->models);
  for (const auto& camera : change.kept) {
    camera->pipeline->SetPriority(Find(*change.config, camera->id())->priority);
  }
  for (const auto& camera : cameras()) camera->pipeline->SetOutlets(lanes_.OutletsOf(camera->id()));
  for (const auto& camera : change.fresh) camera->Go();
}

// Ends a camera; its frames are finished and delivered. `next` takes its place; null: none does.
void Engine::TakeOut(RunningCamera& camera, const RunningCamera* next) {
  const absl::Status status = camera.pipeline->Join();
  if (!status.ok() && !absl::IsCancelled(status)) {
    Log().info("camera {} had failed: {}", camera.id(), MessageOf(status));
  }
  if (camera.source != nullptr && next == nullptr) {
    camera.pipeline->Deliver(CameraStateChange{.camera = camera.outline.camera,
                                               .from = camera.source->state(),
                                               .to = CameraState::kEnded,
                                               .reason = "taken out of the configuration",
                                               .utc_us = factories_.clock->NowUtcUs(),
                                               .epoch = camera.heritage.position->next_epoch});
  }
  camera.pipeline->DeliverLedger();
  Log().info("camera {}: {}", camera.id(), next != nullptr ? "begun anew" : "taken out");
  // A recording that is read again is told by its last reading alone.
  if (next != nullptr && next->Replaces(camera)) return;
  CameraSummary left = SummaryOf(camera);
  const bool ledger_goes_on = next != nullptr && next->heritage.ledger == camera.heritage.ledger;
  if (ledger_goes_on) left.counts = FrameCounts();
  past_[camera.id()].counts += left.counts;
  MutexLock lock(mutex_);
  AddTo(left, &left_);
  if (left_.size() > kMostLeft) left_.erase(left_.begin());
}

// Of cameras that are gone, beyond the most that are remembered.
void Engine::ForgetPasts(const Change& change) {
  for (auto at = past_.begin(); at != past_.end() && past_.size() > kMostKnown;) {
    const auto is_it = [&](const auto& camera) { return camera->id() == at->first; };
    const bool there = std::any_of(change.kept.begin(), change.kept.end(), is_it) ||
                       std::any_of(change.fresh.begin(), change.fresh.end(), is_it);
    at = there ? std::next(at) : past_.erase(at);
  }
}

// What a camera did in an earlier life, to what it did in a later one or before.
void Engine::AddTo(const CameraSummary& more, std::vector<CameraSummary>* cameras) {
  const auto found =
      std::find_if(cameras->begin(), cameras->end(),
                   [&](const CameraSummary& camera) { return camera.id == more.id; });
  if (found == cameras->end()) {
    cameras->push_back(more);
    return;
  }
  found->tracks += more.tracks;
  found->events += more.events;
  for (const auto& [name, count] : more.counts_by_class) found->counts_by_class[name] += count;
  found->counts += more.counts;
  for (const auto& [rule, count] : more.rule_counts) {
    const auto same = std::find_if(found->rule_counts.begin(), found->rule_counts.end(),
                                   [&rule = rule](const auto& one) { return one.first == rule; });
    if (same != found->rule_counts.end()) {
      same->second += count;
    } else {
      found->rule_counts.emplace_back(rule, count);
    }
  }
}

}  // namespace sightline
