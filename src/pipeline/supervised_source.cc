#include "pipeline/supervised_source.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/log.h"
#include "base/uuid.h"

namespace sightline {
namespace {

// What the picture shows, as far as telling a frozen one goes: encoders repeat a still picture with
// other noise at every key frame, a camera that hangs repeats it to the bit.
uint64_t PictureHash(const Frame& frame) {
  const ImageView& image = frame.image;
  if (image.planes[0] == nullptr) return frame.meta.ordinal;  // without pixels none is like another
  constexpr int kRowStep = 4;
  const auto bytes = static_cast<size_t>(PlaneRowBytes(image.format, 0, image.width));
  uint64_t hash = static_cast<uint64_t>(image.height);
  for (int y = 0; y < image.height; y += kRowStep) {
    const uint8_t* row = image.planes[0] + static_cast<int64_t>(y) * image.strides[0];
    hash = HashBytes({row, bytes}, hash).low;
  }
  return hash;
}

}  // namespace

SupervisedSource::SupervisedSource(Parts parts)
    : parts_(std::move(parts)), supervisor_(parts_.supervision, parts_.clock->NowMonotonicUs()) {}

absl::StatusOr<std::optional<Frame>> SupervisedSource::Next() {
  // What an earlier source of this camera has counted is no sign of life of this one.
  if (!std::exchange(begun_, true)) arrivals_ = Arrivals();
  while (!cancelled_) {
    switch (Ask()) {
      case Supervisor::Action::kConnect:
        Connect();
        continue;
      case Supervisor::Action::kClose:
        Disconnect();
        continue;
      case Supervisor::Action::kNone:
        break;
    }
    if (supervisor_.state() == CameraState::kEnded) return std::nullopt;
    if (supervisor_.state() == CameraState::kFailed) {
      return FailedPrecondition("{}", supervisor_.reason());
    }
    if (!connection_) {
      Wait();
      continue;
    }
    SL_ASSIGN_OR_RETURN(std::optional<Frame> frame, Read());
    if (frame) return frame;
  }
  Disconnect();
  return Cancelled("stopped");
}

// What to do now, after what has happened meanwhile.
Supervisor::Action SupervisedSource::Ask() {
  const int64_t now_us = parts_.clock->NowMonotonicUs();
  if (retry_.exchange(false)) supervisor_.RetryNow(now_us);
  const uint64_t arrivals = Arrivals();
  if (std::exchange(arrivals_, arrivals) < arrivals) supervisor_.DataArrived(now_us);
  const Supervisor::Action action = supervisor_.Next(now_us);
  Tell();
  return action;
}

uint64_t SupervisedSource::Arrivals() const {
  const FrameCounts counts = parts_.ledger->Snapshot();
  // What cannot be decoded is no sign of life once pictures have come.
  if (supervisor_.state() == CameraState::kConnecting) return counts.frames_in;
  const uint64_t damaged = counts.dropped[static_cast<size_t>(DropReason::kDecodeError)];
  return counts.frames_in - std::min(counts.frames_in, damaged);
}

bool SupervisedSource::GiveUp() {
  if (cancelled_) return true;
  const CameraState before = supervisor_.state();
  if (before == CameraState::kBackingOff || before == CameraState::kFailed) return true;
  if (Ask() == Supervisor::Action::kClose) return true;
  // Found stalled: given up at once.
  return supervisor_.state() == CameraState::kStalled && Ask() == Supervisor::Action::kClose;
}

std::string_view SupervisedSource::ReasonFor(CameraState state) const {
  switch (state) {
    case CameraState::kFrozen:
      return "the picture does not change";
    case CameraState::kStalled:
    case CameraState::kBackingOff:
    case CameraState::kFailed:
      return supervisor_.reason();
    default:
      return "";
  }
}

void SupervisedSource::Tell() {
  const CameraState now = supervisor_.state();
  state_.store(now, std::memory_order_relaxed);
  if (parts_.metrics != nullptr) {
    parts_.metrics->state.store(now, std::memory_order_relaxed);
    parts_.metrics->attempts.Add(supervisor_.attempts() -
                                 std::exchange(told_attempts_, supervisor_.attempts()));
  }
  // A further attempt, and one that fails as the last did, is no news: a camera that is away for a
  // night would fill the disk.
  const bool again = now == CameraState::kConnecting && supervisor_.attempts() > 1;
  if (first_told_ && (again || (now == told_ && ReasonFor(now) == told_reason_))) return;
  first_told_ = true;
  told_reason_ = ReasonFor(now);
  if (parts_.metrics != nullptr) {
    parts_.metrics->SetReason(told_reason_);
    if (now == CameraState::kLive && told_ != CameraState::kFrozen &&
        supervisor_.last_gap_us() > 0) {
      parts_.metrics->gaps.Add();
      parts_.metrics->gap_us.Add(static_cast<uint64_t>(supervisor_.last_gap_us()));
    }
  }
  const CameraStateChange change{
      .camera = parts_.camera,
      .from = std::exchange(told_, now),
      .to = now,
      .reason = told_reason_,
      .utc_us = parts_.clock->NowUtcUs(),
      .epoch = now == CameraState::kLive ? first_epoch_ : parts_.position->next_epoch,
      .attempts = supervisor_.attempts(),
      .gap_us = now == CameraState::kLive ? supervisor_.last_gap_us() : 0};
  if (parts_.on_change) parts_.on_change(change);
}

void SupervisedSource::Connect() {
  Disconnect();
  first_epoch_ = parts_.position->next_epoch;
  first_ordinal_ = parts_.position->next_ordinal;
  absl::StatusOr<std::unique_ptr<FrameSource>> connection =
      parts_.connect({.give_up = [this] { return GiveUp(); },
                      .last_capture_utc_us = parts_.position->last_capture_utc_us});
  if (cancelled_) return;
  if (connection.ok()) {
    connection_ = *std::move(connection);
  } else {
    supervisor_.Failed(parts_.clock->NowMonotonicUs(), connection.status());
  }
}

void SupervisedSource::Disconnect() { connection_.reset(); }

// A frame; nullopt when there is none of this connection any more.
absl::StatusOr<std::optional<Frame>> SupervisedSource::Read() {
  absl::StatusOr<std::optional<Frame>> next = connection_->Next();
  const int64_t now_us = parts_.clock->NowMonotonicUs();
  // Also after Cancel(): the ledger has the frame, and whoever was asked to stop finishes it.
  if (next.ok() && next->has_value()) {
    Place(&(*next)->meta);
    supervisor_.FrameArrived(now_us, PictureHash(**next));
    Tell();
    return next;
  }
  if (cancelled_) return std::optional<Frame>();
  if (next.ok()) {
    // A live stream that says how long it is (a simulated one) has an end.
    const SourceInfo& info = connection_->info();
    supervisor_.EndOfStream(now_us, info.live && info.duration_us == 0);
  } else {
    supervisor_.Failed(now_us, next.status());
  }
  Disconnect();
  Tell();
  return std::optional<Frame>();
}

// From the connection's own epochs and ordinals to the camera's.
void SupervisedSource::Place(FrameMeta* frame) {
  frame->time.epoch += first_epoch_;
  frame->ordinal += first_ordinal_;
  parts_.position->next_epoch = frame->time.epoch + 1;
  parts_.position->next_ordinal = frame->ordinal + 1;
  parts_.position->last_capture_utc_us = frame->time.capture_utc_us;
}

void SupervisedSource::Wait() {
  // Not for ever, so that a clock which stands still for a suspended machine is noticed.
  constexpr int64_t kLongest = 1'000'000;
  const int64_t wait_us = std::clamp<int64_t>(
      supervisor_.NextDeadlineUs() - parts_.clock->NowMonotonicUs(), 0, kLongest);
  if (parts_.wait) return parts_.wait(wait_us);
  MutexLock lock(mutex_);
  if (!cancelled_ && !retry_) wake_.WaitFor(mutex_, std::chrono::microseconds(wait_us));
}

void SupervisedSource::Cancel() {
  MutexLock lock(mutex_);
  cancelled_ = true;
  wake_.NotifyAll();
}

void SupervisedSource::RetryNow() {
  MutexLock lock(mutex_);
  retry_ = true;
  wake_.NotifyAll();
}

}  // namespace sightline
