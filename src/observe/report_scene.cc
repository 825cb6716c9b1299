#include "observe/report_scene.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

#include "observe/report_chart.h"
#include "observe/report_style.h"

namespace sightline {

using namespace report_style;  // NOLINT: the look, used throughout

namespace {

constexpr size_t kTrailsDrawn = 80;   // more hide the picture
constexpr size_t kNamedObjects = 14;  // with more in the picture, labels are numbers only
constexpr float kCaptionHeight = 34;

// A card with a heading, and in its rest the largest picture of the video's shape.
struct Scene {
  Area picture;
  float scale = 1;  // logical px per px of the source
  PointF At(PointF source_px) const {
    return {picture.x + source_px.x * scale, picture.y + source_px.y * scale};
  }
};

Scene DrawCard(Canvas& canvas, const Area& area, const ReportData& data, const char* heading,
               const std::string& note) {
  canvas.Card(area, 8, kCard, kBorder);
  const float baseline = area.y + 22;
  canvas.Text({area.x + kPadding, baseline}, heading, kHeading);
  const float left = area.x + kPadding + Canvas::TextWidth(heading, kHeading) + 20;
  const float room = area.right() - kPadding - left;
  canvas.Text({area.right() - kPadding, baseline}, Canvas::Elide(note, kSmall, room),
              Aligned(kSmall, Align::kRight));
  const Area inside{area.x + 8, area.y + kCaptionHeight, area.width - 16,
                    area.height - kCaptionHeight - 8};
  canvas.FillRect(inside, kGrid);
  const auto width = static_cast<float>(std::max(1, data.width()));
  const auto height = static_cast<float>(std::max(1, data.height()));
  Scene scene;
  scene.scale = std::min(inside.width / width, inside.height / height);
  scene.picture = {inside.x + (inside.width - width * scene.scale) / 2,
                   inside.y + (inside.height - height * scene.scale) / 2, width * scene.scale,
                   height * scene.scale};
  return scene;
}

void DrawFrame(Canvas& canvas, const Scene& scene, const ReportData& data, double gray,
               double brightness) {
  const ReportData::Picture& picture = data.picture();
  if (picture.bgr.empty()) {
    canvas.FillRect(scene.picture, {48, 56, 66});
    canvas.Text(
        {scene.picture.x + scene.picture.width / 2, scene.picture.y + scene.picture.height / 2},
        "no picture", Aligned(Colored(kSubtitle, {150, 160, 170}), Align::kCenter));
    return;
  }
  cv::Mat shown =
      cv::Mat(picture.height, picture.width, CV_8UC3, const_cast<uint8_t*>(picture.bgr.data()))
          .clone();
  if (gray > 0) {
    cv::Mat mono;
    cv::cvtColor(shown, mono, cv::COLOR_BGR2GRAY);
    cv::cvtColor(mono, mono, cv::COLOR_GRAY2BGR);
    cv::addWeighted(mono, gray, shown, 1 - gray, 0, shown);
  }
  shown.convertTo(shown, -1, brightness);
  canvas.Picture(scene.picture, shown.data, shown.cols, shown.rows);
}

// Labels come last, over all lines. Those that would cover each other, or stick out, move; those
// that find no place are left out.
class LabelPlacer {
 public:
  LabelPlacer(Canvas& canvas, const Area& bounds) : canvas_(canvas), bounds_(bounds) {}

  void Place(std::string_view text, PointF at, Color background, Color ink, float size_px = 8) {
    const TextStyle style{.size_px = size_px, .color = ink};
    const std::string shown = Canvas::Elide(text, style, bounds_.width - 16);
    const float width = Canvas::TextWidth(shown, style) + 8;
    const float height = size_px + 8;
    const PointF offsets[] = {
        {0, -height},        {0, 0}, {-width, -height}, {-width, 0}, {-width / 2, -2 * height},
        {-width / 2, height}};
    for (const PointF& offset : offsets) {
      Area area{at.x + offset.x, at.y + offset.y, width, height};
      area.x = std::clamp(area.x, bounds_.x, std::max(bounds_.x, bounds_.right() - width));
      area.y = std::clamp(area.y, bounds_.y, std::max(bounds_.y, bounds_.bottom() - height));
      if (std::any_of(taken_.begin(), taken_.end(),
                      [&](const Area& other) { return other.Overlaps(area); })) {
        continue;
      }
      taken_.push_back(area);
      canvas_.FillRect(area, background, 0.85f);
      canvas_.Text({area.x + 4, area.bottom() - 4}, shown, style);
      return;
    }
  }

