// Whether an INT8 model may take the place of its fp32 model, and what is said about it.
//
// The loss is held against the limit by the upper end of its interval (95 % of a bootstrap over the
// pictures): what is promoted loses no more than the limit as far as the pictures can tell. Few
// pictures give wide intervals, so that they refuse rather than promote by luck. By the estimate
// alone it is on demand.
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
  double map_loss = 0.005;       // of mAP50-95, as a difference
  double agreement_loss = 0.05;  // 1 - agreement, where no boxes are given
  JudgeBy by = JudgeBy::kUpperEnd;
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
  bool promoted = false;
  std::string reason;  // one sentence, either way
  // What the decision rests on: the upper end or the estimate.
  double decisive = 0;
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
