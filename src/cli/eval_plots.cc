#include "cli/eval_plots.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include "base/whole_file.h"
#include "evaluate/detection_confusion.h"
#include "media/image_codec.h"
#include "observe/accuracy_plots.h"

namespace sightline::cli {
namespace {

using evaluate::ClassAccuracy;

absl::Status WritePage(const std::string& folder, const std::string& name, const DrawnPage& page) {
  SL_RETURN_IF_ERROR(MakeFolder(folder));
  return WriteImage((std::filesystem::path(folder) / name).string(), page.view());
}

std::string Percent(const evaluate::Share& share) {
  return share ? fmt::format("{:.3f}", *share) : std::string("-");
}

// Those with most truth first: the picture names only some.
std::vector<PrecisionRecallCurve> CurvesOf(const evaluate::DetectionReport& report,
                                           const std::map<int32_t, std::string>& names) {
  std::vector<const ClassAccuracy*> classes;
  for (const ClassAccuracy& one : report.classes) {
    if (!one.precision_50.empty()) classes.push_back(&one);
  }
  std::stable_sort(
      classes.begin(), classes.end(),
      [](const ClassAccuracy* a, const ClassAccuracy* b) { return a->truth > b->truth; });
  std::vector<PrecisionRecallCurve> curves;
  for (const ClassAccuracy* const one : classes) {
    curves.push_back({.name = names.at(one->class_id),
                      .figure = Percent(one->ap_50),
                      .precision = one->precision_50});
  }
  return curves;
}

PrecisionRecallCurve MeanOf(const std::vector<PrecisionRecallCurve>& curves,
                            const evaluate::DetectionReport& report) {
  PrecisionRecallCurve mean{
      .name = "all classes", .figure = Percent(report.map_50), .precision = {}};
  for (const PrecisionRecallCurve& curve : curves) {
    mean.precision.resize(std::max(mean.precision.size(), curve.precision.size()));
    for (size_t i = 0; i < curve.precision.size(); ++i) {
      mean.precision[i] += curve.precision[i] / static_cast<double>(curves.size());
    }
  }
  return mean;
}

// Counts by pairs of ids as rows of the picture; ids that are no class go into the further rows and
// columns, in the order of `no_classes`.
void FillCounts(const std::map<std::pair<int32_t, int32_t>, int64_t>& counts,
                const std::map<int32_t, std::string>& names, const std::vector<int32_t>& no_classes,
                ConfusionPicture* picture) {
  std::map<int32_t, size_t> places;
  for (const auto& [id, name] : names) {
    places.emplace(id, places.size());
    picture->names.push_back(name);
  }
  for (const int32_t id : no_classes) places.emplace(id, places.size());
  const size_t columns = picture->names.size() + picture->more.size();
  const size_t rows = picture->names.size() + picture->more_rows.size();
  picture->counts.assign(rows * columns, 0);
  for (const auto& [pair, count] : counts) {
    picture->counts[places.at(pair.first) * columns + places.at(pair.second)] += count;
  }
}

}  // namespace

absl::Status WriteBoxPlots(const std::string& folder, const std::string& what,
                           const evaluate::LabelledPictures& truth,
                           const evaluate::FoundInPictures& found,
                           const evaluate::DetectionReport& report) {
  const std::vector<PrecisionRecallCurve> curves = CurvesOf(report, truth.class_names);
  SL_RETURN_IF_ERROR(WritePage(
      folder, "precision_recall.png",
      DrawPrecisionRecall("Precision over recall, IoU 0.5",
                          fmt::format("{}: {} pictures, mAP50 {}, mAP50-95 {}", what,
                                      report.pictures, Percent(report.map_50), Percent(report.map)),
                          curves, MeanOf(curves, report))));
  evaluate::DetectionConfusion confusion;
  for (size_t i = 0; i < truth.pictures.size(); ++i) {
    confusion.AddPicture(truth.pictures[i].truth, found[i]);
  }
  ConfusionPicture picture;
  picture.title = "What is taken for what";
  picture.subtitle = fmt::format("{}: boxes of confidence {} and more, at IoU 0.5", what,
                                 confusion.least_confidence());
  picture.more = {"missed"};
  picture.more_rows = {"nothing there"};
  FillCounts(confusion.counts(), truth.class_names, {evaluate::DetectionConfusion::kNothing},
             &picture);
  return WritePage(folder, "confusion.png", DrawConfusion(picture));
}

absl::Status WriteLabelPlots(const std::string& folder, const std::string& what,
                             const std::map<int32_t, std::string>& class_names,
                             const evaluate::LabelReport& report) {
  ConfusionPicture picture;
  picture.title = "What is taken for what";
  picture.subtitle = fmt::format("{}: {} pictures, top-1 {}, top-{} {}", what, report.pictures,
                                 Percent(report.top_1), report.k, Percent(report.top_k));
  picture.more = {"nothing", "another"};
  FillCounts(report.confusion, class_names,
             {evaluate::LabelAccuracy::kNoLabel, evaluate::LabelAccuracy::kStrangeLabel}, &picture);
  return WritePage(folder, "confusion.png", DrawConfusion(picture));
}

}  // namespace sightline::cli
