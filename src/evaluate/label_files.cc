#include "evaluate/label_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/ascii_text.h"
#include "base/number_lines.h"
#include "base/whole_file.h"
#include "evaluate/text_lines.h"

namespace sightline::evaluate {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr uint64_t kMostBytes = uint64_t{512} << 20;

struct Row {
  std::string image;
  std::vector<std::pair<std::string, double>> labels;  // score 0 where none is wanted
};

// --- CSV

// The cells of a line. InvalidArgument for quotes that do not close: a cell is in one line here.
absl::StatusOr<std::vector<std::string>> CellsOf(std::string_view line) {
  std::vector<std::string> cells(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (c == '"' && quoted && i + 1 < line.size() && line[i + 1] == '"') {
      cells.back() += '"';
      ++i;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      cells.emplace_back();
    } else {
      cells.back() += c;
    }
  }
  if (quoted) return InvalidArgument("a quote is not closed");
  for (std::string& cell : cells) cell = std::string(Trim(cell));
  return cells;
}

bool IsHeading(const std::vector<std::string>& cells) {
  static const std::set<std::string> kImages = {"image", "img",  "file",     "filename",
                                                "path",  "name", "image_id", "picture"};
  return kImages.contains(AsciiLower(cells[0]));
}

absl::StatusOr<Row> RowOfCells(const std::vector<std::string>& cells, bool scored) {
  Row row{.image = cells[0], .labels = {}};
  const size_t step = scored ? 2 : 1;
  if (cells.size() < 1 + step || (scored && cells.size() % 2 == 0) || row.image.empty()) {
    return InvalidArgument("{} values; {} is expected", cells.size(),
                           scored ? "image,label,score" : "image,label");
  }
  for (size_t i = 1; i + step <= cells.size(); i += step) {
    double score = 0;
    if (scored && !ParseFinite(cells[i + 1], &score)) {
      return InvalidArgument("the score \"{}\" is no number", ShownText(cells[i + 1]));
    }
    row.labels.emplace_back(cells[i], score);
    if (!scored) break;  // what comes behind is not looked at
  }
  return row;
}

// --- JSON lines

absl::StatusOr<std::string> LabelOf(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_integer()) return fmt::format("{}", value.get<int64_t>());
  return InvalidArgument("a label is neither a text nor a whole number");
}

absl::StatusOr<Row> RowOfJson(std::string_view line, bool scored) {
  const json object = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return InvalidArgument("no JSON object");
  const auto image = object.find("image");
  if (image == object.end() || !image->is_string() || image->get<std::string>().empty()) {
    return InvalidArgument("no \"image\", a text");
  }
  Row row{.image = image->get<std::string>(), .labels = {}};
  const bool several = object.contains("labels");
  json labels = several ? object["labels"] : json::array({object.value("label", json())});
  json scores = json::array();
  if (scored)
    scores =
        several ? object.value("scores", json()) : json::array({object.value("score", json())});
  if (!labels.is_array() || !scores.is_array() || (scored && labels.size() != scores.size())) {
    return InvalidArgument("\"labels\" and \"scores\" are not lists of one length");
  }
  for (size_t i = 0; i < labels.size(); ++i) {
    SL_ASSIGN_OR_RETURN(std::string label, LabelOf(labels[i]));
    double score = 0;
    if (scored) {
      if (!scores[i].is_number() || !std::isfinite(scores[i].get<double>())) {
        return InvalidArgument("a score is no number");
      }
      score = scores[i].get<double>();
    }
    row.labels.emplace_back(std::move(label), score);
  }
  return row;
}

// Calls `take` with every row; errors as file:line.
template <typename Take>
absl::Status ForEachRow(const std::string& path, bool scored, Take take) {
  SL_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(path, kMostBytes));
  bool first = true;
  return ForEachLine(text, [&](size_t number, std::string_view line) -> absl::Status {
    const auto read = [&]() -> absl::Status {
      if (line.starts_with('{')) {
        SL_ASSIGN_OR_RETURN(Row row, RowOfJson(line, scored));
        return take(std::move(row));
      }
      SL_ASSIGN_OR_RETURN(const std::vector<std::string> cells, CellsOf(line));
      if (std::exchange(first, false) && IsHeading(cells)) return absl::OkStatus();
      SL_ASSIGN_OR_RETURN(Row row, RowOfCells(cells, scored));
      return take(std::move(row));
    };
    return WithContext(read(), fmt::format("{}:{}", path, number));
  });
}

// --- truth

// By number where all names are numbers, else by the alphabet.
std::vector<std::string> InOrder(const std::set<std::string>& names) {
  std::vector<std::string> order(names.begin(), names.end());
  const bool numbers = std::all_of(order.begin(), order.end(), [](const std::string& name) {
    int64_t value = 0;
    return ParseNumber(name, &value);
  });
  if (numbers) {
    std::stable_sort(order.begin(), order.end(), [](const std::string& a, const std::string& b) {
      int64_t x = 0;
      int64_t y = 0;
      ParseNumber(a, &x);
      ParseNumber(b, &y);
      return x < y;
    });
  }
  return order;
}

absl::StatusOr<LabelTruth> NumberedTruth(
    std::vector<std::pair<std::string, std::string>> labelled) {
  std::set<std::string> names;
  for (const auto& [picture, name] : labelled) names.insert(name);
  std::unordered_map<std::string, int32_t> ids;
  LabelTruth truth;
  for (const std::string& name : InOrder(names)) {
    const auto id = static_cast<int32_t>(ids.size());
    ids[name] = id;
    truth.class_names[id] = ShownText(name);
  }
  for (auto& [picture, name] : labelled) {
    truth.classes.push_back(ids.at(name));
    truth.pictures.push_back(std::move(picture));
  }
  return truth;
}

