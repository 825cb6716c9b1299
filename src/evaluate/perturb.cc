#include "evaluate/perturb.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <utility>

namespace sightline::evaluate {
namespace {

constexpr double kGrey = 114;  // what letterboxes are filled with; tells a detector nothing
constexpr double kLeastVisible = 0.25;

// Sebastiano Vigna's SplitMix64: numbers in any order, the same everywhere.
class Random {
 public:
  explicit Random(const PerturbOptions& options)
      : state_(options.seed * 0x9E3779B97F4A7C15 + options.picture * 0xD1B54A32D192ED03 +
               static_cast<uint64_t>(options.kind) * 16 + static_cast<uint64_t>(options.severity)) {
    Next();
  }
  uint64_t Next() {
    state_ += 0x9E3779B97F4A7C15;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }
  // 0 to below 1.
  double Uniform() { return static_cast<double>(Next() >> 11) * 0x1p-53; }
  // Mean 0, standard deviation 1: twelve uniform numbers, which needs no logarithm (libraries differ
  // in its last bit).
  double Normal() {
    double sum = -6;
    for (int i = 0; i < 6; ++i) {
      const uint64_t bits = Next();
      sum += static_cast<double>(bits >> 32) * 0x1p-32 +
             static_cast<double>(bits & 0xFFFFFFFF) * 0x1p-32;
    }
    return sum;
  }

 private:
  uint64_t state_;
};

template <typename Value>
Value BySeverity(int severity, Value weak, Value middle, Value strong) {
  return severity <= 1 ? weak : severity == 2 ? middle : strong;
}

cv::Mat View(BgrImage& image) { return {image.height, image.width, CV_8UC3, image.bgr.data()}; }

uint8_t Clip(double value) {
  return static_cast<uint8_t>(std::clamp(std::floor(value + 0.5), 0.0, 255.0));
}

void Blur(const PerturbOptions& options, BgrImage& image) {
  const double sigma =
      BySeverity(options.severity, 1.0, 2.0, 4.0) * std::max(image.width, image.height) / 640.0;
  cv::Mat blurred;
  cv::GaussianBlur(View(image), blurred, {0, 0}, std::max(0.1, sigma));
  blurred.copyTo(View(image));
}

void AddNoise(const PerturbOptions& options, BgrImage& image) {
  const double sigma = 255 * BySeverity(options.severity, 0.08, 0.12, 0.18);
  Random random(options);
  for (uint8_t& sample : image.bgr) sample = Clip(sample + sigma * random.Normal());
}

void Brighten(const PerturbOptions& options, BgrImage& image) {
  double gain = BySeverity(options.severity, 1.5, 2.0, 3.0);
  if (options.picture % 2 == 1) gain = 1 / gain;
  std::vector<uint8_t> table(256);
  for (int i = 0; i < 256; ++i) table[static_cast<size_t>(i)] = Clip(i * gain);
  for (uint8_t& sample : image.bgr) sample = table[sample];
}

// Degrees, counter-clockwise as seen.
double AngleOf(const PerturbOptions& options) {
  const double angle = BySeverity(options.severity, 5.0, 10.0, 20.0);
  return Random(options).Next() % 2 == 0 ? angle : -angle;
}

void Rotate(const PerturbOptions& options, BgrImage& image) {
  // OpenCV counts from the middle of the first pixel, boxes from its corner.
  const cv::Point2f middle(static_cast<float>(image.width) / 2 - 0.5f,
                           static_cast<float>(image.height) / 2 - 0.5f);
  const cv::Mat turn = cv::getRotationMatrix2D(middle, AngleOf(options), 1);
  cv::Mat turned;
  cv::warpAffine(View(image), turned, turn, {image.width, image.height}, cv::INTER_LINEAR,
                 cv::BORDER_CONSTANT, {kGrey, kGrey, kGrey});
  turned.copyTo(View(image));
}

// A cloud: random numbers at three scales, smoothed, from 0 to 1 about 0.5.
cv::Mat Cloud(const PerturbOptions& options, int width, int height) {
  Random random(options);
  cv::Mat sum = cv::Mat::zeros(height, width, CV_32F);
  for (const auto& [cells, weight] :
       {std::pair{3, 0.5f}, std::pair{7, 0.3f}, std::pair{15, 0.2f}}) {
    cv::Mat coarse(cells, cells, CV_32F);
    for (int y = 0; y < cells; ++y) {
      for (int x = 0; x < cells; ++x) coarse.at<float>(y, x) = static_cast<float>(random.Uniform());
    }
    cv::Mat fine;
    cv::resize(coarse, fine, {width, height}, 0, 0, cv::INTER_LINEAR);
    sum += weight * fine;
  }
  return sum;
}

void AddFog(const PerturbOptions& options, BgrImage& image) {
  constexpr double kFogWhite = 220;  // chosen: fog by day
  const double veil = BySeverity(options.severity, 0.3, 0.5, 0.7);
  const cv::Mat cloud = Cloud(options, image.width, image.height);
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      const double part = std::min(1.0, veil * (0.6 + 0.8 * cloud.at<float>(y, x)));
      uint8_t* const pixel = &image.bgr[(static_cast<size_t>(y) * static_cast<size_t>(image.width) +
                                         static_cast<size_t>(x)) *
                                        3];
      for (int c = 0; c < 3; ++c) pixel[c] = Clip(pixel[c] * (1 - part) + kFogWhite * part);
    }
  }
}

