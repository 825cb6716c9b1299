#include "evaluate/yolo_files.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/number_lines.h"
#include "base/whole_file.h"
#include "evaluate/text_lines.h"
#include "evaluate/yolo_labels.h"

namespace sightline::evaluate {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMostYamlBytes = uint64_t{1} << 20;
constexpr uint64_t kMostTextBytes = uint64_t{64} << 20;
constexpr int32_t kMostClasses = 100'000;
constexpr std::array<const char*, 3> kSplits = {"train", "val", "test"};

// What data.yaml, or classes.txt, says.
struct DataSet {
  fs::path root;
  std::string file;  // for messages; empty when there is none
  std::map<int32_t, std::string> names;
  std::map<std::string, std::vector<fs::path>> splits;
  int key_points = 0;
  int key_point_values = 0;
};

bool IsFolder(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}
bool IsFile(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

// All files below, in the order of their paths.
absl::StatusOr<std::vector<fs::path>> FilesBelow(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end;
       at.increment(error)) {
    if (IsFile(at->path())) files.push_back(at->path());
  }
  if (error) return FailedPrecondition("{}: {}", folder.string(), error.message());
  std::sort(files.begin(), files.end());
  return files;
}

// --- data.yaml

absl::Status TakeName(const YAML::Node& node, int32_t id, DataSet* set) {
  if (!node.IsScalar()) return InvalidArgument("the name of class {} is no text", id);
  set->names[id] = ShownText(node.Scalar());
  return absl::OkStatus();
}

absl::Status TakeNames(const YAML::Node& names, DataSet* set) {
  if (names.size() > static_cast<size_t>(kMostClasses)) {
    return InvalidArgument("{} names; at most {} are possible", names.size(), kMostClasses);
  }
  if (names.IsSequence()) {
    int32_t id = 0;
    for (const YAML::Node& name : names) SL_RETURN_IF_ERROR(TakeName(name, id++, set));
    return absl::OkStatus();
  }
  if (!names.IsMap()) return InvalidArgument("\"names\" is no list of class names");
  for (const auto& entry : names) {
    int32_t id = -1;
    if (!entry.first.IsScalar() || !ParseNumber(entry.first.Scalar(), &id) || id < 0 ||
        id >= kMostClasses) {
      return InvalidArgument("\"names\" has a key that is no class number from 0 on");
    }
    SL_RETURN_IF_ERROR(TakeName(entry.second, id, set));
  }
  return absl::OkStatus();
}

// As it is written; where that is not there, without the "../" that some tools put in front.
fs::path EntryOf(const std::string& written, const fs::path& base) {
  std::error_code error;
  const fs::path entry = (base / written).lexically_normal();
  if (!written.starts_with("../") || fs::exists(entry, error)) return entry;
  return (base / written.substr(3)).lexically_normal();
}

absl::Status TakeSplit(const std::string& key, const YAML::Node& node, const fs::path& base,
                       DataSet* set) {
  if (node.IsNull()) return absl::OkStatus();
  if (node.IsScalar()) {
    set->splits[key].push_back(EntryOf(node.Scalar(), base));
    return absl::OkStatus();
  }
  if (!node.IsSequence()) return InvalidArgument("\"{}\" is no folder and no list of folders", key);
  for (const YAML::Node& one : node) {
    if (!one.IsScalar()) return InvalidArgument("\"{}\" is no list of folders", key);
    set->splits[key].push_back(EntryOf(one.Scalar(), base));
  }
  return absl::OkStatus();
}

absl::Status TakeYaml(const YAML::Node& yaml, const fs::path& file, DataSet* set) {
  if (!yaml.IsMap())
    return InvalidArgument("no data.yaml: keys such as names and val are expected");
  fs::path base = file.parent_path();
  if (const YAML::Node path = yaml["path"]; path && path.IsScalar()) {
    // As it was on another machine: then the file's own folder.
    if (IsFolder(base / path.Scalar())) base = base / path.Scalar();
  }
  set->root = base.lexically_normal();
  const YAML::Node names = yaml["names"];
  if (!names) return InvalidArgument("no \"names\": the classes by number, such as [person, car]");
  SL_RETURN_IF_ERROR(TakeNames(names, set));
  for (const char* const key : kSplits) {
    if (const YAML::Node split = yaml[key]) SL_RETURN_IF_ERROR(TakeSplit(key, split, base, set));
  }
  const YAML::Node points = yaml["kpt_shape"];
  if (!points) return absl::OkStatus();
  const bool good = points.IsSequence() && points.size() == 2 && points[0].IsScalar() &&
                    points[1].IsScalar() && ParseNumber(points[0].Scalar(), &set->key_points) &&
                    ParseNumber(points[1].Scalar(), &set->key_point_values) &&
                    set->key_points > 0 && set->key_points <= 1000 &&
                    (set->key_point_values == 2 || set->key_point_values == 3);
  if (good) return absl::OkStatus();
  return InvalidArgument("\"kpt_shape\" is not [points, 2 or 3]");
}

absl::StatusOr<DataSet> ReadYaml(const fs::path& file) {
  SL_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(file.string(), kMostYamlBytes));
  DataSet set;
  set.file = file.string();
  try {
    SL_RETURN_IF_ERROR(WithContext(TakeYaml(YAML::Load(text), file, &set), file.string()));
  } catch (const YAML::Exception& error) {
    return InvalidArgument("{}:{}: {}", file.string(), error.mark.line + 1, ShownText(error.msg));
  }
  return set;
}

