#include "cli/eval_print.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

namespace sightline::cli {
namespace {

using evaluate::ClassAccuracy;
using evaluate::CrossingCount;
using evaluate::DetectionReport;
using evaluate::LabelClassAccuracy;
using evaluate::LabelReport;
using evaluate::MotReport;
using evaluate::SemanticClassAccuracy;
using evaluate::SemanticReport;
using nlohmann::ordered_json;

// The first column to the left, the others to the right, each as wide as its widest.
std::string Table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += i == 0 ? fmt::format("{:<{}}", row[i], widths[i])
                     : fmt::format("  {:>{}}", row[i], widths[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string Decimal(double value) { return fmt::format("{:.3f}", value); }
std::string Decimal(const evaluate::Share& value) { return value ? Decimal(*value) : "-"; }
std::string Whole(int64_t value) { return fmt::format("{}", value); }

ordered_json Json(const evaluate::Share& value) {
  return value ? ordered_json(*value) : ordered_json();
}

std::string NameOf(const std::map<int32_t, std::string>& names, int32_t class_id) {
  const auto found = names.find(class_id);
  return found == names.end() ? fmt::format("class {}", class_id) : found->second;
}

// Part of mAP50-95; absent where there was none.
evaluate::Share Kept(const DetectionReport& clean, const DetectionReport& perturbed) {
  if (!clean.map || !perturbed.map || *clean.map <= 0) return std::nullopt;
  return *perturbed.map / *clean.map;
}

evaluate::Share MeanKept(const DetectionReport& clean, const std::vector<RobustnessRow>& rows) {
  double sum = 0;
  int count = 0;
  for (const RobustnessRow& row : rows) {
    const evaluate::Share kept = Kept(clean, row.report);
    sum += kept.value_or(0);
    count += kept ? 1 : 0;
  }
  return count == 0 ? evaluate::Share() : evaluate::Share(sum / count);
}

std::string Percent(const evaluate::Share& share) {
  return share ? fmt::format("{:.0f} %", 100 * *share) : std::string("-");
}

struct Mistake {
  int32_t truth = 0;
  int32_t said = 0;
  int64_t pictures = 0;
};

// The commonest first.
std::vector<Mistake> WorstMistakes(const LabelReport& report) {
  constexpr size_t kShown = 10;
  std::vector<Mistake> mistakes;
  for (const auto& [pair, count] : report.confusion) {
    if (pair.first != pair.second) mistakes.push_back({pair.first, pair.second, count});
  }
  std::stable_sort(mistakes.begin(), mistakes.end(),
                   [](const Mistake& a, const Mistake& b) { return a.pictures > b.pictures; });
  if (mistakes.size() > kShown) mistakes.resize(kShown);
  return mistakes;
}

std::string SaidName(const std::map<int32_t, std::string>& names, int32_t class_id) {
  if (class_id == evaluate::LabelAccuracy::kNoLabel) return "(nothing)";
  if (class_id == evaluate::LabelAccuracy::kStrangeLabel) return "(another class)";
  return NameOf(names, class_id);
}

}  // namespace

void Note(const std::string& text) { std::fprintf(stderr, "sightline: note: %s\n", text.c_str()); }

std::string TrackTable(const std::vector<NamedMotReport>& rows) {
  std::vector<std::vector<std::string>> table = {
      {"tracks", "MOTA", "IDF1", "HOTA", "MOTP", "recall", "precision", "missed", "false",
       "switches", "fragments", "tracked", "partly", "lost"}};
  for (const auto& [name, r] : rows) {
    table.push_back({name, Decimal(r.Mota()), Decimal(r.Idf1()), Decimal(r.HotaMean()),
                     Decimal(r.Motp()), Decimal(r.Recall()), Decimal(r.Precision()),
                     Whole(r.misses), Whole(r.false_boxes), Whole(r.id_switches),
                     Whole(r.fragments), Whole(r.mostly_tracked), Whole(r.partly_tracked),
                     Whole(r.mostly_lost)});
  }
  return Table(table);
}

std::string BoxTable(const DetectionReport& report,
                     const std::map<int32_t, std::string>& class_names, const std::string& what) {
  std::vector<std::vector<std::string>> table = {
      {what, "mAP50", "mAP50-95", "mAP75", "recall50", "truth", "found", "right", "best F1", "at"}};
  for (const ClassAccuracy& c : report.classes) {
    table.push_back({NameOf(class_names, c.class_id), Decimal(c.ap_50), Decimal(c.ap),
                     Decimal(c.ap_75), Decimal(c.recall_50), Whole(c.truth), Whole(c.found),
                     Whole(c.right), Decimal(c.best_f1),
                     c.best_f1 > 0 ? fmt::format("{:.2f}", c.best_f1_confidence) : "-"});
  }
  table.push_back({"all", Decimal(report.map_50), Decimal(report.map), Decimal(report.map_75)});
  return Table(table) +
         fmt::format("small {}  medium {}  large {} (mAP50-95 by size of the truth)\n",
                     Decimal(report.map_small), Decimal(report.map_medium),
                     Decimal(report.map_large));
}

std::string CrossingTable(const std::vector<CrossingCount>& crossings) {
  std::vector<std::vector<std::string>> table = {
      {"crossings", "rule", "class", "truth", "found", "invented"}};
  CrossingCount all;
  for (const CrossingCount& c : crossings) {
    table.push_back({c.line, c.rule.empty() ? "(none)" : c.rule, c.object_class, Whole(c.truth),
                     Whole(c.found), Whole(c.invented)});
    all.truth += c.truth;
    all.found += c.found;
    all.invented += c.invented;
  }
  table.push_back({"all", "", "", Whole(all.truth), Whole(all.found), Whole(all.invented)});
  return Table(table);
}

ordered_json TrackJson(const NamedMotReport& row) {
  const MotReport& r = row.report;
  return {{"name", row.name},
          {"mota", r.Mota()},
          {"idf1", r.Idf1()},
          {"hota", r.HotaMean()},
          {"det_a", r.DetA()},
          {"ass_a", r.AssA()},
          {"loc_a", r.LocA()},
          {"motp", r.Motp()},
          {"recall", r.Recall()},
          {"precision", r.Precision()},
          {"id_recall", r.IdRecall()},
          {"id_precision", r.IdPrecision()},
          {"matches", r.matches},
          {"misses", r.misses},
          {"false", r.false_boxes},
          {"id_switches", r.id_switches},
          {"fragments", r.fragments},
          {"mostly_tracked", r.mostly_tracked},
          {"partly_tracked", r.partly_tracked},
          {"mostly_lost", r.mostly_lost},
          {"frames", r.frames},
          {"truth_boxes", r.truth_boxes},
          {"truth_ids", r.truth_ids},
          {"found_boxes", r.found_boxes},
          {"found_ids", r.found_ids}};
}

ordered_json BoxJson(const DetectionReport& report,
                     const std::map<int32_t, std::string>& class_names) {
  ordered_json classes = ordered_json::array();
  for (const ClassAccuracy& c : report.classes) {
    classes.push_back({{"class_id", c.class_id},
                       {"class", NameOf(class_names, c.class_id)},
                       {"ap", Json(c.ap)},
                       {"ap_50", Json(c.ap_50)},
                       {"ap_75", Json(c.ap_75)},
                       {"recall_50", Json(c.recall_50)},
                       {"truth", c.truth},
                       {"found", c.found},
                       {"right", c.right},
                       {"best_f1", c.best_f1},
                       {"best_f1_confidence", c.best_f1_confidence}});
  }
  return {{"pictures", report.pictures},
          {"map", Json(report.map)},
          {"map_50", Json(report.map_50)},
          {"map_75", Json(report.map_75)},
          {"map_small", Json(report.map_small)},
          {"map_medium", Json(report.map_medium)},
          {"map_large", Json(report.map_large)},
          {"recall_1", Json(report.recall_1)},
          {"recall_10", Json(report.recall_10)},
          {"recall_100", Json(report.recall_100)},
          {"recall_50", Json(report.recall_50)},
          {"recall_75", Json(report.recall_75)},
          {"recall_small", Json(report.recall_small)},
          {"recall_medium", Json(report.recall_medium)},
          {"recall_large", Json(report.recall_large)},
          {"classes", classes}};
}

std::string RobustnessTable(const DetectionReport& clean, const std::vector<RobustnessRow>& rows) {
  std::vector<std::vector<std::string>> table = {
      {"pictures", "severity", "mAP50", "mAP50-95", "kept"},
      {"clean", "", Decimal(clean.map_50), Decimal(clean.map), "100 %"}};
  for (const RobustnessRow& row : rows) {
    table.push_back({row.perturbation, Whole(row.severity), Decimal(row.report.map_50),
                     Decimal(row.report.map), Percent(Kept(clean, row.report))});
  }
  table.push_back({"mean of the perturbed", "", "", "", Percent(MeanKept(clean, rows))});
  return Table(table);
}

ordered_json RobustnessJson(const DetectionReport& clean, const std::vector<RobustnessRow>& rows) {
  ordered_json list = ordered_json::array();
  for (const RobustnessRow& row : rows) {
    list.push_back({{"perturbation", row.perturbation},
                    {"severity", row.severity},
                    {"map", Json(row.report.map)},
                    {"map_50", Json(row.report.map_50)},
                    {"kept", Json(Kept(clean, row.report))}});
  }
  return {{"mean_kept", Json(MeanKept(clean, rows))}, {"perturbed", list}};
}

std::string LabelTable(const LabelReport& report,
                       const std::map<int32_t, std::string>& class_names) {
  std::vector<std::vector<std::string>> table = {
      {"classes", "precision", "recall", "F1", "truth", "found", "right"}};
  for (const LabelClassAccuracy& c : report.classes) {
    table.push_back({NameOf(class_names, c.class_id), Decimal(c.precision), Decimal(c.recall),
                     Decimal(c.f1), Whole(c.truth), Whole(c.found), Whole(c.right)});
  }
  table.push_back({"mean", Decimal(report.mean_precision), Decimal(report.mean_recall),
                   Decimal(report.mean_f1)});
  std::string text =
      fmt::format("{} pictures\n", report.pictures) + Table(table) +
      fmt::format("top-1 {}  top-{} {}\n", Decimal(report.top_1), report.k, Decimal(report.top_k));
  const std::vector<Mistake> mistakes = WorstMistakes(report);
  if (mistakes.empty()) return text;
  std::vector<std::vector<std::string>> worst = {{"taken for", "", "pictures"}};
  for (const Mistake& one : mistakes) {
    worst.push_back(
        {NameOf(class_names, one.truth), SaidName(class_names, one.said), Whole(one.pictures)});
  }
  return text + "\n" + Table(worst);
}

ordered_json LabelJson(const LabelReport& report,
                       const std::map<int32_t, std::string>& class_names) {
  ordered_json classes = ordered_json::array();
  for (const LabelClassAccuracy& c : report.classes) {
    classes.push_back({{"class_id", c.class_id},
                       {"class", NameOf(class_names, c.class_id)},
                       {"precision", Json(c.precision)},
                       {"recall", Json(c.recall)},
                       {"f1", Json(c.f1)},
                       {"truth", c.truth},
                       {"found", c.found},
                       {"right", c.right}});
  }
  ordered_json confusion = ordered_json::array();
  for (const auto& [pair, count] : report.confusion) {
    confusion.push_back({{"class", NameOf(class_names, pair.first)},
                         {"said", SaidName(class_names, pair.second)},
                         {"pictures", count}});
  }
  return {{"pictures", report.pictures},
          {"without_label", report.without_label},
          {"top_1", Json(report.top_1)},
          {"k", report.k},
          {"top_k", Json(report.top_k)},
          {"mean_precision", Json(report.mean_precision)},
          {"mean_recall", Json(report.mean_recall)},
          {"mean_f1", Json(report.mean_f1)},
          {"classes", classes},
          {"confusion", confusion}};
}

std::string SegmentTable(const SemanticReport& report,
                         const std::map<int32_t, std::string>& class_names) {
  std::vector<std::vector<std::string>> table = {
      {"classes", "IoU", "accuracy", "truth", "found", "right"}};
  for (const SemanticClassAccuracy& c : report.classes) {
    table.push_back({NameOf(class_names, c.class_id), Decimal(c.iou), Decimal(c.accuracy),
                     Whole(c.truth), Whole(c.found), Whole(c.right)});
  }
  table.push_back({"mean", Decimal(report.mean_iou), Decimal(report.mean_accuracy)});
  return fmt::format("{} pictures, {} pixels count, {} do not\n", report.pictures, report.pixels,
                     report.ignored) +
         Table(table) + fmt::format("pixel accuracy {}\n", Decimal(report.pixel_accuracy));
}

ordered_json SegmentJson(const SemanticReport& report,
                         const std::map<int32_t, std::string>& class_names) {
  ordered_json classes = ordered_json::array();
  for (const SemanticClassAccuracy& c : report.classes) {
    classes.push_back({{"class_id", c.class_id},
                       {"class", NameOf(class_names, c.class_id)},
                       {"iou", Json(c.iou)},
                       {"accuracy", Json(c.accuracy)},
                       {"truth", c.truth},
                       {"found", c.found},
                       {"right", c.right}});
  }
  return {{"pictures", report.pictures},
          {"pixels", report.pixels},
          {"ignored", report.ignored},
          {"mean_iou", Json(report.mean_iou)},
          {"pixel_accuracy", Json(report.pixel_accuracy)},
          {"mean_accuracy", Json(report.mean_accuracy)},
          {"classes", classes}};
}

ordered_json CrossingJson(const std::vector<CrossingCount>& crossings) {
  ordered_json lines = ordered_json::array();
  int64_t truth = 0;
  int64_t found = 0;
  int64_t invented = 0;
  for (const CrossingCount& c : crossings) {
    lines.push_back({{"line", c.line},
                     {"rule", c.rule.empty() ? ordered_json() : ordered_json(c.rule)},
                     {"class", c.object_class},
                     {"truth", c.truth},
                     {"found", c.found},
                     {"invented", c.invented}});
    truth += c.truth;
    found += c.found;
    invented += c.invented;
  }
  return {{"truth", truth}, {"found", found}, {"invented", invented}, {"lines", lines}};
}

}  // namespace sightline::cli
