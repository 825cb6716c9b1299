#include "observe/accuracy_plots.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "observe/canvas.h"
#include "observe/report_style.h"

namespace sightline {

using namespace report_style;  // NOLINT: the look, used throughout

namespace {

constexpr size_t kNamedCurves = 8;   // more cannot be told apart
constexpr size_t kMostClasses = 40;  // cells stay wide enough for a look
constexpr float kCurvePageWidth = 960;
constexpr float kCurvePageHeight = 640;
constexpr float kLegendWidth = 240;

DrawnPage PageOf(const Canvas& canvas) {
  return {.width = canvas.width(), .height = canvas.height(), .bgr = canvas.Finish()};
}

void DrawTitle(Canvas& canvas, const std::string& title, const std::string& subtitle) {
  const float width = static_cast<float>(canvas.width()) - 2 * kMargin;
  canvas.Text({kMargin, kMargin + kTitle.size_px}, Canvas::Elide(title, kTitle, width), kTitle);
  canvas.Text({kMargin, kMargin + kTitle.size_px + 22}, Canvas::Elide(subtitle, kSubtitle, width),
              kSubtitle);
}

void DrawAxes(Canvas& canvas, const Area& plot) {
  for (int i = 0; i <= 10; i += 2) {
    const float share = static_cast<float>(i) / 10;
    const float x = plot.x + plot.width * share;
    const float y = plot.bottom() - plot.height * share;
    canvas.Line({plot.x, y}, {plot.right(), y}, kGrid, 1);
    canvas.Line({x, plot.y}, {x, plot.bottom()}, kGrid, 1);
    const std::string text = fmt::format("{:.1f}", share);
    canvas.Text({plot.x - 8, y + 4}, text, Aligned(kSmall, Align::kRight));
    canvas.Text({x, plot.bottom() + 17}, text, Aligned(kSmall, Align::kCenter));
  }
  canvas.Text({plot.x + plot.width / 2, plot.bottom() + 36}, "recall",
              Aligned(kSmall, Align::kCenter));
  canvas.Text({plot.x - 36, plot.y - 12}, "precision", kSmall);
}

void DrawCurve(Canvas& canvas, const Area& plot, const std::vector<double>& precision, Color color,
               float width) {
  if (precision.size() < 2) return;
  std::vector<PointF> points;
  const auto last = static_cast<float>(precision.size() - 1);
  for (size_t i = 0; i < precision.size(); ++i) {
    const auto value = static_cast<float>(std::clamp(precision[i], 0.0, 1.0));
    points.push_back(
        {plot.x + plot.width * static_cast<float>(i) / last, plot.bottom() - plot.height * value});
  }
  canvas.Polyline(points, color, width);
}

void DrawLegendLine(Canvas& canvas, const Area& legend, float y, const PrecisionRecallCurve& curve,
                    Color color, float width) {
  canvas.Line({legend.x, y - 4}, {legend.x + 18, y - 4}, color, width);
  const float figure_width = Canvas::TextWidth(curve.figure, kSmall);
  canvas.Text({legend.x + 26, y},
              Canvas::Elide(curve.name, kBody, legend.width - 34 - figure_width), kBody);
  canvas.Text({legend.right(), y}, curve.figure, Aligned(kSmall, Align::kRight));
}

// The classes that are drawn, and for every class where it goes: its place, or the last (others).
struct ShownClasses {
  std::vector<size_t> shown;
  std::vector<size_t> place;
  bool others = false;
};

ShownClasses Choose(const ConfusionPicture& confusion) {
  const size_t classes = confusion.names.size();
  const size_t columns = classes + confusion.more.size();
  ShownClasses chosen;
  std::vector<size_t> order(classes);
  std::iota(order.begin(), order.end(), 0);
  if (classes > kMostClasses) {
    std::vector<int64_t> counts(classes);
    for (size_t i = 0; i < classes; ++i) {
      const auto row = confusion.counts.begin() + static_cast<ptrdiff_t>(i * columns);
      counts[i] = std::accumulate(row, row + static_cast<ptrdiff_t>(columns), int64_t{0});
    }
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return counts[a] > counts[b]; });
    order.resize(kMostClasses - 1);
    std::sort(order.begin(), order.end());
    chosen.others = true;
  }
  chosen.shown = order;
  chosen.place.assign(classes, order.size());
  for (size_t i = 0; i < order.size(); ++i) chosen.place[order[i]] = i;
  return chosen;
}

