#include "observe/report_render.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/time.h"
#include "observe/canvas.h"
#include "observe/report_chart.h"
#include "observe/report_scene.h"
#include "observe/report_style.h"

namespace sightline {

using namespace report_style;  // NOLINT: the look, used throughout

namespace {

// 12'345 reads better than 12345.
std::string Grouped(uint64_t number) {
  std::string text = std::to_string(number);
  for (size_t at = text.size(); at > 3;) text.insert(at -= 3, ",");
  return text;
}

void DrawHeader(Canvas& canvas, const ReportData& data, const ReportText& text) {
  const float room = kPageWidth - 2 * kMargin - 130;
  canvas.Text({kMargin, 44}, Canvas::Elide(text.title, kTitle, room), kTitle);
  std::string line = text.source;
  const auto add = [&](const std::string& part) { line += (line.empty() ? "" : "  |  ") + part; };
  if (data.width() > 0) add(fmt::format("{} x {}", data.width(), data.height()));
  if (data.frames() == 1) add("one frame");
  if (data.frames() > 1) add(FormatStreamTime(data.duration_us()) + " long");
  if (data.frames() > 0 && data.clock() != ClockSource::kEpoch) {
    std::string start = FormatUtc(data.first_utc_us()).substr(0, 19);
    std::replace(start.begin(), start.end(), 'T', ' ');
    add("from " + start + " UTC");
  }
  if (!text.model.empty()) add("model " + text.model);
  canvas.Text({kMargin, 70}, Canvas::Elide(line, kSubtitle, kPageWidth - 2 * kMargin), kSubtitle);
  canvas.Text({kPageWidth - kMargin, 44}, "Sightline",
              Aligned(Colored(kHeading, kMuted), Align::kRight));
}

void DrawTile(Canvas& canvas, const Area& area, const std::string& figure,
              const std::string& label) {
  canvas.Card(area, 8, kCard, kBorder);
  const float room = area.width - 2 * kPadding;
  canvas.Text({area.x + kPadding, area.y + 40}, Canvas::Elide(figure, kFigure, room), kFigure);
  canvas.Text({area.x + kPadding, area.y + 62}, Canvas::Elide(label, kSmall, room), kSmall);
}

// "person 19, bicycle 4, others 3"
std::string ClassesInWords(const ReportData& data) {
  std::vector<std::pair<uint64_t, std::string>> classes;
  for (size_t i = 0; i < data.class_ids().size(); ++i) {
    if (data.tracks_per_class()[i] > 0) {
      classes.emplace_back(data.tracks_per_class()[i], data.ClassName(i));
    }
  }
  std::stable_sort(classes.begin(), classes.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  std::string words;
  uint64_t others = 0;
  for (size_t i = 0; i < classes.size(); ++i) {
    if (i >= 2) {
      others += classes[i].first;
      continue;
    }
    words += fmt::format("{}{} {}", words.empty() ? "" : ", ", classes[i].second,
                         Grouped(classes[i].first));
  }
  if (others > 0) words += fmt::format(", others {}", Grouped(others));
  return words.empty() ? "none" : words;
}

void DrawTiles(Canvas& canvas, const Area& row, const ReportData& data, const ReportText& text) {
  const std::string speed =
      text.wall_s > 0 && data.frames() > 0
          ? fmt::format("{:.{}f} frames/s", static_cast<double>(data.frames()) / text.wall_s,
                        static_cast<double>(data.frames()) / text.wall_s < 10 ? 1 : 0)
          : std::string("-");
  const FrameCounts& ledger = data.ledger();
  const std::string frames_label = data.has_ledger() ? fmt::format("frames; {} skipped, {} dropped",
                                                                   Grouped(ledger.total_skipped()),
                                                                   Grouped(ledger.total_dropped()))
                                                     : std::string("frames processed");
  const std::pair<std::string, std::string> tiles[] = {
      {Grouped(data.tracks()),
       data.tracks() == 0 ? std::string("objects") : "objects: " + ClassesInWords(data)},
      {Grouped(data.peak_objects()),
       data.peak_objects() == 0 ? std::string("objects at once")
                                : "at once at most, at " + FormatStreamTime(data.peak_time_us())},
      {Grouped(data.events()), "events at lines and zones"},
      {Grouped(data.frames()), frames_label},
      {speed, "processing speed"}};
  constexpr int kTiles = 5;
  const float width = (row.width - kGap * (kTiles - 1)) / kTiles;
  for (int i = 0; i < kTiles; ++i) {
    DrawTile(canvas, {row.x + static_cast<float>(i) * (width + kGap), row.y, width, row.height},
             tiles[i].first, tiles[i].second);
  }
}

void DrawRuleTable(Canvas& canvas, const Area& area, const ReportData& data) {
  canvas.Card(area, 8, kCard, kBorder);
  float y = area.y + kPadding + kHeading.size_px;
  canvas.Text({area.x + kPadding, y}, "Lines and zones", kHeading);
  const float left = area.x + kPadding;
  const float right = area.right() - kPadding;
  if (data.rules().empty()) {
    canvas.Text({left, y + 34}, "None are configured. Add lines to count who passes,", kSmall);
    canvas.Text({left, y + 52}, "and zones to see who enters and how long they stay.", kSmall);
    return;
  }
  y += 16;
  constexpr float kRow = 40;
  size_t shown = 0;
  const auto room = static_cast<size_t>(std::max(1.0f, (area.bottom() - y - 12) / kRow));
  for (size_t i = 0; i < data.rules().size(); ++i) {
    if (shown + 1 == room && data.rules().size() > room) {
      canvas.Text({left, y + 20},
                  fmt::format("and {} more, see the database", data.rules().size() - shown),
                  kSmall);
      break;
    }
    const ReportRule& rule = data.rules()[i];
    const RuleTally& tally = data.tallies()[i];
    if (shown > 0) canvas.Line({left, y}, {right, y}, kGrid, 1);
    canvas.FillRect({left, y + 10, 5, kRow - 18}, rule.is_line ? kLine : kZone);
    const std::string figures = rule.is_line
                                    ? fmt::format("{} {}   {} {}", tally.forward, rule.forward_name,
                                                  tally.backward, rule.backward_name)
                                    : fmt::format("{} entered", tally.entered);
    const std::string detail =
        rule.is_line ? std::string("line")
                     : fmt::format("zone, {} left, at most {} inside{}", tally.exited, tally.peak,
                                   tally.exited == 0
                                       ? std::string()
                                       : fmt::format(", mean stay {:.1f} s",
                                                     static_cast<double>(tally.dwell_us) / 1e6 /
                                                         static_cast<double>(tally.exited)));
    const TextStyle bold{.size_px = 9.5f, .color = kInk, .bold = true};
    const std::string shown_figures = Canvas::Elide(figures, bold, (right - left) * 0.6f);
    const float figures_width = Canvas::TextWidth(shown_figures, bold);
    canvas.Text({right, y + 19}, shown_figures, Aligned(bold, Align::kRight));
    canvas.Text({left + 14, y + 19},
                Canvas::Elide(rule.name, kBody, right - left - figures_width - 30), kBody);
    canvas.Text({left + 14, y + 34}, Canvas::Elide(detail, kSmall, right - left - 14), kSmall);
    y += kRow;
    ++shown;
  }
}

}  // namespace

ReportPage RenderReport(const ReportData& data, const ReportText& text) {
  Canvas canvas(kPageWidth, kPageHeight, kBackground);
  DrawHeader(canvas, data, text);
  const float width = kPageWidth - 2 * kMargin;
  DrawTiles(canvas, {kMargin, 88, width, 76}, data, text);
  const float scene_y = 88 + 76 + kGap;
  const float scene_width = (width - kGap) / 2;
  constexpr float kSceneHeight = 480;
  DrawTracksScene(canvas, {kMargin, scene_y, scene_width, kSceneHeight}, data);
  DrawHeatMapScene(canvas, {kMargin + scene_width + kGap, scene_y, scene_width, kSceneHeight},
                   data);
  const float chart_y = scene_y + kSceneHeight + kGap;
  const float chart_height = kPageHeight - kMargin - chart_y;
  constexpr float kTableWidth = 470;
  DrawCountsChart(canvas, {kMargin, chart_y, width - kGap - kTableWidth, chart_height}, data);
  DrawRuleTable(canvas, {kPageWidth - kMargin - kTableWidth, chart_y, kTableWidth, chart_height},
                data);
  return {kPageWidth, kPageHeight, canvas.Finish()};
}

}  // namespace sightline
