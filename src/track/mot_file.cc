#include "track/mot_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <iterator>

#include "base/status.h"
#include "base/whole_file.h"

namespace sightline {
namespace {

constexpr size_t kColumns = 7;
constexpr size_t kMaxRows = 20'000'000;
// A year of 30 frames/s.
constexpr double kMaxFrame = 1e9;
constexpr std::array<std::string_view, kColumns> kColumnNames = {
    "frame", "id", "x", "y", "width", "height", "confidence"};

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r";
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

// What an error shows of a line: printable, not long.
std::string Shown(std::string_view text) {
  constexpr size_t kMaxShown = 40;
  std::string shown;
  for (const char c : text.substr(0, kMaxShown)) shown += c >= ' ' && c < 127 ? c : '?';
  return text.size() > kMaxShown ? shown + "..." : shown;
}

absl::StatusOr<double> ParseNumber(std::string_view field, std::string_view name, size_t line) {
  const std::string_view text = Trim(field);
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [parsed_to, error] = std::from_chars(text.data(), end, value);
  if (text.empty() || error != std::errc() || parsed_to != end || !std::isfinite(value)) {
    return InvalidArgument("line {}: {} is \"{}\", expected a number", line, name, Shown(text));
  }
  return value;
}

absl::StatusOr<MotRow> ParseLine(std::string_view line, size_t number) {
  std::array<double, kColumns> values{};
  std::string_view rest = line;
  for (size_t column = 0; column < kColumns; ++column) {
    const size_t comma = rest.find(',');
    if (comma == std::string_view::npos && column + 1 < kColumns) {
      return InvalidArgument(
          "line {}: {} columns in \"{}\", expected frame,id,x,y,width,height,confidence", number,
          column + 1, Shown(line));
    }
    SL_ASSIGN_OR_RETURN(values[column],
                        ParseNumber(rest.substr(0, comma), kColumnNames[column], number));
    rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
  }
  if (values[0] < 1 || values[0] > kMaxFrame || values[0] != std::floor(values[0])) {
    return InvalidArgument("line {}: frame is {}, expected a whole number from 1 to {}", number,
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
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text.substr(0, kByteOrderMark.size()) == kByteOrderMark) {
    text.remove_prefix(kByteOrderMark.size());
  }
  std::vector<MotRow> rows;
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    const std::string_view line = Trim(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (line.empty()) continue;
    SL_ASSIGN_OR_RETURN(const MotRow row, ParseLine(line, number));
    if (rows.size() == kMaxRows) {
      return ResourceExhausted("line {}: more than {} detections; split the file", number,
                               kMaxRows);
    }
    rows.push_back(row);
  }
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
