#include "evaluate/coco_files.h"

#include <fmt/format.h>

#include <unordered_map>
#include <utility>
#include <vector>

#include "base/whole_file.h"
#include "evaluate/coco_json_internal.h"

namespace sightline::evaluate {
namespace {

// 0 where it is not said: nothing depends on it here.
int SideOf(const json& image, const char* key) {
  const auto found = image.find(key);
  if (found == image.end() || !found->is_number_integer()) return 0;
  const auto side = found->get<int64_t>();
  return side > 0 && side <= std::numeric_limits<int>::max() ? static_cast<int>(side) : 0;
}

absl::Status ReadImages(const json& truth, const std::string& name, LabelledPictures* into) {
  SL_ASSIGN_OR_RETURN(const json* const images, ListOf(truth, "images", name));
  std::map<int64_t, LabelledPicture> by_id;
  SL_RETURN_IF_ERROR(ForEachElement(
      *images, name + ": images", [&](const Element& element, const json& value) -> absl::Status {
        LabelledPicture picture;
        SL_ASSIGN_OR_RETURN(picture.id, element.Id("id"));
        picture.name = element.Text("file_name");
        if (picture.name.empty()) picture.name = fmt::format("{}", picture.id);
        picture.width = SideOf(value, "width");
        picture.height = SideOf(value, "height");
        const int64_t id = picture.id;
        if (by_id.try_emplace(id, std::move(picture)).second) return absl::OkStatus();
        return InvalidArgument("{}: a picture of id {} is there already", element.place(), id);
      }));
  for (auto& [id, picture] : by_id) into->pictures.push_back(std::move(picture));
  return absl::OkStatus();
}

absl::Status ReadCategories(const json& truth, const std::string& name,
                            std::map<int32_t, std::string>* classes) {
  SL_ASSIGN_OR_RETURN(const json* const categories, ListOf(truth, "categories", name));
  return ForEachElement(*categories, name + ": categories",
                        [&](const Element& element, const json&) -> absl::Status {
                          SL_ASSIGN_OR_RETURN(const int32_t id, element.ClassId("id"));
                          const std::string said = element.Text("name");
                          (*classes)[id] = said.empty() ? fmt::format("class {}", id) : said;
                          return absl::OkStatus();
                        });
}

absl::Status ReadAnnotations(const json& truth, const std::string& name, LabelledPictures* into) {
  SL_ASSIGN_OR_RETURN(const json* const annotations, ListOf(truth, "annotations", name));
  std::unordered_map<int64_t, LabelledPicture*> by_id;
  for (LabelledPicture& picture : into->pictures) by_id[picture.id] = &picture;
  return ForEachElement(*annotations, name + ": annotations",
                        [&](const Element& element, const json&) -> absl::Status {
                          TrueBox box;
                          SL_ASSIGN_OR_RETURN(const int64_t picture, element.Id("image_id"));
                          SL_ASSIGN_OR_RETURN(box.class_id, element.ClassId("category_id"));
                          SL_ASSIGN_OR_RETURN(box.box_px, element.BoundingBox());
                          SL_ASSIGN_OR_RETURN(box.crowd, element.Flag("iscrowd"));
                          if (element.Has("area")) {
                            SL_ASSIGN_OR_RETURN(box.area_px2, element.Number("area"));
                          }
                          const auto at = by_id.find(picture);
                          if (at == by_id.end()) {
                            return InvalidArgument("{}: no picture has the id {}", element.place(),
                                                   picture);
                          }
                          if (into->class_names.contains(box.class_id))
                            at->second->truth.push_back(box);
                          return absl::OkStatus();
                        });
}

// Pictures by what results call them.
class PictureNames {
 public:
  explicit PictureNames(const LabelledPictures& truth) : by_id_too_(truth.format == "COCO") {
    for (size_t i = 0; i < truth.pictures.size(); ++i) {
      const LabelledPicture& picture = truth.pictures[i];
      if (by_id_too_) by_id_[picture.id] = i;
      names_[PictureStem(picture.name)] = i;
      // Tools write the number of 000000000009.jpg as 9.
      if (!by_id_too_) numbers_[WithoutZeros(PictureStem(picture.name))] = i;
    }
  }
  absl::StatusOr<size_t> Find(const Element& element, const json& value) const {
    if (value.is_object() && value.contains("image_id") && value["image_id"].is_string()) {
      const std::string name = value["image_id"].get<std::string>();
      const auto found = names_.find(PictureStem(name));
      if (found != names_.end()) return found->second;
      return InvalidArgument("{}: the truth has no picture \"{}\"", element.place(),
                             ShownText(name));
    }
    SL_ASSIGN_OR_RETURN(const int64_t id, element.Id("image_id"));
    if (by_id_too_) {
      const auto found = by_id_.find(id);
      if (found != by_id_.end()) return found->second;
    } else {
      const auto found = numbers_.find(fmt::format("{}", id));
      if (found != numbers_.end()) return found->second;
    }
    return InvalidArgument("{}: the truth has no picture of id {}", element.place(), id);
  }

