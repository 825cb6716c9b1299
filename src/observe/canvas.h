// A page to draw on: shapes, text and pictures in logical pixels, kept at twice the size and scaled
// down at the end, which smooths OpenCV's stroke fonts and lines.
//
// Text is ASCII (the stroke fonts know no more): Latin letters with accents lose them, any other
// character becomes '?'. Sizes of text are the height of capital letters in px.
//
// Threads: one at a time. Memory: 12 bytes per logical pixel. Cost: some 50 ms for a full page.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "types/frame.h"
#include "types/geometry.h"

namespace cv {
class Mat;
}

namespace sightline {

struct Color {
  uint8_t r = 0;
  uint8_t g = 0;
  uint8_t b = 0;
};

struct Area {
  float x = 0;
  float y = 0;
  float width = 0;
  float height = 0;
  float right() const { return x + width; }
  float bottom() const { return y + height; }
  bool Overlaps(const Area& other) const {
    return x < other.right() && other.x < right() && y < other.bottom() && other.y < bottom();
  }
  bool Contains(const Area& other) const {
    return other.x >= x && other.right() <= right() && other.y >= y && other.bottom() <= bottom();
  }
};

enum class Align : uint8_t { kLeft, kCenter, kRight };

struct TextStyle {
  float size_px = 9;
  Color color;
  bool bold = false;
  Align align = Align::kLeft;
};

class Canvas {
 public:
  Canvas(int width, int height, Color background);
  ~Canvas();

  void FillRect(const Area& area, Color color, float alpha = 1);
  // A filled rectangle with round corners and a thin border.
  void Card(const Area& area, float radius, Color fill, Color border);
  void Line(PointF a, PointF b, Color color, float width);
  void Polyline(const std::vector<PointF>& points, Color color, float width, bool closed = false);
  void FillPolygon(const std::vector<PointF>& points, Color color, float alpha = 1);
  void Circle(PointF center, float radius, Color color);
  void Arrow(PointF from, PointF to, Color color, float width);
  // Stroke text whose capitals stand on `baseline`.
  void Text(PointF baseline, std::string_view text, const TextStyle& style);
  // Packed BGR, scaled into the area (both sides on their own).
  void Picture(const Area& area, const uint8_t* bgr, int width, int height);

  static float TextWidth(std::string_view text, const TextStyle& style);
  // The text, or as much of it as fits with "..." behind.
  static std::string Elide(std::string_view text, const TextStyle& style, float width);

  // Only what lies inside is drawn until ClipOff().
  void Clip(const Area& area);
  void ClipOff();

  // The finished page as packed BGR.
  std::vector<uint8_t> Finish() const;
  int width() const { return width_; }
  int height() const { return height_; }

 private:
  int width_;
  int height_;
  std::unique_ptr<cv::Mat> page_;
  std::unique_ptr<cv::Mat> view_;  // page_ or the clipped part of it
  PointF origin_;                  // of view_, in logical px
};

// UTF-8 to what the stroke fonts can draw.
std::string ToDrawable(std::string_view utf8);

// Ten colours that stay apart for the colour-blind as far as ten can, then again from the start.
Color PaletteColor(int64_t index);

}  // namespace sightline
