#include <fmt/format.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <utility>

#include "base/uuid.h"
#include "detect/promptable_segmenter.h"

namespace sightline {
namespace {

// Asks the same prompts of every picture.
class PromptedDetector final : public Detector {
 public:
  PromptedDetector(DetectorInfo info, std::unique_ptr<PromptableSegmenter> segmenter,
                   std::vector<Prompt> prompts)
      : info_(std::move(info)), segmenter_(std::move(segmenter)), prompts_(std::move(prompts)) {}

  const DetectorInfo& info() const override { return info_; }

  void Detect(std::span<DetectJob> jobs) override {
    for (DetectJob& job : jobs) {
      job.result->ClearResults();
      job.result->frame = job.frame->meta;
      job.result->labels = info_.labels;
      job.status = WithContext(DetectOne(job), info_.name);
    }
  }

 private:
  absl::Status DetectOne(DetectJob& job) {
    job.failure = DropReason::kInferenceError;
    SL_RETURN_IF_ERROR(segmenter_->LookAt(job.frame->image));
    for (const Prompt& prompt : prompts_) {
      SL_RETURN_IF_ERROR(segmenter_->Segment(prompt, job.result));
    }
    std::ranges::stable_sort(job.result->items, std::greater(), &Detection::confidence);
    return absl::OkStatus();
  }

  const DetectorInfo info_;
  const std::unique_ptr<PromptableSegmenter> segmenter_;
  const std::vector<Prompt> prompts_;
};

// As text: there may be many points.
Hash128 IdentityOf(const ModelSpec& spec, const std::vector<Prompt>& prompts) {
  const TensorRecipe& r = spec.input;
  std::string text = fmt::format(
      "{} {} {} {} {}x{} {} {} {} {} {} {} {} {} {} {} {}", spec.sha256, spec.companion_sha256,
      spec.family, spec.layout, r.width, r.height, static_cast<int>(r.resize),
      static_cast<int>(r.rounding), static_cast<int>(r.interpolation), static_cast<int>(r.channels),
      static_cast<int>(r.layout), static_cast<int>(r.dtype), fmt::join(r.mean, ","),
      fmt::join(r.scale, ","), fmt::join(r.pad_value, ","), spec.confidence_threshold,
      spec.nms.max_detections);
  for (const std::string& output : spec.output_names) {
    text += fmt::format(" {}:{}", output.size(), output);
  }
  for (const Prompt& prompt : prompts) {
    text += ";";
    for (const PromptPoint& point : prompt.points) {
      text += fmt::format(" {} {} {}", point.at_px.x, point.at_px.y, point.inside);
    }
    const Box box = prompt.box_px.value_or(Box{});
    text += fmt::format(" {} {} {} {}", box.x1, box.y1, box.x2, box.y2);
  }
  return HashString(text);
}

}  // namespace

absl::Status CheckPrompt(const Prompt& prompt) {
  constexpr size_t kMostPoints = 1'000;  // chosen
  const auto bad = [](float v) { return !std::isfinite(v); };
  if (prompt.points.empty() && !prompt.box_px) {
    return InvalidArgument("a prompt needs at least one point, or a box");
  }
  if (prompt.points.size() > kMostPoints) {
    return InvalidArgument("a prompt of {} points; {} are possible", prompt.points.size(),
                           kMostPoints);
  }
  for (const PromptPoint& point : prompt.points) {
    if (bad(point.at_px.x) || bad(point.at_px.y)) {
      return InvalidArgument("a prompt's point {},{} is no place", point.at_px.x, point.at_px.y);
    }
  }
  if (!prompt.box_px) return absl::OkStatus();
  const Box& box = *prompt.box_px;
  if (!(box.width() > 0 && box.height() > 0) || bad(box.width()) || bad(box.height())) {
    return InvalidArgument("a prompt's box {},{},{},{} holds nothing: x1,y1,x2,y2 are expected",
                           box.x1, box.y1, box.x2, box.y2);
  }
  return absl::OkStatus();
}

absl::StatusOr<DetectorFactory> MakePromptedDetectorFactory(ModelSpec spec,
                                                            InferenceBackend& backend,
                                                            const NeuralOptions& options,
                                                            std::vector<Prompt> prompts) {
  if (prompts.empty()) {
    return InvalidArgument(
        "model {} finds what a prompt points at: give `sightline detect` a --point or a --box",
        spec.name);
  }
  for (const Prompt& prompt : prompts) SL_RETURN_IF_ERROR(CheckPrompt(prompt));
  if (spec.sha256.empty()) spec.sha256 = FileSha256(spec.file);
  if (spec.companion_sha256.empty()) spec.companion_sha256 = FileSha256(spec.companion_file);
  return DetectorFactory(
      [spec = std::move(spec), &backend, options,
       prompts = std::move(prompts)]() -> absl::StatusOr<std::unique_ptr<Detector>> {
        SL_ASSIGN_OR_RETURN(auto segmenter, PromptableSegmenter::Open(spec, backend, options));
        DetectorInfo info;
        info.name = spec.name;
        info.describe = fmt::format("{} ({}), input {}x{}, {} prompt{}, {}", spec.family,
                                    spec.layout, spec.input.width, spec.input.height,
                                    prompts.size(), prompts.size() == 1 ? "" : "s", backend.name());
        info.identity = IdentityOf(spec, prompts);
        info.labels = spec.labels != nullptr ? spec.labels : std::make_shared<LabelSet>();
        return std::make_unique<PromptedDetector>(std::move(info), std::move(segmenter), prompts);
      });
}

}  // namespace sightline
