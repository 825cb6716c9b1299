#include "detect/neural_detector.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <memory>

#include "base/time.h"
#include "base/uuid.h"
#include "detect/heads/head.h"
#include "detect/model_probe.h"
#include "detect/nms.h"
#include "vision/preprocess.h"

namespace sightline {
namespace {

// Room for candidates that is there from the start, so that a busy scene after quiet ones does not
// allocate either. Chosen: a picture with a box above the threshold in every cell of 512x512.
constexpr size_t kReservedCandidates = 5376;

Hash128 IdentityOf(const ModelSpec& spec) {
  const auto bits = [](float v) { return std::bit_cast<uint32_t>(v); };
  const TensorRecipe& r = spec.input;
  FieldHasher recipe;
  recipe.Add(r.width).Add(r.height).Add(r.resize).Add(r.rounding).Add(r.interpolation);
  recipe.Add(r.channels).Add(r.layout).Add(r.dtype);
  for (int c = 0; c < 3; ++c) recipe.Add(bits(r.mean[c])).Add(bits(r.scale[c])).Add(r.pad_value[c]);
  // Only where they say something, so that models of which they say nothing keep their ids.
  if (r.border > 0) recipe.Add(r.border);
  if (!spec.anchors.empty() || !spec.scale_xy.empty()) {
    recipe.Add(fmt::format("anchors {} scale_xy {}", spec.anchors, spec.scale_xy));
  }
  FieldHasher whole;
  whole.Add(spec.sha256).Add(spec.family).Add(spec.layout).Add(recipe.Finish());
  whole.Add(bits(spec.confidence_threshold)).Add(spec.nms.kind).Add(bits(spec.nms.iou_threshold));
  whole.Add(bits(spec.nms.sigma)).Add(spec.nms.class_aware).Add(spec.nms.max_detections);
  if (spec.classes > 0 || spec.keypoints > 0) whole.Add(spec.classes).Add(spec.keypoints);
  if (r.resize == ResizeMode::kCenterCrop) whole.Add(r.crop_from);
  if (!spec.size_input_name.empty()) whole.Add(spec.size_input_name);
  if (!spec.companion_sha256.empty()) whole.Add(spec.companion_sha256);
  return whole.Finish();
}

std::string DescribeModel(const ModelSpec& spec, const InferenceBackend& backend,
                          const NeuralOptions& options) {
  return fmt::format(
      "{} ({}), input {}x{}, confidence above {:.4g}, IoU {:.4g}, {} on {}, {} thread{}, {}",
      spec.family, spec.layout, spec.input.width, spec.input.height, spec.confidence_threshold,
      spec.nms.iou_threshold, backend.name(),
      options.providers.empty() ? "cpu" : fmt::format("{}", fmt::join(options.providers, ", ")),
      options.threads, options.threads == 1 ? "" : "s",
      spec.batch > 0 ? fmt::format("batch {}", spec.batch) : std::string("any batch"));
}

// Which of a session's inputs take what.
struct Inputs {
  size_t picture = 0;
  std::optional<size_t> sizes;
};

class NeuralDetector final : public Detector {
 public:
  NeuralDetector(ModelSpec spec, DetectorInfo info, std::unique_ptr<InferenceSession> session,
                 Preprocessor preprocessor, std::unique_ptr<Head> head, Inputs inputs)
      : spec_(std::move(spec)),
        info_(std::move(info)),
        session_(std::move(session)),
        preprocessor_(std::move(preprocessor)),
        head_(std::move(head)),
        input_(inputs.picture),
        size_input_(inputs.sizes),
        tensor_bytes_(TensorBytes(spec_.input)) {
    shape_ = PictureShape(spec_.input);
    batched_ = session_->inputs()[input_].shape.size() == 4;
    if (!batched_) shape_.erase(shape_.begin());
    mappings_.resize(info_.max_batch);
    candidates_.reserve(kReservedCandidates);
    nms_.Reserve(kReservedCandidates);
  }

