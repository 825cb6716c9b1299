#include "cli/calibrate/int8_verdict.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "evaluate/detection_accuracy.h"
#include "evaluate/resampled_map.h"

namespace sightline::cli {
namespace {

evaluate::PictureResults Confident(const evaluate::PictureResults& all, float confidence) {
  evaluate::PictureResults kept = all;
  std::erase_if(kept.boxes,
                [confidence](const Detection& box) { return box.confidence < confidence; });
  return kept;
}

// With how many pictures the interval would end below the limit, if the loss stays as it is.
int64_t PicturesWanted(const Int8Verdict& verdict) {
  const double half = verdict.interval->high - verdict.loss;
  const double room = verdict.limit - verdict.loss;
  const double wanted = static_cast<double>(verdict.pictures) * (half / room) * (half / room);
  return static_cast<int64_t>(std::ceil(std::min(wanted, 1e9)));
}

std::string Points(double share) { return fmt::format("{:.2f}", 100 * share); }

std::string LossWords(const Int8Verdict& v) {
  std::string words =
      v.by_map ? fmt::format("it {} {} points of mAP50-95 ({} in fp32, {} in INT8)",
                             v.loss < 0 ? "gains" : "loses", Points(std::abs(v.loss)),
                             Points(v.fp32_map), Points(v.int8_map))
               : fmt::format("{} % of the results differ from those in fp32", Points(v.loss));
  if (v.interval) {
    words += fmt::format(", with 95 % certainty a loss between {} and {}", Points(v.interval->low),
                         Points(v.interval->high));
  }
  return words + fmt::format(", on {} pictures", v.pictures);
}

void Decide(const Int8Limits& limits, Int8Verdict& v) {
  const char* const what = v.by_map ? "true boxes" : "results of the fp32 model";
  if (v.judged < kLeastJudged) {
    v.reason = fmt::format("{} {} are too few to judge by ({} are the least): give more pictures",
                           v.judged, what, kLeastJudged);
    return;
  }
  if (v.by_map && v.fp32_map <= 0) {
    v.reason = "the fp32 model finds nothing of what is labelled, so nothing can be compared";
    return;
  }
  if (!v.interval) {
    v.reason = "the pictures give no interval: give more of them";
    return;
  }
  const bool upper = limits.by == JudgeBy::kUpperEnd;
  v.decisive = upper ? v.interval->high : v.loss;
  const auto& agreed = v.agreement.interval;
  v.decisive_agreement = 1 - (upper && agreed ? agreed->low : v.agreement.share);
  const bool agrees = v.decisive_agreement <= v.agreement_limit;
  v.promoted = v.decisive <= v.limit && agrees;
  const std::string limit = fmt::format("the limit of {}{}", Points(v.limit), v.by_map ? "" : " %");
  if (v.promoted) {
    v.reason = fmt::format("{}: within {}", LossWords(v), limit);
  } else if (v.by_map && !agrees) {
    v.reason = fmt::format(
        "{}: {} % of the results differ from those in fp32, more than the limit of {} %",
        LossWords(v), Points(v.decisive_agreement), Points(v.agreement_limit));
  } else if (v.loss > v.limit) {
    v.reason = fmt::format("{}: more than {}", LossWords(v), limit);
  } else {
    v.reason = fmt::format("{}: it may be more than {}. About {} pictures to judge by would tell",
                           LossWords(v), limit, PicturesWanted(v));
  }
}

}  // namespace

evaluate::Agreement AgreementOf(const BothResults& results, float confidence, uint64_t seed) {
  std::vector<evaluate::PictureAgreement> pictures;
  for (size_t i = 0; i < results.fp32.size(); ++i) {
    pictures.push_back(evaluate::Compare(Confident(results.fp32[i], confidence),
                                         Confident(results.int8[i], confidence)));
  }
  return evaluate::Summarise(pictures, {.seed = seed});
}

Int8Verdict JudgeByAgreement(const BothResults& results, float confidence,
                             const Int8Limits& limits) {
  Int8Verdict verdict;
  verdict.agreement = AgreementOf(results, confidence, limits.seed);
  verdict.pictures = verdict.agreement.pictures;
  verdict.judged = verdict.agreement.reference;
  verdict.loss = 1 - verdict.agreement.share;
  if (const auto& of = verdict.agreement.interval; of) {
    verdict.interval = evaluate::Interval{1 - of->high, 1 - of->low};
  }
  verdict.limit = verdict.agreement_limit = limits.agreement_loss;
  verdict.decisive = verdict.loss;
  verdict.decisive_agreement = 1 - verdict.agreement.share;
  Decide(limits, verdict);
  return verdict;
}

absl::StatusOr<Int8Verdict> JudgeByMap(const evaluate::LabelledPictures& truth,
                                       const evaluate::FoundInPictures& fp32,
                                       const evaluate::FoundInPictures& int8,
                                       evaluate::Agreement agreement, const Int8Limits& limits) {
  evaluate::DetectionAccuracy of_fp32;
  evaluate::DetectionAccuracy of_int8;
  for (size_t i = 0; i < truth.pictures.size(); ++i) {
    const evaluate::LabelledPicture& picture = truth.pictures[i];
    SL_RETURN_IF_ERROR(WithContext(of_fp32.AddPicture(picture.truth, fp32[i]), picture.name));
    SL_RETURN_IF_ERROR(WithContext(of_int8.AddPicture(picture.truth, int8[i]), picture.name));
  }
  Int8Verdict verdict;
  verdict.by_map = true;
  verdict.pictures = static_cast<int64_t>(truth.pictures.size());
  verdict.agreement = std::move(agreement);
  const evaluate::DetectionReport report = of_fp32.Report();
  for (const evaluate::ClassAccuracy& one : report.classes) verdict.judged += one.truth;
  verdict.fp32_map = report.map.value_or(0);
  verdict.int8_map = of_int8.Report().map.value_or(0);
  verdict.loss = verdict.fp32_map - verdict.int8_map;
  const evaluate::ResampledMap fp32_map(of_fp32);
  const evaluate::ResampledMap int8_map(of_int8);
  // Of both on the same drawing, so that pictures that are hard for both do not widen it.
  verdict.interval =
      evaluate::BootstrapInterval(truth.pictures.size(),
                                  [&](std::span<const uint32_t> times) -> std::optional<double> {
                                    const evaluate::Share one = fp32_map.MapOf(times);
                                    const evaluate::Share two = int8_map.MapOf(times);
                                    if (!one || !two) return std::nullopt;
                                    return *one - *two;
                                  },
                                  {.seed = limits.seed});
  verdict.limit = limits.map_loss;
  verdict.agreement_limit = limits.agreement_loss;
  verdict.decisive = verdict.loss;
  verdict.decisive_agreement = 1 - verdict.agreement.share;
  Decide(limits, verdict);
  return verdict;
}

}  // namespace sightline::cli
