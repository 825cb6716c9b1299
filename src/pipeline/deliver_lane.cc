#include "pipeline/deliver_lane.h"

#include <chrono>
#include <utility>

#include "base/log.h"
#include "base/thread.h"

namespace sightline {

namespace {

absl::Status WriteTo(ResultSink& sink, const FrameResult& result) { return sink.Write(result); }
absl::Status WriteTo(ResultSink& sink, const TrackSummary& track) { return sink.WriteTrack(track); }
absl::Status WriteTo(ResultSink& sink, const CameraStateChange& change) {
  return sink.WriteCameraState(change);
}

}  // namespace

DeliverLane::DeliverLane(std::string name, std::vector<std::unique_ptr<ResultSink>> sinks,
                         size_t capacity, ErrorCallback on_error)
    : name_(std::move(name)),
      sinks_(std::move(sinks)),
      on_error_(std::move(on_error)),
      queue_(capacity, QueuePolicy::kBlock) {
  for (const auto& sink : sinks_) {
    sink_names_.emplace_back(sink->name());
    wants_pixels_ = wants_pixels_ || sink->wants_pixels();
  }
}

absl::StatusOr<std::unique_ptr<DeliverLane>> DeliverLane::Create(
    std::string name, std::vector<std::unique_ptr<ResultSink>> sinks, size_t capacity,
    ErrorCallback on_error) {
  std::unique_ptr<DeliverLane> lane(
      new DeliverLane(std::move(name), std::move(sinks), capacity, std::move(on_error)));
  SL_ASSIGN_OR_RETURN(lane->thread_, StartThread("deliver-" + lane->name_,
                                                 [raw = lane.get()] { raw->Loop(); }));
  return lane;
}

DeliverLane::~DeliverLane() { Finish({}).IgnoreError(); }

void DeliverLane::Send(std::shared_ptr<const FrameResult> result) {
  queue_.Push(std::move(result));
}

void DeliverLane::Send(std::shared_ptr<const TrackSummary> track) {
  queue_.Push(std::move(track));
}

void DeliverLane::Send(std::shared_ptr<const CameraStateChange> change) {
  queue_.Push(std::move(change));
}

void DeliverLane::Loop() {
  // How late a quiet camera's rows may be committed beyond the sinks' own delay; chosen.
  constexpr std::chrono::milliseconds kIdle(250);
  while (true) {
    const std::optional<Item> item = queue_.PopFor(kIdle);
    if (!item) {
      if (queue_.Drained()) return;
      ForEachSink([](ResultSink& sink) { return sink.FlushIfDue(); });
      continue;
    }
    ForEachSink([&](ResultSink& sink) {
      return std::visit([&](const auto& record) { return WriteTo(sink, *record); }, *item);
    });
  }
}

absl::Status DeliverLane::Finish(const std::vector<CameraLedger>& ledgers, bool abandon) {
  queue_.Close();
  if (!thread_.joinable()) return first_error_;
  thread_.join();
  for (const CameraLedger& ledger : ledgers) {
    ForEachSink([&](ResultSink& sink) { return sink.WriteLedger(*ledger.camera, ledger.counts); });
  }
  ForEachSink([&](ResultSink& sink) { return abandon ? sink.Abandon() : sink.Close(); });
  sinks_.clear();
  return first_error_;
}

void DeliverLane::ForEachSink(const std::function<absl::Status(ResultSink&)>& call) {
  for (std::unique_ptr<ResultSink>& sink : sinks_) {
    if (!sink) continue;  // failed earlier
    const absl::Status status = call(*sink);
    if (status.ok()) continue;
    const absl::Status error = WithContext(status, sink->name());
    if (const absl::Status closed = sink->Close(); !closed.ok()) {
      Log().debug("closing {} after its error: {}", sink->name(), MessageOf(closed));
    }
    sink.reset();
    if (first_error_.ok()) first_error_ = error;
    on_error_(error);
  }
}

}  // namespace sightline
