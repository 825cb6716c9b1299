#include "observe/report_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "observe/report_style.h"

namespace sightline {

using namespace report_style;  // NOLINT: the look, used throughout

namespace {

constexpr size_t kMaxSeries = 6;  // more cannot be told apart; the rest is drawn as "others"
constexpr size_t kMaxPoints = 180;

struct Series {
  std::string name;
  Color color;
  uint64_t tracks = 0;
  std::vector<size_t> classes;  // class indexes that it sums up
};

struct Point {
  double time_us = 0;
  std::vector<double> values;  // by series
};

std::vector<Series> SeriesOf(const ReportData& data) {
  std::vector<size_t> order(data.class_ids().size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return data.tracks_per_class()[a] > data.tracks_per_class()[b];
  });
  std::vector<Series> series;
  for (const size_t index : order) {
    const bool own = series.size() < kMaxSeries || order.size() == kMaxSeries + 1;
    if (own || series.size() == kMaxSeries) {
      series.push_back({own ? data.ClassName(index) : "others",
                        PaletteColor(static_cast<int64_t>(own ? series.size() : 9)),
                        0,
                        {}});
    }
    series.back().tracks += data.tracks_per_class()[index];
    series.back().classes.push_back(index);
  }
  return series;
}

// Neighbouring buckets are joined until few enough points are left; where no frame was processed
// for long (nothing moved, the stream paused) the curve falls to zero instead of being drawn
// through.
std::vector<Point> PointsOf(const ReportData& data, const std::vector<Series>& series) {
  const CountsOverTime& counts = data.over_time();
  const size_t join = std::max<size_t>(1, (counts.buckets() + kMaxPoints - 1) / kMaxPoints);
  const double width_us = static_cast<double>(counts.bucket_us()) * static_cast<double>(join);
  std::vector<Point> points;
  for (size_t start = 0; start < counts.buckets(); start += join) {
    const size_t end = std::min(start + join, counts.buckets());
    double frames = 0;
    std::vector<double> sums(series.size(), 0);
    for (size_t bucket = start; bucket < end; ++bucket) {
      frames += counts.frames(bucket);
      for (size_t s = 0; s < series.size(); ++s) {
        for (const size_t index : series[s].classes) {
          sums[s] += counts.Mean(bucket, index) * counts.frames(bucket);
        }
      }
    }
    if (frames == 0) continue;
    for (double& sum : sums) sum /= frames;
    const double middle_us =
        (static_cast<double>(start) * static_cast<double>(counts.bucket_us())) + width_us / 2;
    points.push_back(
        {std::min(middle_us, static_cast<double>(data.duration_us())), std::move(sums)});
  }
  if (points.size() < 3) return points;
  std::vector<double> gaps;
  for (size_t i = 1; i < points.size(); ++i)
    gaps.push_back(points[i].time_us - points[i - 1].time_us);
  std::nth_element(gaps.begin(), gaps.begin() + static_cast<ptrdiff_t>(gaps.size() / 2),
                   gaps.end());
  const double long_gap_us = 4 * std::max(gaps[gaps.size() / 2], width_us);
  std::vector<Point> whole;
  for (size_t i = 0; i < points.size(); ++i) {
    if (i > 0 && points[i].time_us - points[i - 1].time_us > long_gap_us) {
      const std::vector<double> none(series.size(), 0);
      whole.push_back({points[i - 1].time_us + width_us, none});
      whole.push_back({points[i].time_us - width_us, none});
    }
    whole.push_back(points[i]);
  }
  return whole;
}

// From the right end of the heading leftwards; what does not fit is left out.
void DrawLegend(Canvas& canvas, const Area& area, const std::vector<Series>& series) {
  constexpr float kSwatch = 10;
  float x = area.x;
  for (const Series& s : series) {
    const std::string text = Canvas::Elide(fmt::format("{}", s.name), kBody, 150);
    const float width = kSwatch + 6 + Canvas::TextWidth(text, kBody) + 18;
    if (x + width > area.right()) break;
    canvas.FillRect({x, area.bottom() - kSwatch + 1, kSwatch, kSwatch}, s.color);
    canvas.Text({x + kSwatch + 6, area.bottom()}, text, kBody);
    x += width;
  }
}

}  // namespace

std::string FormatStreamTime(int64_t time_us) {
  const int64_t seconds = std::max<int64_t>(0, time_us) / 1'000'000;
  if (seconds >= 3600) {
    return fmt::format("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
  }
  return fmt::format("{}:{:02}", seconds / 60, seconds % 60);
}

double NiceStep(double range, int max_ticks) {
  if (!(range > 0)) return 1;
  const double raw = range / max_ticks;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= raw * (1 - 1e-9)) return factor * power;
  }
  return 10 * power;
}

