#include "evaluate/truth_sequence.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <optional>
#include <string_view>

#include "base/number_lines.h"
#include "base/whole_file.h"
#include "evaluate/mot_files.h"
#include "evaluate/text_lines.h"

namespace sightline::evaluate {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMostTextBytes = uint64_t{256} << 20;

// Empty when there is no such file.
absl::StatusOr<std::optional<std::string>> ReadIfThere(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return std::optional<std::string>();
  SL_ASSIGN_OR_RETURN(std::string text, ReadWholeFile(path.string(), kMostTextBytes));
  return std::optional<std::string>(std::move(text));
}

// Lines of key=value; what is not known is passed over.
absl::Status ReadInfo(const fs::path& path, TruthSequence* sequence) {
  SL_ASSIGN_OR_RETURN(const std::optional<std::string> text, ReadIfThere(path));
  if (!text) return absl::OkStatus();
  return ForEachLine(*text, [&](size_t number, std::string_view line) -> absl::Status {
    const size_t equals = line.find('=');
    if (equals == std::string_view::npos) return absl::OkStatus();
    const std::string_view key = Trim(line.substr(0, equals));
    const std::string_view value = Trim(line.substr(equals + 1));
    bool good = true;
    if (key == "frameRate") {
      good = ParseNumber(value, &sequence->frames_per_second) && sequence->frames_per_second > 0 &&
             sequence->frames_per_second < 1e5;
    } else if (key == "seqLength") {
      good = ParseNumber(value, &sequence->frames) && sequence->frames >= 0 &&
             sequence->frames <= 1'000'000'000;
    } else if (key == "imWidth" || key == "imHeight") {
      int& size = key == "imWidth" ? sequence->width : sequence->height;
      good = ParseNumber(value, &size) && size > 0;
    }
    if (good) return absl::OkStatus();
    return InvalidArgument("{}: line {}: {} is \"{}\"", path.string(), number, key,
                           ShownText(value));
  });
}

// Class numbers of gt.txt to classes of the sequence.
class ClassNumbers {
 public:
  static absl::StatusOr<ClassNumbers> Read(const fs::path& labels, TruthSequence* sequence) {
    ClassNumbers numbers;
    SL_ASSIGN_OR_RETURN(const std::optional<std::string> text, ReadIfThere(labels));
    if (!text) {
      sequence->classes = {"person", "bicycle", "car", "motorcycle"};
      numbers.challenge_ = true;
      return numbers;
    }
    SL_RETURN_IF_ERROR(ForEachLine(*text, [&](size_t, std::string_view line) {
      sequence->classes.emplace_back(line);
      return absl::OkStatus();
    }));
    if (sequence->classes.empty()) {
      return InvalidArgument("{}: no class in it; one name a line is expected", labels.string());
    }
    numbers.count_ = static_cast<int64_t>(sequence->classes.size());
    return numbers;
  }

  // The row's class and whether it excuses; false: the row means nothing here.
  absl::StatusOr<bool> Set(const MotTableRow& row, TruthSequence::Object* object) const {
    const int64_t number = row.class_id == MotTableRow::kNoClass ? 1 : row.class_id;
    if (!challenge_) {
      if (number < 1 || number > count_) {
        return InvalidArgument("line {}: class {}, but labels.txt names {}", row.line, number,
                               count_);
      }
      object->class_id = static_cast<int32_t>(number - 1);
      return true;
    }
    constexpr int32_t kPerson = 0;
    constexpr std::array<int32_t, 6> kClassOf = {-1, kPerson, kPerson, 2, 1, 3};
    if (number >= 1 && number < static_cast<int64_t>(kClassOf.size())) {
      object->class_id = kClassOf[static_cast<size_t>(number)];
      return true;
    }
    object->class_id = kPerson;
    object->crowd = number == 13;
    object->excused = number == 7 || number == 8 || number == 12 || number == 13;
    return object->excused;
  }

 private:
  bool challenge_ = false;
  int64_t count_ = 0;
};

absl::Status ReadObjects(const std::string& path, const ClassNumbers& numbers,
                         TruthSequence* sequence) {
  SL_ASSIGN_OR_RETURN(const std::vector<MotTableRow> rows, ReadMotTable(path));
  sequence->objects.reserve(rows.size());
  for (const MotTableRow& row : rows) {
    TruthSequence::Object object{.frame = row.frame, .id = row.id, .box_px = row.box_px};
    object.visibility = row.visibility;
    const absl::StatusOr<bool> means_something = numbers.Set(row, &object);
    if (!means_something.ok()) return WithContext(means_something.status(), path);
    if (!*means_something) continue;
    object.excused = object.excused || row.mark == 0;
    sequence->objects.push_back(object);
    sequence->frames = std::max(sequence->frames, row.frame);
  }
  return absl::OkStatus();
}

absl::Status ReadCrossings(const fs::path& path, TruthSequence* sequence) {
  SL_ASSIGN_OR_RETURN(const std::optional<std::string> text, ReadIfThere(path));
  if (!text) return absl::OkStatus();
  return ForEachLine(*text, [&](size_t number, std::string_view line) -> absl::Status {
    std::array<std::string_view, 6> columns;
    size_t count = 0;
    for (std::string_view rest = line; count < columns.size();) {
      const size_t comma = rest.find(',');
      columns[count++] = Trim(rest.substr(0, comma));
      if (comma == std::string_view::npos) break;
      rest = rest.substr(comma + 1);
    }
    if (number == 1 && columns[0] == "line") return absl::OkStatus();
    TruthSequence::Crossing crossing{.line = std::string(columns[0]),
                                     .object_class = std::string(columns[4])};
    crossing.forward = columns[5] == "forward";
    if (count != columns.size() || !ParseNumber(columns[1], &crossing.frame) ||
        crossing.frame < 1 || (!crossing.forward && columns[5] != "backward")) {
      return InvalidArgument(
          "{}: line {}: \"{}\", expected line,frame,time_s,id,class,forward or backward",
          path.string(), number, ShownText(line));
    }
    if (std::find(sequence->lines.begin(), sequence->lines.end(), crossing.line) ==
        sequence->lines.end()) {
      sequence->lines.push_back(crossing.line);
    }
    sequence->crossings.push_back(std::move(crossing));
    return absl::OkStatus();
  });
}

}  // namespace

absl::StatusOr<TruthSequence> ReadTruthSequence(const std::string& path) {
  const std::string boxes = MotTruthFile(path);
  const fs::path gt = fs::path(boxes).parent_path();
  const fs::path folder = gt.filename() == "gt" ? gt.parent_path() : gt;
  TruthSequence sequence;
  SL_RETURN_IF_ERROR(ReadInfo(folder / "seqinfo.ini", &sequence));
  SL_ASSIGN_OR_RETURN(const ClassNumbers numbers, ClassNumbers::Read(gt / "labels.txt", &sequence));
  SL_RETURN_IF_ERROR(ReadObjects(boxes, numbers, &sequence));
  SL_RETURN_IF_ERROR(ReadCrossings(folder / "crossings.csv", &sequence));
  return sequence;
}

}  // namespace sightline::evaluate