// Rows of what is drawn.
struct Grid {
  std::vector<std::string> rows;
  std::vector<std::string> columns;
  std::vector<int64_t> counts;
};

Grid GridOf(const ConfusionPicture& confusion) {
  const ShownClasses chosen = Choose(confusion);
  Grid grid;
  for (const size_t i : chosen.shown) grid.rows.push_back(confusion.names[i]);
  if (chosen.others) {
    grid.rows.push_back(fmt::format("{} others", confusion.names.size() - chosen.shown.size()));
  }
  const size_t classes = grid.rows.size();
  grid.columns = grid.rows;
  grid.rows.insert(grid.rows.end(), confusion.more_rows.begin(), confusion.more_rows.end());
  grid.columns.insert(grid.columns.end(), confusion.more.begin(), confusion.more.end());
  grid.counts.assign(grid.rows.size() * grid.columns.size(), 0);
  const size_t columns = confusion.names.size() + confusion.more.size();
  const auto place = [&](size_t i) {
    return i < chosen.place.size() ? chosen.place[i] : classes + (i - chosen.place.size());
  };
  for (size_t i = 0; i < confusion.counts.size(); ++i) {
    grid.counts[place(i / columns) * grid.columns.size() + place(i % columns)] +=
        confusion.counts[i];
  }
  return grid;
}

Color Shade(double share) {
  const auto mix = [share](int from, int to) {
    return static_cast<uint8_t>(from + (to - from) * share + 0.5);
  };
  return {mix(247, 8), mix(250, 81), mix(253, 156)};
}

// Of a column that is no class.
std::string Letter(size_t index) { return std::string(1, static_cast<char>('A' + index % 26)); }

void DrawRow(Canvas& canvas, const Grid& grid, size_t row, const Area& plot, float cell) {
  const auto begin = grid.counts.begin() + static_cast<ptrdiff_t>(row * grid.columns.size());
  const int64_t sum =
      std::accumulate(begin, begin + static_cast<ptrdiff_t>(grid.columns.size()), int64_t{0});
  const float y = plot.y + static_cast<float>(row) * cell;
  for (size_t c = 0; c < grid.columns.size(); ++c) {
    const int64_t count = begin[static_cast<ptrdiff_t>(c)];
    const double share = sum == 0 ? 0 : static_cast<double>(count) / static_cast<double>(sum);
    const Area at{plot.x + static_cast<float>(c) * cell, y, cell - 1, cell - 1};
    canvas.FillRect(at, Shade(share));
    if (count == 0) continue;
    const std::string text = fmt::format("{}", count);
    TextStyle number = kSmall;
    number.size_px = std::min(8.5f, cell * 0.3f);
    const float width = Canvas::TextWidth(text, number);
    number.size_px *= std::min(1.0f, (cell - 3) / width);
    if (number.size_px < 3) continue;  // not to be read
    canvas.Text({at.x + at.width / 2, at.y + at.height / 2 + number.size_px / 2}, text,
                Aligned(Colored(number, share > 0.5 ? kWhite : kInk), Align::kCenter));
  }
}

}  // namespace

