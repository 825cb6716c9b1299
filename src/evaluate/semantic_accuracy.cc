#include "evaluate/semantic_accuracy.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/number_lines.h"
#include "base/whole_file.h"
#include "evaluate/text_lines.h"

namespace sightline::evaluate {
namespace {

namespace fs = std::filesystem;

constexpr size_t kSide = SemanticAccuracy::kMostClasses + 1;
constexpr size_t kIgnoredColumn = SemanticAccuracy::kMostClasses;
constexpr uint64_t kMostTextBytes = uint64_t{16} << 20;

Share Part(int64_t part, int64_t whole) {
  if (whole == 0) return std::nullopt;
  return static_cast<double>(part) / static_cast<double>(whole);
}

// By name without extension.
absl::StatusOr<std::map<std::string, std::string>> MapsOf(const std::string& folder) {
  std::map<std::string, std::string> maps;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string extension = at->path().extension().string();
    if (extension != ".png" && extension != ".PNG") continue;
    maps[at->path().stem().string()] = at->path().string();
  }
  if (error) return NotFound("{}: {}", folder, error.message());
  if (maps.empty()) return NotFound("{}: no label map (*.png) in it", folder);
  return maps;
}

absl::Status ReadNames(const fs::path& file, std::map<int32_t, std::string>* names) {
  std::error_code error;
  if (!fs::is_regular_file(file, error)) return absl::OkStatus();
  SL_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(file.string(), kMostTextBytes));
  return ForEachLine(text, [&](size_t, std::string_view line) {
    const auto id = static_cast<int32_t>(names->size());
    (*names)[id] = ShownText(line);
    return absl::OkStatus();
  });
}

}  // namespace

SemanticAccuracy::SemanticAccuracy(int ignored_value)
    : ignored_value_(ignored_value), confusion_(kSide * kSide) {}

absl::Status SemanticAccuracy::AddPicture(const LabelMap& truth, const LabelMap& found) {
  if (truth.width != found.width || truth.height != found.height ||
      truth.classes.size() != found.classes.size()) {
    return InvalidArgument("the truth has {} x {} px, the result {} x {}", truth.width,
                           truth.height, found.width, found.height);
  }
  // All is looked at before anything is counted.
  const auto check = [&](const LabelMap& map, const char* whose) -> absl::Status {
    for (size_t i = 0; i < map.classes.size(); ++i) {
      const int value = map.classes[i];
      if (value < kMostClasses || value == ignored_value_) continue;
      return InvalidArgument(
          "{} has class {} at ({}, {}); classes from 0 to {} are possible, and {} "
          "for pixels that do not count",
          whose, value, i % static_cast<size_t>(map.width), i / static_cast<size_t>(map.width),
          kMostClasses - 1, ignored_value_);
    }
    return absl::OkStatus();
  };
  SL_RETURN_IF_ERROR(check(truth, "the truth"));
  SL_RETURN_IF_ERROR(check(found, "the result"));
  for (size_t i = 0; i < truth.classes.size(); ++i) {
    const int is = truth.classes[i];
    const int said = found.classes[i];
    if (is == ignored_value_) {
      ++ignored_;
      continue;
    }
    const size_t column = said == ignored_value_ ? kIgnoredColumn : static_cast<size_t>(said);
    ++confusion_[static_cast<size_t>(is) * kSide + column];
  }
  ++pictures_;
  return absl::OkStatus();
}

int64_t SemanticAccuracy::Confused(int truth, int found) const {
  return confusion_[static_cast<size_t>(truth) * kSide + static_cast<size_t>(found)];
}

SemanticReport SemanticAccuracy::Report() const {
  SemanticReport report{.pictures = pictures_, .ignored = ignored_};
  std::vector<SemanticClassAccuracy> classes(kMostClasses);
  int64_t right = 0;
  for (size_t is = 0; is < classes.size(); ++is) {
    classes[is].class_id = static_cast<int32_t>(is);
    for (size_t said = 0; said < kSide; ++said) {
      const int64_t count = confusion_[is * kSide + said];
      classes[is].truth += count;
      if (said < classes.size()) classes[said].found += count;
      if (said == is) classes[is].right += count;
    }
    report.pixels += classes[is].truth;
    right += classes[is].right;
  }
  double iou = 0;
  double accuracy = 0;
  int with_truth = 0;
  for (SemanticClassAccuracy& one : classes) {
    if (one.truth == 0 && one.found == 0) continue;
    one.iou = Part(one.right, one.truth + one.found - one.right);
    one.accuracy = Part(one.right, one.truth);
    iou += *one.iou;
    accuracy += one.accuracy.value_or(0);
    with_truth += one.accuracy ? 1 : 0;
    report.classes.push_back(one);
  }
  if (!report.classes.empty()) report.mean_iou = iou / static_cast<double>(report.classes.size());
  if (with_truth > 0) report.mean_accuracy = accuracy / with_truth;
  report.pixel_accuracy = Part(right, report.pixels);
  return report;
}

absl::StatusOr<SemanticOutcome> CompareLabelMaps(const std::string& truth_folder,
                                                 const std::string& result_folder,
                                                 int ignored_value, const ReadLabels& read) {
  SL_ASSIGN_OR_RETURN(const auto truth, MapsOf(truth_folder));
  SL_ASSIGN_OR_RETURN(const auto found, MapsOf(result_folder));
  for (const auto& [name, path] : found) {
    if (!truth.contains(name)) return NotFound("{}: the truth has no picture \"{}\"", path, name);
  }
  SemanticOutcome outcome;
  SL_RETURN_IF_ERROR(ReadNames(fs::path(truth_folder) / "classes.txt", &outcome.class_names));
  SemanticAccuracy accuracy(ignored_value);
  for (const auto& [name, path] : truth) {
    const auto counterpart = found.find(name);
    if (counterpart == found.end()) {
      return NotFound("{}: no result for {}", result_folder, path);
    }
    SL_ASSIGN_OR_RETURN(const LabelMap is, read(path));
    SL_ASSIGN_OR_RETURN(const LabelMap said, read(counterpart->second));
    SL_RETURN_IF_ERROR(WithContext(accuracy.AddPicture(is, said), counterpart->second));
  }
  outcome.report = accuracy.Report();
  return outcome;
}

}  // namespace sightline::evaluate