 private:
  Canvas& canvas_;
  Area bounds_;
  std::vector<Area> taken_;
};

void DrawRules(Canvas& canvas, const Scene& scene, const ReportData& data) {
  for (const ReportRule& rule : data.rules()) {
    std::vector<PointF> points;
    for (const PointF& point : rule.points_px) points.push_back(scene.At(point));
    if (points.size() < 2) continue;
    if (!rule.is_line) {
      canvas.FillPolygon(points, kZone, 0.16f);
      canvas.Polyline(points, kZone, 1.8f, true);
      continue;
    }
    canvas.Line(points[0], points[1], kDark, 4.5f);
    canvas.Line(points[0], points[1], kLine, 2.8f);
    // Forward: from the left side to the right, seen from the first point with y down.
    const PointF middle{(points[0].x + points[1].x) / 2, (points[0].y + points[1].y) / 2};
    const float length =
        std::max(1e-3f, std::hypot(points[1].x - points[0].x, points[1].y - points[0].y));
    const PointF right{-(points[1].y - points[0].y) / length, (points[1].x - points[0].x) / length};
    canvas.Arrow({middle.x - right.x * 14, middle.y - right.y * 14},
                 {middle.x + right.x * 14, middle.y + right.y * 14}, kLine, 2);
  }
}

void LabelRules(const Scene& scene, const ReportData& data, LabelPlacer& labels) {
  for (size_t i = 0; i < data.rules().size(); ++i) {
    const ReportRule& rule = data.rules()[i];
    const RuleTally& tally = data.tallies()[i];
    if (rule.points_px.empty()) continue;
    if (rule.is_line) {
      const PointF start = scene.At(rule.points_px[0]);
      labels.Place(fmt::format("{}: {} {}, {} {}", rule.name, tally.forward, rule.forward_name,
                               tally.backward, rule.backward_name),
                   {start.x, start.y - 4}, kLine, kDark);
      continue;
    }
    const auto topmost =
        std::min_element(rule.points_px.begin(), rule.points_px.end(),
                         [](const PointF& a, const PointF& b) { return a.y < b.y; });
    const PointF corner = scene.At(*topmost);
    labels.Place(fmt::format("{}: {} entered", rule.name, tally.entered), {corner.x, corner.y},
                 kZone, kDark);
  }
}

void DrawTrail(Canvas& canvas, const Scene& scene, const Trail& trail, float width, bool outline) {
  std::vector<PointF> points;
  for (const PointF& point : trail.points_px) points.push_back(scene.At(point));
  points.push_back(scene.At(trail.last_px));
  const Color color = PaletteColor(trail.track_id);
  if (outline) canvas.Polyline(points, kDark, width + 1.2f);
  canvas.Polyline(points, color, width);
  canvas.Circle(points.back(), width * 1.3f, color);
}

// The kept frame may have another size than the first one, in whose px the rest is.
Box OnFirstFrame(const Box& box_px, const ReportData& data) {
  const float x = static_cast<float>(data.width()) / static_cast<float>(data.picture().frame_width);
  const float y =
      static_cast<float>(data.height()) / static_cast<float>(data.picture().frame_height);
  return {box_px.x1 * x, box_px.y1 * y, box_px.x2 * x, box_px.y2 * y};
}

void DrawObjects(Canvas& canvas, const Scene& scene, const ReportData& data) {
  for (const TrackedObject& object : data.picture().objects) {
    const Box box = OnFirstFrame(object.box_px, data);
    const PointF a = scene.At({box.x1, box.y1});
    const PointF b = scene.At({box.x2, box.y2});
    const std::vector<PointF> corners = {a, {b.x, a.y}, b, {a.x, b.y}};
    canvas.Polyline(corners, kDark, 2.6f, true);
    canvas.Polyline(corners, PaletteColor(object.track_id), 1.6f, true);
  }
}

void LabelObjects(const Scene& scene, const ReportData& data, LabelPlacer& labels) {
  const std::vector<TrackedObject>& objects = data.picture().objects;
  for (const TrackedObject& object : objects) {
    const Box box = OnFirstFrame(object.box_px, data);
    const std::string name =
        objects.size() > kNamedObjects ? std::string() : data.NameOf(object.class_id) + " ";
    labels.Place(name + std::to_string(object.track_id), scene.At({box.x1, box.y1}),
                 PaletteColor(object.track_id), kWhite, 7.5f);
  }
}

// What is felt as heat: from nothing over blue, violet and orange to a light yellow (an
// inferno-like ramp; monotone in brightness, so it also reads in grey).
Color HeatColor(float t) {
  static constexpr std::array<Color, 5> kStops = {
      {{40, 20, 110}, {125, 30, 140}, {205, 60, 90}, {245, 135, 30}, {252, 240, 140}}};
  const float at = std::clamp(t, 0.0f, 1.0f) * (kStops.size() - 1);
  const auto i = std::min<size_t>(static_cast<size_t>(at), kStops.size() - 2);
  const float f = at - static_cast<float>(i);
  const auto mix = [&](uint8_t a, uint8_t b) {
    return static_cast<uint8_t>(
        std::lround(static_cast<float>(a) * (1 - f) + static_cast<float>(b) * f));
  };
  return {mix(kStops[i].r, kStops[i + 1].r), mix(kStops[i].g, kStops[i + 1].g),
          mix(kStops[i].b, kStops[i + 1].b)};
}

// 0..1 per pixel of a picture `width` x `height`.
cv::Mat HeatOf(const ReportData& data, int width, int height) {
  cv::Mat grid(data.grid_height(), data.grid_width(), CV_32F);
  for (int y = 0; y < grid.rows; ++y) {
    for (int x = 0; x < grid.cols; ++x) {
      grid.at<float>(y, x) =
          static_cast<float>(data.grid()[static_cast<size_t>(y) * static_cast<size_t>(grid.cols) +
                                         static_cast<size_t>(x)]);
    }
  }
  cv::GaussianBlur(grid, grid, cv::Size(), 2.2, 2.2);
  // The hottest place of a camera is often one spot where something stood all the time (a parked
  // car). Against the 96th percentile of what is warm, and on a logarithmic scale, the ways stay
  // visible too.
  std::vector<float> warm;
  double peak = 0;
  cv::minMaxLoc(grid, nullptr, &peak);
  for (int y = 0; y < grid.rows; ++y) {
    for (int x = 0; x < grid.cols; ++x) {
      if (grid.at<float>(y, x) > peak * 1e-3) warm.push_back(grid.at<float>(y, x));
    }
  }
  if (warm.empty()) return cv::Mat();
  const size_t rank = std::min(warm.size() - 1, warm.size() * 96 / 100);
  std::nth_element(warm.begin(), warm.begin() + static_cast<ptrdiff_t>(rank), warm.end());
  cv::Mat heat;
  cv::resize(grid, heat, {width, height}, 0, 0, cv::INTER_LINEAR);
  constexpr double kSteepness = 8;  // chosen by eye, on streets and on indoor scenes
  heat *= kSteepness / std::max(1e-6f, warm[rank]);
  heat += 1.0;
  cv::log(heat, heat);
  heat *= 1.0 / std::log(1 + kSteepness);
  cv::min(heat, 1.0, heat);
  return heat;
}

void DrawHeatLegend(Canvas& canvas, const Area& picture) {
  const TextStyle style{.size_px = 7.5f, .color = kWhite};
  const Area box{picture.x + 10, picture.bottom() - 34, 190, 24};
  if (picture.width < box.width + 20 || picture.height < 80) return;
  canvas.FillRect(box, kDark, 0.7f);
  canvas.Text({box.x + 8, box.y + 16}, "seldom", style);
  const float left = box.x + 56;
  const float right = box.right() - 42;
  for (float x = left; x < right; x += 1) {
    canvas.FillRect({x, box.y + 7, 1.5f, 10}, HeatColor((x - left) / (right - left)));
  }
  canvas.Text({right + 6, box.y + 16}, "often", style);
}

}  // namespace

void DrawTracksScene(Canvas& canvas, const Area& area, const ReportData& data) {
  const std::vector<const Trail*> trails = data.LongestTrails(kTrailsDrawn);
  std::string note;
  if (!data.picture().bgr.empty()) {
    note = "frame at " + FormatStreamTime(data.picture().time_us);
    if (trails.size() == kTrailsDrawn) {
      note += fmt::format(", the {} longest paths of the whole video", trails.size());
    } else if (!trails.empty()) {
      note += ", paths of the whole video";
    }
  }
  const Scene scene = DrawCard(canvas, area, data, "Paths of the objects", note);
  DrawFrame(canvas, scene, data, 0.25, 0.85);
  canvas.Clip(scene.picture);
  const bool few = trails.size() <= 30;
  for (size_t i = trails.size(); i-- > 0;) {
    DrawTrail(canvas, scene, *trails[i], few ? 1.8f : 1.0f, few);
  }
  DrawRules(canvas, scene, data);
  DrawObjects(canvas, scene, data);
  LabelPlacer labels(canvas, scene.picture);
  LabelRules(scene, data, labels);
  LabelObjects(scene, data, labels);
  canvas.ClipOff();
}

void DrawHeatMapScene(Canvas& canvas, const Area& area, const ReportData& data) {
  const Scene scene =
      DrawCard(canvas, area, data, "Where they were", "by the point where each object stands");
  DrawFrame(canvas, scene, data, 1.0, 0.6);
  if (data.grid().empty()) return;
  constexpr int kLongSide = 960;
  const float shrink =
      static_cast<float>(kLongSide) / static_cast<float>(std::max(data.width(), data.height()));
  const int width = std::max(1, static_cast<int>(static_cast<float>(data.width()) * shrink));
  const int height = std::max(1, static_cast<int>(static_cast<float>(data.height()) * shrink));
  const cv::Mat heat = HeatOf(data, width, height);
  if (heat.empty()) {
    canvas.Text(
        {scene.picture.x + scene.picture.width / 2, scene.picture.y + scene.picture.height / 2},
        "no object was followed", Aligned(Colored(kSubtitle, kWhite), Align::kCenter));
    return;
  }
  cv::Mat under(height, width, CV_8UC3, cv::Scalar(66, 56, 48));
  if (!data.picture().bgr.empty()) {
    const cv::Mat frame(data.picture().height, data.picture().width, CV_8UC3,
                        const_cast<uint8_t*>(data.picture().bgr.data()));
    cv::Mat gray;
    cv::cvtColor(frame, gray, cv::COLOR_BGR2GRAY);
    cv::resize(gray, gray, {width, height}, 0, 0, cv::INTER_AREA);
    cv::cvtColor(gray, under, cv::COLOR_GRAY2BGR);
    under *= 0.6;
  }
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const float t = heat.at<float>(y, x);
      const float alpha = std::min(0.85f, t * 2.2f);
      const Color color = HeatColor(t);
      auto& pixel = under.at<cv::Vec3b>(y, x);
      const uint8_t target[] = {color.b, color.g, color.r};
      for (int c = 0; c < 3; ++c) {
        pixel[c] = static_cast<uint8_t>(static_cast<float>(pixel[c]) * (1 - alpha) +
                                        static_cast<float>(target[c]) * alpha);
      }
    }
  }
  canvas.Picture(scene.picture, under.data, width, height);
  DrawHeatLegend(canvas, scene.picture);
}

}  // namespace sightline
