#include "detect/promptable_segmenter.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <utility>

#include "detect/heads/head.h"
#include "detect/heads/mask_runs.h"
#include "detect/promptable_models.h"
#include "vision/preprocess.h"

namespace sightline {
namespace {

using head_internal::ShapeFits;

constexpr int64_t kMostMaskCells = 2048 * 2048;  // of a mask that a model gives; chosen
// segment_anything's decoder weighs its masks by how many points it was given: the first mask, of
// whole objects, is for more than 2.5 of them (SamOnnxModel.select_masks).
constexpr double kClearPoints = 2.5;

// For each of `out` places the two of `in` that it lies between, and the share of the second:
// half-pixel centres, as torch's interpolate does without align_corners.
struct Between {
  Between(int in, int out) {
    low.resize(out);
    high.resize(out);
    share.resize(out);
    const float scale = static_cast<float>(in) / static_cast<float>(out);
    for (int i = 0; i < out; ++i) {
      const float at = std::max(0.0f, (static_cast<float>(i) + 0.5f) * scale - 0.5f);
      low[i] = std::min(static_cast<int>(at), in - 1);
      high[i] = std::min(low[i] + 1, in - 1);
      share[i] = at - static_cast<float>(low[i]);
    }
  }
  std::vector<int> low, high;
  std::vector<float> share;
};

struct Grid {
  const float* values = nullptr;
  int width = 0;
  int height = 0;
};

// A row of `grid` enlarged to the places of `x`, between the rows that `y` names for `row`.
void EnlargedRow(const Grid& grid, const Between& x, const Between& y, int row, float* out) {
  const float* a = grid.values + static_cast<size_t>(y.low[row]) * grid.width;
  const float* b = grid.values + static_cast<size_t>(y.high[row]) * grid.width;
  const float down = y.share[row];
  for (size_t i = 0; i < x.low.size(); ++i) {
    const float share = x.share[i];
    const float above = a[x.low[i]] * (1 - share) + a[x.high[i]] * share;
    const float below = b[x.low[i]] * (1 - share) + b[x.high[i]] * share;
    out[i] = above * (1 - down) + below * down;
  }
}

absl::StatusOr<size_t> IndexOf(std::span<const TensorInfo> tensors, std::string_view name,
                               const ModelSpec& spec, std::string_view of) {
  const auto found = std::ranges::find(tensors, name, &TensorInfo::name);
  if (found != tensors.end()) return static_cast<size_t>(found - tensors.begin());
  return InvalidArgument("model {}: its {} has no \"{}\" but {}; correct `layout` or `outputs`",
                         spec.name, of, name, DescribeTensors(tensors));
}

absl::Status CheckWithin(const Prompt& prompt, int width, int height) {
  const auto w = static_cast<float>(width), h = static_cast<float>(height);
  for (const PromptPoint& point : prompt.points) {
    const PointF& p = point.at_px;
    if (p.x < 0 || p.y < 0 || p.x > w || p.y > h) {
      return InvalidArgument("the point {},{} lies outside of the picture of {}x{} pixels", p.x,
                             p.y, width, height);
    }
  }
  if (!prompt.box_px) return absl::OkStatus();
  const Box& box = *prompt.box_px;
  if (box.x2 <= 0 || box.y2 <= 0 || box.x1 >= w || box.y1 >= h) {
    return InvalidArgument("the box {},{},{},{} lies outside of the picture of {}x{} pixels",
                           box.x1, box.y1, box.x2, box.y2, width, height);
  }
  return absl::OkStatus();
}

// Which tensors of the two files are which.
struct Wiring {
  size_t picture = 0;              // input of the encoder
  std::vector<size_t> embeddings;  // outputs of the encoder
  std::vector<size_t> taken;       // the decoder's inputs for them
  size_t points = 0;               // inputs of the decoder
  size_t labels = 0;
  size_t mask = 0;  // those of segment_anything alone
  size_t has_mask = 0;
  size_t size = 0;
  size_t scores = 0;  // outputs of the decoder
  size_t masks = 0;
};

class Segmenter final : public PromptableSegmenter {
 public:
  Segmenter(ModelSpec spec, std::unique_ptr<InferenceSession> encoder,
            std::unique_ptr<InferenceSession> decoder, Preprocessor preprocessor, Wiring wiring)
      : spec_(std::move(spec)),
        clicks_(spec_.layout == kLayoutTransformers),
        encoder_(std::move(encoder)),
        decoder_(std::move(decoder)),
        preprocessor_(std::move(preprocessor)),
        at_(std::move(wiring)) {}