absl::StatusOr<DataSet> ReadClassList(const fs::path& file, const fs::path& root) {
  SL_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(file.string(), kMostYamlBytes));
  DataSet set;
  set.file = file.string();
  set.root = root;
  SL_RETURN_IF_ERROR(ForEachLine(text, [&](size_t, std::string_view line) -> absl::Status {
    const auto id = static_cast<int32_t>(set.names.size());
    if (id == kMostClasses) return InvalidArgument("{}: too many classes", file.string());
    set.names[id] = ShownText(line);
    return absl::OkStatus();
  }));
  if (set.names.empty()) return InvalidArgument("{}: no class name in it", file.string());
  return set;
}

// A *.yaml with names: data.yaml if it is there, else the only one.
absl::StatusOr<std::optional<fs::path>> YamlOf(const fs::path& folder) {
  for (const char* const name : {"data.yaml", "data.yml", "dataset.yaml", "config.yaml"}) {
    if (IsFile(folder / name)) return std::optional<fs::path>(folder / name);
  }
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string extension = at->path().extension().string();
    if (extension == ".yaml" || extension == ".yml") found.push_back(at->path());
  }
  if (found.empty()) return std::optional<fs::path>();
  if (found.size() == 1) return std::optional<fs::path>(found[0]);
  return InvalidArgument("{}: {} YAML files and no data.yaml; name the one that describes it",
                         folder.string(), found.size());
}

std::optional<fs::path> ClassListOf(const fs::path& folder) {
  for (const char* const name : {"classes.txt", "labels/classes.txt", "obj.names"}) {
    if (IsFile(folder / name)) return folder / name;
  }
  return std::nullopt;
}

absl::StatusOr<DataSet> ReadDataSet(const std::string& path) {
  if (!IsFolder(path)) return ReadYaml(path);
  SL_ASSIGN_OR_RETURN(const std::optional<fs::path> yaml, YamlOf(path));
  if (yaml) return ReadYaml(*yaml);
  if (const auto list = ClassListOf(path)) return ReadClassList(*list, path);
  return NotFound(
      "{}: no data.yaml and no classes.txt, so nobody knows the classes; write their names into "
      "classes.txt, one a line, class 0 first",
      path);
}

// --- pictures

// One entry of a split: a folder, or a text file with a picture a line.
absl::Status AddEntry(const fs::path& entry, const DataSet& set, const PictureAccess& access,
                      std::set<fs::path>* pictures) {
  if (IsFolder(entry)) {
    SL_ASSIGN_OR_RETURN(const std::vector<fs::path> files, FilesBelow(entry));
    for (const fs::path& file : files) {
      if (access.is_picture(file.string())) pictures->insert(file);
    }
    return absl::OkStatus();
  }
  SL_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(entry.string(), kMostTextBytes));
  return ForEachLine(text, [&](size_t number, std::string_view line) -> absl::Status {
    fs::path picture = fs::path(line);
    if (picture.is_relative()) {
      picture = (line.starts_with("./") ? entry.parent_path() : set.root) / picture;
    }
    if (!IsFile(picture)) {
      return NotFound("{}:{}: no picture {}", entry.string(), number, picture.string());
    }
    pictures->insert(picture.lexically_normal());
    return absl::OkStatus();
  });
}

bool IsThere(const std::vector<fs::path>& entries) {
  std::error_code error;
  return !entries.empty() && std::all_of(entries.begin(), entries.end(), [&](const fs::path& one) {
    return fs::exists(one, error);
  });
}

