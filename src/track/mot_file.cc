#include "track/mot_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <span>

#include "base/number_lines.h"
#include "base/status.h"
#include "base/whole_file.h"

namespace sightline {
namespace {

constexpr size_t kMaxRows = 20'000'000;
// A year of 30 frames/s.
constexpr double kMaxFrame = 1e9;
constexpr std::array<std::string_view, 7> kColumnNames = {"frame", "id",     "x",         "y",
                                                          "width", "height", "confidence"};

absl::StatusOr<MotRow> RowOf(size_t line, std::span<const double> values) {
  if (values[0] < 1 || values[0] > kMaxFrame || values[0] != std::floor(values[0])) {
    return InvalidArgument("line {}: frame is {}, expected a whole number from 1 to {}", line,
                           values[0], kMaxFrame);
  }
  MotRow row;
  row.frame = static_cast<int64_t>(values[0]);
  row.detection.box_px = {static_cast<float>(values[2]), static_cast<float>(values[3]),
                          static_cast<float>(values[2] + values[4]),
                          static_cast<float>(values[3] + values[5])};
  row.detection.confidence = static_cast<float>(values[6]);
  return row;
}

}  // namespace

absl::StatusOr<std::vector<MotRow>> ParseMotDetections(std::string_view text) {
  std::vector<MotRow> rows;
  SL_RETURN_IF_ERROR(
      ForEachNumberLine(text, {.names = kColumnNames, .least = kColumnNames.size()},
                        [&](size_t line, std::span<const double> values) -> absl::Status {
                          SL_ASSIGN_OR_RETURN(const MotRow row, RowOf(line, values));
                          if (rows.size() == kMaxRows) {
                            return ResourceExhausted(
                                "line {}: more than {} detections; split the file", line, kMaxRows);
                          }
                          rows.push_back(row);
                          return absl::OkStatus();
                        }));
  std::stable_sort(rows.begin(), rows.end(),
                   [](const MotRow& a, const MotRow& b) { return a.frame < b.frame; });
  return rows;
}

absl::StatusOr<std::vector<MotRow>> ReadMotDetections(const std::string& path) {
  // 20 million rows of 100 bytes.
  constexpr uint64_t kMaxBytes = uint64_t{2} << 30;
  SL_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(path, kMaxBytes));
  auto rows = ParseMotDetections(text);
  if (!rows.ok()) return WithContext(rows.status(), path);
  return rows;
}

void AppendMotTracks(int64_t frame, const Tracks& tracks, std::string* text) {
  for (const TrackedObject& object : tracks.items) {
    fmt::format_to(std::back_inserter(*text), "{},{},{:.2f},{:.2f},{:.2f},{:.2f},{:g},-1,-1,-1\n",
                   frame, object.track_id, object.box_px.x1, object.box_px.y1,
                   object.box_px.width(), object.box_px.height(), object.confidence);
  }
}

}  // namespace sightline
