// How far two models agree where no truth is known: the results of one, taken for right, beside
// those of the other. For a model and its smaller or faster variant.
//
// Boxes agree when they have the same class and overlap at IoU 0.9 or more, each with at most one;
// pictures whose models name a class agree when the surest class is the same, and those with an
// embedding when its cosine similarity is 0.99 or more.
//
// Threads: reentrant. Cost: of boxes, both lists multiplied.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "evaluate/bootstrap.h"
#include "types/detections.h"

namespace sightline::evaluate {

inline constexpr double kSameBoxIou = 0.9;
inline constexpr double kSameEmbeddingCosine = 0.99;

// What two models said of one picture. A picture's class or embedding counts as one result.
struct PictureAgreement {
  int64_t reference = 0;  // results of the one that is taken for right
  int64_t other = 0;
  int64_t shared = 0;  // that both have
};

// What is compared of a picture; the rest of Detections is not kept.
struct PictureResults {
  std::vector<Detection> boxes;
  std::optional<ClassScore> surest_class;
  std::vector<float> embedding;  // of length 1
};

PictureAgreement Compare(const PictureResults& reference, const PictureResults& other);

// How much a picture's results differ, from 0 (not at all) up to 1 for each result: of every box of
// the reference 1 - (IoU with the other's best box of that class) * (1 - difference of their
// confidences), and 1 for each box that the reference lacks, by its confidence. Changes with every
// pixel, where Compare() changes with every box: for finding out which of two variants is better.
double Difference(const PictureResults& reference, const PictureResults& other);

struct Agreement {
  int64_t pictures = 0;
  int64_t reference = 0;
  int64_t other = 0;
  int64_t shared = 0;
  // Of the results of both, those that the other has, too: 2 shared / (reference + other). 1 where
  // neither found anything. Results that one invents count as much as those that it misses.
  double share = 1;
  // Of the reference's results those that the other has, too; absent without any.
  std::optional<double> found;
  std::optional<Interval> interval;  // of `share`
};

Agreement Summarise(std::span<const PictureAgreement> pictures,
                    const BootstrapOptions& options = {});

}  // namespace sightline::evaluate
