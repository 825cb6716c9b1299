#include "sim/sim_source.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <utility>

#include "base/object_pool.h"
#include "media/sources/frame_selector.h"
#include "sim/chance.h"
#include "sim/renderer.h"

namespace sightline::sim {
namespace {

// What waits in a socket's buffer for a reader that is late; chosen.
constexpr int64_t kBacklogUs = 1'000'000;

struct Picture {
  std::vector<uint8_t> bytes;
  Truth truth;
};

bool Breaks(const Fault& fault) {
  return fault.kind == FaultKind::kCut || fault.kind == FaultKind::kRefuse;
}

absl::Status ErrorOf(const Fault& fault) {
  const double at_s = static_cast<double>(fault.at_us) * 1e-6;
  if (fault.kind == FaultKind::kRefuse) {
    return Unauthenticated("the simulated camera refuses the password for now (refuse@{}s)", at_s);
  }
  return Unavailable("the simulated camera cannot be reached for now (cut@{}s)", at_s);
}

}  // namespace

class SimSource::Impl {
 public:
  Impl(const SourceOptions& options, FrameLedger& ledger, SimConnection connection)
      : camera_(std::move(connection.camera)),
        clock_(*connection.clock),
        give_up_(std::move(connection.give_up)),
        poll_us_(connection.poll_us),
        sleep_(std::move(connection.sleep)),
        sim_(camera_->options()),
        info_of_camera_(options.camera),
        ledger_(ledger),
        selector_(options.selection) {
    const bool configured = options.start_utc_us || sim_.start_utc_us;
    info_.container = "sim";
    info_.codec = sim_.render ? "raw" : "none";
    info_.width = sim_.width;
    info_.height = sim_.height;
    info_.fps = sim_.fps;
    info_.duration_us = sim_.duration_us;
    info_.frames_estimate = sim_.duration_us > 0 ? sim_.FrameAtOrAfter(sim_.duration_us) : 0;
    info_.live = sim_.paced;
    info_.clock = configured   ? ClockSource::kConfigured
                  : sim_.paced ? ClockSource::kSender
                               : ClockSource::kEpoch;
    if (!sim_.paced) info_.fingerprint = HashOf(sim_);
    if (sim_.paced) birth_ = camera_->BirthBy(clock_);
    start_utc_us_ =
        options.start_utc_us ? *options.start_utc_us : sim_.start_utc_us.value_or(birth_.utc_us);
  }

  absl::Status Connect() {
    position_us_ = LifeUs();
    if (IsOver(position_us_)) return Over();
    if (const Fault* fault = BreakWithin(position_us_, position_us_)) {
      if (!sim_.paced) camera_->Advance(fault->end_us());
      return ErrorOf(*fault);
    }
    next_frame_ = sim_.FrameAtOrAfter(position_us_);
    epoch_start_us_ = -1;
    if (sim_.render) RendererFor(SizeAt(position_us_));
    return absl::OkStatus();
  }

  absl::StatusOr<std::optional<Frame>> Next() {
    for (;;) {
      if (cancelled_.load(std::memory_order_relaxed))
        return Cancelled("the simulated camera: cancelled");
      next_frame_ = NextSent(next_frame_);
      const int64_t time_us = sim_.FrameTimeUs(next_frame_);
      if (const Fault* fault = BreakWithin(position_us_, EndOr(time_us))) {
        SL_RETURN_IF_ERROR(WaitFor(std::max(fault->at_us, position_us_)));
        if (!sim_.paced) camera_->Advance(fault->end_us());
        return ErrorOf(*fault);
      }
      if (IsOver(time_us)) {
        SL_RETURN_IF_ERROR(WaitFor(sim_.duration_us));
        return std::optional<Frame>();
      }
      SL_RETURN_IF_ERROR(WaitFor(time_us));
      ++next_frame_;
      position_us_ = time_us;
      // Just behind the frame, so that the next connection begins with the one after it.
      if (!sim_.paced) camera_->Advance(time_us + 1);
      const FrameTime time = TimeOf(time_us);
      const uint64_t ordinal = ordinal_++;
      ledger_.CountIn();
      if (const std::optional<SkipReason> reason = selector_.Consider(ordinal, time)) {
        ledger_.CountSkipped(*reason);
      } else if (Find(FaultKind::kGarbage, time_us) != nullptr) {
        ledger_.CountDropped(DropReason::kDecodeError);
      } else if (sim_.paced && LifeUs() - time_us > kBacklogUs) {
        ledger_.CountDropped(DropReason::kLate);
      } else {
        return std::optional<Frame>(MakeFrame(time_us, time, ordinal));
      }
    }
  }

