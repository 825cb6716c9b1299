#include "observe/canvas.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

namespace sightline {
namespace {

constexpr int kOversampling = 2;
constexpr int kFractionBits = 4;  // OpenCV draws at fractions of a pixel
constexpr int kFont = cv::FONT_HERSHEY_SIMPLEX;
constexpr double kCapitalPx = 21.0;  // height of FONT_HERSHEY_SIMPLEX's capitals at scale 1

cv::Scalar ToScalar(Color color) { return {double(color.b), double(color.g), double(color.r)}; }

double FontScale(float size_px) { return size_px * kOversampling / kCapitalPx; }

int StrokePx(const TextStyle& style) {
  const float width = style.size_px * kOversampling * (style.bold ? 0.20f : 0.115f);
  return std::max(1, static_cast<int>(std::lround(width)));
}

int WidthPx(float width) {
  return std::max(1, static_cast<int>(std::lround(width * kOversampling)));
}

}  // namespace

std::string ToDrawable(std::string_view utf8) {
  // U+00C0 to U+00FF without their accents; sharp s and the like by one letter.
  constexpr std::string_view kLatin =
      "AAAAAAACEEEEIIIIDNOOOOOxOUUUUYPsaaaaaaaceeeeiiiidnooooo/ouuuuypy";
  std::string text;
  for (size_t i = 0; i < utf8.size(); ++i) {
    const auto byte = static_cast<uint8_t>(utf8[i]);
    if (byte < 0x80) {
      text += byte < 0x20 || byte == 0x7F ? ' ' : utf8[i];
    } else if (byte == 0xC3 && i + 1 < utf8.size()) {
      text += kLatin[static_cast<uint8_t>(utf8[++i]) & 63];
    } else if (byte >= 0xC0) {
      text += '?';
      while (i + 1 < utf8.size() && (static_cast<uint8_t>(utf8[i + 1]) & 0xC0) == 0x80) ++i;
    } else {
      text += '?';
    }
  }
  return text;
}

Color PaletteColor(int64_t index) {
  static constexpr std::array<Color, 10> kColors = {{{31, 119, 180},
                                                     {255, 127, 14},
                                                     {44, 160, 90},
                                                     {214, 60, 70},
                                                     {148, 103, 189},
                                                     {23, 180, 200},
                                                     {227, 119, 194},
                                                     {188, 170, 34},
                                                     {140, 86, 75},
                                                     {110, 120, 135}}};
  return kColors[static_cast<size_t>(((index % 10) + 10) % 10)];
}

Canvas::Canvas(int width, int height, Color background)
    : width_(width),
      height_(height),
      page_(std::make_unique<cv::Mat>(height * kOversampling, width * kOversampling, CV_8UC3,
                                      ToScalar(background))),
      view_(std::make_unique<cv::Mat>(*page_)) {}

Canvas::~Canvas() = default;

namespace {

cv::Rect ToRect(const Area& area, PointF origin) {
  const auto round = [](float v) { return static_cast<int>(std::lround(v * kOversampling)); };
  const int x = round(area.x - origin.x);
  const int y = round(area.y - origin.y);
  return {x, y, round(area.right() - origin.x) - x, round(area.bottom() - origin.y) - y};
}

cv::Point ToPoint(PointF point, PointF origin) {
  constexpr float kScale = kOversampling * (1 << kFractionBits);
  // Far beyond the page OpenCV's fixed point would overflow.
  const auto fixed = [](float v) {
    return static_cast<int>(std::lround(std::clamp(v, -1e6f, 1e6f)));
  };
  return {fixed((point.x - origin.x) * kScale), fixed((point.y - origin.y) * kScale)};
}

std::vector<cv::Point> ToPoints(const std::vector<PointF>& points, PointF origin) {
  std::vector<cv::Point> out;
  out.reserve(points.size());
  for (const PointF& point : points) out.push_back(ToPoint(point, origin));
  return out;
}

// Blends what `draw` paints on a copy with what was there.
template <typename Draw>
void Blend(cv::Mat& target, cv::Rect where, float alpha, Draw draw) {
  where &= cv::Rect(0, 0, target.cols, target.rows);
  if (where.empty()) return;
  cv::Mat part = target(where);
  cv::Mat painted = part.clone();
  draw(painted, where.tl());
  cv::addWeighted(painted, alpha, part, 1 - alpha, 0, part);
}

}  // namespace

void Canvas::FillRect(const Area& area, Color color, float alpha) {
  const cv::Rect rect = ToRect(area, origin_);
  if (alpha >= 1) {
    cv::rectangle(*view_, rect, ToScalar(color), cv::FILLED);
    return;
  }
  Blend(*view_, rect, alpha, [&](cv::Mat& part, cv::Point) { part.setTo(ToScalar(color)); });
}

void Canvas::Card(const Area& area, float radius, Color fill, Color border) {
  const auto draw = [&](const Area& a, float r, Color color) {
    const std::vector<PointF> corners = {{a.x + r, a.y + r},
                                         {a.right() - r, a.y + r},
                                         {a.right() - r, a.bottom() - r},
                                         {a.x + r, a.bottom() - r}};
    FillRect({a.x + r, a.y, a.width - 2 * r, a.height}, color);
    FillRect({a.x, a.y + r, a.width, a.height - 2 * r}, color);
    for (const PointF& corner : corners) Circle(corner, r, color);
  };
  draw(area, radius, border);
  draw({area.x + 1, area.y + 1, area.width - 2, area.height - 2}, radius - 1, fill);
}

void Canvas::Line(PointF a, PointF b, Color color, float width) {
  cv::line(*view_, ToPoint(a, origin_), ToPoint(b, origin_), ToScalar(color), WidthPx(width),
           cv::LINE_AA, kFractionBits);
}

void Canvas::Polyline(const std::vector<PointF>& points, Color color, float width, bool closed) {
  if (points.size() < 2) return;
  cv::polylines(*view_, ToPoints(points, origin_), closed, ToScalar(color), WidthPx(width),
                cv::LINE_AA, kFractionBits);
}

void Canvas::FillPolygon(const std::vector<PointF>& points, Color color, float alpha) {
  if (points.size() < 3) return;
  const std::vector<cv::Point> fixed = ToPoints(points, origin_);
  if (alpha >= 1) {
    cv::fillPoly(*view_, std::vector<std::vector<cv::Point>>{fixed}, ToScalar(color), cv::LINE_AA,
                 kFractionBits);
    return;
  }
  cv::Rect box = cv::boundingRect(fixed);
  box = {box.x >> kFractionBits, box.y >> kFractionBits, (box.width >> kFractionBits) + 2,
         (box.height >> kFractionBits) + 2};
  Blend(*view_, box, alpha, [&](cv::Mat& part, cv::Point offset) {
    cv::fillPoly(part, std::vector<std::vector<cv::Point>>{fixed}, ToScalar(color), cv::LINE_AA,
                 kFractionBits,
                 cv::Point(-offset.x * (1 << kFractionBits), -offset.y * (1 << kFractionBits)));
  });
}

void Canvas::Circle(PointF center, float radius, Color color) {
  cv::circle(*view_, ToPoint(center, origin_),
             static_cast<int>(radius * kOversampling * (1 << kFractionBits)), ToScalar(color),
             cv::FILLED, cv::LINE_AA, kFractionBits);
}

void Canvas::Arrow(PointF from, PointF to, Color color, float width) {
  const float length = std::hypot(to.x - from.x, to.y - from.y);
  if (length < 1) return;
  const PointF along = {(to.x - from.x) / length, (to.y - from.y) / length};
  const float head = std::min(length, 4 * width + 4);
  const PointF neck = {to.x - along.x * head, to.y - along.y * head};
  const PointF side = {-along.y * head * 0.5f, along.x * head * 0.5f};
  Line(from, neck, color, width);
  FillPolygon({to, {neck.x + side.x, neck.y + side.y}, {neck.x - side.x, neck.y - side.y}}, color);
}

void Canvas::Text(PointF baseline, std::string_view text, const TextStyle& style) {
  const float width = style.align == Align::kLeft ? 0 : TextWidth(text, style);
  const float shift = style.align == Align::kCenter ? width / 2 : width;
  if (style.align != Align::kLeft) baseline.x -= shift;
  cv::putText(*view_, ToDrawable(text),
              {static_cast<int>(std::lround((baseline.x - origin_.x) * kOversampling)),
               static_cast<int>(std::lround((baseline.y - origin_.y) * kOversampling))},
              kFont, FontScale(style.size_px), ToScalar(style.color), StrokePx(style), cv::LINE_AA);
}

void Canvas::Picture(const Area& area, const uint8_t* bgr, int width, int height) {
  const cv::Rect rect = ToRect(area, origin_);
  if (rect.empty() || width <= 0 || height <= 0) return;
  const cv::Mat picture(height, width, CV_8UC3, const_cast<uint8_t*>(bgr));  // only read
  cv::Mat scaled;
  const bool smaller = rect.width < width;
  cv::resize(picture, scaled, rect.size(), 0, 0, smaller ? cv::INTER_AREA : cv::INTER_CUBIC);
  const cv::Rect inside = rect & cv::Rect(0, 0, view_->cols, view_->rows);
  if (inside.empty()) return;
  scaled(inside - rect.tl()).copyTo((*view_)(inside));
}

float Canvas::TextWidth(std::string_view text, const TextStyle& style) {
  int below = 0;
  const cv::Size size =
      cv::getTextSize(ToDrawable(text), kFont, FontScale(style.size_px), StrokePx(style), &below);
  return static_cast<float>(size.width) / kOversampling;
}

std::string Canvas::Elide(std::string_view text, const TextStyle& style, float width) {
  if (TextWidth(text, style) <= width) return std::string(text);
  std::string shorter = ToDrawable(text);
  while (!shorter.empty() && TextWidth(shorter + "...", style) > width) shorter.pop_back();
  return shorter + "...";
}

void Canvas::Clip(const Area& area) {
  const cv::Rect rect = ToRect(area, {0, 0}) & cv::Rect(0, 0, page_->cols, page_->rows);
  *view_ = (*page_)(rect);
  origin_ = {static_cast<float>(rect.x) / kOversampling,
             static_cast<float>(rect.y) / kOversampling};
}

void Canvas::ClipOff() {
  *view_ = *page_;
  origin_ = {0, 0};
}

std::vector<uint8_t> Canvas::Finish() const {
  std::vector<uint8_t> bgr(static_cast<size_t>(width_) * static_cast<size_t>(height_) * 3);
  cv::Mat out(height_, width_, CV_8UC3, bgr.data());
  cv::resize(*page_, out, out.size(), 0, 0, cv::INTER_AREA);
  return bgr;
}

}  // namespace sightline
