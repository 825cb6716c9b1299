// What a report is made of, gathered frame by frame in bounded memory, for one camera.
//
// However long the video, this holds at most kMaxBuckets time buckets of kMaxClasses classes (when
// the video outgrows them the buckets become twice as wide), a heat map grid of kGridCells cells on
// its longer side, kMaxTrails trails of kMaxTrailPoints points, and one picture: some 10 MB.
//
// Objects are confirmed tracks seen in a frame; time is capture time since the first frame, so that
// a report over a discontinuity of the stream keeps its order.
// Threads: one at a time. Cost: about 30 ns per object and frame; a picture is copied only when a
// frame is a better one to show than all before.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "types/result_sink.h"

namespace sightline {

// A zone or a line as the pictures show it, in px of the source.
struct ReportRule {
  std::string name;
  std::vector<PointF> points_px;  // the zone's corners, or the line's two ends
  bool is_line = false;
  std::string forward_name = "in";  // lines
  std::string backward_name = "out";
};

// The rules in a picture of that size, each kind in the order of the configuration. Empty: none.
// Asked for with a camera's first frame: a live camera's size is not known earlier.
using RulesForSize = std::function<std::vector<ReportRule>(int width, int height)>;

struct RuleTally {
  uint64_t forward = 0;   // lines
  uint64_t backward = 0;  // lines
  uint64_t entered = 0;   // zones
  uint64_t exited = 0;    // zones
  int64_t dwell_us = 0;   // sum over the exits
  int32_t peak = 0;       // most objects inside at once
};

// The tallies of other rules: one that stays the same keeps its own.
std::vector<RuleTally> CarriedOver(const std::vector<ReportRule>& before,
                                   const std::vector<RuleTally>& tallies,
                                   const std::vector<ReportRule>& after);

struct Trail {
  int64_t track_id = 0;
  int32_t class_id = 0;
  float length_px = 0;            // of the way, not of what the points show
  std::vector<PointF> points_px;  // anchors, bottom center
  uint32_t stride = 1;            // every stride-th sighting is kept
  uint32_t sightings = 0;
  PointF last_px;
};

// Objects per class over time: sums over the frames of a bucket.
class CountsOverTime {
 public:
  static constexpr size_t kMaxBuckets = 512;
  static constexpr int64_t kFirstBucketUs = 250'000;

  // `counts[class]` objects at `time_us` >= 0.
  void Add(int64_t time_us, const std::vector<uint32_t>& counts);

  int64_t bucket_us() const { return bucket_us_; }
  size_t buckets() const { return frames_.size(); }
  uint32_t frames(size_t bucket) const { return frames_[bucket]; }
  // Mean objects of a class in the frames of a bucket; 0 for buckets without frames.
  double Mean(size_t bucket, size_t class_index) const;

 private:
  void DoubleWidth();
  int64_t bucket_us_ = kFirstBucketUs;
  std::vector<uint32_t> frames_;
  std::vector<std::vector<uint64_t>> sums_;  // [class][bucket]
};

class ReportData {
 public:
  static constexpr size_t kMaxClasses = 64;  // further ones are counted together
  static constexpr int kGridCells = 160;
  static constexpr size_t kMaxTrails = 400;
  static constexpr size_t kMaxTrailPoints = 64;

  explicit ReportData(std::vector<ReportRule> rules);

  // From the next result on.
  void SetRules(std::vector<ReportRule> rules);

  void Add(const FrameResult& result);
  void AddTrack(const TrackSummary& track);
  void SetLedger(const FrameCounts& counts);

  // True when the last Add()'s frame is better to show than the one kept: more objects, or the
  // first.
  bool WantsPicture() const { return wants_picture_; }
  // Takes a picture of the last Add()'s frame, of any size: packed BGR, width * height * 3 bytes.
  void KeepPicture(std::vector<uint8_t> bgr, int width, int height);

  struct Picture {
    std::vector<uint8_t> bgr;
    int width = 0;
    int height = 0;
    int64_t time_us = 0;   // since the first frame
    int frame_width = 0;   // px of the frame, in which the objects' boxes are
    int frame_height = 0;  // px
    std::vector<TrackedObject> objects;
  };
  const Picture& picture() const { return picture_; }

  const std::vector<ReportRule>& rules() const { return rules_; }
  const std::vector<RuleTally>& tallies() const { return tallies_; }  // in the order of the rules
  const CountsOverTime& over_time() const { return over_time_; }
  // Class ids by their index in over_time() and tracks_per_class().
  const std::vector<int32_t>& class_ids() const { return class_ids_; }
  std::string ClassName(size_t class_index) const;
  std::string NameOf(int32_t class_id) const;
  const std::vector<uint64_t>& tracks_per_class() const { return tracks_per_class_; }
  // The trails of all that were kept, longest first.
  std::vector<const Trail*> LongestTrails(size_t limit) const;
  // Sightings per cell, grid_width() x grid_height(), row by row.
  const std::vector<uint32_t>& grid() const { return grid_; }
  int grid_width() const { return grid_width_; }
  int grid_height() const { return grid_height_; }

  int width() const { return width_; }    // px of the first frame
  int height() const { return height_; }  // px
  uint64_t frames() const { return frames_; }
  uint64_t tracks() const { return tracks_; }
  uint64_t detections() const { return detections_; }
  uint64_t events() const { return events_; }
  uint32_t peak_objects() const { return peak_objects_; }
  int64_t peak_time_us() const { return peak_time_us_; }
  // From the first frame to the last, and as long as a frame lasts on average.
  int64_t duration_us() const {
    const auto n = static_cast<int64_t>(frames_);
    return n < 2 ? last_time_us_ : last_time_us_ + last_time_us_ / (n - 1);
  }
  int64_t first_utc_us() const { return first_utc_us_; }
  ClockSource clock() const { return clock_; }
  const FrameCounts& ledger() const { return ledger_; }
  bool has_ledger() const { return has_ledger_; }

 private:
  size_t ClassIndex(int32_t class_id);
  void AddSighting(const TrackedObject& object, const FrameMeta& meta);
  Trail* TrailOf(const TrackedObject& object);
  void AddEvent(const Event& event);

  std::vector<ReportRule> rules_;
  std::vector<RuleTally> tallies_;
  std::shared_ptr<const LabelSet> labels_;
  std::vector<int32_t> class_ids_;  // kMaxClasses: the last stands for all others
  std::vector<uint64_t> tracks_per_class_;
  std::vector<uint32_t> counts_;  // scratch, by class index
  CountsOverTime over_time_;
  std::vector<uint32_t> grid_;
  int grid_width_ = 0;
  int grid_height_ = 0;
  std::unordered_map<int64_t, size_t> trail_of_track_;
  std::vector<Trail> trails_;
  Picture picture_;
  bool wants_picture_ = false;
  int64_t picture_score_ = -1;
  int64_t candidate_score_ = 0;
  std::vector<TrackedObject> candidate_objects_;
  int64_t candidate_time_us_ = 0;
  int candidate_width_ = 0;
  int candidate_height_ = 0;
  int width_ = 0;
  int height_ = 0;
  uint64_t frames_ = 0;
  uint64_t tracks_ = 0;
  uint64_t detections_ = 0;
  uint64_t events_ = 0;
  uint32_t peak_objects_ = 0;
  int64_t peak_time_us_ = 0;
  int64_t last_time_us_ = 0;
  int64_t first_utc_us_ = 0;
  ClockSource clock_ = ClockSource::kEpoch;
  FrameCounts ledger_;
  bool has_ledger_ = false;
};

}  // namespace sightline