absl::Status AddAll(const DataSet& set, const PictureAccess& access, std::set<fs::path>* pictures) {
  if (IsFolder(set.root / "images")) return AddEntry(set.root / "images", set, access, pictures);
  bool any = false;
  for (const auto& [key, entries] : set.splits) {
    if (!IsThere(entries)) continue;
    any = true;
    for (const fs::path& entry : entries) {
      SL_RETURN_IF_ERROR(AddEntry(entry, set, access, pictures));
    }
  }
  return any ? absl::OkStatus() : AddEntry(set.root, set, access, pictures);
}

absl::StatusOr<std::set<fs::path>> PicturesOf(const DataSet& set, const std::string& split,
                                              const PictureAccess& access,
                                              LabelledPictures* truth) {
  std::set<fs::path> pictures;
  const std::string wanted = split.empty() ? "val" : split;
  const auto known = set.splits.find(wanted);
  if (wanted != "all" && known != set.splits.end() && IsThere(known->second)) {
    for (const fs::path& entry : known->second) {
      SL_RETURN_IF_ERROR(AddEntry(entry, set, access, &pictures));
    }
    truth->remarks.push_back(
        fmt::format("{} pictures of \"{}\" in {} are judged", pictures.size(), wanted, set.file));
  } else if (split.empty() || split == "all") {
    if (wanted != "all" && known != set.splits.end()) {
      truth->remarks.push_back(
          fmt::format("\"{}\" of {} is not there ({}); all pictures are judged", wanted, set.file,
                      known->second[0].string()));
    }
    SL_RETURN_IF_ERROR(AddAll(set, access, &pictures));
  } else if (known == set.splits.end()) {
    return NotFound("{} has no \"{}\"", set.file, split);
  } else {
    return NotFound("{}: \"{}\" is not there: {}", set.file, split, known->second[0].string());
  }
  if (pictures.empty()) return NotFound("{}: no picture in it", set.root.string());
  return pictures;
}

// Where Ultralytics looks: the last folder "images" becomes "labels"; without one beside the picture.
fs::path LabelFileOf(const fs::path& picture) {
  std::vector<fs::path> parts(picture.begin(), picture.end());
  for (size_t i = parts.size(); i-- > 0;) {
    if (parts[i] != "images") continue;
    parts[i] = "labels";
    break;
  }
  fs::path file;
  for (const fs::path& part : parts) file /= part;
  return file.replace_extension(".txt");
}

// --- labels

// Calls `take` with every object of a file; errors as file:line.
template <typename Take>
absl::Status ForEachObject(const fs::path& file, const YoloFormat& format, PictureSize picture,
                           Take take) {
  SL_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(file.string(), kMostTextBytes));
  return ForEachLine(text, [&](size_t number, std::string_view line) -> absl::Status {
    const absl::StatusOr<YoloObject> object = ParseYoloLine(line, format, picture);
    if (!object.ok()) {
      return WithContext(object.status(), fmt::format("{}:{}", file.string(), number));
    }
    take(*object);
    return absl::OkStatus();
  });
}

// Text files beside which no picture lies: mostly a sign that folders do not belong together.
int64_t CountStrangeFiles(const std::set<fs::path>& folders, const std::set<fs::path>& known) {
  int64_t strange = 0;
  std::error_code error;
  for (const fs::path& folder : folders) {
    for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
      const fs::path& file = at->path();
      if (file.extension() != ".txt" || file.filename() == "classes.txt") continue;
      strange += known.contains(file) ? 0 : 1;
    }
  }
  return strange;
}

YoloFormat FormatOf(const DataSet& set) {
  return {.classes = set.names.empty() ? 0 : set.names.rbegin()->first + 1,
          .key_points = set.key_points,
          .key_point_values = set.key_point_values};
}

}  // namespace

bool LooksLikeYolo(const std::string& folder) {
  const fs::path root(folder);
  if (IsFolder(root / "labels") && IsFolder(root / "images")) return true;
  if (IsFile(root / "classes.txt")) return !IsFolder(root / "Annotations");
  for (const char* const name : {"data.yaml", "data.yml", "dataset.yaml"}) {
    if (IsFile(root / name)) return true;
  }
  return false;
}

