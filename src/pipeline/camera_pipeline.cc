#include "pipeline/camera_pipeline.h"

#include <pthread.h>

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include "base/log.h"

namespace sightline {

CameraPipeline::CameraPipeline(CameraParts parts)
    : parts_(std::move(parts)), window_(parts_.frames_in_flight) {
  keep_pixels_ = std::any_of(parts_.lanes.begin(), parts_.lanes.end(),
                             [](const DeliverLane* lane) { return lane->wants_pixels(); });
}

// The whole way of a frame. The reader thread does steps 1 to 3, the model's threads 4 to 6 (see
// DetectorRunner), this one 7 to 10; the window between them keeps the camera's order.
absl::Status CameraPipeline::Run() {
  absl::Status source_status;
  std::thread reader([&] {
    while (!stopping_) {
      // 1. media: demux, select, decode. Frames left out or damaged are counted there.
      absl::StatusOr<std::optional<Frame>> next = parts_.source->Next();
      if (!next.ok()) source_status = next.status();
      if (!next.ok() || !next->has_value()) break;
      Frame& frame = **next;
      // 2. vision: is there anything new in it?
      if (!IsWorthIt(frame)) continue;
      // 3. Take a place in the order (waits while too many are in flight) and join the model's queue:
      //    4. preprocess, 5. infer, 6. postprocess happen on the model's threads.
      FrameSlot* slot = window_.Reserve();
      slot->source = parts_.camera->index;
      slot->frame = std::move(frame);
      if (const absl::Status status = parts_.batcher->Submit(slot); !status.ok()) {
        slot->failure = DropReason::kShutdown;
        slot->Done(status);
      }
    }
    window_.Close();
  });
  pthread_setname_np(reader.native_handle(), ("read-" + parts_.camera->id).substr(0, 15).c_str());

  while (FrameSlot* slot = window_.NextInOrder()) {
    std::shared_ptr<FrameResult> result = results_.Acquire();
    // 7. track: boxes become objects; 8. events: objects meet zones and lines.
    // A tombstone only ages the tracks.
    const bool alive = TrackAndWatch(slot, result.get());
    window_.Release(slot);
    if (!alive) continue;
    // 9. ids, 10. deliver: rows, lines, pictures.
    Deliver(std::move(result));
    parts_.ledger->CountProcessed();
  }
  reader.join();
  FinishTracks();
  return source_status;
}

bool CameraPipeline::IsWorthIt(const Frame& frame) {
  last_pts_us_.store(frame.meta.time.pts_us, std::memory_order_relaxed);
  if (!parts_.motion) return true;
  return true;
}

}  // namespace sightline