  const DetectorInfo& info() const override { return info_; }

  void Detect(std::span<DetectJob> jobs) override {
    times_ = {};
    for (size_t from = 0; from < jobs.size(); from += info_.max_batch) {
      const size_t count = std::min<size_t>(jobs.size() - from, info_.max_batch);
      RunBatch(jobs.subspan(from, count));
    }
  }

  const DetectTimes* last_times() const override { return &times_; }

 private:
  void RunBatch(std::span<DetectJob> jobs) {
    const Clock& clock = Clock::Real();
    const int64_t begin_us = clock.NowMonotonicUs();
    const absl::Status filled = FillInput(jobs);
    const int64_t filled_us = clock.NowMonotonicUs();
    times_.preprocess_us += filled_us - begin_us;
    if (!filled.ok()) return FailAll(jobs, filled);
    if (std::ranges::none_of(jobs, [](const DetectJob& j) { return j.status.ok(); })) return;
    const auto outputs = session_->Run();
    const int64_t run_us = clock.NowMonotonicUs();
    times_.inference_us += run_us - filled_us;
    if (!outputs.ok()) return FailAll(jobs, WithContext(outputs.status(), info_.name));
    for (size_t i = 0; i < jobs.size(); ++i) {
      if (!jobs[i].status.ok()) continue;
      jobs[i].status = Finish(*outputs, static_cast<int>(i), jobs[i]);
      jobs[i].failure = DropReason::kPostprocessError;
    }
    times_.postprocess_us += clock.NowMonotonicUs() - run_us;
  }

  static void FailAll(std::span<DetectJob> jobs, const absl::Status& status) {
    for (DetectJob& job : jobs) {
      if (!job.status.ok()) continue;
      job.status = status;
      job.failure = DropReason::kInferenceError;
    }
  }

  // One picture per entry of the batch; entries without one, and those whose picture is refused,
  // are zero.
  absl::Status FillInput(std::span<DetectJob> jobs) {
    // A file with a fixed batch gets all of it, whatever is asked for.
    const size_t entries = spec_.batch > 0 ? spec_.batch : jobs.size();
    if (batched_) shape_[0] = static_cast<int64_t>(entries);
    auto buffer = session_->InputBuffer(input_, shape_);
    if (!buffer.ok()) return WithContext(buffer.status(), info_.name);
    if (size_input_) SL_RETURN_IF_ERROR(FillSizes(jobs, entries));
    auto* tensor = static_cast<uint8_t*>(*buffer);
    fed_ = tensor;
    for (size_t i = 0; i < entries; ++i, tensor += tensor_bytes_) {
      if (i < jobs.size()) {
        jobs[i].status = preprocessor_.Run(jobs[i].frame->image, tensor, &mappings_[i]);
        jobs[i].result->frame = jobs[i].frame->meta;
        jobs[i].result->labels = info_.labels;
        jobs[i].result->ClearResults();
        if (jobs[i].status.ok()) continue;
        jobs[i].failure = DropReason::kPreprocessError;
      }
      std::memset(tensor, 0, tensor_bytes_);
    }
    return absl::OkStatus();
  }

  // The size of each picture, for models that give boxes in pixels of the source.
  absl::Status FillSizes(std::span<const DetectJob> jobs, size_t entries) {
    const std::array<int64_t, 2> shape = {static_cast<int64_t>(entries), 2};
    auto buffer = session_->InputBuffer(*size_input_, shape);
    if (!buffer.ok()) return WithContext(buffer.status(), info_.name);
    const DataType dtype = session_->inputs()[*size_input_].dtype;
    for (size_t i = 0; i < entries; ++i) {
      const bool known = i < jobs.size();
      // A picture that is refused is in the batch all the same, as zeros.
      WriteSize(dtype, known ? std::max(1, jobs[i].frame->image.width) : 1,
                known ? std::max(1, jobs[i].frame->image.height) : 1, i, *buffer);
    }
    return absl::OkStatus();
  }

