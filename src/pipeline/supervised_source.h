// A camera that never ends by itself: connects, reads, notices that it has gone, and comes back.
//
// A FrameSource over connections that are made anew after every fault, as a Supervisor decides. Each
// connection's frames begin a new epoch; ordinals go on. Next() blocks while the camera is away and
// ends only with Cancel() (Cancelled), with a recording's end (nullopt), or with a fault that trying
// again cannot mend (a codec that nobody here decodes): then with that error.
//
// Stalls are found on the reading thread itself: a connection polls `give_up` whenever it waits, so
// that no second thread watches the first.
//
// Threads: one reads; Cancel(), RetryNow() and state() may be called from any. Memory: fixed beside
// the connection's own. Cost: one hash of every fourth row of a picture (a frozen picture is one
// that stays the same to the bit), 40 us at 1080p.
#pragma once

#include <atomic>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <string_view>

#include "base/mutex.h"
#include "base/time.h"
#include "pipeline/camera_metrics.h"
#include "pipeline/supervisor.h"
#include "types/frame_source.h"

namespace sightline {

struct ConnectRequest {
  // Asked at least ten times a second by connecting and by reading while they wait, on the thread
  // that called them; true ends them soon.
  std::function<bool()> give_up;
  // Of the camera's last frame so far: capture times rise over all its connections.
  int64_t last_capture_utc_us = std::numeric_limits<int64_t>::min();
};

// Opens one connection, which may block. Its epochs and ordinals begin at 0. Errors as FaultOf()
// reads them.
using ConnectSource =
    std::function<absl::StatusOr<std::unique_ptr<FrameSource>>(const ConnectRequest&)>;

// Where a camera's stream stands; one source after another may go on with it.
struct StreamPosition {
  uint32_t next_epoch = 0;
  uint64_t next_ordinal = 0;
  int64_t last_capture_utc_us = std::numeric_limits<int64_t>::min();
};

class SupervisedSource final : public FrameSource {
 public:
  struct Parts {
    std::shared_ptr<const CameraInfo> camera;
    FrameLedger* ledger = nullptr;  // which the connections count into; outlives the source
    ConnectSource connect;
    CameraMetrics* metrics = nullptr;  // for its state; as the ledger, but may be null
    SourceInfo info;                   // what is known before the first connection
    // Goes on from there, and says in it where it is; the reading thread's while there is one.
    std::shared_ptr<StreamPosition> position = std::make_shared<StreamPosition>();
    SupervisorOptions supervision;
    // Called on the reading thread at every change of state, but not for attempts that end as the one
    // before them did; may be empty.
    std::function<void(const CameraStateChange&)> on_change;
    const Clock* clock = &Clock::Real();
    // Waits for so long or until woken; empty: really. For tests, which make time pass themselves.
    std::function<void(int64_t wait_us)> wait;
  };
  explicit SupervisedSource(Parts parts);

  const SourceInfo& info() const override { return parts_.info; }
  absl::StatusOr<std::optional<Frame>> Next() override;
  void Cancel() override;

  // Before the first Next().
  void OnChange(std::function<void(const CameraStateChange&)> on_change) {
    parts_.on_change = std::move(on_change);
  }

  // Ends a wait for the next attempt.
  void RetryNow();
  CameraState state() const { return state_.load(std::memory_order_relaxed); }

 private:
  bool GiveUp();
  uint64_t Arrivals() const;
  Supervisor::Action Ask();
  void Tell();
  std::string_view ReasonFor(CameraState state) const;
  void Connect();
  void Disconnect();
  absl::StatusOr<std::optional<Frame>> Read();
  void Place(FrameMeta* frame);
  void Wait();

  Parts parts_;
  Supervisor supervisor_;
  std::unique_ptr<FrameSource> connection_;
  CameraState told_ = CameraState::kConnecting;
  std::string told_reason_;
  uint64_t told_attempts_ = 0;
  bool first_told_ = false;
  bool begun_ = false;
  uint64_t arrivals_ = 0;       // of the ledger, when it was last looked at
  uint32_t first_epoch_ = 0;    // of this connection
  uint64_t first_ordinal_ = 0;  // of this connection
  std::atomic<CameraState> state_{CameraState::kConnecting};
  std::atomic<bool> cancelled_{false};
  std::atomic<bool> retry_{false};
  Mutex
      mutex_;  // of wake_ alone: the flags are atomic, but set under it so that no wake-up is lost
  CondVar wake_;
};

}  // namespace sightline