absl::StatusOr<LabelTruth> ReadFolders(const std::string& root,
                                       const std::function<bool(const std::string&)>& is_picture) {
  std::vector<std::pair<std::string, std::string>> labelled;
  std::error_code error;
  for (fs::directory_iterator at(root, error), end; !error && at != end; at.increment(error)) {
    std::error_code none;
    if (!fs::is_directory(at->path(), none)) continue;
    const std::string name = at->path().filename().string();
    for (fs::recursive_directory_iterator in(at->path(), error), last; !error && in != last;
         in.increment(error)) {
      if (is_picture(in->path().string())) labelled.emplace_back(in->path().string(), name);
    }
  }
  if (error) return FailedPrecondition("{}: {}", root, error.message());
  if (labelled.empty()) {
    return NotFound("{}: no folders with pictures in them; one folder for every class is expected",
                    root);
  }
  std::sort(labelled.begin(), labelled.end());
  return NumberedTruth(std::move(labelled));
}

// Pictures of the truth by the file's name; then by as much of the path as both say.
class PicturePaths {
 public:
  explicit PicturePaths(const LabelTruth& truth) : truth_(truth) {
    for (size_t i = 0; i < truth.pictures.size(); ++i) {
      by_name_[fs::path(truth.pictures[i]).filename().string()].push_back(i);
    }
  }
  absl::StatusOr<size_t> Find(const std::string& image) const {
    const auto found = by_name_.find(fs::path(image).filename().string());
    if (found == by_name_.end()) {
      return InvalidArgument("the truth has no picture \"{}\"", ShownText(image));
    }
    size_t best = 0;
    size_t best_parts = 0;
    bool several = false;
    for (const size_t i : found->second) {
      const size_t parts = CommonParts(truth_.pictures[i], image);
      if (parts > best_parts) {
        best = i;
        best_parts = parts;
        several = false;
      } else if (parts == best_parts) {
        several = true;
      }
    }
    if (!several) return best;
    return InvalidArgument(
        "several pictures of the truth are called \"{}\"; say their folders, too",
        ShownText(image));
  }

 private:
  // From the end.
  static size_t CommonParts(const std::string& a, const std::string& b) {
    const fs::path x = fs::path(a).lexically_normal();
    const fs::path y = fs::path(b).lexically_normal();
    const std::vector<fs::path> p(x.begin(), x.end());
    const std::vector<fs::path> q(y.begin(), y.end());
    size_t common = 0;
    while (common < p.size() && common < q.size() &&
           p[p.size() - 1 - common] == q[q.size() - 1 - common]) {
      ++common;
    }
    return common;
  }

  const LabelTruth& truth_;
  std::unordered_map<std::string, std::vector<size_t>> by_name_;
};

}  // namespace

absl::StatusOr<LabelTruth> ReadLabelTruth(
    const std::string& path, const std::function<bool(const std::string&)>& is_picture) {
  std::error_code error;
  if (fs::is_directory(path, error)) return ReadFolders(path, is_picture);
  std::vector<std::pair<std::string, std::string>> labelled;
  std::set<std::string> known;
  SL_RETURN_IF_ERROR(ForEachRow(path, /*scored=*/false, [&](Row row) -> absl::Status {
    if (row.labels.size() != 1 || row.labels[0].first.empty()) {
      return InvalidArgument("truth has one label for a picture");
    }
    if (!known.insert(row.image).second) {
      return InvalidArgument("the picture \"{}\" is there already", ShownText(row.image));
    }
    labelled.emplace_back(std::move(row.image), std::move(row.labels[0].first));
    return absl::OkStatus();
  }));
  if (labelled.empty()) return NotFound("{}: no picture in it", path);
  return NumberedTruth(std::move(labelled));
}

absl::StatusOr<LabelOutcome> CompareLabels(const LabelTruth& truth, const std::string& result_path,
                                           int k) {
  std::unordered_map<std::string, int32_t> ids;
  for (const auto& [id, name] : truth.class_names) ids[name] = id;
  const PicturePaths pictures(truth);
  std::vector<std::vector<ScoredLabel>> labels(truth.pictures.size());
  LabelOutcome outcome;
  SL_RETURN_IF_ERROR(ForEachRow(result_path, /*scored=*/true, [&](const Row& row) -> absl::Status {
    SL_ASSIGN_OR_RETURN(const size_t picture, pictures.Find(row.image));
    for (const auto& [name, score] : row.labels) {
      const auto known = ids.find(ShownText(name));
      int32_t class_id = -1;
      int64_t number = -1;
      if (known != ids.end()) {
        class_id = known->second;
      } else if (ParseNumber(std::string_view(name), &number)) {
        if (number < 0 || number >= static_cast<int64_t>(ids.size())) {
          return InvalidArgument("class {} is none of 0 to {}", number, ids.size() - 1);
        }
        class_id = static_cast<int32_t>(number);
      } else {
        ++outcome.strange_labels;
      }
      labels[picture].push_back({.class_id = class_id, .score = score});
    }
    return absl::OkStatus();
  }));
  LabelAccuracy accuracy(k);
  for (size_t i = 0; i < labels.size(); ++i) {
    SL_RETURN_IF_ERROR(accuracy.AddPicture(truth.classes[i], labels[i]));
  }
  outcome.report = accuracy.Report();
  return outcome;
}

}  // namespace sightline::evaluate
