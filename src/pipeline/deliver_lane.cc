#include "pipeline/deliver_lane.h"

#include <chrono>
#include <utility>

#include "base/log.h"
#include "base/thread.h"
#include "base/time.h"

namespace sightline {

namespace {

absl::Status WriteTo(ResultSink& sink, const std::shared_ptr<const TrackSummary>& track) {
  return sink.WriteTrack(*track);
}
absl::Status WriteTo(ResultSink& sink, const std::shared_ptr<const CameraStateChange>& change) {
  return sink.WriteCameraState(*change);
}
template <typename SentResult>
absl::Status WriteTo(ResultSink& sink, const SentResult& sent) {
  return sink.Write(*sent.result);
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

void DeliverLane::Send(std::shared_ptr<const FrameResult> result,
                       std::shared_ptr<CameraMetrics> camera) {
  queue_.Push(SentResult{.result = std::move(result),
                         .camera = std::move(camera),
                         .sent_us = Clock::Real().NowMonotonicUs()});
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
    if (!item && queue_.Drained()) return;
    const int64_t begin_us = Clock::Real().NowMonotonicUs();
    metrics_.busy.Begin(begin_us);
    if (item) {
      Deliver(*item, begin_us);
    } else {
      ForEachSink([](ResultSink& sink) { return sink.FlushIfDue(); });
    }
    metrics_.busy.End();
  }
}

void DeliverLane::Deliver(const Item& item, int64_t begin_us) {
  ForEachSink([&](ResultSink& sink) {
    return std::visit([&](const auto& record) { return WriteTo(sink, record); }, item);
  });
  const auto* sent = std::get_if<SentResult>(&item);
  if (sent == nullptr || sent->result->end_of_stream) return;
  metrics_.written.Add();
  metrics_.wait.Observe(begin_us - sent->sent_us);
  metrics_.write.Observe(Clock::Real().NowMonotonicUs() - begin_us);
  if (sent->camera == nullptr) return;
  sent->camera->capture_to_delivery.Observe(
      Clock::Real().NowUtcUs() - sent->result->frame.meta.time.capture_utc_us);
}

absl::Status DeliverLane::Finish(const std::vector<CameraLedger>& ledgers, bool abandon) {
  queue_.Close();
  if (!thread_.joinable()) return first_error_;
  thread_.join();
  metrics_.busy.Begin(Clock::Real().NowMonotonicUs());
  for (const CameraLedger& ledger : ledgers) {
    ForEachSink([&](ResultSink& sink) { return sink.WriteLedger(*ledger.camera, ledger.counts); });
  }
  ForEachSink([&](ResultSink& sink) { return abandon ? sink.Abandon() : sink.Close(); });
  sinks_.clear();
  metrics_.busy.End();
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
    metrics_.failed_sinks.Add();
    if (first_error_.ok()) first_error_ = error;
    on_error_(error);
  }
}

}  // namespace sightline
