#include "pipeline/deliver_lane.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/log.h"
#include "base/thread.h"

namespace sightline {

namespace {

absl::Status WriteTo(ResultSink& sink, const TrackSummary& track) { return sink.WriteTrack(track); }
absl::Status WriteTo(ResultSink& sink, const DeliverLane::CameraLedger& ledger) {
  return sink.WriteLedger(*ledger.camera, ledger.counts);
}

const CameraInfo* CameraOf(const TrackSummary& track) { return track.camera.get(); }
const CameraInfo* CameraOf(const DeliverLane::CameraLedger& ledger) { return ledger.camera.get(); }

}  // namespace

DeliverLane::DeliverLane(Options options)
    : options_(std::move(options)), queue_(options_.capacity, QueuePolicy::kBlock) {}

absl::StatusOr<std::unique_ptr<DeliverLane>> DeliverLane::Create(Options options) {
  std::unique_ptr<DeliverLane> lane(new DeliverLane(std::move(options)));
  SL_ASSIGN_OR_RETURN(lane->thread_,
                      StartThread("deliver-" + lane->name(), [raw = lane.get()] { raw->Loop(); }));
  return lane;
}

DeliverLane::~DeliverLane() { Finish().IgnoreError(); }

void DeliverLane::Send(std::shared_ptr<const FrameResult> result,
                       std::shared_ptr<CameraMetrics> camera) {
  queue_.Push(SentResult{.result = std::move(result),
                         .camera = std::move(camera),
                         .sent_us = options_.clock->NowMonotonicUs()});
}

void DeliverLane::Send(std::shared_ptr<const TrackSummary> track) { queue_.Push(std::move(track)); }

void DeliverLane::Send(std::shared_ptr<const CameraStateChange> change) {
  MutexLock lock(mutex_);
  if (states_.size() == kMostStates) {
    states_.erase(states_.begin());
    if (++states_dropped_ == 1) {
      Log().warn("the outputs of lane {} are behind: states of cameras give way to newer ones",
                 name());
    }
  }
  states_.push_back(std::move(change));
}

QueueStats DeliverLane::stats() const {
  QueueStats stats = queue_.Stats();
  MutexLock lock(mutex_);
  stats.dropped += states_dropped_;
  return stats;
}

void DeliverLane::Send(const CameraLedger& ledger) {
  queue_.Push(std::make_shared<const CameraLedger>(ledger));
}

void DeliverLane::Offer(const CameraLedger& ledger) {
  queue_.TryPush(std::make_shared<const CameraLedger>(ledger));
}

void DeliverLane::Change(const std::vector<std::string>& removed, std::vector<LaneSink> added) {
  auto change = std::make_shared<SinkChange>();
  change->removed = removed;
  change->added = std::move(added);
  const std::shared_ptr<SinkChange> waited_for = change;
  if (queue_.Push(std::move(change)) == BoundedQueue<Item>::PushResult::kClosed) return;
  MutexLock lock(waited_for->mutex);
  while (!waited_for->done) waited_for->carried.Wait(waited_for->mutex);
}

void DeliverLane::Loop() {
  // How late a quiet camera's rows may be committed beyond the sinks' own delay; chosen.
  constexpr std::chrono::milliseconds kIdle(250);
  while (true) {
    const std::optional<Item> item = queue_.PopFor(kIdle);
    if (!item && queue_.Drained()) return;
    metrics_.busy.Begin(options_.clock->NowMonotonicUs());
    DeliverStates();
    if (item) {
      Deliver(*item);
    } else {
      ForEachSink(nullptr, [](ResultSink& sink) { return sink.FlushIfDue(); });
    }
    metrics_.busy.End();
  }
}

void DeliverLane::DeliverStates() {
  std::vector<std::shared_ptr<const CameraStateChange>> states;
  {
    MutexLock lock(mutex_);
    if (states_.empty()) return;
    states.swap(states_);
  }
  for (const auto& change : states) {
    ForEachSink(change->camera.get(),
                [&](ResultSink& sink) { return sink.WriteCameraState(*change); });
  }
}

void DeliverLane::Deliver(const Item& item) {
  if (const auto* sent = std::get_if<SentResult>(&item)) return Deliver(*sent);
  if (const auto* change = std::get_if<std::shared_ptr<SinkChange>>(&item)) return Carry(**change);
  std::visit(
      [&](const auto& record) {
        using Record = std::decay_t<decltype(record)>;
        if constexpr (!std::is_same_v<Record, SentResult> &&
                      !std::is_same_v<Record, std::shared_ptr<SinkChange>>) {
          ForEachSink(CameraOf(*record), [&](ResultSink& sink) { return WriteTo(sink, *record); });
        }
      },
      item);
}

void DeliverLane::Deliver(const SentResult& sent) {
  const int64_t begin_us = options_.clock->NowMonotonicUs();
  const FrameMeta& frame = sent.result->frame.meta;
  ForEachSink(frame.camera.get(), [&](ResultSink& sink) { return sink.Write(*sent.result); });
  if (sent.result->end_of_stream) return;  // no frame of its own
  metrics_.written.Add();
  metrics_.wait.Observe(begin_us - sent.sent_us);
  metrics_.write.Observe(options_.clock->NowMonotonicUs() - begin_us);
  if (sent.camera == nullptr) return;
  sent.camera->capture_to_delivery.Observe(options_.clock->NowUtcUs() - frame.time.capture_utc_us);
}

void DeliverLane::TellNames() {
  std::vector<std::string> names;
  for (const LaneSink& sink : sinks_) {
    if (sink.sink) names.emplace_back(sink.sink->name());
  }
  MutexLock lock(mutex_);
  sink_names_.swap(names);
}

std::vector<std::string> DeliverLane::sink_names() const {
  MutexLock lock(mutex_);
  return sink_names_;
}

void DeliverLane::Carry(SinkChange& change) {
  for (LaneSink& sink : sinks_) {
    const auto& gone = change.removed;
    if (!sink.sink || std::find(gone.begin(), gone.end(), sink.key) == gone.end()) continue;
    CallSink(sink, [](ResultSink& closing) { return closing.Close(); });
    sink.sink.reset();
  }
  std::erase_if(sinks_, [](const LaneSink& sink) { return !sink.sink; });
  for (LaneSink& sink : change.added) sinks_.push_back(std::move(sink));
  TellNames();
  MutexLock lock(change.mutex);
  change.done = true;
  change.carried.NotifyAll();
}

absl::Status DeliverLane::Finish(bool abandon) {
  queue_.Close();
  EndWaiting();
  if (!thread_.joinable()) return first_error_;
  thread_.join();
  metrics_.busy.Begin(options_.clock->NowMonotonicUs());
  DeliverStates();
  ForEachSink(nullptr, [&](ResultSink& sink) { return abandon ? sink.Abandon() : sink.Close(); });
  metrics_.busy.End();
  sinks_.clear();
  return first_error_;
}

void DeliverLane::ForEachSink(const CameraInfo* camera,
                              const std::function<absl::Status(ResultSink&)>& call) {
  for (LaneSink& sink : sinks_) {
    if (!sink.sink) continue;  // failed earlier
    if (camera != nullptr && !sink.camera.empty() && sink.camera != camera->id) continue;
    CallSink(sink, call);
  }
}

void DeliverLane::CallSink(LaneSink& sink, const std::function<absl::Status(ResultSink&)>& call) {
  // Anew for each: one that has waited for an hour leaves no hour to the next.
  metrics_.busy.Begin(options_.clock->NowMonotonicUs());
  const absl::Status status = call(*sink.sink);
  if (status.ok()) return;
  const absl::Status error = WithContext(status, sink.sink->name());
  if (const absl::Status closed = sink.sink->Close(); !closed.ok()) {
    Log().debug("closing {} after its error: {}", sink.sink->name(), MessageOf(closed));
  }
  sink.sink.reset();
  metrics_.failed_sinks.Add();
  TellNames();
  if (first_error_.ok()) first_error_ = error;
  options_.on_error(error);
}

}  // namespace sightline