void AddPatches(const PerturbOptions& options, BgrImage& image) {
  const int count = BySeverity(options.severity, 4, 8, 16);
  const int side = std::max(1, std::min(image.width, image.height) / 8);
  Random random(options);
  cv::Mat view = View(image);
  for (int i = 0; i < count; ++i) {
    const int x = static_cast<int>(random.Uniform() * std::max(1, image.width - side + 1));
    const int y = static_cast<int>(random.Uniform() * std::max(1, image.height - side + 1));
    cv::rectangle(view, cv::Rect(x, y, side, side), {kGrey, kGrey, kGrey}, cv::FILLED);
  }
}

// The box around the rotated ellipse in the box, cut at the picture.
TrueBox RotateBox(const TrueBox& truth, double radians, double width, double height) {
  const PlacedBox& box = truth.box_px;
  const double cos = std::cos(radians);
  const double sin = std::sin(radians);
  const double from_x = box.x + box.width / 2 - width / 2;
  const double from_y = box.y + box.height / 2 - height / 2;
  // y points down, so that counter-clockwise as seen has this sign.
  const double x = width / 2 + cos * from_x + sin * from_y;
  const double y = height / 2 - sin * from_x + cos * from_y;
  const double half_width = std::hypot(box.width / 2 * cos, box.height / 2 * sin);
  const double half_height = std::hypot(box.width / 2 * sin, box.height / 2 * cos);
  const double left = std::clamp(x - half_width, 0.0, width);
  const double right = std::clamp(x + half_width, 0.0, width);
  const double top = std::clamp(y - half_height, 0.0, height);
  const double bottom = std::clamp(y + half_height, 0.0, height);
  TrueBox rotated = truth;
  rotated.box_px = {left, top, right - left, bottom - top};
  const double whole = 4 * half_width * half_height;
  if (rotated.box_px.area() < kLeastVisible * whole) rotated.ignored = true;
  return rotated;
}

}  // namespace

std::string_view ToString(Perturbation kind) {
  switch (kind) {
    case Perturbation::kBlur:
      return "blur";
    case Perturbation::kNoise:
      return "noise";
    case Perturbation::kJpeg:
      return "jpeg";
    case Perturbation::kBrightness:
      return "brightness";
    case Perturbation::kRotation:
      return "rotation";
    case Perturbation::kFog:
      return "fog";
    case Perturbation::kPatches:
      return "patches";
  }
  return "";
}

std::optional<Perturbation> PerturbationOf(std::string_view name) {
  for (const Perturbation kind : kPerturbations) {
    if (ToString(kind) == name) return kind;
  }
  return std::nullopt;
}

absl::StatusOr<BgrImage> Perturb(const PerturbOptions& options, BgrImage image,
                                 const JpegRoundTrip& jpeg) {
  switch (options.kind) {
    case Perturbation::kBlur:
      Blur(options, image);
      break;
    case Perturbation::kNoise:
      AddNoise(options, image);
      break;
    case Perturbation::kJpeg:
      return jpeg(image, BySeverity(options.severity, 25, 15, 7));
    case Perturbation::kBrightness:
      Brighten(options, image);
      break;
    case Perturbation::kRotation:
      Rotate(options, image);
      break;
    case Perturbation::kFog:
      AddFog(options, image);
      break;
    case Perturbation::kPatches:
      AddPatches(options, image);
      break;
  }
  return image;
}

std::vector<TrueBox> PerturbTruth(const PerturbOptions& options, int width, int height,
                                  const std::vector<TrueBox>& truth) {
  if (options.kind != Perturbation::kRotation) return truth;
  const double radians = AngleOf(options) * std::numbers::pi / 180;
  std::vector<TrueBox> rotated;
  for (const TrueBox& box : truth) rotated.push_back(RotateBox(box, radians, width, height));
  return rotated;
}

}  // namespace sightline::evaluate