  absl::Status LookAt(const ImageView& picture) override {
    embeddings_ = {};
    const std::array<int64_t, 4> shape = {1, 3, spec_.input.height, spec_.input.width};
    SL_ASSIGN_OR_RETURN(void* const buffer, encoder_->InputBuffer(at_.picture, shape));
    auto* tensor = static_cast<float*>(buffer);
    SL_RETURN_IF_ERROR(preprocessor_.Run(picture, tensor, &mapping_));
    picture_width_ = picture.width;
    picture_height_ = picture.height;
    const auto resized = [](float scale, int side, int most) {
      return std::clamp(static_cast<int>(std::lround(scale * static_cast<float>(side))), 1, most);
    };
    resized_width_ = resized(mapping_.scale_x, picture.width, spec_.input.width);
    resized_height_ = resized(mapping_.scale_y, picture.height, spec_.input.height);
    ZeroPadding(tensor);
    SL_ASSIGN_OR_RETURN(const std::span<const TensorView> outputs, encoder_->Run());
    for (const size_t i : at_.embeddings) {
      if (i >= outputs.size() || outputs[i].dtype != DataType::kFloat32 ||
          outputs[i].shape.size() != 4 || outputs[i].elements() < 1) {
        return DataLoss("{}: the encoder gave no embedding [1, depth, rows, columns]", spec_.name);
      }
    }
    embeddings_ = outputs;
    return absl::OkStatus();
  }

  absl::Status Segment(const Prompt& prompt, Detections* found) override {
    if (embeddings_.empty()) return FailedPrecondition("no picture was looked at yet");
    SL_RETURN_IF_ERROR(CheckPrompt(prompt));
    SL_RETURN_IF_ERROR(CheckWithin(prompt, picture_width_, picture_height_));
    if (prompt.box_px && clicks_) {
      return InvalidArgument("this decoder takes points alone, no boxes");
    }
    SL_RETURN_IF_ERROR(FillDecoder(prompt));
    auto outputs = decoder_->Run();
    if (!outputs.ok()) return WithContext(outputs.status(), spec_.name);
    return WithContext(Read(*outputs, found), spec_.name);
  }

 private:
  // The references normalise first and pad with 0 after that, a colour that 8-bit pixels do not
  // have.
  void ZeroPadding(float* tensor) const {
    const int width = spec_.input.width, height = spec_.input.height;
    for (int row = 0; row < 3 * height; ++row) {
      float* at = tensor + static_cast<size_t>(row) * width;
      const int from = row % height < resized_height_ ? resized_width_ : 0;
      std::fill(at + from, at + width, 0.0f);
    }
  }

  template <typename T>
  absl::StatusOr<T*> Input(size_t index, std::span<const int64_t> shape) {
    auto buffer = decoder_->InputBuffer(index, shape);
    if (!buffer.ok()) return WithContext(buffer.status(), spec_.name + ", its decoder");
    return static_cast<T*>(*buffer);
  }

  absl::Status FillDecoder(const Prompt& prompt) {
    for (size_t i = 0; i < at_.embeddings.size(); ++i) {
      const TensorView& from = embeddings_[at_.embeddings[i]];
      SL_ASSIGN_OR_RETURN(float* const to, Input<float>(at_.taken[i], from.shape));
      std::memcpy(to, from.data, static_cast<size_t>(from.elements()) * sizeof(float));
    }
    // Of a decoder of Meta's, a point that means nothing stands where a box would.
    const auto given = static_cast<int64_t>(prompt.points.size());
    const int64_t count = given + (clicks_ ? 0 : prompt.box_px ? 2 : 1);
    clear_points_ = static_cast<double>(count) > kClearPoints;
    const std::vector<int64_t> of_points =
        clicks_ ? std::vector<int64_t>{1, 1, count, 2} : std::vector<int64_t>{1, count, 2};
    const std::span<const int64_t> of_labels(of_points.data(), of_points.size() - 1);
    SL_ASSIGN_OR_RETURN(float* const points, Input<float>(at_.points, of_points));
    const auto set = [&](int64_t i, PointF p) {
      points[2 * i] = p.x * mapping_.scale_x;
      points[2 * i + 1] = p.y * mapping_.scale_y;
    };
    for (int64_t i = 0; i < given; ++i) set(i, prompt.points[i].at_px);
    if (clicks_) {
      SL_ASSIGN_OR_RETURN(int64_t* const labels, Input<int64_t>(at_.labels, of_labels));
      for (int64_t i = 0; i < given; ++i) labels[i] = prompt.points[i].inside ? 1 : 0;
      return absl::OkStatus();
    }
    SL_ASSIGN_OR_RETURN(float* const labels, Input<float>(at_.labels, of_labels));
    for (int64_t i = 0; i < given; ++i) labels[i] = prompt.points[i].inside ? 1 : 0;
    if (prompt.box_px) {
      set(given, {prompt.box_px->x1, prompt.box_px->y1});
      set(given + 1, {prompt.box_px->x2, prompt.box_px->y2});
      labels[given] = 2;
      labels[given + 1] = 3;
    } else {
      set(given, {0, 0});
      labels[given] = -1;
    }
    return FillNoMask();
  }

