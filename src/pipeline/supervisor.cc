#include "pipeline/supervisor.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace sightline {
namespace {

constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

// SplitMix64 (Steele et al., 2014): enough for spreading waits, and the same on every machine.
uint64_t NextRandom(uint64_t* state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

int64_t Doubled(int64_t first_us, int steps, int64_t most_us) {
  int64_t wait = first_us;
  for (int i = 0; i < steps && wait < most_us; ++i) wait *= 2;
  return std::min(wait, most_us);
}

}  // namespace

absl::Status CheckSupervisorOptions(const SupervisorOptions& o) {
  if (o.connect_timeout_us <= 0 || o.picture_timeout_us <= 0 || o.stall_after_us <= 0 ||
      o.frozen_after_us < 0 || o.initial_backoff_us <= 0 || o.refused_backoff_us <= 0 ||
      o.settled_after_us < 0) {
    return InvalidArgument("the times of a camera's supervision must be above 0");
  }
  if (o.max_backoff_us < o.initial_backoff_us || o.max_refused_backoff_us < o.refused_backoff_us) {
    return InvalidArgument("the longest wait between two attempts is shorter than the first");
  }
  if (!(o.jitter >= 0 && o.jitter <= 1)) {
    return InvalidArgument("a jitter of {} is not within 0..1", o.jitter);
  }
  return absl::OkStatus();
}

CameraFault FaultOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return CameraFault::kRefused;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kUnimplemented:
      return CameraFault::kHopeless;
    default:
      return CameraFault::kUnreachable;
  }
}

Supervisor::Supervisor(const SupervisorOptions& options, int64_t now_us)
    : options_(options), since_us_(now_us), random_(options.seed) {}

void Supervisor::Enter(CameraState state, int64_t now_us) {
  if (state_ == state) return;
  state_ = state;
  since_us_ = now_us;
}

void Supervisor::FrameArrived(int64_t now_us, uint64_t picture_hash) {
  switch (state_) {
    case CameraState::kConnecting:
      if (connect_due_) return;  // a late frame of a connection that was given up
      ++connections_;
      if (last_frame_us_ >= 0) last_gap_us_ = now_us - last_frame_us_;
      live_since_us_ = picture_since_us_ = now_us;
      picture_hash_ = picture_hash;
      refused_steps_ = 0;
      Enter(CameraState::kLive, now_us);
      break;
    case CameraState::kLive:
    case CameraState::kFrozen:
      if (picture_hash != picture_hash_) {
        picture_hash_ = picture_hash;
        picture_since_us_ = now_us;
        Enter(CameraState::kLive, now_us);
      } else if (options_.frozen_after_us > 0 &&
                 now_us - picture_since_us_ >= options_.frozen_after_us) {
        Enter(CameraState::kFrozen, now_us);
      }
      break;
    default:
      return;
  }
  last_frame_us_ = last_data_us_ = now_us;
  if (now_us - live_since_us_ >= options_.settled_after_us) backoff_steps_ = 0;
}

void Supervisor::DataArrived(int64_t now_us) { last_data_us_ = now_us; }

void Supervisor::Failed(int64_t now_us, const absl::Status& status) {
  // The connection that this is about was given up already.
  if (state_ == CameraState::kBackingOff || state_ == CameraState::kFailed || connect_due_) return;
  BackOff(now_us, FaultOf(status), std::string(MessageOf(status)));
  close_due_ = false;  // it closed itself
}

void Supervisor::EndOfStream(int64_t now_us, bool live) {
  if (live) return Failed(now_us, Unavailable("the camera closed the stream"));
  Enter(CameraState::kEnded, now_us);
}

void Supervisor::BackOff(int64_t now_us, CameraFault fault, std::string reason) {
  reason_ = std::move(reason);
  close_due_ = true;
  if (fault == CameraFault::kHopeless) {
    retry_at_us_ = kNever;
    return Enter(CameraState::kFailed, now_us);
  }
  const bool refused = fault == CameraFault::kRefused;
  const int64_t wait =
      refused
          ? Doubled(options_.refused_backoff_us, refused_steps_++, options_.max_refused_backoff_us)
          : Doubled(options_.initial_backoff_us, backoff_steps_++, options_.max_backoff_us);
  const double fraction = static_cast<double>(NextRandom(&random_) >> 11) * 0x1.0p-53;
  retry_at_us_ =
      now_us + wait - static_cast<int64_t>(static_cast<double>(wait) * options_.jitter * fraction);
  Enter(CameraState::kBackingOff, now_us);
}

void Supervisor::RetryNow(int64_t now_us) {
  if (state_ != CameraState::kBackingOff && state_ != CameraState::kFailed) return;
  retry_at_us_ = now_us;
  if (state_ == CameraState::kFailed) Enter(CameraState::kBackingOff, now_us);
}

Supervisor::Action Supervisor::Next(int64_t now_us) {
  if (state_ == CameraState::kConnecting && !connect_due_) {
    if (now_us - last_data_us_ >= options_.connect_timeout_us) {
      BackOff(now_us, CameraFault::kUnreachable,
              fmt::format("nothing came for {:.3g} s of connecting",
                          static_cast<double>(options_.connect_timeout_us) * 1e-6));
    } else if (now_us - since_us_ >= options_.picture_timeout_us) {
      BackOff(now_us, CameraFault::kUnreachable,
              fmt::format("data came, but no picture within {:.3g} s",
                          static_cast<double>(options_.picture_timeout_us) * 1e-6));
    }
  }
  if ((state_ == CameraState::kLive || state_ == CameraState::kFrozen) &&
      now_us - last_data_us_ >= options_.stall_after_us) {
    reason_ = fmt::format("nothing came for {:.3g} s",
                          static_cast<double>(options_.stall_after_us) * 1e-6);
    Enter(CameraState::kStalled, now_us);
    return Action::kNone;  // seen once, so that it is told; given up the next time
  }
  if (state_ == CameraState::kStalled) BackOff(now_us, CameraFault::kUnreachable, reason_);
  if (std::exchange(close_due_, false)) return Action::kClose;
  if (state_ == CameraState::kBackingOff && now_us >= retry_at_us_) {
    connect_due_ = true;
    Enter(CameraState::kConnecting, now_us);
  }
  if (state_ == CameraState::kConnecting && std::exchange(connect_due_, false)) {
    since_us_ = last_data_us_ = now_us;
    ++attempts_;
    return Action::kConnect;
  }
  return Action::kNone;
}

int64_t Supervisor::NextDeadlineUs() const {
  if (close_due_ || connect_due_ || state_ == CameraState::kStalled) return since_us_;
  switch (state_) {
    case CameraState::kConnecting:
      return std::min(last_data_us_ + options_.connect_timeout_us,
                      since_us_ + options_.picture_timeout_us);
    case CameraState::kLive:
    case CameraState::kFrozen:
      return last_data_us_ + options_.stall_after_us;
    case CameraState::kBackingOff:
      return retry_at_us_;
    default:
      return kNever;
  }
}

}  // namespace sightline