absl::StatusOr<LabelledPictures> ReadYoloTruth(const std::string& path, const std::string& split,
                                               const PictureAccess& access) {
  SL_ASSIGN_OR_RETURN(const DataSet set, ReadDataSet(path));
  LabelledPictures truth{.format = "YOLO", .class_names = set.names};
  SL_ASSIGN_OR_RETURN(const std::set<fs::path> pictures, PicturesOf(set, split, access, &truth));
  const YoloFormat format = FormatOf(set);
  std::set<fs::path> label_files;
  std::set<fs::path> label_folders;
  size_t without_file = 0;
  for (const fs::path& path : pictures) {
    LabelledPicture picture;
    picture.id = static_cast<int64_t>(truth.pictures.size());
    picture.name = path.filename().string();
    picture.path = path.string();
    SL_ASSIGN_OR_RETURN(const PictureSize size, access.size_of(picture.path));
    picture.width = size.width;
    picture.height = size.height;
    const fs::path file = LabelFileOf(path);
    label_files.insert(file);
    label_folders.insert(file.parent_path());
    if (IsFile(file)) {
      SL_RETURN_IF_ERROR(ForEachObject(file, format, size, [&](const YoloObject& object) {
        picture.truth.push_back(
            {.box_px = object.box_px, .class_id = object.class_id, .area_px2 = object.area_px2});
      }));
    } else {
      ++without_file;
    }
    truth.pictures.push_back(std::move(picture));
  }
  if (without_file == pictures.size()) {
    return NotFound("{}: none of the {} pictures has a label file; for the first it would be {}",
                    path, pictures.size(), LabelFileOf(*pictures.begin()).string());
  }
  if (without_file > 0) {
    truth.remarks.push_back(fmt::format(
        "{} pictures have no label file: nothing is to be found in them", without_file));
  }
  const int64_t strange = CountStrangeFiles(label_folders, label_files);
  if (strange > 0) {
    truth.remarks.push_back(
        fmt::format("{} label files belong to no picture that is judged", strange));
  }
  return truth;
}

absl::StatusOr<ReadBoxes> ReadYoloResults(const LabelledPictures& truth,
                                          const std::string& folder) {
  if (!truth.numbered_classes) {
    return InvalidArgument(
        "{}: YOLO's results number the classes, and the truth only names them; write their names "
        "into a classes.txt in the truth's folder, one a line, class 0 first",
        folder);
  }
  const fs::path labels =
      IsFolder(fs::path(folder) / "labels") ? fs::path(folder) / "labels" : fs::path(folder);
  std::unordered_map<std::string, size_t> by_stem;
  for (size_t i = 0; i < truth.pictures.size(); ++i) {
    const std::string stem = PictureStem(truth.pictures[i].name);
    if (by_stem.try_emplace(stem, i).second) continue;
    return InvalidArgument(
        "{}: two pictures of the truth are called {}, and results know them by that name alone; "
        "judge "
        "one part of the truth with --split",
        folder, stem);
  }
  std::vector<int32_t> classes;  // by YOLO's number: COCO's ids have gaps, and begin at 1
  if (truth.format == "COCO") {
    for (const auto& [id, name] : truth.class_names) classes.push_back(id);
  }
  SL_ASSIGN_OR_RETURN(const std::vector<fs::path> files, FilesBelow(labels));
  ReadBoxes read;
  read.found.resize(truth.pictures.size());
  YoloFormat format{.with_confidence = true};
  format.classes = !classes.empty()            ? static_cast<int32_t>(classes.size())
                   : truth.class_names.empty() ? 0
                                               : truth.class_names.rbegin()->first + 1;
  size_t matched = 0;
  for (const fs::path& file : files) {
    if (file.extension() != ".txt" || file.filename() == "classes.txt") continue;
    const auto found = by_stem.find(file.stem().string());
    if (found == by_stem.end()) {
      return InvalidArgument("{}: the truth has no picture \"{}\"", file.string(),
                             ShownText(file.stem().string()));
    }
    const LabelledPicture& picture = truth.pictures[found->second];
    if (picture.width <= 0 || picture.height <= 0) {
      return InvalidArgument(
          "{}: the size of the picture {} is not known, so its fractions mean nothing; the truth "
          "has to say its width and height",
          file.string(), picture.name);
    }
    ++matched;
    SL_RETURN_IF_ERROR(
        ForEachObject(file, format, {picture.width, picture.height}, [&](const YoloObject& object) {
          const auto number = static_cast<size_t>(object.class_id);
          const int32_t class_id = number < classes.size() ? classes[number] : object.class_id;
          if (!truth.class_names.contains(class_id)) {
            ++read.strange_boxes;
            return;
          }
          read.found[found->second].push_back(
              {.box_px = object.box_px, .class_id = class_id, .confidence = object.confidence});
        }));
  }
  if (matched > 0) return read;
  return NotFound("{}: no *.txt with results in it", folder);
}

}  // namespace sightline::evaluate
