// Any bytes as truth and results, in MOTChallenge's text and in COCO's JSON: judged or refused, never
// a crash or a hang; what is judged keeps its bounds. The first byte 0xFF parts the two files.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "evaluate/coco_files.h"
#include "evaluate/mot_files.h"

namespace {

using namespace sightline::evaluate;

void Mot(std::string_view truth_text, std::string_view found_text) {
  const auto truth = ParseMotTable(truth_text);
  const auto found = ParseMotTable(found_text);
  if (!truth.ok() || !found.ok()) return;
  for (const MotRules rules : {MotRules::kMot15, MotRules::kMot17, MotRules::kMot20}) {
    const auto outcome = CompareMot(*truth, *found, {.rules = rules, .least_visibility = 0.1});
    if (!outcome.ok()) continue;
    const MotReport& r = outcome->report;
    const bool sound = r.matches + r.misses == r.truth_boxes && r.misses >= 0 &&
                       r.matches + r.false_boxes == r.found_boxes && r.false_boxes >= 0 &&
                       r.id_misses >= 0 && r.id_false >= 0 && r.Mota() <= 1 && r.Idf1() <= 1 &&
                       r.HotaMean() >= 0 && r.HotaMean() <= 1 + 1e-9;
    if (!sound) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t part = text.find('\xFF');
  const std::string_view truth = text.substr(0, part);
  const std::string_view results =
      part == std::string_view::npos ? std::string_view() : text.substr(part + 1);
  Mot(truth, results);
  const auto coco = CompareCocoText(std::string(truth), std::string(results), "t", "r");
  if (coco.ok() && coco->report.map && !(*coco->report.map >= 0 && *coco->report.map <= 1 + 1e-9)) {
    std::abort();
  }
  return 0;
}
