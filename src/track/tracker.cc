#include "track/tracker.h"

#include <cmath>
#include <string_view>

#include "track/bytetrack.h"

namespace sightline {
namespace {

absl::Status CheckRange(std::string_view name, double value, double low, double high) {
  if (value >= low && value <= high) return absl::OkStatus();  // false for NaN
  return InvalidArgument("tracker: {} is {}, must lie in {} to {}", name, value, low, high);
}

absl::Status CheckOptions(const TrackerOptions& o) {
  SL_RETURN_IF_ERROR(CheckRange("track_threshold", o.track_threshold, 0, 1));
  SL_RETURN_IF_ERROR(CheckRange("low_threshold", o.low_threshold, 0, 1));
  SL_RETURN_IF_ERROR(CheckRange("match_threshold", o.match_threshold, 0, 1));
  SL_RETURN_IF_ERROR(CheckRange("low_match_threshold", o.low_match_threshold, 0, 1));
  SL_RETURN_IF_ERROR(CheckRange("tentative_match_threshold", o.tentative_match_threshold, 0, 1));
  SL_RETURN_IF_ERROR(CheckRange("track_buffer", o.track_buffer, 0, 1e6));
  // 1e13 us is some hundred days.
  SL_RETURN_IF_ERROR(CheckRange("max_lost_us", static_cast<double>(o.max_lost_us), 0, 1e13));
  SL_RETURN_IF_ERROR(CheckRange("frame_rate", o.frame_rate, 0, 1e4));
  SL_RETURN_IF_ERROR(CheckRange("confirm_hits", o.confirm_hits, 1, 1e6));
  SL_RETURN_IF_ERROR(CheckRange("max_detections", o.max_detections, 1, 1e5));
  SL_RETURN_IF_ERROR(CheckRange("max_tracks", o.max_tracks, 1, 1e6));
  if (std::isnan(o.new_track_threshold) || o.new_track_threshold > 1) {
    return InvalidArgument("tracker: new_track_threshold is {}, must be at most 1",
                           o.new_track_threshold);
  }
  if (o.reference_quirks && o.frame_rate <= 0) {
    return InvalidArgument(
        "tracker: the reference counts its buffer in frames and needs a frame_rate above 0");
  }
  return absl::OkStatus();
}

// Objects keep no identity: there are detections, and that is all.
class NoTracker final : public Tracker {
 public:
  absl::Status Update(const Detections& detections, Tracks* tracks) override {
    tracks->frame = detections.frame;
    tracks->items.clear();
    ++stats_.updates;
    return absl::OkStatus();
  }
  void Finish() override {}
  void TakeFinished(std::vector<TrackSummary>* finished) override {}
  const TrackerStats& stats() const override { return stats_; }

 private:
  TrackerStats stats_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Tracker>> MakeTracker(const TrackerOptions& options) {
  SL_RETURN_IF_ERROR(CheckOptions(options));
  switch (options.kind) {
    case TrackerOptions::Kind::kByteTrack:
      return std::unique_ptr<Tracker>(std::make_unique<ByteTracker>(options));
    case TrackerOptions::Kind::kNone:
      return std::unique_ptr<Tracker>(std::make_unique<NoTracker>());
  }
  return InvalidArgument("tracker: unknown kind {}", static_cast<int>(options.kind));
}

}  // namespace sightline
