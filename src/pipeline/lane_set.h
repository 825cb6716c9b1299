// The lanes of a run and the sinks in them, as the configuration wants them.
//
// A change is staged first: sinks are made, threads of new lanes are started, and whatever can fail
// has failed by then. Committing it cannot fail. A sink whose plan stays the same goes on untouched.
// Threads: one at a time; lanes are sent to by any.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "pipeline/camera_pipeline.h"
#include "pipeline/deliver_lane.h"
#include "types/result_sink.h"

namespace sightline {

// What the maker of a sink gets from the engine.
struct SinkContext {
  const Clock* clock = &Clock::Real();
  std::shared_ptr<OutputWait> wait = {};  // of the sink's lane
};

// A sink to be made.
struct SinkPlan {
  std::string lane;       // sinks of one lane share a thread
  std::string path = {};  // the file that it writes; for descriptions
  std::string what;       // two plans with the same lane and the same words do the same thing
  std::function<absl::StatusOr<std::unique_ptr<ResultSink>>(const SinkContext&)> make;
};

class LaneSet {
 public:
  LaneSet(DeliverLane::ErrorCallback on_error, const Clock& clock);
  ~LaneSet();  // Finish()es

  // What Stage() has made ready. Sinks that are never committed are abandoned.
  struct Staged {
    Staged() = default;
    Staged(Staged&&) = default;
    Staged& operator=(Staged&&) = delete;  // what it held would go without being abandoned
    ~Staged();
    std::vector<std::pair<std::string, LaneSink>> added;       // lane, sink
    std::vector<std::pair<std::string, std::string>> removed;  // lane, key
    std::vector<std::unique_ptr<DeliverLane>> lanes;
  };

  // Adds to *staged what leads from the sinks of that camera ("": those for all cameras) to `plans`.
  absl::Status Stage(const std::string& camera, const std::vector<SinkPlan>& plans,
                     Staged* staged) const;
  void Commit(Staged staged);

  // The lanes with a sink for that camera or for all.
  std::shared_ptr<const Outlets> OutletsOf(const std::string& camera) const;
  void SendToAll(const DeliverLane::CameraLedger& ledger) const;

  // Whether sinks that cannot write for now wait, or fail at once.
  void EnableWaiting(bool enabled) const;
  // From now on nobody waits, whatever is enabled.
  void EndWaiting() const;
  // What a lane whose output waits says; empty: none does.
  std::string WaitingFor() const;

  // Closes every sink, or abandons them. The first error of any sink, ever. Idempotent.
  absl::Status Finish(bool abandon);

  // For descriptions, in the order in which they were made.
  struct LaneOutline {
    const DeliverLane* lane = nullptr;
    std::vector<std::string> sinks;
  };
  std::vector<LaneOutline> Describe() const;

 private:
  struct Sink {
    std::string key;
    std::string camera;
    std::string name;
    bool wants_pixels = false;
  };
  struct Lane {
    std::shared_ptr<DeliverLane> lane;
    std::vector<Sink> sinks;
  };
  const Lane* Find(std::string_view name) const;
  std::shared_ptr<OutputWait> WaitOf(std::string_view lane, const Staged& staged) const;
  void CommitTo(Lane& lane, Staged& staged);

  const DeliverLane::ErrorCallback on_error_;
  const Clock& clock_;
  std::vector<Lane> lanes_;  // as they were made
  absl::Status first_error_;
};

}  // namespace sightline
