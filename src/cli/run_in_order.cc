#include "cli/run_in_order.h"

#include <atomic>
#include <memory>
#include <thread>
#include <utility>

#include "base/thread.h"
#include "pipeline/reorder_window.h"

namespace sightline::cli {

absl::Status RunInOrder(
    const StartedModel& model, size_t count, const std::string& camera,
    const std::function<absl::StatusOr<Frame>(size_t)>& read,
    const std::function<absl::Status(size_t, const Frame&, Detections&&)>& take) {
  ReorderWindow window(static_cast<size_t>(model.in_flight));
  absl::Status read_status;
  std::atomic<bool> stop{false};
  const auto of = std::make_shared<const CameraInfo>(CameraInfo{.id = camera, .source = camera});
  const auto read_all = [&] {
    for (size_t i = 0; i < count && !stop; ++i) {
      absl::StatusOr<Frame> frame = read(i);
      if (!frame.ok()) {
        read_status = frame.status();
        break;
      }
      FrameSlot* const slot = window.Reserve();
      slot->frame = *std::move(frame);
      slot->frame.meta.camera = of;
      slot->frame.meta.ordinal = i;
      if (const absl::Status status = model.batcher->Submit(slot); !status.ok()) slot->Done(status);
    }
    window.Close();
  };
  SL_ASSIGN_OR_RETURN(std::thread reader, StartThread("read", read_all));
  absl::Status first;
  size_t next = 0;
  while (FrameSlot* const slot = window.NextInOrder()) {
    if (first.ok()) first = slot->status;
    if (first.ok()) first = take(next, slot->frame, std::move(slot->detections));
    if (!first.ok()) stop = true;
    ++next;
    window.Release(slot);
  }
  reader.join();
  return first.ok() ? read_status : first;
}

}  // namespace sightline::cli
