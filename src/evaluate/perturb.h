// Pictures made worse in the ways in which cameras make them worse, to see how much of a model's
// accuracy is left: each in three severities, the same for the same seed, picture and severity.
//
//   blur        Gaussian, sigma 1, 2, 4 px in a picture whose longer side is 640 px
//   noise       Gaussian of each sample, sigma 0.08, 0.12, 0.18 of the range
//   jpeg        quality 25, 15, 7
//   brightness  times 1.5, 2, 3 or divided by it (every other picture)
//   rotation    by 5, 10, 20 degrees about the middle, one way or the other
//   fog         30, 50, 70 % of a cloudy white veil
//   patches     4, 8, 16 grey squares, each 1/8 of the shorter side
//
// Noise is that of Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common
// Corruptions", ICLR 2019, and so is the idea; the other strengths are chosen. On rotation a true box
// becomes the box around the rotated ellipse within it, which is nearer to what people would draw than
// that around its rotated corners (Kalra et al., "Towards Rotation Invariance in Object Detection",
// ICCV 2021); of which less than a fourth stays in the picture need not be found.
// Threads: reentrant. Cost: up to some 30 ms for 640 x 480.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "evaluate/detection_accuracy.h"

namespace sightline::evaluate {

enum class Perturbation : uint8_t { kBlur, kNoise, kJpeg, kBrightness, kRotation, kFog, kPatches };
inline constexpr Perturbation kPerturbations[] = {
    Perturbation::kBlur,     Perturbation::kNoise, Perturbation::kJpeg,   Perturbation::kBrightness,
    Perturbation::kRotation, Perturbation::kFog,   Perturbation::kPatches};
inline constexpr int kSeverities = 3;

// "blur", "noise", ...
std::string_view ToString(Perturbation kind);
std::optional<Perturbation> PerturbationOf(std::string_view name);

// Packed BGR.
struct BgrImage {
  int width = 0;   // px
  int height = 0;  // px
  std::vector<uint8_t> bgr;
};

// There and back through JPEG; codecs are not this module's.
using JpegRoundTrip = std::function<absl::StatusOr<BgrImage>(const BgrImage&, int quality)>;

struct PerturbOptions {
  Perturbation kind = Perturbation::kBlur;
  int severity = 1;      // to kSeverities
  uint64_t seed = 0;     // of the evaluation
  uint64_t picture = 0;  // which one it is
};

// Of the same size. Errors: those of `jpeg`.
absl::StatusOr<BgrImage> Perturb(const PerturbOptions& options, BgrImage image,
                                 const JpegRoundTrip& jpeg);

// Where the true boxes are in the perturbed picture of that size.
std::vector<TrueBox> PerturbTruth(const PerturbOptions& options, int width, int height,
                                  const std::vector<TrueBox>& truth);

}  // namespace sightline::evaluate