  // What segment_anything's decoder takes beside: no mask to begin with, and the size that it
  // enlarges its masks to. Those are not used, so they may be small.
  absl::Status FillNoMask() {
    std::vector<int64_t> shape = decoder_->inputs()[at_.mask].shape;
    const TensorView& embedding = embeddings_[at_.embeddings[0]];
    // Four places for each of the embedding's, each side, where the file leaves it open.
    const std::array<int64_t, 4> usual = {1, 1, 4 * embedding.shape[2], 4 * embedding.shape[3]};
    for (size_t d = 0; d < shape.size() && d < usual.size(); ++d) {
      if (shape[d] < 1) shape[d] = usual[d];
    }
    SL_ASSIGN_OR_RETURN(float* const mask, Input<float>(at_.mask, shape));
    const int64_t cells =
        std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
    std::fill(mask, mask + cells, 0.0f);
    const std::array<int64_t, 1> one = {1};
    SL_ASSIGN_OR_RETURN(float* const has_mask, Input<float>(at_.has_mask, one));
    has_mask[0] = 0;
    const std::array<int64_t, 1> two = {2};
    SL_ASSIGN_OR_RETURN(float* const size, Input<float>(at_.size, two));
    size[0] = static_cast<float>(resized_height_);
    size[1] = static_cast<float>(resized_width_);
    return absl::OkStatus();
  }

  // The masks, and a score for each: [.., masks, rows, columns] and [.., masks].
  absl::Status Read(std::span<const TensorView> outputs, Detections* found) {
    if (std::max(at_.scores, at_.masks) >= outputs.size()) {
      return DataLoss("the decoder gave {} outputs", outputs.size());
    }
    const TensorView& scores = outputs[at_.scores];
    const TensorView& masks = outputs[at_.masks];
    const size_t rank = masks.shape.size();
    const bool fits = scores.dtype == DataType::kFloat32 && masks.dtype == DataType::kFloat32 &&
                      rank >= 3 && rank <= 5 && scores.elements() >= 1 && masks.elements() >= 1 &&
                      masks.shape[rank - 3] == scores.elements();
    if (!fits || masks.shape[rank - 1] * masks.shape[rank - 2] > kMostMaskCells ||
        masks.elements() != scores.elements() * masks.shape[rank - 1] * masks.shape[rank - 2]) {
      return DataLoss("the decoder gave masks and scores that do not belong together");
    }
    const auto count = static_cast<int>(scores.elements());
    if (std::any_of(scores.f32(), scores.f32() + count, [](float v) { return std::isnan(v); })) {
      return head_internal::NothingButNan();
    }
    const Grid first{masks.f32(), static_cast<int>(masks.shape[rank - 1]),
                     static_cast<int>(masks.shape[rank - 2])};
    for (const int i : Order({scores.f32(), static_cast<size_t>(count)})) {
      const float score = std::clamp(scores.f32()[i], 0.0f, 1.0f);
      if (spec_.confidence_threshold > 0 && !(score > spec_.confidence_threshold)) continue;
      Grid grid = first;
      grid.values += static_cast<size_t>(i) * first.width * first.height;
      Add(grid, score, found);
    }
    return absl::OkStatus();
  }

  // The best first, no more than are wanted.
  std::vector<int> Order(std::span<const float> scores) const {
    std::vector<int> order(scores.size());
    std::iota(order.begin(), order.end(), 0);
    const auto weight = [&](int i) {
      if (clicks_ || scores.size() == 1 || i > 0) return static_cast<double>(scores[i]);
      return clear_points_ ? std::numeric_limits<double>::infinity()
                           : -std::numeric_limits<double>::infinity();
    };
    std::ranges::stable_sort(order, [&](int a, int b) { return weight(a) > weight(b); });
    order.resize(std::min(order.size(), static_cast<size_t>(spec_.nms.max_detections)));
    return order;
  }

