#include "evaluate/run_accuracy.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>

#include "evaluate/class_names.h"
#include "evaluate/crossing_accuracy.h"
#include "evaluate/run_results.h"

namespace sightline::evaluate {
namespace {

constexpr int32_t kNotJudged = -1;

// class_id by name; those that are not asked for are absent.
absl::StatusOr<std::map<std::string, int32_t>> JudgedClasses(const TruthSequence& truth,
                                                             const RunComparison& comparison) {
  std::map<std::string, int32_t> known;
  for (size_t i = 0; i < truth.classes.size(); ++i) {
    known.try_emplace(ClassKey(truth.classes[i]), static_cast<int32_t>(i));
  }
  if (comparison.classes.empty()) return known;
  std::map<std::string, int32_t> judged;
  for (const std::string& name : comparison.classes) {
    const auto found = known.find(ClassKey(name));
    if (found == known.end()) {
      return InvalidArgument("the truth knows no class \"{}\", but {}", name,
                             fmt::join(truth.classes, ", "));
    }
    judged.insert(*found);
  }
  return judged;
}

std::string ResultFile(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) return path;
  return (std::filesystem::path(path) / "detections.jsonl").string();
}

class Judge {
 public:
  Judge(const TruthSequence& truth, const RunComparison& comparison,
        std::map<std::string, int32_t> classes)
      : truth_(truth), comparison_(comparison), classes_(std::move(classes)) {
    judged_.resize(truth.classes.size());
    for (const auto& [name, class_id] : classes_) judged_[static_cast<size_t>(class_id)] = true;
  }

  absl::Status Take(const ResultFrame& frame) {
    SL_RETURN_IF_ERROR(CheckCamera(frame.camera));
    if (!ours_) return absl::OkStatus();
    if (frame.frame <= last_frame_) {
      return InvalidArgument(
          "frame {} after frame {}: the file holds more than one run; give one of a single run",
          frame.frame, last_frame_);
    }
    const int64_t true_frame = frame.frame + 1;
    SL_RETURN_IF_ERROR(SkipTo(std::min(true_frame, truth_.frames + 1)));
    last_frame_ = frame.frame;
    if (true_frame > truth_.frames) {
      ++outcome_.frames_beyond_truth;
      return absl::OkStatus();
    }
    SL_RETURN_IF_ERROR(JudgeFrame(true_frame, &frame));
    for (const ResultFrame::Crossing& crossing : frame.crossings) {
      found_rules_.insert(crossing.line);
      if (ClassOf(crossing.object_class) == kNotJudged) continue;
      found_crossings_.push_back({true_frame, crossing});
    }
    return absl::OkStatus();
  }

  absl::StatusOr<RunOutcome> Finish() {
    const int64_t last_judged = last_frame_ + 1;
    SL_RETURN_IF_ERROR(SkipTo(truth_.frames + 1));
    if (cameras_.empty()) return InvalidArgument("no frame in it");
    if (last_frame_ < 0) {
      return InvalidArgument("no frame of camera \"{}\", but of {}", comparison_.camera,
                             fmt::join(cameras_, ", "));
    }
    outcome_.camera = comparison_.camera.empty() ? *cameras_.begin() : comparison_.camera;
    outcome_.true_frames = truth_.frames;
    outcome_.classes = truth_.classes;
    outcome_.boxes = boxes_.Report();
    std::vector<MotReport> reports;
    for (const auto& [class_id, accuracy] : tracks_) {
      reports.push_back(accuracy->Report());
      outcome_.tracks.emplace_back(class_id, reports.back());
    }
    outcome_.all_tracks = Combine(reports);
    outcome_.all_tracks.frames = outcome_.judged_frames;
    SL_RETURN_IF_ERROR(CountCrossings(comparison_.all_frames ? truth_.frames : last_judged));
    return std::move(outcome_);
  }

 private:
  struct FoundCrossing {
    int64_t frame;
    ResultFrame::Crossing crossing;
  };

