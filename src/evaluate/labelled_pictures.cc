#include "evaluate/labelled_pictures.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <iterator>
#include <optional>
#include <set>
#include <utility>

#include "base/whole_file.h"
#include "evaluate/coco_files.h"
#include "evaluate/voc_files.h"
#include "evaluate/yolo_files.h"

namespace sightline::evaluate {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMostJsonBytes = uint64_t{512} << 20;

bool IsFolder(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

std::vector<fs::path> JsonFilesOf(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (at->path().extension() == ".json") files.push_back(at->path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

bool IsCalledLikeTruth(const fs::path& json) {
  const std::string name = json.filename().string();
  return name.starts_with("instances") || name == "_annotations.coco.json";
}

// The JSON of a COCO folder: the only one, or the only one that is called as such files are.
absl::StatusOr<std::optional<fs::path>> CocoFileOf(const fs::path& folder) {
  std::vector<fs::path> files = JsonFilesOf(folder);
  const std::vector<fs::path> deeper = JsonFilesOf(folder / "annotations");
  files.insert(files.end(), deeper.begin(), deeper.end());
  if (files.empty()) return std::optional<fs::path>();
  if (files.size() == 1) return std::optional<fs::path>(files[0]);
  std::vector<fs::path> named;
  std::copy_if(files.begin(), files.end(), std::back_inserter(named), IsCalledLikeTruth);
  if (named.size() == 1) return std::optional<fs::path>(named[0]);
  std::vector<std::string> names;
  for (const fs::path& file : named.empty() ? files : named) names.push_back(file.string());
  if (names.size() > 5) names.resize(5);
  return InvalidArgument("{}: several JSON files could be the truth; name one: {}", folder.string(),
                         fmt::join(names, ", "));
}

// Where the pictures of a COCO file may lie: beside it, a level up, in images/ and what is in it.
std::vector<fs::path> PictureFolders(const fs::path& json) {
  const fs::path beside = fs::absolute(json).parent_path();
  std::vector<fs::path> folders;
  for (const fs::path& base : {beside, beside.parent_path()}) {
    folders.push_back(base / "images");
    folders.push_back(base);
    for (const fs::path& parent : {base / "images", base}) {
      std::vector<fs::path> inside;
      std::error_code error;
      for (fs::directory_iterator at(parent, error), end; !error && at != end;
           at.increment(error)) {
        if (IsFolder(at->path())) inside.push_back(at->path());
      }
      std::sort(inside.begin(), inside.end());
      folders.insert(folders.end(), inside.begin(), inside.end());
    }
  }
  return folders;
}

void FindPictures(const fs::path& json, LabelledPictures* truth) {
  const std::vector<fs::path> folders = PictureFolders(json);
  size_t last = 0;
  std::error_code error;
  for (LabelledPicture& picture : truth->pictures) {
    for (size_t i = 0; i < folders.size(); ++i) {
      const size_t at = (last + i) % folders.size();
      const fs::path file = folders[at] / picture.name;
      if (!fs::is_regular_file(file, error)) continue;
      picture.path = file.lexically_normal().string();
      last = at;
      break;
    }
  }
}

// Where the truth does not say them and the picture is there; one that cannot be read shows itself
// when it is needed.
void FindSizes(const PictureAccess& access, LabelledPictures* truth) {
  for (LabelledPicture& picture : truth->pictures) {
    if ((picture.width > 0 && picture.height > 0) || picture.path.empty()) continue;
    const absl::StatusOr<PictureSize> size = access.size_of(picture.path);
    if (!size.ok()) continue;
    picture.width = size->width;
    picture.height = size->height;
  }
}

absl::StatusOr<LabelledPictures> ReadCoco(const std::string& path, const PictureAccess& access) {
  fs::path file = path;
  if (IsFolder(path)) {
    SL_ASSIGN_OR_RETURN(const std::optional<fs::path> found, CocoFileOf(path));
    if (!found) return NotFound("{}: no JSON file in it, nor in annotations/", path);
    file = *found;
  }
  SL_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(file.string(), kMostJsonBytes));
  SL_ASSIGN_OR_RETURN(LabelledPictures truth, ReadCocoTruth(text, file.string()));
  FindPictures(file, &truth);
  FindSizes(access, &truth);
  return truth;
}

struct Candidate {
  const char* format;
  const char* what;
};

absl::StatusOr<std::string> RecognisedFormat(const std::string& path) {
  if (!IsFolder(path)) {
    const std::string extension = fs::path(path).extension().string();
    return std::string(extension == ".yaml" || extension == ".yml" ? "yolo" : "coco");
  }
  std::vector<Candidate> candidates;
  if (LooksLikeYolo(path)) candidates.push_back({"yolo", "YOLO's labels"});
  if (LooksLikeVoc(path)) candidates.push_back({"voc", "Pascal VOC's XML"});
  std::vector<fs::path> json = JsonFilesOf(path);
  const std::vector<fs::path> deeper = JsonFilesOf(fs::path(path) / "annotations");
  json.insert(json.end(), deeper.begin(), deeper.end());
  // Beside other labels any JSON may lie: results, settings.
  if (!candidates.empty()) std::erase_if(json, std::not_fn(IsCalledLikeTruth));
  if (!json.empty()) candidates.push_back({"coco", "JSON such as COCO's"});
  if (candidates.size() == 1) return std::string(candidates[0].format);
  if (candidates.empty()) {
    return NotFound(
        "{}: no truth is in it; known are YOLO (images/, labels/, data.yaml or classes.txt), "
        "Pascal "
        "VOC (Annotations/*.xml) and COCO (a JSON file, alone or in annotations/)",
        path);
  }
  std::vector<std::string> there;
  std::vector<std::string> choices;
  for (const Candidate& one : candidates) {
    there.emplace_back(one.what);
    choices.push_back(fmt::format("--format {}", one.format));
  }
  return InvalidArgument("{} holds {}; say which is the truth: {}", path, fmt::join(there, " and "),
                         fmt::join(choices, " or "));
}

}  // namespace

absl::StatusOr<LabelledPictures> ReadLabelledPictures(const std::string& path,
                                                      const TruthChoice& choice,
                                                      const PictureAccess& access) {
  std::string format = choice.format;
  if (format == "auto") {
    SL_ASSIGN_OR_RETURN(format, RecognisedFormat(path));
  }
  absl::StatusOr<LabelledPictures> truth =
      format == "yolo"  ? ReadYoloTruth(path, choice.split, access)
      : format == "voc" ? ReadVocTruth(path, choice.split, access)
                        : ReadCoco(path, access);
  if (!truth.ok()) return truth;
  if (format == "coco" && !choice.split.empty() && choice.split != "all") {
    return InvalidArgument("{}: COCO's truth has no parts; name the JSON file of \"{}\"", path,
                           choice.split);
  }
  if (truth->pictures.empty()) return NotFound("{}: the truth has no picture", path);
  return truth;
}

absl::StatusOr<ReadBoxes> ReadFoundBoxes(const LabelledPictures& truth, const std::string& path) {
  if (IsFolder(path)) return ReadYoloResults(truth, path);
  SL_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(path, kMostJsonBytes));
  return ReadCocoResults(truth, text, path);
}

absl::StatusOr<DetectionReport> CompareBoxes(const LabelledPictures& truth,
                                             const FoundInPictures& found) {
  DetectionAccuracy accuracy;
  for (size_t i = 0; i < truth.pictures.size(); ++i) {
    const LabelledPicture& picture = truth.pictures[i];
    SL_RETURN_IF_ERROR(WithContext(accuracy.AddPicture(picture.truth, found[i]),
                                   fmt::format("picture {}", picture.name)));
  }
  return accuracy.Report();
}

std::string PictureStem(const std::string& name) { return fs::path(name).stem().string(); }

}  // namespace sightline::evaluate