  void Add(const Grid& mask, float score, Detections* found) {
    // First to the input, cut to the picture ...
    const Between input_x(mask.width, spec_.input.width);
    const Between input_y(mask.height, spec_.input.height);
    row_.resize(spec_.input.width);
    enlarged_.resize(static_cast<size_t>(resized_width_) * resized_height_);
    for (int y = 0; y < resized_height_; ++y) {
      EnlargedRow(mask, input_x, input_y, y, row_.data());
      std::copy_n(row_.data(), resized_width_,
                  enlarged_.data() + static_cast<size_t>(y) * resized_width_);
    }
    // ... then to the picture.
    const Grid grid{enlarged_.data(), resized_width_, resized_height_};
    const Between x(resized_width_, picture_width_);
    const Between y(resized_height_, picture_height_);
    InstanceMask object;
    object.extent_px = {0, 0, static_cast<float>(picture_width_),
                        static_cast<float>(picture_height_)};
    object.width = picture_width_;
    object.height = picture_height_;
    MaskRunWriter writer(&object.runs);
    row_.resize(picture_width_);
    int left = picture_width_, right = -1, top = -1, bottom = -1;
    for (int line = 0; line < picture_height_; ++line) {
      EnlargedRow(grid, x, y, line, row_.data());
      for (int from = 0; from < picture_width_;) {
        const bool on = row_[from] > 0;
        int to = from + 1;
        while (to < picture_width_ && (row_[to] > 0) == on) ++to;
        writer.Add(on, to - from);
        if (on) {
          left = std::min(left, from);
          right = std::max(right, to);
          if (top < 0) top = line;
          bottom = line + 1;
        }
        from = to;
      }
    }
    writer.End();
    if (right < 0) return;  // not a pixel
    const Box box = {static_cast<float>(left), static_cast<float>(top), static_cast<float>(right),
                     static_cast<float>(bottom)};
    found->items.push_back({box, score, 0, static_cast<int32_t>(found->masks.size())});
    found->masks.push_back(std::move(object));
  }