 private:
  static std::string WithoutZeros(const std::string& stem) {
    const size_t first = stem.find_first_not_of('0');
    return first == std::string::npos ? (stem.empty() ? stem : "0") : stem.substr(first);
  }
  const bool by_id_too_;
  std::unordered_map<int64_t, size_t> by_id_;
  std::unordered_map<std::string, size_t> names_;
  std::unordered_map<std::string, size_t> numbers_;
};

// The class of a result: by "category_name" where there is one.
absl::StatusOr<int32_t> ClassOf(const Element& element, const LabelledPictures& truth) {
  const std::string name = element.Text("category_name");
  if (!name.empty()) {
    for (const auto& [id, known] : truth.class_names) {
      if (known == name) return id;
    }
    return -1;
  }
  if (!truth.numbered_classes) {
    return InvalidArgument(
        "{} has no \"category_name\": the truth names its classes without numbers, so results name "
        "them, too; or put a classes.txt into the truth's folder",
        element.place());
  }
  return element.ClassId("category_id");
}

}  // namespace

absl::StatusOr<LabelledPictures> ReadCocoTruth(const std::string& text, const std::string& name) {
  LabelledPictures truth{.format = "COCO"};
  SL_ASSIGN_OR_RETURN(const json parsed, ParseJson(text, name));
  SL_RETURN_IF_ERROR(ReadImages(parsed, name, &truth));
  SL_RETURN_IF_ERROR(ReadCategories(parsed, name, &truth.class_names));
  SL_RETURN_IF_ERROR(ReadAnnotations(parsed, name, &truth));
  return truth;
}

absl::StatusOr<ReadBoxes> ReadCocoResults(const LabelledPictures& truth, const std::string& text,
                                          const std::string& name) {
  SL_ASSIGN_OR_RETURN(const json results, ParseJson(text, name));
  ReadBoxes read;
  read.found.resize(truth.pictures.size());
  const PictureNames pictures(truth);
  SL_RETURN_IF_ERROR(ForEachElement(
      results, name + ": results", [&](const Element& element, const json& value) -> absl::Status {
        FoundBox box;
        SL_ASSIGN_OR_RETURN(const size_t picture, pictures.Find(element, value));
        SL_ASSIGN_OR_RETURN(box.class_id, ClassOf(element, truth));
        SL_ASSIGN_OR_RETURN(box.box_px, element.BoundingBox());
        SL_ASSIGN_OR_RETURN(box.confidence, element.Number("score"));
        // As in pycocotools, boxes of a category that is not evaluated do not count.
        if (truth.class_names.contains(box.class_id)) {
          read.found[picture].push_back(box);
        } else {
          ++read.strange_boxes;
        }
        return absl::OkStatus();
      }));
  return read;
}

absl::StatusOr<CocoOutcome> CompareCocoText(const std::string& truth, const std::string& results,
                                            const std::string& truth_name,
                                            const std::string& result_name) {
  SL_ASSIGN_OR_RETURN(const LabelledPictures pictures, ReadCocoTruth(truth, truth_name));
  SL_ASSIGN_OR_RETURN(const ReadBoxes read, ReadCocoResults(pictures, results, result_name));
  CocoOutcome outcome;
  SL_ASSIGN_OR_RETURN(outcome.report, CompareBoxes(pictures, read.found));
  outcome.class_names = pictures.class_names;
  return outcome;
}

absl::StatusOr<CocoOutcome> CompareCoco(const std::string& truth_path,
                                        const std::string& result_path) {
  SL_ASSIGN_OR_RETURN(const std::string truth, ReadWholeFile(truth_path, kMostCocoBytes));
  SL_ASSIGN_OR_RETURN(const std::string results, ReadWholeFile(result_path, kMostCocoBytes));
  return CompareCocoText(truth, results, truth_path, result_path);
}

}  // namespace sightline::evaluate
