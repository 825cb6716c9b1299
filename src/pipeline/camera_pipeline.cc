#include "pipeline/camera_pipeline.h"

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/thread.h"
#include "base/time.h"

namespace sightline {

CameraPipeline::CameraPipeline(CameraParts parts)
    : parts_(std::move(parts)),
      window_(parts_.frames_in_flight,
              is_live() ? ReorderWindow::Pace::kAtOnce : ReorderWindow::Pace::kBursts),
      outlets_(std::make_shared<const Outlets>()),
      priority_(parts_.priority) {}

CameraPipeline::~CameraPipeline() {
  RequestStop();
  Abandon();
  Join().IgnoreError();
}

absl::Status CameraPipeline::Start(std::function<void()> on_end) {
  on_end_ = std::move(on_end);
  SL_ASSIGN_OR_RETURN(reader_, StartThread("read-" + parts_.camera->id, [this] {
                        if (!PassGate()) return;
                        const LogCamera log_camera(parts_.camera->id);
                        source_status_ = ReadAll();
                        window_.Close();
                      }));
  SL_ASSIGN_OR_RETURN(thread_, StartThread("cam-" + parts_.camera->id, [this] {
                        if (!PassGate()) return;
                        const LogCamera log_camera(parts_.camera->id);
                        status_ = Run();
                        TellEnd();
                        on_end_();
                      }));
  return absl::OkStatus();
}

void CameraPipeline::Go() { OpenGate(Gate::kOpen); }
void CameraPipeline::Abandon() { OpenGate(Gate::kAbandoned); }

void CameraPipeline::OpenGate(Gate to) {
  MutexLock lock(mutex_);
  if (gate_ == Gate::kClosed) gate_ = to;
  gate_moved_.NotifyAll();
}

bool CameraPipeline::PassGate() {
  MutexLock lock(mutex_);
  while (gate_ == Gate::kClosed) gate_moved_.Wait(mutex_);
  return gate_ == Gate::kOpen;
}

absl::Status CameraPipeline::Join() {
  if (thread_.joinable()) thread_.join();
  if (reader_.joinable()) reader_.join();
  return status_;
}

// The whole way of a frame. The reader thread does steps 1 to 3, the model's threads 4 to 6 (see
// DetectorRunner), this one 7 to 10; the window between them keeps the camera's order.
absl::Status CameraPipeline::Run() {
  while (FrameSlot* slot = window_.NextInOrder()) {
    std::shared_ptr<FrameResult> result = results_.Acquire();
    // 7. track: boxes become objects; 8. events: objects meet zones and lines.
    // A tombstone passes both by: tracks age by stream time.
    const bool alive = TrackAndWatch(slot, result.get());
    window_.Release(slot);
    parts_.metrics->in_window.Add(-1);
    if (!alive) continue;
    // 9. ids, 10. deliver: rows, lines, pictures.
    Deliver(std::move(result));
    parts_.ledger->CountProcessed();
  }
  reader_.join();
  FinishTracks();
  return set_up_status_.ok() ? source_status_ : set_up_status_;
}

void CameraPipeline::TellEnd() {
  const bool failed = !status_.ok() && !absl::IsCancelled(status_);
  if (failed) parts_.metrics->SetReason(MessageOf(status_));
  parts_.metrics->state = failed ? CameraState::kFailed : CameraState::kEnded;
}

absl::Status CameraPipeline::ReadAll() {
  if (!is_live()) parts_.metrics->state = CameraState::kLive;
  double cpu_s = ThreadCpuSeconds();
  for (uint64_t read = 0; !stopping_ && (parts_.max_frames == 0 || read < parts_.max_frames);
       ++read) {
    // 1. media: demux, select, decode. Frames left out or damaged are counted there.
    SL_ASSIGN_OR_RETURN(std::optional<Frame> frame, parts_.source->Next());
    ended_ = !frame.has_value();
    if (ended_) break;
    const int64_t read_us = parts_.clock->NowMonotonicUs();
    parts_.metrics->last_frame_us.store(read_us, std::memory_order_relaxed);
    // 2. vision: is there anything new in it?
    const bool worth_it = IsWorthIt(*frame);
    const double before_s = std::exchange(cpu_s, ThreadCpuSeconds());
    parts_.metrics->read_cpu.Observe(static_cast<int64_t>((cpu_s - before_s) * 1e6));
    if (!worth_it) continue;
    // 3. Take a place in the order and join the model's queue:
    //    4. preprocess, 5. infer, 6. postprocess happen on the model's threads.
    Submit(*std::move(frame), read_us);
  }
  return absl::OkStatus();
}

// A recording waits for its place; a live camera never does, and drops its oldest waiting frame.
void CameraPipeline::Submit(Frame&& frame, int64_t read_us) {
  const bool live = parts_.live_waiting > 0;
  FrameSlot* slot = live ? window_.TryReserve() : window_.Reserve();
  if (slot == nullptr) {  // delivery is behind
    parts_.ledger->CountDropped(DropReason::kLate);
    return;
  }
  slot->source = parts_.camera->index;
  slot->priority = priority_.load(std::memory_order_relaxed);
  slot->frame = std::move(frame);
  slot->read_us = read_us;
  parts_.metrics->in_window.Add(1);
  if (live) slot->failure = DropReason::kLate;
  const absl::Status status =
      live ? parts_.batcher->SubmitLatest(slot, parts_.live_waiting) : parts_.batcher->Submit(slot);
  if (status.ok()) return;
  slot->failure = DropReason::kShutdown;
  slot->Done(status);
}

bool CameraPipeline::IsWorthIt(const Frame& frame) {
  last_pts_us_.store(frame.meta.time.pts_us, std::memory_order_relaxed);
  if (!parts_.motion || parts_.motion->IsWorthIt(frame)) return true;
  parts_.ledger->CountSkipped(SkipReason::kNoMotion);
  return false;
}

bool CameraPipeline::TrackAndWatch(FrameSlot* slot, FrameResult* result) {
  if (!slot->status.ok()) {
    CountTombstone(slot->frame.meta, slot->failure, slot->status);
    return false;
  }
  if (parts_.set_up) {
    set_up_status_ = std::exchange(parts_.set_up, nullptr)(slot->frame.meta, &parts_);
    if (!set_up_status_.ok()) RequestStop();
  }
  if (!set_up_status_.ok()) {
    parts_.ledger->CountDropped(DropReason::kShutdown);
    return false;
  }
  result->frame.meta = slot->frame.meta;
  if (outlets()->wants_pixels) result->frame = slot->frame;
  result->detections.frame = slot->frame.meta;
  result->detections.labels = parts_.labels;
  result->detections.SwapResults(slot->detections);
  TakeWaitingEvents(result);
  result->end_of_stream = false;
  const int64_t begin_us = parts_.clock->NowMonotonicUs();
  parts_.metrics->tracking.Begin(begin_us);
  parts_.metrics->queue_wait.Observe(slot->model_began_us - slot->read_us);
  if (rules_due_.load(std::memory_order_relaxed)) ChangeRules(slot->frame.meta, result);
  const size_t events_before = result->events.size();
  result->rules_version = parts_.rules_version;
  absl::Status status = parts_.tracker->Update(result->detections, &result->tracks);
  parts_.tracker->TakeFinished(&finished_tracks_);
  if (status.ok()) {
    status = parts_.events->Update(result->tracks, &result->events, &result->zone_occupancy,
                                   finished_tracks_);
  }
  parts_.metrics->tracking.End();
  parts_.metrics->track.Observe(parts_.clock->NowMonotonicUs() - begin_us);
  if (!status.ok()) {
    CountTombstone(slot->frame.meta, DropReason::kPostprocessError, status);
    // What ended with the old rules did end, and so did the finished tracks: the next result has them.
    waiting_events_.assign(result->events.begin(),
                           result->events.begin() + static_cast<std::ptrdiff_t>(events_before));
    return false;
  }
  last_frame_ = slot->frame.meta;
  width_.store(last_frame_.width, std::memory_order_relaxed);
  height_.store(last_frame_.height, std::memory_order_relaxed);
  tracks_confirmed_.store(earlier_tracks_ + parts_.tracker->stats().confirmed_tracks,
                          std::memory_order_relaxed);
  events_emitted_.fetch_add(result->events.size(), std::memory_order_relaxed);
  return true;
}

// Those of a frame that failed.
void CameraPipeline::TakeWaitingEvents(FrameResult* result) {
  result->events.assign(waiting_events_.begin(), waiting_events_.end());
  waiting_events_.clear();
}

void CameraPipeline::ChangeRules(const FrameMeta& next, FrameResult* result) {
  RulesChange change;
  {
    MutexLock lock(mutex_);
    change = std::exchange(rules_change_, nullptr);
    rules_due_ = false;
  }
  const Tracker* const before = parts_.tracker.get();
  const uint64_t tracks_before = before->stats().confirmed_tracks;
  const absl::Status status = change(next, &parts_, &result->events, &finished_tracks_);
  if (!status.ok()) {
    Log().warn("camera {}: the new rules do not fit, the old ones stay: {}", parts_.camera->id,
               MessageOf(status));
    return;
  }
  if (parts_.tracker.get() != before) earlier_tracks_ += tracks_before;
  ++parts_.rules_version;
}

void CameraPipeline::SetRules(RulesChange change) {
  MutexLock lock(mutex_);
  rules_change_ = std::move(change);
  rules_due_ = true;
}

std::shared_ptr<const Outlets> CameraPipeline::outlets() const {
  MutexLock lock(mutex_);
  return outlets_;
}

void CameraPipeline::SetOutlets(std::shared_ptr<const Outlets> outlets) {
  MutexLock lock(mutex_);
  outlets_.swap(outlets);  // the old ones go when the lock is released
}

void CameraPipeline::CountTombstone(const FrameMeta& frame, DropReason reason,
                                    const absl::Status& status) {
  parts_.ledger->CountDropped(reason);
  // A model that fails on every frame would fill the log: say it at 1, 2, 4, 8 ...
  const uint64_t n = ++tombstones_;
  if ((n & (n - 1)) == 0) {
    std::string trace;
    if (parts_.trace) AppendTraceparent(TraceOf(parts_.identity, frame), trace);
    const LogTrace log_trace(trace);
    Log().warn("camera {}: frame {} dropped ({} so far): {}", parts_.camera->id, frame.ordinal, n,
               MessageOf(status));
  }
}

void CameraPipeline::Deliver(const CameraStateChange& change) {
  const auto copy = std::make_shared<const CameraStateChange>(change);
  const std::shared_ptr<const Outlets> to = outlets();
  for (const auto& lane : to->lanes) lane->Send(copy);
}

DeliverLane::CameraLedger CameraPipeline::Ledger() const {
  FrameCounts all = earlier_;
  all += counts();
  return {parts_.camera, all};
}

void CameraPipeline::OfferLedger() {
  const std::shared_ptr<const Outlets> to = outlets();
  for (const auto& lane : to->lanes) lane->Offer(Ledger());
}

void CameraPipeline::DeliverLedger() {
  const std::shared_ptr<const Outlets> to = outlets();
  for (const auto& lane : to->lanes) lane->Send(Ledger());
}

void CameraPipeline::Deliver(std::shared_ptr<FrameResult> result) {
  const FrameMeta& frame = result->frame.meta;
  result->trace = parts_.trace ? TraceOf(parts_.identity, frame) : FrameTrace();
  result->detection_ids.clear();
  for (size_t i = 0; i < result->detections.items.size(); ++i) {
    result->detection_ids.push_back(
        MakeTimeUuid(frame.time.capture_utc_us, FieldHasher()
                                                    .Add(parts_.identity)
                                                    .Add(frame.time.epoch)
                                                    .Add(frame.time.capture_utc_us)
                                                    .Add(frame.ordinal)
                                                    .Add(i)
                                                    .Finish()));
  }
  const std::shared_ptr<const Outlets> to = outlets();
  for (size_t i = 0; i < to->lanes.size(); ++i) {
    // When the rows of the first lane stand, the frame's way is over.
    to->lanes[i]->Send(result, i == 0 && is_live() ? parts_.metrics : nullptr);
  }
  DeliverFinishedTracks(*to);
}

void CameraPipeline::DeliverFinishedTracks(const Outlets& to) {
  for (const TrackSummary& track : finished_tracks_) {
    const auto class_id = static_cast<size_t>(std::max(0, track.class_id));
    if (class_id >= tracks_per_class_.size()) tracks_per_class_.resize(class_id + 1);
    ++tracks_per_class_[class_id];
    std::shared_ptr<TrackSummary> copy = summaries_.Acquire();
    *copy = track;
    for (const auto& lane : to.lanes) lane->Send(copy);
  }
  finished_tracks_.clear();
}

void CameraPipeline::FinishTracks() {
  if (last_frame_.camera == nullptr) return;  // not one frame was processed
  parts_.tracker->Finish();
  parts_.tracker->TakeFinished(&finished_tracks_);
  std::shared_ptr<FrameResult> result = results_.Acquire();
  result->frame = Frame();
  result->detections.ClearResults();
  result->tracks.items.clear();
  TakeWaitingEvents(result.get());
  result->frame.meta = result->detections.frame = result->tracks.frame = last_frame_;
  result->detections.labels = parts_.labels;
  result->rules_version = parts_.rules_version;
  result->end_of_stream = true;
  // Who is inside when a run is cut short did not leave: a run of the whole recording into the same
  // database says when they did.
  if (ended_) parts_.events->Finish(&result->events, &result->zone_occupancy);
  events_emitted_.fetch_add(result->events.size(), std::memory_order_relaxed);
  Deliver(std::move(result));
}

void CameraPipeline::RequestStop() {
  stopping_ = true;
  parts_.source->Cancel();
}

}  // namespace sightline
