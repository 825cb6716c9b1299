#include "evaluate/coco_masks.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "base/whole_file.h"
#include "evaluate/coco_files.h"
#include "evaluate/coco_json_internal.h"
#include "evaluate/mask_runs.h"

namespace sightline::evaluate {
namespace {

struct Picture {
  int width = 0;
  int height = 0;
  std::vector<TrueBox> truth;
  std::vector<MaskRuns> true_masks;
  std::vector<FoundBox> found;
  std::vector<MaskRuns> found_masks;
};
using Pictures = std::map<int64_t, Picture>;

absl::StatusOr<MaskRuns> MaskOfOutlines(const json& outlines, const Picture& picture) {
  MaskRuns whole{picture.width,
                 picture.height,
                 {static_cast<uint32_t>(picture.width) * static_cast<uint32_t>(picture.height)}};
  for (const json& outline : outlines) {
    if (!outline.is_array()) return InvalidArgument("an outline is no list of numbers");
    std::vector<double> points;
    for (const json& value : outline) {
      if (!value.is_number()) return InvalidArgument("an outline holds what is no number");
      points.push_back(value.get<double>());
    }
    SL_ASSIGN_OR_RETURN(const MaskRuns part, MaskOfOutline(points, picture.width, picture.height));
    whole = Union(whole, part);
  }
  return whole;
}

absl::StatusOr<MaskRuns> MaskOfRunsObject(const json& object, const Picture& picture) {
  const auto size = object.find("size");
  const auto counts = object.find("counts");
  const bool good = size != object.end() && size->is_array() && size->size() == 2 &&
                    (*size)[0].is_number_integer() && (*size)[1].is_number_integer() &&
                    counts != object.end();
  if (!good) return InvalidArgument("no \"size\":[height,width] and \"counts\"");
  const auto height = (*size)[0].get<int64_t>();
  const auto width = (*size)[1].get<int64_t>();
  if (height != picture.height || width != picture.width) {
    return InvalidArgument("a mask of {} x {} px in a picture of {} x {}", width, height,
                           picture.width, picture.height);
  }
  if (counts->is_string()) {
    return MaskOfText(counts->get<std::string>(), picture.width, picture.height);
  }
  if (!counts->is_array()) return InvalidArgument("\"counts\" is neither a text nor a list");
  std::vector<int64_t> runs;
  for (const json& run : *counts) {
    if (!run.is_number_integer())
      return InvalidArgument("\"counts\" holds what is no whole number");
    runs.push_back(run.get<int64_t>());
  }
  return MaskOfRuns(runs, picture.width, picture.height);
}

absl::StatusOr<MaskRuns> MaskOf(const Element& element, const json& value, const Picture& picture) {
  const auto mask = value.find("segmentation");
  if (mask == value.end()) return InvalidArgument("{} has no \"segmentation\"", element.place());
  if (picture.width <= 0 || picture.height <= 0) {
    return InvalidArgument("{}: the truth says no width and height of its picture",
                           element.place());
  }
  absl::StatusOr<MaskRuns> runs = mask->is_array() ? MaskOfOutlines(*mask, picture)
                                  : mask->is_object()
                                      ? MaskOfRunsObject(*mask, picture)
                                      : InvalidArgument("neither a list nor an object");
  if (!runs.ok()) return WithContext(runs.status(), element.place() + ".segmentation");
  return runs;
}

absl::StatusOr<Picture*> PictureOf(const Element& element, Pictures* pictures) {
  SL_ASSIGN_OR_RETURN(const int64_t id, element.Id("image_id"));
  const auto at = pictures->find(id);
  if (at != pictures->end()) return &at->second;
  return InvalidArgument("{}: the truth has no picture of id {}", element.place(), id);
}

// What boxes are read from, once more for the masks.
absl::Status ReadTrueMasks(const json& truth, const std::string& name, const MaskOutcome& outcome,
                           Pictures* pictures) {
  SL_ASSIGN_OR_RETURN(const json* const annotations, ListOf(truth, "annotations", name));
  return ForEachElement(*annotations, name + ": annotations",
                        [&](const Element& element, const json& value) -> absl::Status {
                          SL_ASSIGN_OR_RETURN(Picture* const picture, PictureOf(element, pictures));
                          TrueBox box;
                          SL_ASSIGN_OR_RETURN(box.class_id, element.ClassId("category_id"));
                          SL_ASSIGN_OR_RETURN(box.crowd, element.Flag("iscrowd"));
                          SL_ASSIGN_OR_RETURN(MaskRuns mask, MaskOf(element, value, *picture));
                          box.area_px2 = static_cast<double>(AreaOf(mask));
                          if (element.Has("area")) {
                            SL_ASSIGN_OR_RETURN(box.area_px2, element.Number("area"));
                          }
                          if (!outcome.class_names.contains(box.class_id)) return absl::OkStatus();
                          picture->truth.push_back(box);
                          picture->true_masks.push_back(std::move(mask));
                          return absl::OkStatus();
                        });
}

absl::Status ReadFoundMasks(const json& results, const std::string& name,
                            const MaskOutcome& outcome, Pictures* pictures) {
  return ForEachElement(results, name + ": results",
                        [&](const Element& element, const json& value) -> absl::Status {
                          SL_ASSIGN_OR_RETURN(Picture* const picture, PictureOf(element, pictures));
                          FoundBox box;
                          SL_ASSIGN_OR_RETURN(box.class_id, element.ClassId("category_id"));
                          SL_ASSIGN_OR_RETURN(box.confidence, element.Number("score"));
                          SL_ASSIGN_OR_RETURN(MaskRuns mask, MaskOf(element, value, *picture));
                          box.area_px2 = static_cast<double>(AreaOf(mask));
                          if (!outcome.class_names.contains(box.class_id)) return absl::OkStatus();
                          picture->found.push_back(box);
                          picture->found_masks.push_back(std::move(mask));
                          return absl::OkStatus();
                        });
}

}  // namespace

absl::StatusOr<MaskOutcome> CompareMasksText(const std::string& truth, const std::string& results,
                                             const std::string& truth_name,
                                             const std::string& result_name) {
  MaskOutcome outcome;
  Pictures pictures;
  {
    SL_ASSIGN_OR_RETURN(const LabelledPictures labelled, ReadCocoTruth(truth, truth_name));
    outcome.class_names = labelled.class_names;
    for (const LabelledPicture& one : labelled.pictures) {
      pictures[one.id] = {.width = one.width, .height = one.height};
    }
    SL_ASSIGN_OR_RETURN(const json parsed, ParseJson(truth, truth_name, /*shapes=*/true));
    SL_RETURN_IF_ERROR(ReadTrueMasks(parsed, truth_name, outcome, &pictures));
  }
  {
    SL_ASSIGN_OR_RETURN(const json parsed, ParseJson(results, result_name, /*shapes=*/true));
    SL_RETURN_IF_ERROR(ReadFoundMasks(parsed, result_name, outcome, &pictures));
  }
  DetectionAccuracy accuracy;
  for (const auto& [id, picture] : pictures) {
    const Similarity similarity = [&picture = picture](size_t found, size_t of_truth) {
      return MaskOverlap(picture.found_masks[found], picture.true_masks[of_truth],
                         picture.truth[of_truth].crowd);
    };
    SL_RETURN_IF_ERROR(WithContext(accuracy.AddPicture(picture.truth, picture.found, similarity),
                                   fmt::format("picture {}", id)));
  }
  outcome.report = accuracy.Report();
  return outcome;
}

absl::StatusOr<MaskOutcome> CompareMasks(const std::string& truth_path,
                                         const std::string& result_path) {
  SL_ASSIGN_OR_RETURN(const std::string truth, ReadWholeFile(truth_path, kMostCocoBytes));
  SL_ASSIGN_OR_RETURN(const std::string results, ReadWholeFile(result_path, kMostCocoBytes));
  return CompareMasksText(truth, results, truth_path, result_path);
}

}  // namespace sightline::evaluate