  void Cancel() {
    const MutexLock lock(mutex_);
    cancelled_.store(true, std::memory_order_relaxed);
    wake_.NotifyAll();
  }
  const SourceInfo& info() const { return info_; }

 private:
  struct Size {
    int width;
    int height;
    bool operator==(const Size&) const = default;
  };

  int64_t LifeUs() const {
    return sim_.paced ? std::max<int64_t>(clock_.NowMonotonicUs() - birth_.monotonic_us, 0)
                      : camera_->position_us();
  }
  bool IsOver(int64_t time_us) const { return sim_.duration_us > 0 && time_us >= sim_.duration_us; }
  int64_t EndOr(int64_t time_us) const { return IsOver(time_us) ? sim_.duration_us - 1 : time_us; }
  absl::Status Over() const {
    return Unavailable("the simulated camera was switched off after its duration of {} s",
                       static_cast<double>(sim_.duration_us) * 1e-6);
  }

  // The fault of that kind that covers the time, the latest if there are several.
  const Fault* Find(FaultKind kind, int64_t time_us) const {
    const Fault* found = nullptr;
    for (const Fault& fault : sim_.faults) {
      if (fault.at_us > time_us) break;
      if (fault.kind == kind && fault.Covers(time_us)) found = &fault;
    }
    return found;
  }

  // The first cut or refusal of which something lies within [from, to].
  const Fault* BreakWithin(int64_t from_us, int64_t to_us) const {
    for (const Fault& fault : sim_.faults) {
      if (fault.at_us > to_us) break;
      if (Breaks(fault) && fault.end_us() > from_us && fault.for_us > 0) return &fault;
    }
    return nullptr;
  }

  // The first frame from `frame` on that the camera sends.
  int64_t NextSent(int64_t frame) const {
    for (;;) {
      const int64_t time_us = sim_.FrameTimeUs(frame);
      if (IsOver(time_us)) return frame;
      if (const Fault* stall = Find(FaultKind::kStall, time_us)) {
        frame = std::max(frame + 1, sim_.FrameAtOrAfter(stall->end_us()));
        continue;
      }
      const Fault* slow = Find(FaultKind::kSlow, time_us);
      if (slow == nullptr) return frame;
      const double part = slow->factor;
      if (Floor(part * static_cast<double>(frame)) !=
          Floor(part * static_cast<double>(frame - 1))) {
        return frame;
      }
      ++frame;
    }
  }

  absl::Status WaitFor(int64_t life_us) {
    if (!sim_.paced) return absl::OkStatus();
    for (;;) {
      if (cancelled_.load(std::memory_order_relaxed))
        return Cancelled("the simulated camera: cancelled");
      const int64_t left_us = life_us - LifeUs();
      if (left_us <= 0) return absl::OkStatus();
      if (give_up_ && give_up_()) {
        return Unavailable("nothing came from the simulated camera; given up");
      }
      const int64_t wait_us = std::min(left_us, poll_us_);
      if (sleep_) {
        sleep_(wait_us);
        continue;
      }
      const MutexLock lock(mutex_);
      if (cancelled_.load(std::memory_order_relaxed)) continue;
      wake_.WaitFor(mutex_, std::chrono::microseconds(wait_us));
    }
  }

  FrameTime TimeOf(int64_t time_us) {
    if (epoch_start_us_ < 0) {
      epoch_start_us_ = last_time_us_ = time_us;
    }
    int64_t steps_us = 0;
    for (const Fault& fault : sim_.faults) {
      if (fault.at_us > time_us) break;
      if (fault.kind == FaultKind::kClockStep) steps_us += fault.step_us;
      if (fault.kind == FaultKind::kWrap && fault.at_us > last_time_us_) {
        ++epoch_;
        epoch_start_us_ = time_us;
      }
    }
    last_time_us_ = time_us;
    return {.pts_us = time_us - epoch_start_us_,
            .epoch = epoch_,
            .capture_utc_us = start_utc_us_ + time_us + steps_us,
            .clock = info_.clock};
  }

  Size SizeAt(int64_t time_us) const {
    const Fault* fault = Find(FaultKind::kResize, time_us);
    return fault == nullptr ? Size{sim_.width, sim_.height} : Size{fault->width, fault->height};
  }

  Renderer& RendererFor(Size size) {
    if (renderer_ == nullptr || !(size == renderer_size_)) {
      renderer_ = nullptr;  // one at a time: they are large
      renderer_ = std::make_unique<Renderer>(sim_, size.width, size.height, sim_.render,
                                             camera_->FindBackdrop(size.width, size.height));
      if (sim_.render) camera_->KeepBackdrop(size.width, size.height, renderer_->backdrop());
      renderer_size_ = size;
    }
    return *renderer_;
  }

