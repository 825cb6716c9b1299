#include "pipeline/lane_set.h"

#include <algorithm>
#include <utility>

#include "pipeline/as_failure.h"

namespace sightline {
namespace {

std::string KeyOf(const std::string& camera, const std::string& what) {
  return camera + "\n" + what;  // a line end is in no camera's id
}

}  // namespace

LaneSet::LaneSet(DeliverLane::ErrorCallback on_error, const Clock& clock)
    : on_error_(std::move(on_error)), clock_(clock) {}

LaneSet::~LaneSet() { Finish(/*abandon=*/false).IgnoreError(); }

LaneSet::Staged::~Staged() {
  for (auto& [lane, sink] : added) {
    if (sink.sink) sink.sink->Abandon().IgnoreError();
  }
}

const LaneSet::Lane* LaneSet::Find(std::string_view name) const {
  const auto found = std::find_if(lanes_.begin(), lanes_.end(),
                                  [&](const Lane& lane) { return lane.lane->name() == name; });
  return found == lanes_.end() ? nullptr : &*found;
}

// Of the lane if there is one; else of one that is yet to be made.
std::shared_ptr<OutputWait> LaneSet::WaitOf(std::string_view lane, const Staged& staged) const {
  if (const Lane* there = Find(lane)) return there->lane->wait();
  for (const auto& made : staged.lanes) {
    if (made->name() == lane) return made->wait();
  }
  return std::make_shared<OutputWait>();
}

absl::Status LaneSet::Stage(const std::string& camera, const std::vector<SinkPlan>& plans,
                            Staged* staged) const {
  for (const Lane& lane : lanes_) {
    for (const Sink& sink : lane.sinks) {
      if (sink.camera != camera) continue;
      const bool stays = std::any_of(plans.begin(), plans.end(), [&](const SinkPlan& plan) {
        return plan.lane == lane.lane->name() && KeyOf(camera, plan.what) == sink.key;
      });
      if (!stays) staged->removed.emplace_back(lane.lane->name(), sink.key);
    }
  }
  // Enough that a group commit does not stop the models, small beside the decoded pictures.
  constexpr size_t kQueueCapacity = 64;
  constexpr size_t kPictureQueueCapacity = 8;
  for (const SinkPlan& plan : plans) {
    const std::string key = KeyOf(camera, plan.what);
    const Lane* const lane = Find(plan.lane);
    if (lane != nullptr && std::any_of(lane->sinks.begin(), lane->sinks.end(),
                                       [&](const Sink& sink) { return sink.key == key; })) {
      continue;
    }
    const SinkContext context{.clock = &clock_, .wait = WaitOf(plan.lane, *staged)};
    absl::StatusOr<std::unique_ptr<ResultSink>> sink = plan.make(context);
    if (!sink.ok()) return AsFailure(sink.status());
    const bool pictures = (*sink)->wants_pixels();
    staged->added.emplace_back(plan.lane, LaneSink{key, camera, *std::move(sink)});
    const bool there =
        lane != nullptr || std::any_of(staged->lanes.begin(), staged->lanes.end(),
                                       [&](const auto& made) { return made->name() == plan.lane; });
    if (there) continue;
    SL_ASSIGN_OR_RETURN(
        std::unique_ptr<DeliverLane> made,
        DeliverLane::Create({.name = plan.lane,
                             .capacity = pictures ? kPictureQueueCapacity : kQueueCapacity,
                             .on_error = on_error_,
                             .clock = &clock_,
                             .wait = context.wait}));
    staged->lanes.push_back(std::move(made));
  }
  return absl::OkStatus();
}

void LaneSet::Commit(Staged staged) {
  for (std::unique_ptr<DeliverLane>& lane : staged.lanes) {
    lanes_.push_back({.lane = std::move(lane), .sinks = {}});
  }
  for (Lane& lane : lanes_) CommitTo(lane, staged);
  // A lane without sinks goes. Whoever is just sending to it sends into the void, as it should be.
  std::erase_if(lanes_, [&](const Lane& lane) {
    if (!lane.sinks.empty()) return false;
    const absl::Status status = lane.lane->Finish();
    if (first_error_.ok()) first_error_ = status;
    return true;
  });
}

void LaneSet::CommitTo(Lane& lane, Staged& staged) {
  const std::string& name = lane.lane->name();
  std::vector<std::string> removed;
  for (const auto& [of_lane, key] : staged.removed) {
    const auto is_it = [&key = key](const Sink& sink) { return sink.key == key; };
    if (of_lane == name && std::erase_if(lane.sinks, is_it) > 0) removed.push_back(key);
  }
  std::vector<LaneSink> added;
  for (auto& [of_lane, sink] : staged.added) {
    if (of_lane != name) continue;
    lane.sinks.push_back({.key = sink.key,
                          .camera = sink.camera,
                          .name = std::string(sink.sink->name()),
                          .wants_pixels = sink.sink->wants_pixels()});
    added.push_back(std::move(sink));
  }
  if (!removed.empty() || !added.empty()) lane.lane->Change(removed, std::move(added));
}

std::shared_ptr<const Outlets> LaneSet::OutletsOf(const std::string& camera) const {
  auto outlets = std::make_shared<Outlets>();
  for (const Lane& lane : lanes_) {
    bool mine = false;
    for (const Sink& sink : lane.sinks) {
      if (!sink.camera.empty() && sink.camera != camera) continue;
      mine = true;
      outlets->wants_pixels = outlets->wants_pixels || sink.wants_pixels;
    }
    if (mine) outlets->lanes.push_back(lane.lane);
  }
  return outlets;
}

void LaneSet::SendToAll(const DeliverLane::CameraLedger& ledger) const {
  for (const Lane& lane : lanes_) lane.lane->Send(ledger);
}

void LaneSet::EnableWaiting(bool enabled) const {
  for (const Lane& lane : lanes_) lane.lane->wait()->Enable(enabled);
}

void LaneSet::EndWaiting() const {
  for (const Lane& lane : lanes_) lane.lane->EndWaiting();
}

std::string LaneSet::WaitingFor() const {
  for (const Lane& lane : lanes_) {
    if (std::string reason = lane.lane->wait()->reason(); !reason.empty()) return reason;
  }
  return "";
}

absl::Status LaneSet::Finish(bool abandon) {
  for (const Lane& lane : lanes_) {
    const absl::Status status = lane.lane->Finish(abandon);
    if (first_error_.ok()) first_error_ = status;
  }
  return first_error_;
}

std::vector<LaneSet::LaneOutline> LaneSet::Describe() const {
  std::vector<LaneOutline> outlines;
  for (const Lane& lane : lanes_) {
    LaneOutline outline{.lane = lane.lane.get(), .sinks = {}};
    for (const Sink& sink : lane.sinks) {
      const auto told = std::find(outline.sinks.begin(), outline.sinks.end(), sink.name);
      if (told == outline.sinks.end()) outline.sinks.push_back(sink.name);
    }
    outlines.push_back(std::move(outline));
  }
  return outlines;
}

}  // namespace sightline