DrawnPage DrawPrecisionRecall(const std::string& title, const std::string& subtitle,
                              const std::vector<PrecisionRecallCurve>& curves,
                              const PrecisionRecallCurve& mean) {
  Canvas canvas(static_cast<int>(kCurvePageWidth), static_cast<int>(kCurvePageHeight), kBackground);
  DrawTitle(canvas, title, subtitle);
  const float top = kMargin + 60;
  const Area card{kMargin, top, kCurvePageWidth - 2 * kMargin, kCurvePageHeight - top - kMargin};
  canvas.Card(card, 8, kCard, kBorder);
  const Area plot{card.x + 64, card.y + 44, card.width - 64 - kLegendWidth - 48,
                  card.height - 44 - 56};
  const Area legend{plot.right() + 28, plot.y, kLegendWidth, plot.height};
  DrawAxes(canvas, plot);
  for (size_t i = curves.size(); i-- > 0;) {
    const bool named = i < kNamedCurves;
    DrawCurve(canvas, plot, curves[i].precision,
              named ? PaletteColor(static_cast<int64_t>(i)) : kBorder, named ? 1.6f : 1.0f);
  }
  DrawCurve(canvas, plot, mean.precision, kInk, 3);
  canvas.Line({plot.x, plot.bottom()}, {plot.right(), plot.bottom()}, kMuted, 1);
  float y = legend.y + 8;
  DrawLegendLine(canvas, legend, y, mean, kInk, 3);
  for (size_t i = 0; i < std::min(curves.size(), kNamedCurves); ++i) {
    y += 24;
    DrawLegendLine(canvas, legend, y, curves[i], PaletteColor(static_cast<int64_t>(i)), 1.6f);
  }
  if (curves.size() > kNamedCurves) {
    canvas.Text({legend.x + 26, y + 24}, fmt::format("and {} others", curves.size() - kNamedCurves),
                kSmall);
  }
  return PageOf(canvas);
}

DrawnPage DrawConfusion(const ConfusionPicture& confusion) {
  const Grid grid = GridOf(confusion);
  const size_t most = std::max({grid.rows.size(), grid.columns.size(), size_t{1}});
  const float cell = std::clamp(760.0f / static_cast<float>(most), 18.0f, 64.0f);
  constexpr float kNames = 170;
  const float top = kMargin + 60;
  const float width = kNames + cell * static_cast<float>(grid.columns.size()) + 3 * kPadding;
  const float height = 84 + cell * static_cast<float>(grid.rows.size());
  Canvas canvas(static_cast<int>(std::max(width + 2 * kMargin, 560.0f)),
                static_cast<int>(top + height + kMargin), kBackground);
  DrawTitle(canvas, confusion.title, confusion.subtitle);
  canvas.Card({kMargin, top, static_cast<float>(canvas.width()) - 2 * kMargin, height}, 8, kCard,
              kBorder);
  const Area plot{kMargin + kPadding + kNames, top + 60,
                  cell * static_cast<float>(grid.columns.size()),
                  cell * static_cast<float>(grid.rows.size())};
  canvas.Text({kMargin + kPadding, plot.y - 12}, "is (row)", kSmall);
  const size_t numbered = grid.columns.size() - confusion.more.size();
  std::string heading = "taken for (column, by the number of the row";
  for (size_t i = 0; i < confusion.more.size(); ++i) {
    heading += fmt::format("; {}: {}", Letter(i), confusion.more[i]);
  }
  canvas.Text({plot.x, plot.y - 34}, heading + ")", kSmall);
  for (size_t r = 0; r < grid.rows.size(); ++r) {
    const float middle = plot.y + (static_cast<float>(r) + 0.5f) * cell + 4;
    const std::string name = fmt::format("{}  {}", r + 1, grid.rows[r]);
    canvas.Text({plot.x - 10, middle}, Canvas::Elide(name, kSmall, kNames - 12),
                Aligned(kSmall, Align::kRight));
    DrawRow(canvas, grid, r, plot, cell);
  }
  for (size_t c = 0; c < grid.columns.size(); ++c) {
    const float x = plot.x + (static_cast<float>(c) + 0.5f) * cell;
    const std::string name = c < numbered ? fmt::format("{}", c + 1) : Letter(c - numbered);
    canvas.Text({x, plot.y - 12}, name, Aligned(kSmall, Align::kCenter));
  }
  return PageOf(canvas);
}

}  // namespace sightline