int64_t NiceTimeStepUs(int64_t range_us, int max_ticks) {
  constexpr int64_t kSeconds[] = {1,   2,   5,    10,   15,   30,    60,    120,   300,
                                  600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400};
  for (const int64_t step : kSeconds) {
    if (range_us / (step * 1'000'000) <= max_ticks) return step * 1'000'000;
  }
  const auto days =
      static_cast<int64_t>(NiceStep(static_cast<double>(range_us) / 86'400e6, max_ticks));
  return std::max<int64_t>(1, days) * 86'400'000'000;
}

void DrawCountsChart(Canvas& canvas, const Area& area, const ReportData& data) {
  canvas.Card(area, 8, kCard, kBorder);
  const float heading_y = area.y + kPadding + kHeading.size_px;
  const std::string heading = "Objects in view over time";
  canvas.Text({area.x + kPadding, heading_y}, heading, kHeading);
  const std::vector<Series> series = SeriesOf(data);
  const std::vector<Point> points = PointsOf(data, series);
  const float legend_x = area.x + kPadding + Canvas::TextWidth(heading, kHeading) + 28;
  DrawLegend(canvas, {legend_x, heading_y - 12, area.right() - kPadding - legend_x, 12}, series);

  const Area plot{area.x + kPadding + 44, heading_y + 40, area.width - 2 * kPadding - 56,
                  area.height - (heading_y - area.y) - 40 - 52};
  double top = 0;
  for (const Point& point : points) {
    double sum = 0;
    for (const double value : point.values) sum += value;
    top = std::max(top, sum);
  }
  if (top == 0) {
    const std::string why = data.frames() == 0 ? std::string("no frame was processed")
                            : data.detections() == 0
                                ? std::string("nothing was detected in this video")
                                : fmt::format(
                                      "{} detections, but nothing was seen often enough to "
                                      "be followed",
                                      data.detections());
    canvas.Text({plot.x + plot.width / 2, plot.y + plot.height / 2}, why,
                Aligned(kSubtitle, Align::kCenter));
  }
  const double step = std::max(top > 0 && top <= 3 ? 0.5 : 1.0, NiceStep(std::max(top, 1.0), 5));
  const double y_max = std::max(step, std::ceil(top / step - 1e-9) * step);
  const int64_t x_max_us = std::max<int64_t>(data.duration_us(), 1'000'000);
  const auto x_of = [&](double time_us) {
    return plot.x +
           plot.width * static_cast<float>(std::min(1.0, time_us / static_cast<double>(x_max_us)));
  };
  const auto y_of = [&](double value) {
    return plot.bottom() - plot.height * static_cast<float>(value / y_max);
  };

  for (double y = 0; y <= y_max + 1e-9; y += step) {
    canvas.Line({plot.x, y_of(y)}, {plot.right(), y_of(y)}, kGrid, 1);
    canvas.Text({plot.x - 8, y_of(y) + 4}, fmt::format("{:g}", y), Aligned(kSmall, Align::kRight));
  }
  const int64_t time_step_us = NiceTimeStepUs(x_max_us, static_cast<int>(plot.width / 75));
  for (int64_t t = 0; t <= x_max_us; t += time_step_us) {
    const float x = x_of(static_cast<double>(t));
    canvas.Line({x, plot.bottom()}, {x, plot.bottom() + 4}, kMuted, 1);
    canvas.Text({x, plot.bottom() + 17}, FormatStreamTime(t), Aligned(kSmall, Align::kCenter));
  }
  canvas.Text({plot.x + plot.width / 2, plot.bottom() + 36},
              x_max_us >= 3'600'000'000 ? "time in the video (hours:minutes:seconds)"
                                        : "time in the video (minutes:seconds)",
              Aligned(kSmall, Align::kCenter));
  canvas.Text({area.x + kPadding, plot.y - 16}, "objects (mean per frame)", kSmall);

  // Stacked from below: each class stands on those before it.
  std::vector<double> base(points.size(), 0);
  for (size_t s = 0; s < series.size() && top > 0; ++s) {
    std::vector<PointF> upper;
    std::vector<PointF> outline;
    for (size_t i = 0; i < points.size(); ++i) {
      const double value = base[i] + points[i].values[s];
      upper.push_back({x_of(points[i].time_us), y_of(value)});
    }
    if (points.size() == 1) upper.push_back({plot.right(), upper[0].y});
    if (!upper.empty() && points[0].time_us < static_cast<double>(x_max_us))
      upper.front().x = plot.x;
    if (points.size() > 1) upper.back().x = x_of(static_cast<double>(data.duration_us()));
    outline = upper;
    for (size_t i = points.size(); i-- > 0;) {
      const size_t at = points.size() == 1 ? 0 : i;
      outline.push_back({upper[at].x, y_of(base[at])});
    }
    if (points.size() == 1) {
      outline = {upper[0], upper[1], {upper[1].x, y_of(base[0])}, {upper[0].x, y_of(base[0])}};
    }
    canvas.FillPolygon(outline, series[s].color, series.size() == 1 ? 0.30f : 0.65f);
    canvas.Polyline(upper, series[s].color, 1.6f);
    for (size_t i = 0; i < points.size(); ++i) base[i] += points[i].values[s];
  }
  canvas.Line({plot.x, plot.bottom()}, {plot.right(), plot.bottom()}, kMuted, 1);
}

}  // namespace sightline
