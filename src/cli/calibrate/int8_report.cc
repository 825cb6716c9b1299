#include "cli/calibrate/int8_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>
#include <utility>
#include <vector>

namespace sightline::cli {
namespace {

using nlohmann::ordered_json;

constexpr size_t kShownLayers = 8;

const Int8Layer* LayerOf(const TrialResult& result, const std::string& name) {
  const auto at = std::ranges::find(result.layers, name, &Int8Layer::name);
  return at == result.layers.end() ? nullptr : &*at;
}

// "3 depthwise, 1 first"
std::string KindsInFp32(const TrialResult& result) {
  std::map<std::string, int> kinds;
  for (const std::string& name : result.search.choice.in_fp32) {
    if (const Int8Layer* const layer = LayerOf(result, name)) ++kinds[layer->kind];
  }
  std::vector<std::string> words;
  for (const auto& [kind, count] : kinds) words.push_back(fmt::format("{} {}", count, kind));
  return fmt::format("{}", fmt::join(words, ", "));
}

// A name out of a model file, without what would move a terminal's cursor.
std::string Shown(std::string name) {
  std::erase_if(name, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  return name;
}

ordered_json IntervalJson(const std::optional<evaluate::Interval>& interval) {
  if (!interval) return nullptr;
  return {interval->low, interval->high};
}

ordered_json VerdictJson(const Int8Verdict& v) {
  ordered_json json = {{"by", v.by_map ? "mAP50-95" : "agreement with fp32"},
                       {"pictures", v.pictures},
                       {"loss", v.loss},
                       {"loss_interval_95", IntervalJson(v.interval)},
                       {"limit", v.limit},
                       {"decisive", v.decisive},
                       {"agreement_limit", v.agreement_limit},
                       {"decisive_agreement", v.decisive_agreement}};
  if (v.by_map) {
    json["true_boxes"] = v.judged;
    json["map_fp32"] = v.fp32_map;
    json["map_int8"] = v.int8_map;
  }
  const evaluate::Agreement& a = v.agreement;
  json["agreement"] = {{"share", a.share},
                       {"share_interval_95", IntervalJson(a.interval)},
                       {"results_fp32", a.reference},
                       {"results_int8", a.other},
                       {"shared", a.shared}};
  return json;
}

ordered_json SearchJson(const TrialResult& result) {
  const Int8SearchResult& search = result.search;
  ordered_json methods = ordered_json::array();
  for (const auto& [method, change] : search.methods) {
    methods.push_back({{"method", method}, {"change", change}});
  }
  ordered_json ranking = ordered_json::array();
  for (const SensitiveLayer& one : search.ranking) {
    ranking.push_back({{"layer", one.layer.name},
                       {"op", one.layer.op},
                       {"kind", one.layer.kind},
                       {"change", one.tried ? ordered_json(one.change) : ordered_json(nullptr)},
                       {"fp32", search.choice.in_fp32.contains(one.layer.name)}});
  }
  return {{"methods", methods},
          {"models_judged", search.models_judged},
          {"ended_by_time", search.ended_by_time},
          {"layers", ranking}};
}

}  // namespace

std::string ProcessorWords() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  std::string model;
  std::vector<std::string> found;
  while (std::getline(file, line) && (model.empty() || found.empty())) {
    const size_t colon = line.find(": ");
    if (colon == std::string::npos) continue;
    if (line.starts_with("model name") && model.empty()) model = line.substr(colon + 2);
    if (!line.starts_with("flags") && !line.starts_with("Features")) continue;
    std::istringstream words(line.substr(colon + 2));
    for (std::string word; words >> word;) {
      for (const char* const known :
           {"avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"}) {
        if (word == known) found.push_back(word);
      }
    }
  }
  if (model.empty()) model = "unknown";
  return fmt::format(
      "{} ({})", model,
      found.empty() ? "no INT8 instructions known" : fmt::format("{}", fmt::join(found, ", ")));
}

ordered_json TrialJson(const TrialOptions& options, const TrialResult& result,
                       const TrialWords& words) {
  const Int8Choice& choice = result.search.choice;
  ordered_json speed = ordered_json::array();
  for (const SpeedGain& gain : result.speed) {
    speed.push_back({{"backend", gain.backend},
                     {"version", gain.version},
                     {"fp32_cpu_ms", gain.fp32_cpu_ms},
                     {"int8_cpu_ms", gain.int8_cpu_ms},
                     {"gain", gain.fp32_cpu_ms / std::max(gain.int8_cpu_ms, 1e-9)}});
  }
  const CalibrationPictures& pictures = options.pictures;
  ordered_json json = {
      {"model", words.model},
      {"sha256", options.spec.sha256},
      {"promoted", result.verdict.promoted},
      {"name", words.promoted.empty() ? ordered_json(nullptr) : ordered_json(words.promoted)},
      {"reason", result.verdict.reason},
      {"verdict", VerdictJson(result.verdict)},
      {"backend", result.backend},
      {"method", choice.method},
      {"weight_bits", choice.weight_bits},
      {"layers", result.layers.size()},
      {"layers_in_fp32", choice.in_fp32},
      {"pictures",
       {{"calibration", pictures.work.pictures.size()},
        {"evaluation", pictures.judge.pictures.size()},
        {"labelled", pictures.labelled},
        {"copies_left_out", pictures.copies},
        {"beyond_the_most", pictures.beyond},
        {"unreadable", pictures.unreadable},
        {"seed", options.limits.seed}}},
      {"speed", speed},
      {"processor", ProcessorWords()},
      {"search", SearchJson(result)},
      {"versions", result.versions}};
  if (!words.kept_at.empty()) json["kept_at"] = words.kept_at;
  return json;
}

std::string TrialText(const TrialOptions& options, const TrialResult& result) {
  const Int8SearchResult& search = result.search;
  const CalibrationPictures& pictures = options.pictures;
  std::string text = fmt::format("pictures   {} to calibrate, {} others to judge by\n",
                                 pictures.work.pictures.size(), pictures.judge.pictures.size());
  text += fmt::format(
      "calibrated by {}, weights of {} bits, a scale for each channel; judged with {}\n",
      search.choice.method, search.choice.weight_bits, result.backend);
  const size_t in_fp32 = search.choice.in_fp32.size();
  text += fmt::format("layers     {} in INT8, {} in fp32{}\n", result.layers.size() - in_fp32,
                      in_fp32, in_fp32 == 0 ? "" : ": " + KindsInFp32(result));
  for (size_t i = 0; i < std::min(kShownLayers, search.ranking.size()); ++i) {
    const SensitiveLayer& one = search.ranking[i];
    if (!one.tried) break;
    text += fmt::format("  {:<5} {:<10} changes the results by {:.4f} alone: {}\n",
                        search.choice.in_fp32.contains(one.layer.name) ? "fp32" : "INT8",
                        one.layer.kind, one.change, Shown(one.layer.name));
  }
  if (search.ended_by_time) text += "  the search ended by its time limit (--search-time)\n";
  const evaluate::Agreement& a = result.verdict.agreement;
  text += fmt::format("agreement  {:.2f} % of the results ({} in fp32, {} in INT8, {} of both)\n",
                      100 * a.share, a.reference, a.other, a.shared);
  for (const SpeedGain& gain : result.speed) {
    text += fmt::format(
        "speed      {:.2f} ms of CPU in fp32, {:.2f} in INT8: {:.2f} times ({} {})\n",
        gain.fp32_cpu_ms, gain.int8_cpu_ms, gain.fp32_cpu_ms / std::max(gain.int8_cpu_ms, 1e-9),
        gain.backend, gain.version);
  }
  return text + fmt::format("processor  {}\n", ProcessorWords());
}

}  // namespace sightline::cli
