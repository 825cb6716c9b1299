#include "evaluate/coco_files.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/number_lines.h"
#include "base/whole_file.h"

namespace sightline::evaluate {
namespace {

using nlohmann::json;

constexpr uint64_t kMostBytes = uint64_t{512} << 20;

struct Picture {
  std::vector<TrueBox> truth;
  std::vector<FoundBox> found;
};
using Pictures = std::map<int64_t, Picture>;

// Outlines and key points are most of a file, and not looked at.
absl::StatusOr<json> ParseJson(const std::string& text, const std::string& name) {
  constexpr int kMostDepth = 64;
  bool too_deep = false;
  const auto keep = [&](int depth, json::parse_event_t event, json& value) {
    too_deep = too_deep || depth > kMostDepth;
    if (too_deep) return false;
    if (event != json::parse_event_t::key) return true;
    return value != "segmentation" && value != "keypoints";
  };
  try {
    json parsed = json::parse(text, keep);
    if (too_deep) return InvalidArgument("{}: nested deeper than {}", name, kMostDepth);
    return parsed;
  } catch (const json::exception& error) {
    return InvalidArgument("{}: no JSON: {}", name, ShownText(error.what()));
  }
}

// Errors name the element: annotations[3].bbox.
class Element {
 public:
  Element(const json& value, std::string place) : value_(value), place_(std::move(place)) {}

  absl::StatusOr<int64_t> Id(const char* key) const {
    SL_ASSIGN_OR_RETURN(const double number, Number(key));
    if (number != std::floor(number) || std::abs(number) > 9e15) {
      return InvalidArgument("{}.{} is {}, expected a whole number", place_, key, number);
    }
    return static_cast<int64_t>(number);
  }
  absl::StatusOr<int32_t> ClassId(const char* key) const {
    SL_ASSIGN_OR_RETURN(const int64_t id, Id(key));
    if (id < 0 || id > std::numeric_limits<int32_t>::max()) {
      return InvalidArgument("{}.{} is {}, expected 0 to 2147483647", place_, key, id);
    }
    return static_cast<int32_t>(id);
  }
  absl::StatusOr<double> Number(const char* key) const {
    if (!value_.is_object()) return InvalidArgument("{} is no object", place_);
    const auto found = value_.find(key);
    if (found == value_.end()) return InvalidArgument("{} has no \"{}\"", place_, key);
    if (!found->is_number() || !std::isfinite(found->get<double>())) {
      return InvalidArgument("{}.{} is no number", place_, key);
    }
    return found->get<double>();
  }
  // Absent is 0.
  absl::StatusOr<bool> Flag(const char* key) const {
    const auto found = value_.find(key);
    if (found == value_.end()) return false;
    if (found->is_boolean()) return found->get<bool>();
    SL_ASSIGN_OR_RETURN(const double number, Number(key));
    return number != 0;
  }
  bool Has(const char* key) const { return value_.is_object() && value_.contains(key); }
  absl::StatusOr<PlacedBox> BoundingBox() const {
    if (!value_.is_object() || !value_.contains("bbox")) {
      return InvalidArgument("{} has no \"bbox\"", place_);
    }
    const json& box = value_["bbox"];
    bool good = box.is_array() && box.size() == 4;
    for (size_t i = 0; good && i < 4; ++i) {
      good = box[i].is_number() && std::isfinite(box[i].get<double>());
    }
    if (!good) return InvalidArgument("{}.bbox is not [x, y, width, height]", place_);
    return PlacedBox{box[0].get<double>(), box[1].get<double>(), box[2].get<double>(),
                     box[3].get<double>()};
  }
  const std::string& place() const { return place_; }

