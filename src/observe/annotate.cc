#include "observe/annotate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

#include "base/allocation_scope.h"
#include "observe/annotate_details_internal.h"
#include "observe/canvas.h"

namespace sightline {
namespace {

constexpr Color kDark{22, 27, 34};
constexpr Color kWhite{255, 255, 255};
constexpr Color kLine{255, 196, 0};
constexpr Color kZone{0, 200, 170};
constexpr int kFont = cv::FONT_HERSHEY_SIMPLEX;
// Beyond this nothing is visible, and OpenCV's fixed point would overflow.
constexpr float kFarPx = 30'000;

// Sizes that suit a picture of this height.
struct Pen {
  explicit Pen(const BgrPicture& picture)
      : width_px(std::max(1, static_cast<int>(std::lround(picture.height / 360.0)))),
        font_scale(std::clamp(picture.height / 1300.0, 0.3, 3.0)),
        stroke_px(std::max(1, static_cast<int>(std::lround(font_scale * 1.6)))) {}
  int width_px;
  double font_scale;
  int stroke_px;
};

cv::Mat AsMat(const BgrPicture& picture) {
  return cv::Mat(picture.height, picture.width, CV_8UC3, picture.data,
                 static_cast<size_t>(picture.stride));
}

cv::Scalar ToScalar(Color color) { return {double(color.b), double(color.g), double(color.r)}; }

cv::Point ToPoint(PointF point) {
  const auto round = [](float v) {
    return static_cast<int>(std::lround(std::clamp(v, -kFarPx, kFarPx)));
  };
  return {round(point.x), round(point.y)};
}

bool IsDrawable(const Box& box) {
  return std::isfinite(box.x1) && std::isfinite(box.y1) && std::isfinite(box.x2) &&
         std::isfinite(box.y2);
}

// A label whose lower left corner is at `corner`, moved inside the picture where it would stick
// out.
void DrawLabel(cv::Mat& picture, const Pen& pen, const std::string& text, cv::Point corner,
               Color background, Color ink) {
  int below = 0;
  const cv::Size size = cv::getTextSize(text, kFont, pen.font_scale, pen.stroke_px, &below);
  const int pad = pen.stroke_px + 2;
  cv::Rect box(corner.x, corner.y - size.height - 2 * pad, size.width + 2 * pad,
               size.height + 2 * pad);
  box.x = std::clamp(box.x, 0, std::max(0, picture.cols - box.width));
  box.y = std::clamp(box.y, 0, std::max(0, picture.rows - box.height));
  cv::rectangle(picture, box, ToScalar(background), cv::FILLED);
  cv::putText(picture, text, {box.x + pad, box.y + box.height - pad}, kFont, pen.font_scale,
              ToScalar(ink), pen.stroke_px, cv::LINE_AA);
}

void DrawBox(cv::Mat& picture, const Pen& pen, const Box& box, Color color,
             const std::string& label, bool outline = true) {
  if (!IsDrawable(box)) return;
  const cv::Point a = ToPoint({box.x1, box.y1});
  const cv::Point b = ToPoint({box.x2, box.y2});
  if (outline) cv::rectangle(picture, a, b, ToScalar(color), pen.width_px);
  if (!label.empty()) DrawLabel(picture, pen, label, a, color, kWhite);
}

std::string NameOf(const LabelSet* labels, int32_t class_id) {
  return ToDrawable(labels == nullptr ? LabelSet().NameOf(class_id) : labels->NameOf(class_id));
}

// What further models said of an object, for its label: ", red 0.93".
std::string StageWords(const Detections& detections, size_t item) {
  std::string words;
  for (const StageResult& stage : detections.stages) {
    if (stage.item < 0 || static_cast<size_t>(stage.item) != item) continue;
    if (stage.result.classes.empty()) continue;
    const ClassScore& best = stage.result.classes.front();
    words += fmt::format(", {} {:.2f}", NameOf(stage.result.labels.get(), best.class_id),
                         best.confidence);
  }
  return words;
}

// And where in it they found something.
void DrawStages(const Detections& detections, const Pen& pen, cv::Mat& picture) {
  for (const StageResult& stage : detections.stages) {
    const Detections& found = stage.result;
    for (const Detection& detection : found.items) {
      const Color color = PaletteColor(detection.class_id + 1);
      const bool turned = DrawDetails(found, detection, color, pen.width_px, picture);
      DrawBox(picture, pen, detection.box_px, color, NameOf(found.labels.get(), detection.class_id),
              !turned);
    }
  }
}

// What was said of the whole picture, line by line from the top left.
void DrawPictureResults(const Detections& detections, const Pen& pen, cv::Mat& picture) {
  std::vector<std::string> lines;
  for (const ClassScore& score : detections.classes) {
    lines.push_back(fmt::format("{} {:.2f}", NameOf(detections.labels.get(), score.class_id),
                                score.confidence));
  }
  if (detections.anomaly.width > 0) {
    lines.push_back(fmt::format("anomaly {:.4g}", detections.anomaly.score));
  }
  int y = 0;
  for (const std::string& line : lines) {
    int below = 0;
    y += cv::getTextSize(line, kFont, pen.font_scale, pen.stroke_px, &below).height +
         2 * (pen.stroke_px + 2);
    DrawLabel(picture, pen, line, {0, y}, kDark, kWhite);
  }
}

}  // namespace

void AnnotateDetections(const Detections& detections, const BgrPicture& picture) {
  const LibraryAllocations inside_opencv;
  cv::Mat mat = AsMat(picture);
  const Pen pen(picture);
  DrawClassMap(detections.class_map, mat);
  DrawAnomaly(detections.anomaly, mat);
  // The surest last, so that they lie on top.
  for (size_t i = detections.items.size(); i-- > 0;) {
    const Detection& detection = detections.items[i];
    const Color color = PaletteColor(detection.class_id);
    const bool turned = DrawDetails(detections, detection, color, pen.width_px, mat);
    DrawBox(mat, pen, detection.box_px, color,
            fmt::format("{} {:.2f}{}", NameOf(detections.labels.get(), detection.class_id),
                        detection.confidence, StageWords(detections, i)),
            !turned);
  }
  DrawStages(detections, pen, mat);
  DrawPictureResults(detections, pen, mat);
}

Annotator::Annotator(std::vector<ReportRule> rules)
    : rules_(std::move(rules)), tallies_(rules_.size()) {}

void Annotator::SetRules(std::vector<ReportRule> rules) {
  tallies_ = CarriedOver(rules_, tallies_, rules);
  rules_ = std::move(rules);
}

void Annotator::Draw(const FrameResult& result, const BgrPicture& picture) {
  const LibraryAllocations inside_opencv;
  Count(result);
  FollowTails(result);
  if (picture.width <= 0 || picture.height <= 0) return;
  cv::Mat whole = AsMat(picture);
  DrawClassMap(result.detections.class_map, whole);
  DrawRules(result, picture);
  DrawTails(result, picture);
  DrawObjects(result, picture);
  DrawBanner(result, picture);
}

void Annotator::Count(const FrameResult& result) {
  for (const Event& event : result.events) {
    for (size_t i = 0; i < rules_.size(); ++i) {
      if (rules_[i].name != event.rule) continue;
      if (event.kind == EventKind::kZoneEnter) ++tallies_[i].entered;
      if (event.kind == EventKind::kZoneExit) ++tallies_[i].exited;
      if (event.kind != EventKind::kLineCross) break;
      ++(event.direction == CrossDirection::kForward ? tallies_[i].forward : tallies_[i].backward);
      break;
    }
  }
}

void Annotator::FollowTails(const FrameResult& result) {
  const uint64_t now = result.frame.meta.ordinal;
  if (tails_.size() > kMaxTails / 2) {
    std::erase_if(tails_, [&](const auto& tail) { return tail.second.last_ordinal + 50 < now; });
  }
  for (const TrackedObject& object : result.tracks.items) {
    if (object.state != TrackState::kConfirmed || !IsDrawable(object.box_px)) continue;
    auto found = tails_.find(object.track_id);
    if (found == tails_.end()) {
      if (tails_.size() >= kMaxTails) continue;
      found = tails_.emplace(object.track_id, Tail()).first;
    }
    Tail& tail = found->second;
    tail.points[tail.count++ % kTailPoints] = object.box_px.bottom_center();
    tail.last_ordinal = now;
  }
}

void Annotator::DrawRules(const FrameResult& result, const BgrPicture& picture) const {
  cv::Mat mat = AsMat(picture);
  const Pen pen(picture);
  for (size_t i = 0, zone = 0; i < rules_.size(); ++i) {
    const ReportRule& rule = rules_[i];
    std::vector<cv::Point> points;
    for (const PointF& point : rule.points_px) points.push_back(ToPoint(point));
    if (points.size() < 2) continue;
    if (rule.is_line) {
      cv::line(mat, points[0], points[1], ToScalar(kLine), pen.width_px + 1, cv::LINE_AA);
      DrawLabel(
          mat, pen,
          ToDrawable(fmt::format("{}: {} {}, {} {}", rule.name, tallies_[i].forward,
                                 rule.forward_name, tallies_[i].backward, rule.backward_name)),
          points[0], kLine, kDark);
      continue;
    }
    const size_t inside = zone++;
    cv::polylines(mat, points, true, ToScalar(kZone), pen.width_px, cv::LINE_AA);
    const auto top = std::min_element(points.begin(), points.end(),
                                      [](const auto& a, const auto& b) { return a.y < b.y; });
    const int32_t occupancy =
        inside < result.zone_occupancy.size() ? result.zone_occupancy[inside] : 0;
    DrawLabel(mat, pen,
              ToDrawable(fmt::format("{}: {} inside, {} entered", rule.name, occupancy,
                                     tallies_[i].entered)),
              *top, kZone, kDark);
  }
}

void Annotator::DrawTails(const FrameResult& result, const BgrPicture& picture) const {
  cv::Mat mat = AsMat(picture);
  const Pen pen(picture);
  for (const TrackedObject& object : result.tracks.items) {
    const auto found = tails_.find(object.track_id);
    if (found == tails_.end() || object.state != TrackState::kConfirmed) continue;
    const Tail& tail = found->second;
    const size_t first = tail.count > kTailPoints ? tail.count - kTailPoints : 0;
    for (size_t i = first + 1; i < tail.count; ++i) {
      cv::line(mat, ToPoint(tail.points[(i - 1) % kTailPoints]),
               ToPoint(tail.points[i % kTailPoints]), ToScalar(PaletteColor(object.track_id)),
               pen.width_px, cv::LINE_AA);
    }
  }
}

void Annotator::DrawObjects(const FrameResult& result, const BgrPicture& picture) const {
  cv::Mat mat = AsMat(picture);
  const Pen pen(picture);
  for (const TrackedObject& object : result.tracks.items) {
    if (object.state != TrackState::kConfirmed) continue;
    const Color color = PaletteColor(object.track_id);
    const bool seen = object.detection >= 0 &&
                      static_cast<size_t>(object.detection) < result.detections.items.size();
    const bool turned =
        seen && DrawDetails(result.detections,
                            result.detections.items[static_cast<size_t>(object.detection)], color,
                            pen.width_px, mat);
    DrawBox(mat, pen, object.box_px, color,
            fmt::format(
                "{} {}{}", NameOf(result.detections.labels.get(), object.class_id), object.track_id,
                seen ? StageWords(result.detections, static_cast<size_t>(object.detection)) : ""),
            !turned);
  }
  DrawStages(result.detections, pen, mat);
  DrawPictureResults(result.detections, pen, mat);
}

// How many are in view, at the top left.
void Annotator::DrawBanner(const FrameResult& result, const BgrPicture& picture) const {
  cv::Mat mat = AsMat(picture);
  const auto objects =
      std::count_if(result.tracks.items.begin(), result.tracks.items.end(),
                    [](const auto& object) { return object.state == TrackState::kConfirmed; });
  DrawLabel(mat, Pen(picture), fmt::format("{} in view", objects), {0, 0}, kDark, kWhite);
}

}  // namespace sightline
