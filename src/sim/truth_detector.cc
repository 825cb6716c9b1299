#include "sim/truth_detector.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <utility>

#include "base/ascii_text.h"
#include "base/nearest_word.h"
#include "sim/chance.h"
#include "types/truth.h"

namespace sightline::sim {
namespace {

constexpr std::string_view kName = "truth";

struct TruthOptions {
  double miss = 0;
  double noise_px = 0;
  double false_boxes = 0;
  double visible = 0;
  double confidence = 0;
};

absl::Status TakeNumber(std::string_view key, std::string_view text, double most, double* value) {
  std::string_view number = text;
  if (key == "noise" && number.ends_with("px")) number.remove_suffix(2);
  const char* const end = number.data() + number.size();
  double read = 0;
  const auto [stop, error] = std::from_chars(number.data(), end, read);
  if (error != std::errc() || stop != end || !(read >= 0 && read <= most)) {
    return InvalidArgument("model truth: {}={}: a number from 0 to {} is wanted", key, text, most);
  }
  *value = read;
  return absl::OkStatus();
}

absl::StatusOr<TruthOptions> Parse(std::string_view model) {
  TruthOptions options;
  std::string_view query = model.substr(kName.size());
  if (query.starts_with('?')) query.remove_prefix(1);
  std::string_view key;
  std::string_view value;
  while (NextPair(&query, &key, &value)) {
    constexpr std::array<std::string_view, 4> kKeys = {"miss", "noise", "false", "visible"};
    if (key == "miss") {
      SL_RETURN_IF_ERROR(TakeNumber(key, value, 1, &options.miss));
    } else if (key == "noise") {
      SL_RETURN_IF_ERROR(TakeNumber(key, value, 50, &options.noise_px));
    } else if (key == "false") {
      SL_RETURN_IF_ERROR(TakeNumber(key, value, 1, &options.false_boxes));
    } else if (key == "visible") {
      SL_RETURN_IF_ERROR(TakeNumber(key, value, 1, &options.visible));
    } else {
      const std::string near = NearestWord(key, kKeys);
      return InvalidArgument(
          "model truth: no key \"{}\"{}; there are miss, noise, false and visible", key,
          near.empty() ? "" : fmt::format(", did you mean \"{}\"?", near));
    }
  }
  return options;
}

class TruthDetector final : public Detector {
 public:
  TruthDetector(DetectorInfo info, const TruthOptions& options)
      : info_(std::move(info)), options_(options) {}

  const DetectorInfo& info() const override { return info_; }

  void Detect(std::span<DetectJob> jobs) override {
    for (DetectJob& job : jobs) {
      job.result->ClearResults();
      if (job.frame->truth == nullptr) {
        job.status = FailedPrecondition(
            "model truth knows what simulated cameras show (sim://street?people=20), not what this "
            "source shows; choose another model");
        continue;
      }
      job.status = absl::OkStatus();
      Find(*job.frame, *job.frame->truth, &job.result->items);
    }
  }

 private:
  void Find(const Frame& frame, const Truth& truth, std::vector<Detection>* found) const {
    const uint64_t moment = Mix(truth.seed, static_cast<uint64_t>(truth.time_us), 101);
    const auto width = static_cast<double>(frame.meta.width);
    const auto height = static_cast<double>(frame.meta.height);
    for (const TruthObject& object : truth.objects) {
      Chance chance(Mix(moment, object.id));
      if (chance.Happens(options_.miss) || object.visible < options_.visible) continue;
      const double confidence = 0.7 + 0.3 * object.visible;
      const Box& b = object.box_px;
      Add(Wrong(b.x1, width, chance), Wrong(b.y1, height, chance), Wrong(b.x2, width, chance),
          Wrong(b.y2, height, chance), confidence, static_cast<int32_t>(object.object_class),
          found);
    }
    Chance chance(Mix(moment, 0));
    if (chance.Happens(options_.false_boxes)) {
      const double h = chance.Between(0.08, 0.4) * height;
      const double w = chance.Between(0.3, 0.6) * h;
      const double x = chance.Between(0, std::max(width - w, 0.0));
      const double y = chance.Between(0, std::max(height - h, 0.0));
      Add(x, y, std::min(x + w, width), y + h, chance.Between(0.3, 0.8), 0, found);
    }
    std::sort(found->begin(), found->end(), [](const Detection& a, const Detection& b) {
      if (a.confidence != b.confidence) return a.confidence > b.confidence;
      return a.box_px.x1 != b.box_px.x1 ? a.box_px.x1 < b.box_px.x1 : a.box_px.y1 < b.box_px.y1;
    });
  }

  double Wrong(double edge, double most, Chance& chance) const {
    // The sum of two uniform numbers: small errors are likelier.
    const double off = 0.5 * (chance.Between(-1, 1) + chance.Between(-1, 1)) * options_.noise_px;
    return Clamp(edge + off, 0, most);
  }

  void Add(double x1, double y1, double x2, double y2, double confidence, int32_t class_id,
           std::vector<Detection>* found) const {
    if (!(x2 - x1 > 0 && y2 - y1 > 0) || confidence < options_.confidence) return;
    found->push_back({{static_cast<float>(x1), static_cast<float>(y1), static_cast<float>(x2),
                       static_cast<float>(y2)},
                      static_cast<float>(confidence),
                      class_id});
  }

  const DetectorInfo info_;
  const TruthOptions options_;
};

}  // namespace

bool IsTruthModel(std::string_view model) {
  return model == kName || (model.starts_with(kName) && model[kName.size()] == '?');
}

absl::StatusOr<DetectorFactory> MakeTruthDetectorFactory(std::string_view model,
                                                         std::optional<float> confidence) {
  if (!IsTruthModel(model)) return InvalidArgument("\"{}\" is not the model truth", model);
  SL_ASSIGN_OR_RETURN(TruthOptions options, Parse(model));
  options.confidence = confidence.value_or(0.0F);
  if (!(options.confidence >= 0 && options.confidence <= 1)) {
    return InvalidArgument("model truth: a confidence of {} is not within 0..1",
                           options.confidence);
  }
  DetectorInfo info;
  info.name = std::string(model);
  info.describe = fmt::format(
      "what the simulated camera shows: miss {}, noise {} px, false {}, "
      "visible from {}",
      options.miss, options.noise_px, options.false_boxes, options.visible);
  info.identity = HashString(fmt::format("truth;{};{};{};{};{}", options.miss, options.noise_px,
                                         options.false_boxes, options.visible, options.confidence));
  static const auto labels =
      std::make_shared<const LabelSet>(LabelSet{.names = {"person", "bicycle", "car"}});
  info.labels = labels;
  info.max_batch = 1;
  return DetectorFactory([info, options]() -> absl::StatusOr<std::unique_ptr<Detector>> {
    return std::make_unique<TruthDetector>(info, options);
  });
}

}  // namespace sightline::sim