  // Of a frozen camera: the moment of its last picture.
  int64_t SeenAt(int64_t time_us) const {
    const Fault* freeze = Find(FaultKind::kFreeze, time_us);
    if (freeze == nullptr) return time_us;
    return sim_.FrameTimeUs(std::max<int64_t>(sim_.FrameAtOrAfter(freeze->at_us) - 1, 0));
  }

  Frame MakeFrame(int64_t time_us, const FrameTime& time, uint64_t ordinal) {
    const Size size = SizeAt(time_us);
    std::shared_ptr<Picture> picture = pool_.Acquire();
    Frame frame;
    frame.meta = {.camera = info_of_camera_,
                  .ordinal = ordinal,
                  .time = time,
                  .width = size.width,
                  .height = size.height};
    Canvas canvas{.width = size.width, .height = size.height};
    if (sim_.render) LayOut(size, picture.get(), &canvas, &frame.image);
    RendererFor(size).Draw(SeenAt(time_us), sim_.render ? &canvas : nullptr, &picture->truth);
    frame.truth = std::shared_ptr<const Truth>(picture, &picture->truth);
    if (sim_.render) frame.pixels = std::move(picture);
    return frame;
  }

  static void LayOut(Size size, Picture* picture, Canvas* canvas, ImageView* image) {
    constexpr int kAlignment = 64;
    std::array<size_t, 3> offsets{};
    size_t bytes = 0;
    for (size_t p = 0; p < 3; ++p) {
      const int row = PlaneRowBytes(PixelFormat::kI420, static_cast<int>(p), size.width);
      const int stride = (row + kAlignment - 1) / kAlignment * kAlignment;
      canvas->strides[p] = stride;
      offsets[p] = bytes;
      bytes += static_cast<size_t>(stride) *
               static_cast<size_t>(PlaneRows(PixelFormat::kI420, static_cast<int>(p), size.height));
    }
    picture->bytes.resize(bytes);
    for (size_t p = 0; p < 3; ++p) canvas->planes[p] = picture->bytes.data() + offsets[p];
    *image = {.format = PixelFormat::kI420,
              .matrix = ColorMatrix::kBt601,
              .range = ColorRange::kLimited,
              .width = size.width,
              .height = size.height,
              .planes = {canvas->planes[0], canvas->planes[1], canvas->planes[2]},
              .strides = canvas->strides};
  }

  const std::shared_ptr<SimCamera> camera_;
  const Clock& clock_;
  const std::function<bool()> give_up_;
  const int64_t poll_us_;
  const std::function<void(int64_t)> sleep_;
  const SimOptions& sim_;  // of camera_
  const std::shared_ptr<const CameraInfo> info_of_camera_;
  FrameLedger& ledger_;
  FrameSelector selector_;
  SourceInfo info_;
  SimCamera::Birth birth_;
  int64_t start_utc_us_ = 0;

  int64_t position_us_ = 0;  // of the camera's life: the connection's or the last frame's
  int64_t next_frame_ = 0;
  uint64_t ordinal_ = 0;
  uint32_t epoch_ = 0;
  int64_t epoch_start_us_ = -1;
  int64_t last_time_us_ = 0;

  ObjectPool<Picture> pool_;
  std::unique_ptr<Renderer> renderer_;
  Size renderer_size_{0, 0};

  std::atomic<bool> cancelled_{false};
  Mutex mutex_;
  CondVar wake_;
};

SimSource::SimSource(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SimSource::~SimSource() = default;

absl::StatusOr<std::unique_ptr<SimSource>> SimSource::Create(const SourceOptions& options,
                                                             FrameLedger& ledger,
                                                             SimConnection connection) {
  if (connection.camera == nullptr) {
    SL_ASSIGN_OR_RETURN(SimOptions sim, ParseSimUrl(options.url));
    connection.camera = std::make_shared<SimCamera>(std::move(sim));
  }
  auto impl = std::make_unique<Impl>(options, ledger, std::move(connection));
  SL_RETURN_IF_ERROR(impl->Connect());
  return std::unique_ptr<SimSource>(new SimSource(std::move(impl)));
}

const SourceInfo& SimSource::info() const { return impl_->info(); }
absl::StatusOr<std::optional<Frame>> SimSource::Next() { return impl_->Next(); }
void SimSource::Cancel() { impl_->Cancel(); }

}  // namespace sightline::sim