  // Sets ours_.
  absl::Status CheckCamera(const std::string& camera) {
    constexpr size_t kMostCameras = 1000;  // for the message; more are known by then to be too many
    if (cameras_.size() < kMostCameras) cameras_.insert(camera);
    ours_ = comparison_.camera.empty() || camera == comparison_.camera;
    if (comparison_.camera.empty() && cameras_.size() > 1) {
      return InvalidArgument("there are cameras {}; choose one with --camera",
                             fmt::join(cameras_, " and "));
    }
    return absl::OkStatus();
  }

  int32_t ClassOf(const std::string& name) const {
    const auto found = classes_.find(ClassKey(name));
    return found == classes_.end() ? kNotJudged : found->second;
  }

  // Frames of the truth before `frame` that the results do not have.
  absl::Status SkipTo(int64_t frame) {
    for (; next_true_frame_ < frame;) {
      if (comparison_.all_frames) {
        ++outcome_.frames_without_result;
        SL_RETURN_IF_ERROR(JudgeFrame(next_true_frame_, nullptr));
      } else {
        outcome_.frames_without_result += frame - next_true_frame_;
        next_true_frame_ = frame;
      }
    }
    while (next_object_ < truth_.objects.size() && truth_.objects[next_object_].frame < frame) {
      ++next_object_;
    }
    return absl::OkStatus();
  }

  // `frame`, the next one; without `found` nothing was.
  absl::Status JudgeFrame(int64_t frame, const ResultFrame* found) {
    true_boxes_.clear();
    found_boxes_.clear();
    for (auto& [class_id, lists] : track_lists_) lists = {};
    const bool scale = found != nullptr && truth_.width > 0 && truth_.height > 0 &&
                       found->width > 0 && found->height > 0;
    const double scale_x = scale ? static_cast<double>(found->width) / truth_.width : 1;
    const double scale_y = scale ? static_cast<double>(found->height) / truth_.height : 1;
    for (; next_object_ < truth_.objects.size() && truth_.objects[next_object_].frame <= frame;
         ++next_object_) {
      const TruthSequence::Object& object = truth_.objects[next_object_];
      if (object.frame < frame || !judged_[static_cast<size_t>(object.class_id)]) continue;
      const PlacedBox box{object.box_px.x * scale_x, object.box_px.y * scale_y,
                          object.box_px.width * scale_x, object.box_px.height * scale_y};
      const bool excused = object.excused || object.visibility < comparison_.least_visibility;
      TrueBox one{.box_px = box, .class_id = object.class_id};
      one.crowd = object.crowd;
      one.ignored = excused;
      true_boxes_.push_back(one);
      track_lists_[object.class_id].truth.push_back(
          {object.id, box, excused ? TruthRole::kExcuses : TruthRole::kCounts});
    }
    if (found != nullptr) TakeFound(*found);
    SL_RETURN_IF_ERROR(boxes_.AddPicture(true_boxes_, found_boxes_));
    for (const auto& [class_id, lists] : track_lists_) {
      auto& accuracy = tracks_[class_id];
      if (!accuracy) accuracy = std::make_unique<MotAccuracy>();
      SL_RETURN_IF_ERROR(accuracy->AddFrame(lists.truth, lists.found));
    }
    ++outcome_.judged_frames;
    next_true_frame_ = frame + 1;
    return absl::OkStatus();
  }

  void TakeFound(const ResultFrame& frame) {
    constexpr size_t kMostNames = 1000;  // of classes; hostile files have as many as lines
    for (const ResultFrame::Object& object : frame.objects) {
      const int32_t class_id = ClassOf(object.object_class);
      if (class_id == kNotJudged) {
        auto& strange = outcome_.strange_classes;
        if (strange.size() < kMostNames || strange.contains(object.object_class)) {
          ++strange[object.object_class];
        }
        continue;
      }
      found_boxes_.push_back(
          {.box_px = object.box_px, .class_id = class_id, .confidence = object.confidence});
      if (object.track_id == ResultFrame::kNoTrack) continue;
      outcome_.has_tracks = true;
      track_lists_[class_id].found.push_back({object.track_id, object.box_px});
    }
  }

