#include "detect/model_check.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <utility>

#include "detect/family.h"
#include "detect/neural_detector.h"
#include "types/geometry.h"
#include "vision/color.h"

namespace sightline {
namespace {

// Results of a trial are looked at from this part of the package's own confidence: a wrong reading
// may leave its marks below.
constexpr float kTrialShare = 0.5f;
constexpr float kSameObjectIou = 0.5f;

struct Preparation {
  std::array<float, 3> mean, scale;  // in the order R, G, B
};
// What models are trained with: pixels as they are, /255, ImageNet's statistics of both, -1..1.
constexpr std::array<Preparation, 5> kPreparations = {{
    {{0, 0, 0}, {1, 1, 1}},
    {{0, 0, 0}, {1 / 255.0f, 1 / 255.0f, 1 / 255.0f}},
    {{123.675f, 116.28f, 103.53f}, {1 / 58.395f, 1 / 57.12f, 1 / 57.375f}},
    {{123.675f, 116.28f, 103.53f}, {1, 1, 1}},
    {{127.5f, 127.5f, 127.5f}, {1 / 127.5f, 1 / 127.5f, 1 / 127.5f}},
}};

// Every word that some family has for a layout; a head refuses those that are not its own.
constexpr std::string_view kLayouts[] = {
    "raw_grid", "decoded",   "raw_deltas", "boxes_scores", "columns",      "xy_confidence",
    "xy",       "boxes",     "masks",      "rotated",      "rows",         "class_rows",
    "grid",     "activated", "maps",       "logits",       "probabilities"};

std::string Numbers(const std::array<float, 3>& v) {
  return fmt::format("[{:.6g}, {:.6g}, {:.6g}]", v[0], v[1], v[2]);
}

// Near enough that no model tells them apart.
bool AreAlike(const TensorRecipe& a, const TensorRecipe& b) {
  for (int c = 0; c < 3; ++c) {
    if (!(std::abs(a.scale[c] / b.scale[c] - 1) < 0.1f)) return false;
    if (!(std::abs(a.mean[c] - b.mean[c]) < 8)) return false;
  }
  return true;
}

std::string_view WordOf(ResizeMode mode) {
  switch (mode) {
    case ResizeMode::kStretch:
      return "stretch";
    case ResizeMode::kLetterboxTopLeft:
      return "letterbox_top_left";
    case ResizeMode::kLetterboxCenter:
      return "letterbox_center";
    case ResizeMode::kCenterCrop:
      return "center_crop";
  }
  return "";
}

std::string_view WordOf(Interpolation interpolation) {
  switch (interpolation) {
    case Interpolation::kNearest:
      return "nearest";
    case Interpolation::kBilinear:
      return "bilinear";
    case Interpolation::kArea:
      return "area";
    case Interpolation::kCubic:
      return "cubic";
    case Interpolation::kBilinearAntialias:
      return "bilinear_antialias";
    case Interpolation::kCubicAntialias:
      return "cubic_antialias";
  }
  return "";
}

Frame MirrorOf(const Frame& picture, std::vector<uint8_t>* bgr) {
  const auto width = static_cast<size_t>(picture.image.width);
  for (size_t row = 0; row < static_cast<size_t>(picture.image.height); ++row) {
    uint8_t* const at = bgr->data() + row * width * 3;
    for (size_t left = 0, right = width - 1; left < right; ++left, --right) {
      std::swap_ranges(at + left * 3, at + left * 3 + 3, at + right * 3);
    }
  }
  Frame mirrored;
  mirrored.meta = picture.meta;
  mirrored.image = {.format = PixelFormat::kBgr24,
                    .range = ColorRange::kFull,
                    .width = picture.image.width,
                    .height = picture.image.height,
                    .planes = {bgr->data(), nullptr, nullptr},
                    .strides = {picture.image.width * 3, 0, 0}};
  return mirrored;
}

double ConfidenceOf(const Detections& found) {
  double sum = 0;
  for (const Detection& d : found.items) sum += d.confidence;
  return sum;
}

// Pairs of results of a picture and of its mirror image, the best first; times the third power of
// the part that they are of all confidence: of thousands of boxes some agree by chance.
double AgreedConfidence(const Detections& plain, const Detections& mirrored, int width) {
  std::vector<bool> taken(mirrored.items.size());
  double sum = 0;
  for (const Detection& d : plain.items) {
    float best = kSameObjectIou;
    size_t found = mirrored.items.size();
    for (size_t i = 0; i < mirrored.items.size(); ++i) {
      const Detection& m = mirrored.items[i];
      if (taken[i] || m.class_id != d.class_id) continue;
      const auto w = static_cast<float>(width);
      const Box back = {w - m.box_px.x2, m.box_px.y1, w - m.box_px.x1, m.box_px.y2};
      const float iou = IntersectionOverUnion(d.box_px, back);
      if (iou < best) continue;
      best = iou;
      found = i;
    }
    if (found == mirrored.items.size()) continue;
    taken[found] = true;
    sum += std::sqrt(double{d.confidence} * mirrored.items[found].confidence) * best;
  }
  const double all = std::max(ConfidenceOf(plain), ConfidenceOf(mirrored));
  if (all <= 0) return 0;
  const double part = std::min(1.0, sum / all);
  return sum * part * part * part;
}

bool SpeaksOfThePicture(const Detections& found) {
  return !found.classes.empty() || !found.embedding.empty() || found.class_map.width > 0;
}

absl::StatusOr<std::unique_ptr<Detector>> Open(const ModelSpec& spec, InferenceBackend& backend) {
  NeuralOptions options;
  options.confidence = spec.confidence_threshold * kTrialShare;
  if (spec.family == "classifier") {  // all classes, to see what they add up to
    options.confidence = 0;
    options.nms = spec.nms;
    options.nms->max_detections = 100'000;
  }
  SL_ASSIGN_OR_RETURN(const DetectorFactory factory,
                      MakeNeuralDetectorFactory(spec, backend, options));
  return factory();
}

absl::Status Detect(Detector& detector, const Frame& picture, Detections* found) {
  DetectJob job{.frame = &picture, .result = found, .status = {}};
  detector.Detect({&job, 1});
  return job.status;
}

std::string DoubleSigmoidWarning(const ReadingReport& described) {
  constexpr size_t kManyAPicture = 50;  // more than pictures hold
  const std::vector<float>& scores = described.scores;
  if (described.pictures == 0 || scores.size() < kManyAPicture * described.pictures) return "";
  if (scores.front() > 0.75f || scores.back() < 0.24f) return "";
  return fmt::format(
      "all {} scores lie between {:.2f} and {:.2f}, as they do when a sigmoid is applied to what "
      "has "
      "been through one already: export the model with one of them",
      scores.size(), scores.back(), scores.front());
}

}  // namespace

double ReadingReport::agreed_sum() const {
  double sum = 0;
  for (const double v : agreed) sum += v;
  return sum;
}

std::vector<ModelReading> OtherReadings(const ModelSpec& spec) {
  std::vector<ModelReading> readings;
  const auto add = [&](std::string key, ModelSpec changed, std::vector<std::string> lines) {
    readings.push_back({std::move(key), std::move(lines), std::move(changed)});
  };
  ModelSpec other = spec;
  const bool bgr = spec.input.channels == ChannelOrder::kBgr;
  other.input.channels = bgr ? ChannelOrder::kRgb : ChannelOrder::kBgr;
  add("input.channels", other, {fmt::format("input.channels: {}", bgr ? "rgb" : "bgr")});

  for (const Preparation& preparation : kPreparations) {
    if (spec.input.dtype == DataType::kUint8) break;  // nothing but pixels fits
    other = spec;
    other.input.mean = preparation.mean;
    other.input.scale = preparation.scale;
    if (bgr) {
      std::ranges::reverse(other.input.mean);
      std::ranges::reverse(other.input.scale);
    }
    if (AreAlike(other.input, spec.input)) continue;
    add("input.scale", other,
        {"input.mean: " + Numbers(other.input.mean), "input.scale: " + Numbers(other.input.scale)});
  }
  for (const ResizeMode mode :
       {ResizeMode::kStretch, ResizeMode::kLetterboxTopLeft, ResizeMode::kLetterboxCenter}) {
    if (mode == spec.input.resize || spec.family == "classifier") continue;
    other = spec;
    other.input.resize = mode;
    add("input.resize", other, {fmt::format("input.resize: {}", WordOf(mode))});
  }
  for (const Interpolation way : {Interpolation::kBilinear, Interpolation::kArea,
                                  Interpolation::kBilinearAntialias, Interpolation::kCubic}) {
    if (way == spec.input.interpolation) continue;
    other = spec;
    other.input.interpolation = way;
    add("input.interpolation", other, {fmt::format("input.interpolation: {}", WordOf(way))});
  }
  for (const std::string_view layout : kLayouts) {
    if (layout == spec.layout) continue;
    other = spec;
    other.layout = layout;
    add("layout", other, {fmt::format("layout: {}", layout)});
  }
  return readings;
}

ReadingComparison CompareReadings(const ReadingReport& described, const ReadingReport& other) {
  // Measured: see docs/model_packages.md.
  constexpr double kLeastCertainty = 2;
  constexpr size_t kLeastPictures = 5;
  constexpr double kLeastAgreed = 2;  // some objects that the model is sure of
  // How a picture is fitted changes how large and how wide objects are, which finds more or less of
  // them whatever the model was trained with: wide pictures letterboxed instead of stretched gave up
  // to 47 % more.
  const std::string& key = other.reading.key;
  const double least_gain = key == "input.resize" || key == "input.interpolation" ? 1.0 : 0.1;
  ReadingComparison comparison;
  const double before = described.agreed_sum(), after = other.agreed_sum();
  comparison.gain = before > 0 ? after / before - 1 : after > 0 ? 1e3 : 0;
  const size_t n = std::min(described.agreed.size(), other.agreed.size());
  double mean = 0, square = 0;
  for (size_t i = 0; i < n; ++i)
    mean += (other.agreed[i] - described.agreed[i]) / static_cast<double>(n);
  for (size_t i = 0; i < n; ++i) {
    const double d = other.agreed[i] - described.agreed[i] - mean;
    square += d * d;
  }
  if (n > 1) {
    const double error = std::sqrt(square / static_cast<double>(n - 1) / static_cast<double>(n));
    comparison.certainty = mean / std::max(error, 1e-9);
  }
  comparison.better = other.status.ok() && n >= kLeastPictures && after >= kLeastAgreed &&
                      comparison.gain >= least_gain && comparison.certainty >= kLeastCertainty;
  return comparison;
}

absl::StatusOr<std::unique_ptr<ModelCheck>> ModelCheck::Create(const ModelSpec& spec,
                                                               InferenceBackend& backend) {
  std::unique_ptr<ModelCheck> check(new ModelCheck(spec));
  Reader described;
  described.report.reading.spec = spec;
  SL_ASSIGN_OR_RETURN(described.detector, Open(spec, backend));
  check->readers_.push_back(std::move(described));
  for (ModelReading& reading : OtherReadings(spec)) {
    auto detector = Open(reading.spec, backend);
    if (!detector.ok()) continue;  // the head does not take it
    Reader reader;
    reader.report.reading = std::move(reading);
    reader.detector = *std::move(detector);
    check->readers_.push_back(std::move(reader));
  }
  return check;
}

absl::Status ModelCheck::Read(Reader& reader, const Frame& picture, const Frame& mirrored,
                              Detections* found) {
  ReadingReport& report = reader.report;
  report.agreed.push_back(0);
  Detections again;
  absl::Status status = Detect(*reader.detector, picture, found);
  if (status.ok()) status = Detect(*reader.detector, mirrored, &again);
  if (!status.ok()) {
    if (report.status.ok()) report.status = status;
    return status;
  }
  ++report.pictures;
  report.agreed.back() = AgreedConfidence(*found, again, picture.image.width);
  if (!found->classes.empty()) {
    double sum = 0;
    for (const ClassScore& score : found->classes) sum += score.confidence;
    reader.least_sum = std::min(reader.least_sum, sum);
    reader.most_sum = std::max(reader.most_sum, sum);
    std::erase_if(found->classes, [&](const ClassScore& score) {
      return score.confidence <= spec_.confidence_threshold;
    });
    const auto most = static_cast<size_t>(spec_.nms.max_detections);
    if (found->classes.size() > most) found->classes.resize(most);
  }
  std::erase_if(found->items,
                [&](const Detection& d) { return d.confidence <= spec_.confidence_threshold; });
  for (const Detection& d : found->items) report.scores.push_back(d.confidence);
  if (!found->classes.empty()) report.scores.push_back(found->classes[0].confidence);
  report.pictures_without += found->items.empty() && !SpeaksOfThePicture(*found);
  return absl::OkStatus();
}

absl::Status ModelCheck::Look(const Frame& picture, Detections* found) {
  std::vector<uint8_t> bgr;
  SL_RETURN_IF_ERROR(ToBgr(picture.image, &bgr));
  const Frame mirrored = MirrorOf(picture, &bgr);
  const absl::Status status = Read(readers_[0], picture, mirrored, found);
  Detections other;
  for (size_t i = 1; i < readers_.size(); ++i) (void)Read(readers_[i], picture, mirrored, &other);
  return status;
}

ModelCheckReport ModelCheck::Report() const {
  ModelCheckReport report;
  const auto whole = [](const Reader& reader) {
    ReadingReport copy = reader.report;
    std::ranges::sort(copy.scores, std::greater<>());
    return copy;
  };
  report.described = whole(readers_[0]);
  const ReadingReport* best = nullptr;
  double best_gain = 0;
  for (size_t i = 1; i < readers_.size(); ++i) report.others.push_back(whole(readers_[i]));
  for (const ReadingReport& other : report.others) {
    const ReadingComparison comparison = CompareReadings(report.described, other);
    if (!comparison.better || (best != nullptr && comparison.gain <= best_gain)) continue;
    best = &other;
    best_gain = comparison.gain;
  }
  // One at a time: a mistake that is mended changes what the others do.
  if (best != nullptr) {
    const std::string more = best_gain >= 100
                                 ? "what the description does not find at all"
                                 : fmt::format("{:.0f} % more agreed confidence", best_gain * 100);
    report.warnings.push_back(
        fmt::format("{} finds {} over {} pictures: put it into model.yaml, and "
                    "check again",
                    fmt::join(best->reading.lines, " with "), more, best->agreed.size()));
  }
  if (std::string twice = DoubleSigmoidWarning(report.described); !twice.empty()) {
    report.warnings.push_back(std::move(twice));
  }
  for (const Reader& reader : readers_) {
    const bool sums_to_one = reader.report.pictures > 0 && reader.report.status.ok() &&
                             reader.least_sum > 0.99 && reader.most_sum < 1.01;
    if (reader.report.reading.spec.layout != "probabilities" || spec_.layout != "logits" ||
        !sums_to_one) {
      continue;
    }
    report.warnings.push_back(
        "layout: probabilities is what the model gives: its scores add up to 1 already, and a "
        "second "
        "softmax makes them all alike; put it into model.yaml");
  }
  return report;
}

}  // namespace sightline
