#include "evaluate/mot_files.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <span>

#include "base/number_lines.h"
#include "base/whole_file.h"

namespace sightline::evaluate {
namespace {

constexpr size_t kMostRows = 20'000'000;
// A year of 30 frames/s.
constexpr double kMostFrame = 1e9;
// Whole numbers up to here are exact in a double.
constexpr double kMostId = 9e15;
constexpr std::array<std::string_view, 9> kColumns = {
    "frame", "id", "x", "y", "width", "height", "confidence", "class", "visibility"};
constexpr size_t kLeastColumns = 7;

absl::Status WholeNumber(size_t line, std::string_view name, double value, double least,
                         double most) {
  if (value >= least && value <= most && value == std::floor(value)) return absl::OkStatus();
  return InvalidArgument("line {}: {} is {}, expected a whole number{}", line, name, value,
                         least > 0 ? fmt::format(" from {} to {}", least, most) : "");
}

absl::StatusOr<MotTableRow> RowOf(size_t line, std::span<const double> values) {
  SL_RETURN_IF_ERROR(WholeNumber(line, kColumns[0], values[0], 1, kMostFrame));
  SL_RETURN_IF_ERROR(WholeNumber(line, kColumns[1], values[1], -kMostId, kMostId));
  MotTableRow row;
  row.frame = static_cast<int64_t>(values[0]);
  row.id = static_cast<int64_t>(values[1]);
  row.box_px = {values[2], values[3], values[4], values[5]};
  row.mark = values[6];
  if (values.size() > 7) {
    // Beyond the classes (MOT15 has places in the world there) it is none; who needs one says so.
    row.class_id = std::abs(values[7]) < 1e6 && values[7] == std::floor(values[7])
                       ? static_cast<int64_t>(values[7])
                       : int64_t{1'000'000};
  }
  // MOT15 has -1 there.
  if (values.size() > 8 && values[8] >= 0) row.visibility = values[8];
  row.line = static_cast<uint32_t>(line);
  return row;
}

// Calls `take` with the rows of each frame.
template <typename Take>
absl::Status ForEachFrameOf(std::span<const MotTableRow> rows, Take take) {
  for (size_t begin = 0; begin < rows.size();) {
    size_t end = begin + 1;
    while (end < rows.size() && rows[end].frame == rows[begin].frame) ++end;
    SL_RETURN_IF_ERROR(take(rows.subspan(begin, end - begin)));
    begin = end;
  }
  return absl::OkStatus();
}

absl::Status CheckFrames(std::span<const MotTableRow> rows) {
  std::vector<std::pair<int64_t, uint32_t>> ids;  // and their lines
  return ForEachFrameOf(rows, [&](std::span<const MotTableRow> frame) -> absl::Status {
    if (frame.size() > MotAccuracy::kMostBoxesAFrame) {
      return ResourceExhausted("frame {} has {} rows; at most {} are possible", frame[0].frame,
                               frame.size(), MotAccuracy::kMostBoxesAFrame);
    }
    ids.clear();
    for (const MotTableRow& row : frame) ids.emplace_back(row.id, row.line);
    std::sort(ids.begin(), ids.end());
    for (size_t i = 1; i < ids.size(); ++i) {
      if (ids[i].first != ids[i - 1].first) continue;
      return InvalidArgument("line {}: id {} is in frame {} already, on line {}", ids[i].second,
                             ids[i].first, frame[0].frame, ids[i - 1].second);
    }
    return absl::OkStatus();
  });
}

bool Excuses(int64_t class_id, MotRules rules) {
  return class_id == 2 || class_id == 7 || class_id == 8 || class_id == 12 ||
         (rules == MotRules::kMot20 && class_id == 6);
}

TruthRole RoleOf(const MotTableRow& row, MotRules rules, double least_visibility) {
  const bool classes = rules != MotRules::kMot15;
  if (classes && Excuses(row.class_id, rules)) return TruthRole::kExcuses;
  // Cut towards zero, as TrackEval reads the mark.
  if (std::trunc(row.mark) == 0 || (classes && row.class_id != 1)) return TruthRole::kLooksOnly;
  return classes && row.visibility < least_visibility ? TruthRole::kExcuses : TruthRole::kCounts;
}

MotRules RulesFor(const std::vector<MotTableRow>& truth, MotRules wanted) {
  if (wanted != MotRules::kAuto) return wanted;
  const bool classes = std::any_of(truth.begin(), truth.end(), [](const MotTableRow& row) {
    return row.class_id != MotTableRow::kNoClass;
  });
  return classes ? MotRules::kMot17 : MotRules::kMot15;
}

absl::Status CheckClasses(const std::vector<MotTableRow>& truth,
                          const std::vector<MotTableRow>& found) {
  constexpr int64_t kMostClass = 13;
  for (const MotTableRow& row : truth) {
    if (row.class_id >= 1 && row.class_id <= kMostClass) continue;
    return InvalidArgument(
        "truth, line {}: the class (column 8) is none of MOT17's 1 to {}; without classes, as in "
        "MOT15, choose --rules mot15",
        row.line, kMostClass);
  }
  for (const MotTableRow& row : found) {
    if (row.class_id <= 1) continue;
    return InvalidArgument(
        "results, line {}: class {} (column 8); the rules of MOT17 judge pedestrians (1, or -1 for "
        "none said) alone, so leave the others out",
        row.line, row.class_id);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<MotTableRow>> ParseMotTable(std::string_view text) {
  std::vector<MotTableRow> rows;
  SL_RETURN_IF_ERROR(ForEachNumberLine(
      text, {.names = kColumns, .least = kLeastColumns},
      [&](size_t line, std::span<const double> values) -> absl::Status {
        SL_ASSIGN_OR_RETURN(const MotTableRow row, RowOf(line, values));
        if (rows.size() == kMostRows) {
          return ResourceExhausted("line {}: more than {} rows; split the file", line, kMostRows);
        }
        rows.push_back(row);
        return absl::OkStatus();
      }));
  std::stable_sort(rows.begin(), rows.end(),
                   [](const MotTableRow& a, const MotTableRow& b) { return a.frame < b.frame; });
  SL_RETURN_IF_ERROR(CheckFrames(rows));
  return rows;
}

absl::StatusOr<std::vector<MotTableRow>> ReadMotTable(const std::string& path) {
  // 20 million rows of 100 bytes.
  constexpr uint64_t kMostBytes = uint64_t{2} << 30;
  SL_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(path, kMostBytes));
  auto rows = ParseMotTable(text);
  if (!rows.ok()) return WithContext(rows.status(), path);
  return rows;
}

std::string MotTruthFile(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (!fs::is_directory(path, error)) return path;
  const fs::path inside = fs::path(path) / "gt.txt";
  return fs::exists(inside, error) ? inside.string() : (fs::path(path) / "gt" / "gt.txt").string();
}

absl::StatusOr<MotOutcome> CompareMot(const std::vector<MotTableRow>& truth,
                                      const std::vector<MotTableRow>& found,
                                      const MotComparison& comparison) {
  MotOutcome outcome;
  outcome.rules = RulesFor(truth, comparison.rules);
  outcome.last_true_frame = truth.empty() ? 0 : truth.back().frame;
  outcome.last_found_frame = found.empty() ? 0 : found.back().frame;
  if (outcome.rules != MotRules::kMot15) SL_RETURN_IF_ERROR(CheckClasses(truth, found));
  MotAccuracy accuracy;
  std::vector<TruthTrackBox> true_boxes;
  std::vector<FoundTrackBox> found_boxes;
  size_t t = 0;
  size_t f = 0;
  while (t < truth.size() || f < found.size()) {
    const int64_t frame = t == truth.size()   ? found[f].frame
                          : f == found.size() ? truth[t].frame
                                              : std::min(truth[t].frame, found[f].frame);
    true_boxes.clear();
    found_boxes.clear();
    for (; t < truth.size() && truth[t].frame == frame; ++t) {
      true_boxes.push_back({truth[t].id, truth[t].box_px,
                            RoleOf(truth[t], outcome.rules, comparison.least_visibility)});
    }
    for (; f < found.size() && found[f].frame == frame; ++f) {
      found_boxes.push_back({found[f].id, found[f].box_px});
    }
    SL_RETURN_IF_ERROR(
        WithContext(accuracy.AddFrame(true_boxes, found_boxes), fmt::format("frame {}", frame)));
  }
  outcome.report = accuracy.Report();
  return outcome;
}

}  // namespace sightline::evaluate
