// Whether an INT8 model may take the place of its fp32 model, and what is said about it.
//
// The loss is held against the limit as it was measured; its interval (95 % of a bootstrap over the
// pictures) is said beside it. On demand the interval's upper end is held against it instead: then
// what is promoted loses no more than the limit as far as the pictures can tell, which for half a
// point of mAP takes thousands of them.
//
// mAP of few pictures is rough, and may by luck not show what was lost. So with boxes, too, the
// results must agree with those of the fp32 model, which is measured far more sharply.
//
// Threads: reentrant. Errors: none.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "evaluate/agreement.h"
#include "evaluate/bootstrap.h"
#include "evaluate/labelled_pictures.h"

namespace sightline::cli {

enum class JudgeBy : uint8_t { kUpperEnd, kEstimate };

struct Int8Limits {
  double map_loss = 0.005;      // of mAP50-95, as a difference
  double agreement_loss = 0.1;  // 1 - agreement
  JudgeBy by = JudgeBy::kEstimate;
  uint64_t seed = 1;
};

// Fewer results or true boxes than these say nothing; chosen.
inline constexpr int64_t kLeastJudged = 30;

struct Int8Verdict {
  bool by_map = false;  // else by agreement
  int64_t pictures = 0;
  int64_t judged = 0;   // true boxes; of agreement results of the fp32 model
  double fp32_map = 0;  // only with by_map
  double int8_map = 0;
  evaluate::Agreement agreement;  // at the model's own confidence
  double loss = 0;
  std::optional<evaluate::Interval> interval;  // of the loss
  double limit = 0;
  double agreement_limit = 0;  // as a loss
  bool promoted = false;
  std::string reason;  // one sentence, either way
  // What is held against the limits: upper ends, or the estimates.
  double decisive = 0;
  double decisive_agreement = 0;  // as a loss; without boxes the same as `decisive`
};

// What two models said of the same pictures.
struct BothResults {
  std::vector<evaluate::PictureResults> fp32;
  std::vector<evaluate::PictureResults> int8;
};

// By the results above `confidence` in both.
Int8Verdict JudgeByAgreement(const BothResults& results, float confidence,
                             const Int8Limits& limits);

// By true boxes. `fp32` and `int8` are in the classes of the truth. Errors: those of
// DetectionAccuracy.
absl::StatusOr<Int8Verdict> JudgeByMap(const evaluate::LabelledPictures& truth,
                                       const evaluate::FoundInPictures& fp32,
                                       const evaluate::FoundInPictures& int8,
                                       evaluate::Agreement agreement, const Int8Limits& limits);

// The agreement alone.
evaluate::Agreement AgreementOf(const BothResults& results, float confidence, uint64_t seed);

}  // namespace sightline::cli
