#include "evaluate/key_points.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/whole_file.h"
#include "evaluate/coco_json_internal.h"

namespace sightline::evaluate {
namespace {

constexpr size_t kMostAPicture = 20;
constexpr size_t kMostPoints = 1000;

struct Picture {
  std::vector<TrueBox> truth;
  std::vector<std::vector<KeyPoint>> true_points;
  std::vector<FoundBox> found;
  std::vector<std::vector<KeyPoint>> found_points;
};
using Pictures = std::map<int64_t, Picture>;

// [x, y, v, ...]; all objects of one file have as many.
absl::Status TakePoints(const Element& element, const json& value, size_t* points,
                        std::vector<KeyPoint>* into) {
  const auto found = value.find("keypoints");
  const bool list = found != value.end() && found->is_array() && !found->empty() &&
                    found->size() % 3 == 0 && found->size() / 3 <= kMostPoints;
  if (!list) return InvalidArgument("{}.keypoints is not [x, y, v, ...]", element.place());
  if (*points == 0) *points = found->size() / 3;
  if (*points != found->size() / 3) {
    return InvalidArgument("{} has {} key points, those before it {}", element.place(),
                           found->size() / 3, *points);
  }
  for (size_t i = 0; i < found->size(); i += 3) {
    for (size_t k = i; k < i + 3; ++k) {
      if (!(*found)[k].is_number() || !std::isfinite((*found)[k].get<double>())) {
        return InvalidArgument("{}.keypoints[{}] is no number", element.place(), k);
      }
    }
    into->push_back({.x = (*found)[i].get<double>(),
                     .y = (*found)[i + 1].get<double>(),
                     .labelled = (*found)[i + 2].get<double>() > 0});
  }
  return absl::OkStatus();
}

PlacedBox BoxAround(const std::vector<KeyPoint>& points) {
  double left = std::numeric_limits<double>::infinity();
  double top = left;
  double right = -left;
  double bottom = -left;
  for (const KeyPoint& point : points) {
    left = std::min(left, point.x);
    right = std::max(right, point.x);
    top = std::min(top, point.y);
    bottom = std::max(bottom, point.y);
  }
  return {left, top, right - left, bottom - top};
}

absl::StatusOr<Picture*> PictureOf(const Element& element, Pictures* pictures) {
  SL_ASSIGN_OR_RETURN(const int64_t id, element.Id("image_id"));
  const auto at = pictures->find(id);
  if (at != pictures->end()) return &at->second;
  return InvalidArgument("{}: the truth has no picture of id {}", element.place(), id);
}

absl::Status ReadTruth(const json& truth, const std::string& name, Pictures* pictures,
                       KeyPointOutcome* outcome) {
  SL_ASSIGN_OR_RETURN(const json* const images, ListOf(truth, "images", name));
  SL_ASSIGN_OR_RETURN(const json* const categories, ListOf(truth, "categories", name));
  SL_ASSIGN_OR_RETURN(const json* const annotations, ListOf(truth, "annotations", name));
  SL_RETURN_IF_ERROR(ForEachElement(*images, name + ": images",
                                    [&](const Element& element, const json&) -> absl::Status {
                                      SL_ASSIGN_OR_RETURN(const int64_t id, element.Id("id"));
                                      (*pictures)[id];
                                      return absl::OkStatus();
                                    }));
  SL_RETURN_IF_ERROR(ForEachElement(
      *categories, name + ": categories", [&](const Element& element, const json&) -> absl::Status {
        SL_ASSIGN_OR_RETURN(const int32_t id, element.ClassId("id"));
        const std::string said = element.Text("name");
        outcome->class_names[id] = said.empty() ? fmt::format("class {}", id) : said;
        return absl::OkStatus();
      }));
  return ForEachElement(*annotations, name + ": annotations",
                        [&](const Element& element, const json& value) -> absl::Status {
                          SL_ASSIGN_OR_RETURN(Picture* const picture, PictureOf(element, pictures));
                          if (!element.Has("keypoints"))
                            return absl::OkStatus();  // a class without
                          TrueBox box;
                          std::vector<KeyPoint> points;
                          SL_ASSIGN_OR_RETURN(box.class_id, element.ClassId("category_id"));
                          SL_ASSIGN_OR_RETURN(box.box_px, element.BoundingBox());
                          SL_ASSIGN_OR_RETURN(box.area_px2, element.Number("area"));
                          SL_ASSIGN_OR_RETURN(const bool crowd, element.Flag("iscrowd"));
                          SL_RETURN_IF_ERROR(TakePoints(element, value, &outcome->points, &points));
                          int64_t labelled =
                              std::count_if(points.begin(), points.end(),
                                            [](const KeyPoint& one) { return one.labelled; });
                          if (element.Has("num_keypoints")) {
                            SL_ASSIGN_OR_RETURN(labelled, element.Id("num_keypoints"));
                          }
                          box.crowd = crowd;
                          box.ignored = labelled == 0;
                          if (!outcome->class_names.contains(box.class_id)) return absl::OkStatus();
                          picture->truth.push_back(box);
                          picture->true_points.push_back(std::move(points));
                          return absl::OkStatus();
                        });
}

absl::Status ReadResults(const json& results, const std::string& name, Pictures* pictures,
                         KeyPointOutcome* outcome) {
  return ForEachElement(results, name + ": results",
                        [&](const Element& element, const json& value) -> absl::Status {
                          SL_ASSIGN_OR_RETURN(Picture* const picture, PictureOf(element, pictures));
                          FoundBox box;
                          std::vector<KeyPoint> points;
                          SL_ASSIGN_OR_RETURN(box.class_id, element.ClassId("category_id"));
                          SL_ASSIGN_OR_RETURN(box.confidence, element.Number("score"));
                          SL_RETURN_IF_ERROR(TakePoints(element, value, &outcome->points, &points));
                          box.box_px = BoxAround(points);
                          if (!outcome->class_names.contains(box.class_id)) return absl::OkStatus();
                          picture->found.push_back(box);
                          picture->found_points.push_back(std::move(points));
                          return absl::OkStatus();
                        });
}

}  // namespace

std::vector<double> KeyPointSigmas(size_t points) {
  // Nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles: measured by COCO's authors.
  static constexpr double kCoco[] = {.026, .025, .025, .035, .035, .079, .079, .072, .072,
                                     .062, .062, .107, .107, .087, .087, .089, .089};
  if (points == std::size(kCoco)) return {std::begin(kCoco), std::end(kCoco)};
  return std::vector<double>(points, 1.0 / static_cast<double>(std::max<size_t>(1, points)));
}

double KeyPointSimilarity(const std::vector<KeyPoint>& found, const std::vector<KeyPoint>& truth,
                          const PlacedBox& box_px, double area_px2,
                          const std::vector<double>& sigmas) {
  const bool any =
      std::any_of(truth.begin(), truth.end(), [](const KeyPoint& one) { return one.labelled; });
  // Without labelled points a found one is the less like it the further it is from twice its box.
  const double left = box_px.x - box_px.width;
  const double right = box_px.x + box_px.width * 2;
  const double top = box_px.y - box_px.height;
  const double bottom = box_px.y + box_px.height * 2;
  double sum = 0;
  int count = 0;
  for (size_t i = 0; i < truth.size(); ++i) {
    if (any && !truth[i].labelled) continue;
    double dx = found[i].x - truth[i].x;
    double dy = found[i].y - truth[i].y;
    if (!any) {
      dx = std::max(0.0, left - found[i].x) + std::max(0.0, found[i].x - right);
      dy = std::max(0.0, top - found[i].y) + std::max(0.0, found[i].y - bottom);
    }
    const double variance = (sigmas[i] * 2) * (sigmas[i] * 2);
    const double e =
        (dx * dx + dy * dy) / variance / (area_px2 + std::numeric_limits<double>::epsilon()) / 2;
    sum += std::exp(-e);
    ++count;
  }
  return count == 0 ? 0 : sum / count;
}

absl::StatusOr<KeyPointOutcome> CompareKeyPointsText(const std::string& truth,
                                                     const std::string& results,
                                                     const std::string& truth_name,
                                                     const std::string& result_name) {
  KeyPointOutcome outcome;
  Pictures pictures;
  {
    SL_ASSIGN_OR_RETURN(const json parsed, ParseJson(truth, truth_name, /*shapes=*/true));
    SL_RETURN_IF_ERROR(ReadTruth(parsed, truth_name, &pictures, &outcome));
  }
  if (outcome.points == 0) {
    return InvalidArgument("{}: no annotation has \"keypoints\"", truth_name);
  }
  {
    SL_ASSIGN_OR_RETURN(const json parsed, ParseJson(results, result_name, /*shapes=*/true));
    SL_RETURN_IF_ERROR(ReadResults(parsed, result_name, &pictures, &outcome));
  }
  const std::vector<double> sigmas = KeyPointSigmas(outcome.points);
  DetectionAccuracy accuracy(50'000'000, kMostAPicture);
  for (const auto& [id, picture] : pictures) {
    // Named anew: Clang before 16 cannot capture a structured binding.
    const Similarity similarity = [&picture = picture, &sigmas](size_t found, size_t of_truth) {
      const TrueBox& box = picture.truth[of_truth];
      return KeyPointSimilarity(picture.found_points[found], picture.true_points[of_truth],
                                box.box_px, box.area_px2, sigmas);
    };
    SL_RETURN_IF_ERROR(WithContext(accuracy.AddPicture(picture.truth, picture.found, similarity),
                                   fmt::format("picture {}", id)));
  }
  outcome.report = accuracy.Report();
  // COCO has no small people with key points.
  outcome.report.map_small = outcome.report.recall_small = std::nullopt;
  outcome.report.recall_1 = outcome.report.recall_10 = std::nullopt;
  return outcome;
}

absl::StatusOr<KeyPointOutcome> CompareKeyPoints(const std::string& truth_path,
                                                 const std::string& result_path) {
  SL_ASSIGN_OR_RETURN(const std::string truth, ReadWholeFile(truth_path, kMostCocoBytes));
  SL_ASSIGN_OR_RETURN(const std::string results, ReadWholeFile(result_path, kMostCocoBytes));
  return CompareKeyPointsText(truth, results, truth_path, result_path);
}

}  // namespace sightline::evaluate