 private:
  const json& value_;
  const std::string place_;
};

template <typename Take>
absl::Status ForEachElement(const json& list, const std::string& name, Take take) {
  if (!list.is_array()) return InvalidArgument("{} is no list", name);
  for (size_t i = 0; i < list.size(); ++i) {
    SL_RETURN_IF_ERROR(take(Element(list[i], fmt::format("{}[{}]", name, i)), list[i]));
  }
  return absl::OkStatus();
}

absl::StatusOr<const json*> ListOf(const json& truth, const char* key, const std::string& name) {
  if (truth.is_object() && truth.contains(key)) return &truth[key];
  return InvalidArgument(
      "{}: no \"{}\"; a truth file has \"images\", \"categories\" and \"annotations\"", name, key);
}

absl::Status ReadTruth(const json& truth, const std::string& name, Pictures* pictures,
                       std::map<int32_t, std::string>* classes) {
  SL_ASSIGN_OR_RETURN(const json* const images, ListOf(truth, "images", name));
  SL_ASSIGN_OR_RETURN(const json* const categories, ListOf(truth, "categories", name));
  SL_ASSIGN_OR_RETURN(const json* const annotations, ListOf(truth, "annotations", name));
  SL_RETURN_IF_ERROR(ForEachElement(
      *images, name + ": images", [&](const Element& element, const json&) -> absl::Status {
        SL_ASSIGN_OR_RETURN(const int64_t id, element.Id("id"));
        if (pictures->try_emplace(id).second) return absl::OkStatus();
        return InvalidArgument("{}: a picture of id {} is there already", element.place(), id);
      }));
  SL_RETURN_IF_ERROR(ForEachElement(*categories, name + ": categories",
                                    [&](const Element& element, const json& value) -> absl::Status {
                                      SL_ASSIGN_OR_RETURN(const int32_t id, element.ClassId("id"));
                                      const auto said = value.find("name");
                                      (*classes)[id] = said != value.end() && said->is_string()
                                                           ? said->get<std::string>()
                                                           : fmt::format("class {}", id);
                                      return absl::OkStatus();
                                    }));
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
                          const auto at = pictures->find(picture);
                          if (at == pictures->end()) {
                            return InvalidArgument("{}: no picture has the id {}", element.place(),
                                                   picture);
                          }
                          if (classes->contains(box.class_id)) at->second.truth.push_back(box);
                          return absl::OkStatus();
                        });
}

absl::Status ReadResults(const json& results, const std::string& name,
                         const std::map<int32_t, std::string>& classes, Pictures* pictures) {
  return ForEachElement(
      results, name + ": results", [&](const Element& element, const json&) -> absl::Status {
        FoundBox box;
        SL_ASSIGN_OR_RETURN(const int64_t picture, element.Id("image_id"));
        SL_ASSIGN_OR_RETURN(box.class_id, element.ClassId("category_id"));
        SL_ASSIGN_OR_RETURN(box.box_px, element.BoundingBox());
        SL_ASSIGN_OR_RETURN(box.confidence, element.Number("score"));
        const auto at = pictures->find(picture);
        if (at == pictures->end()) {
          return InvalidArgument("{}: the truth has no picture of id {}", element.place(), picture);
        }
        // As in pycocotools, boxes of a category that is not evaluated do not count.
        if (classes.contains(box.class_id)) at->second.found.push_back(box);
        return absl::OkStatus();
      });
}

}  // namespace

absl::StatusOr<CocoOutcome> CompareCocoText(const std::string& truth, const std::string& results,
                                            const std::string& truth_name,
                                            const std::string& result_name) {
  Pictures pictures;
  CocoOutcome outcome;
  {
    SL_ASSIGN_OR_RETURN(const json parsed, ParseJson(truth, truth_name));
    SL_RETURN_IF_ERROR(ReadTruth(parsed, truth_name, &pictures, &outcome.class_names));
  }
  {
    SL_ASSIGN_OR_RETURN(const json parsed, ParseJson(results, result_name));
    SL_RETURN_IF_ERROR(ReadResults(parsed, result_name, outcome.class_names, &pictures));
  }
  DetectionAccuracy accuracy;
  for (const auto& [id, picture] : pictures) {
    SL_RETURN_IF_ERROR(WithContext(accuracy.AddPicture(picture.truth, picture.found),
                                   fmt::format("picture {}", id)));
  }
  outcome.report = accuracy.Report();
  return outcome;
}

absl::StatusOr<CocoOutcome> CompareCoco(const std::string& truth_path,
                                        const std::string& result_path) {
  SL_ASSIGN_OR_RETURN(const std::string truth, ReadWholeFile(truth_path, kMostBytes));
  SL_ASSIGN_OR_RETURN(const std::string results, ReadWholeFile(result_path, kMostBytes));
  return CompareCocoText(truth, results, truth_path, result_path);
}

}  // namespace sightline::evaluate