  absl::Status Finish(std::span<const TensorView> outputs, int entry, DetectJob& job) {
    const ImageView& picture = job.frame->image;
    const uint8_t* const fed = fed_ + tensor_bytes_ * static_cast<size_t>(entry);
    const bool floats = spec_.input.dtype == DataType::kFloat32;
    const RawResult raw = {
        outputs,       entry,          mappings_[entry],
        picture.width, picture.height, floats ? reinterpret_cast<const float*>(fed) : nullptr};
    candidates_.clear();
    const float confidence = job.confidence < 0 ? spec_.confidence_threshold : job.confidence;
    const absl::Status decoded = head_->Decode(raw, confidence, &candidates_);
    if (!decoded.ok()) return WithContext(decoded, info_.name);
    head_->Suppress(raw, spec_.nms, confidence, &nms_, &candidates_);
    ClipToPicture(picture.width, picture.height, &candidates_);
    job.result->items.reserve(std::min(spec_.nms.max_detections, 1000));
    job.result->items.assign(candidates_.begin(), candidates_.end());
    return WithContext(head_->Complete(raw, job.result), info_.name);
  }

  const ModelSpec spec_;
  const DetectorInfo info_;
  const std::unique_ptr<InferenceSession> session_;
  Preprocessor preprocessor_;
  const std::unique_ptr<Head> head_;
  const size_t input_;
  const std::optional<size_t> size_input_;
  const size_t tensor_bytes_;
  NonMaxSuppressor nms_;
  DetectTimes times_;
  const uint8_t* fed_ = nullptr;  // the input tensor of the run
  std::vector<int64_t> shape_;
  bool batched_ = true;  // whether the input's shape begins with a batch
  std::vector<ImageToTensor> mappings_;
  std::vector<Detection> candidates_;
};

absl::StatusOr<size_t> FindInput(const ModelSpec& spec, std::span<const TensorInfo> inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const bool any = spec.input_name.empty() && inputs.size() == 1;
    if (!any && inputs[i].name != spec.input_name) continue;
    const TensorRecipe& r = spec.input;
    std::vector<int64_t> wanted =
        r.layout == TensorLayout::kNchw
            ? std::vector<int64_t>{spec.batch > 0 ? spec.batch : -1, 3, r.height, r.width}
            : std::vector<int64_t>{spec.batch > 0 ? spec.batch : -1, r.height, r.width, 3};
    if (inputs[i].shape.size() == 3 && spec.batch == 1) wanted.erase(wanted.begin());
    if (!head_internal::ShapeFits(inputs[i].shape, wanted) || inputs[i].dtype != r.dtype) {
      return InvalidArgument(
          "model {}: its model.yaml speaks of an input {}[{}], but the file takes {}", spec.name,
          ToString(r.dtype), fmt::join(wanted, ","), ToString(inputs[i]));
    }
    return i;
  }
  return InvalidArgument("model {}: the file has no input \"{}\"; its inputs are {}", spec.name,
                         spec.input_name, DescribeTensors(inputs));
}

absl::StatusOr<Inputs> FindInputs(const ModelSpec& spec, std::span<const TensorInfo> inputs) {
  Inputs found;
  SL_ASSIGN_OR_RETURN(found.picture, FindInput(spec, inputs));
  if (spec.size_input_name.empty()) return found;
  const auto sizes = std::ranges::find(inputs, spec.size_input_name, &TensorInfo::name);
  if (sizes == inputs.end() || !IsSizeInput(*sizes)) {
    return InvalidArgument(
        "model {}: the file has no input \"{}\" for the pictures' sizes, int64 [batch, 2] or "
        "float32 "
        "[batch, 2] named image_shape; its inputs are {}",
        spec.name, spec.size_input_name, DescribeTensors(inputs));
  }
  found.sizes = static_cast<size_t>(sizes - inputs.begin());
  return found;
}

absl::StatusOr<std::unique_ptr<Detector>> MakeNeuralDetector(const ModelSpec& spec,
                                                             InferenceBackend& backend,
                                                             const NeuralOptions& options) {
  const int max_batch = spec.batch > 0 ? spec.batch : std::max(options.max_batch, 1);
  SessionOptions session_options;
  session_options.model_file = spec.file;
  session_options.intra_op_threads = options.threads;
  session_options.parallel_sessions = options.parallel_detectors;
  session_options.providers = options.providers;
  session_options.max_batch = max_batch;
  session_options.picture_shape = PictureShape(spec.input);
  session_options.picture_shape[0] = std::max(spec.batch, 1);
  SL_ASSIGN_OR_RETURN(auto session, backend.Open(session_options));
  SL_ASSIGN_OR_RETURN(const Inputs inputs, FindInputs(spec, session->inputs()));
  SL_ASSIGN_OR_RETURN(auto head, MakeHead(spec, session->outputs()));
  SL_ASSIGN_OR_RETURN(auto preprocessor, Preprocessor::Create(spec.input));
  DetectorInfo info;
  info.name = spec.name;
  info.describe = DescribeModel(spec, backend, options);
  info.identity = IdentityOf(spec);
  info.labels = spec.labels != nullptr ? spec.labels : std::make_shared<LabelSet>();
  info.max_batch = max_batch;
  info.usual_batch = spec.batch > 0 ? spec.batch : 1;
  return std::make_unique<NeuralDetector>(spec, std::move(info), std::move(session),
                                          std::move(preprocessor), std::move(head), inputs);
}

}  // namespace