  // The rule of the results that goes with a line of the truth; empty when none does.
  std::string RuleOf(const std::string& line) const {
    const auto named = comparison_.line_names.find(line);
    if (named != comparison_.line_names.end()) return named->second;
    if (found_rules_.contains(line)) return line;
    const bool only = truth_.lines.size() == 1 && found_rules_.size() == 1;
    return only ? *found_rules_.begin() : std::string();
  }

  absl::Status CountCrossings(int64_t last_frame) {
    for (const auto& [line, rule] : comparison_.line_names) {
      if (std::find(truth_.lines.begin(), truth_.lines.end(), line) != truth_.lines.end()) continue;
      return InvalidArgument(
          "nobody crosses a line \"{}\" in the truth, but {}", line,
          truth_.lines.empty() ? "none" : fmt::format("{}", fmt::join(truth_.lines, ", ")));
    }
    if (truth_.lines.empty()) return absl::OkStatus();
    if (truth_.frames_per_second <= 0) {
      return InvalidArgument(
          "the truth has crossings, but no seqinfo.ini with a frameRate to compare their times by");
    }
    outcome_.has_crossings = true;
    CrossingAccuracy accuracy;
    for (const TruthSequence::Crossing& crossing : truth_.crossings) {
      const int32_t class_id = ClassOf(crossing.object_class);
      if (class_id == kNotJudged || crossing.frame > last_frame) continue;
      accuracy.AddTrue(crossing.line, NameOf(class_id), crossing.forward, crossing.frame);
    }
    for (const std::string& line : truth_.lines) {
      const std::string rule = RuleOf(line);
      for (const FoundCrossing& found : found_crossings_) {
        if (rule.empty() || found.crossing.line != rule) continue;
        accuracy.AddFound(line, NameOf(ClassOf(found.crossing.object_class)),
                          found.crossing.forward, found.frame);
      }
    }
    const auto tolerance = static_cast<int64_t>(
        std::lround(comparison_.crossing_tolerance_s * truth_.frames_per_second));
    for (const auto& [key, count] : accuracy.Report(tolerance)) {
      outcome_.crossings.push_back({.line = key.first,
                                    .rule = RuleOf(key.first),
                                    .object_class = key.second,
                                    .truth = count.truth,
                                    .found = count.found,
                                    .invented = count.invented});
    }
    return absl::OkStatus();
  }

  const std::string& NameOf(int32_t class_id) const {
    return truth_.classes[static_cast<size_t>(class_id)];
  }

  const TruthSequence& truth_;
  const RunComparison& comparison_;
  const std::map<std::string, int32_t> classes_;
  std::vector<bool> judged_;  // by class_id
  std::set<std::string> cameras_;
  bool ours_ = false;
  int64_t last_frame_ = -1;  // of the results
  int64_t next_true_frame_ = 1;
  size_t next_object_ = 0;

  struct TrackLists {
    std::vector<TruthTrackBox> truth;
    std::vector<FoundTrackBox> found;
  };
  std::vector<TrueBox> true_boxes_;
  std::vector<FoundBox> found_boxes_;
  std::map<int32_t, TrackLists> track_lists_;

  DetectionAccuracy boxes_;
  std::map<int32_t, std::unique_ptr<MotAccuracy>> tracks_;
  std::set<std::string> found_rules_;
  std::vector<FoundCrossing> found_crossings_;
  RunOutcome outcome_;
};

}  // namespace

absl::StatusOr<RunOutcome> CompareRun(const TruthSequence& truth, const std::string& results,
                                      const RunComparison& comparison) {
  SL_ASSIGN_OR_RETURN(auto classes, JudgedClasses(truth, comparison));
  const std::string file = ResultFile(results);
  Judge judge(truth, comparison, std::move(classes));
  SL_RETURN_IF_ERROR(
      ForEachResultFrame(file, [&](const ResultFrame& frame) { return judge.Take(frame); }));
  absl::StatusOr<RunOutcome> outcome = judge.Finish();
  if (!outcome.ok()) return WithContext(outcome.status(), file);
  return outcome;
}

}  // namespace sightline::evaluate