  const ModelSpec spec_;
  const bool clicks_;  // layout "transformers"
  const std::unique_ptr<InferenceSession> encoder_;
  const std::unique_ptr<InferenceSession> decoder_;
  Preprocessor preprocessor_;
  const Wiring at_;
  std::span<const TensorView> embeddings_;  // of the picture looked at; the encoder's own memory
  ImageToTensor mapping_;
  int picture_width_ = 0;
  int picture_height_ = 0;
  int resized_width_ = 0;
  int resized_height_ = 0;
  bool clear_points_ = false;
  std::vector<float> enlarged_;
  std::vector<float> row_;
};

absl::StatusOr<Wiring> Wire(const ModelSpec& spec, const InferenceSession& encoder,
                            const InferenceSession& decoder) {
  Wiring at;
  SL_ASSIGN_OR_RETURN(at.picture, IndexOf(encoder.inputs(), spec.input_name, spec, "encoder"));
  const TensorInfo& picture = encoder.inputs()[at.picture];
  const std::array<int64_t, 4> wanted = {1, 3, spec.input.height, spec.input.width};
  if (encoder.inputs().size() != 1 || picture.dtype != DataType::kFloat32 ||
      !ShapeFits(picture.shape, wanted)) {
    return InvalidArgument("model {}: its encoder takes {} where float32[1,3,{},{}] is expected",
                           spec.name, DescribeTensors(encoder.inputs()), spec.input.height,
                           spec.input.width);
  }
  const bool clicks = spec.layout == kLayoutTransformers;
  if (!clicks && spec.layout != kLayoutSegmentAnything) {
    return InvalidArgument("model {}: unknown layout \"{}\" of family {}; it is {} or {}",
                           spec.name, spec.layout, spec.family, kLayoutTransformers,
                           kLayoutSegmentAnything);
  }
  const std::vector<std::string_view> taken = PromptableEmbeddings(spec.layout);
  if (spec.output_names.size() != taken.size()) {
    return InvalidArgument("model {}: layout {} has {} outputs of its encoder", spec.name,
                           spec.layout, taken.size());
  }
  for (size_t i = 0; i < taken.size(); ++i) {
    SL_ASSIGN_OR_RETURN(const size_t from,
                        IndexOf(encoder.outputs(), spec.output_names[i], spec, "encoder"));
    SL_ASSIGN_OR_RETURN(const size_t to, IndexOf(decoder.inputs(), taken[i], spec, "decoder"));
    at.embeddings.push_back(from);
    at.taken.push_back(to);
  }
  const auto input = [&](std::string_view name, DataType dtype, size_t rank,
                         size_t* index) -> absl::Status {
    SL_ASSIGN_OR_RETURN(*index, IndexOf(decoder.inputs(), name, spec, "decoder"));
    const TensorInfo& info = decoder.inputs()[*index];
    if (info.dtype == dtype && info.shape.size() == rank) return absl::OkStatus();
    return InvalidArgument("model {}: its decoder's {} should be {} of {} dimensions", spec.name,
                           ToString(info), ToString(dtype), rank);
  };
  constexpr DataType kFloat = DataType::kFloat32;
  for (const size_t i : at.taken) {
    size_t same = 0;
    SL_RETURN_IF_ERROR(input(decoder.inputs()[i].name, kFloat, 4, &same));
  }
  if (clicks) {
    SL_RETURN_IF_ERROR(input("input_points", kFloat, 4, &at.points));
    SL_RETURN_IF_ERROR(input("input_labels", DataType::kInt64, 3, &at.labels));
  } else {
    SL_RETURN_IF_ERROR(input("point_coords", kFloat, 3, &at.points));
    SL_RETURN_IF_ERROR(input("point_labels", kFloat, 2, &at.labels));
    SL_RETURN_IF_ERROR(input("mask_input", kFloat, 4, &at.mask));
    SL_RETURN_IF_ERROR(input("has_mask_input", kFloat, 1, &at.has_mask));
    SL_RETURN_IF_ERROR(input("orig_im_size", kFloat, 1, &at.size));
  }
  if (decoder.inputs().size() != taken.size() + (clicks ? 2 : 5)) {
    return InvalidArgument(
        "model {}: its decoder takes {}, more than layout {} has; export it without the rest",
        spec.name, DescribeTensors(decoder.inputs()), spec.layout);
  }
  const std::span<const TensorInfo> outputs = decoder.outputs();
  SL_ASSIGN_OR_RETURN(at.scores,
                      IndexOf(outputs, clicks ? "iou_scores" : "iou_predictions", spec, "decoder"));
  SL_ASSIGN_OR_RETURN(at.masks,
                      IndexOf(outputs, clicks ? "pred_masks" : "low_res_masks", spec, "decoder"));
  return at;
}

}  // namespace

absl::StatusOr<std::unique_ptr<PromptableSegmenter>> PromptableSegmenter::Open(
    const ModelSpec& spec, InferenceBackend& backend, const NeuralOptions& options) {
  ModelSpec own = spec;
  if (options.confidence) own.confidence_threshold = *options.confidence;
  if (options.nms) own.nms = *options.nms;
  SL_RETURN_IF_ERROR(WithContext(CheckThresholds(own.confidence_threshold, own.nms),
                                 fmt::format("model {}", spec.name)));
  if (spec.family != kPromptableFamily || spec.companion_file.empty()) {
    return InvalidArgument("model {}: {}, not {} with an encoder and a decoder", spec.name,
                           spec.family, kPromptableFamily);
  }
  const TensorRecipe& input = spec.input;
  if (input.resize != ResizeMode::kLetterboxTopLeft || input.layout != TensorLayout::kNchw ||
      input.dtype != DataType::kFloat32) {
    return InvalidArgument(
        "model {}: pictures of family {} are letterbox_top_left, nchw and float32; correct `input` "
        "in its model.yaml",
        spec.name, spec.family);
  }
  SessionOptions session;
  session.model_file = spec.file;
  session.intra_op_threads = options.threads;
  session.providers = options.providers;
  SL_ASSIGN_OR_RETURN(auto encoder, backend.Open(session));
  session.model_file = spec.companion_file;
  SL_ASSIGN_OR_RETURN(auto decoder, backend.Open(session));
  SL_ASSIGN_OR_RETURN(Wiring wiring, Wire(spec, *encoder, *decoder));
  SL_ASSIGN_OR_RETURN(Preprocessor preprocessor, Preprocessor::Create(input));
  return std::make_unique<Segmenter>(std::move(own), std::move(encoder), std::move(decoder),
                                     std::move(preprocessor), std::move(wiring));
}

absl::Status TryPromptable(const ModelSpec& spec, InferenceBackend& backend) {
  SL_ASSIGN_OR_RETURN(auto segmenter, PromptableSegmenter::Open(spec, backend, {}));
  constexpr int kSide = 64;
  const std::vector<uint8_t> grey(size_t{3} * kSide * kSide, 128);
  const ImageView blank = {.format = PixelFormat::kBgr24,
                           .width = kSide,
                           .height = kSide,
                           .planes = {grey.data()},
                           .strides = {3 * kSide}};
  SL_RETURN_IF_ERROR(segmenter->LookAt(blank));
  Detections found;
  return segmenter->Segment({.points = {{{kSide / 2, kSide / 2}, true}}, .box_px = {}}, &found);
}

}  // namespace sightline