std::vector<int64_t> PictureShape(const TensorRecipe& recipe) {
  if (recipe.layout == TensorLayout::kNchw) return {1, 3, recipe.height, recipe.width};
  return {1, recipe.height, recipe.width, 3};
}

absl::Status CheckThresholds(float confidence, const NmsSettings& nms) {
  if (!(confidence >= 0 && confidence <= 1)) {
    return InvalidArgument("a confidence of {} is not within 0..1", confidence);
  }
  if (!(nms.iou_threshold >= 0 && nms.iou_threshold <= 1)) {
    return InvalidArgument("an IoU threshold of {} is not within 0..1", nms.iou_threshold);
  }
  if (!(nms.sigma > 0 && std::isfinite(nms.sigma))) {
    return InvalidArgument("a Soft-NMS sigma of {} is not above 0", nms.sigma);
  }
  if (nms.max_detections < 1) {
    return InvalidArgument("max_detections is {}; at least 1 is needed", nms.max_detections);
  }
  return absl::OkStatus();
}

void ClipToPicture(int width, int height, std::vector<Detection>* detections) {
  const auto w = static_cast<float>(width), h = static_cast<float>(height);
  std::erase_if(*detections, [&](Detection& d) {
    Box& b = d.box_px;
    b = {std::clamp(b.x1, 0.0f, w), std::clamp(b.y1, 0.0f, h), std::clamp(b.x2, 0.0f, w),
         std::clamp(b.y2, 0.0f, h)};
    return !(b.width() > 0 && b.height() > 0);
  });
}

absl::StatusOr<DetectorFactory> MakeNeuralDetectorFactory(ModelSpec spec, InferenceBackend& backend,
                                                          const NeuralOptions& options) {
  if (options.confidence) spec.confidence_threshold = *options.confidence;
  if (options.nms) spec.nms = *options.nms;
  SL_RETURN_IF_ERROR(WithContext(CheckThresholds(spec.confidence_threshold, spec.nms),
                                 fmt::format("model {}", spec.name)));
  if (spec.sha256.empty()) spec.sha256 = FileSha256(spec.file);
  return DetectorFactory([spec = std::move(spec), &backend, options] {
    return MakeNeuralDetector(spec, backend, options);
  });
}

}  // namespace sightline
