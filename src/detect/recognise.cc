#include "detect/recognise.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "base/uuid.h"
#include "detect/heads/head.h"
#include "detect/heads/ultraface_priors.h"
#include "detect/known_strangers.h"
#include "detect/model_labels.h"
#include "infer/model_store.h"

namespace sightline {
namespace {

// What is assumed where a file leaves its input size open.
constexpr int kOpenWidth = 640;
constexpr int kOpenHeight = 640;
constexpr int kMaxSide = 8192;

// Of the values seen, this share must be as the family has them: nearly all, for rounding's sake.
constexpr double kNearlyAll = 0.99;

struct PictureInput {
  TensorInfo info;
  TensorLayout layout = TensorLayout::kNchw;
  int batch = 1;  // 0 = the file leaves it open
  int width = 0;  // 0 = open
  int height = 0;
};

absl::StatusOr<PictureInput> FindPictureInput(const OnnxFileInfo& file) {
  if (file.inputs.size() != 1) {
    return InvalidArgument("it has {} inputs ({}); the known families take one picture",
                           file.inputs.size(), DescribeTensors(file.inputs));
  }
  PictureInput input{file.inputs[0]};
  const std::vector<int64_t>& s = input.info.shape;
  const auto side = [](int64_t d) {
    return d > 0 ? static_cast<int>(std::min<int64_t>(d, 1 << 20)) : 0;
  };
  if (s.size() == 4 && s[1] == 3) {
    input.height = side(s[2]);
    input.width = side(s[3]);
  } else if (s.size() == 4 && s[3] == 3) {
    input.layout = TensorLayout::kNhwc;
    input.height = side(s[1]);
    input.width = side(s[2]);
  } else {
    return InvalidArgument(
        "its input {} is no colour picture; [batch, 3, height, width] or [batch, height, width, 3] "
        "is expected",
        ToString(input.info));
  }
  if (input.width > kMaxSide || input.height > kMaxSide) {
    return InvalidArgument("its input {} is larger than {} pixels a side", ToString(input.info),
                           kMaxSide);
  }
  const DataType dtype = input.info.dtype;
  if (dtype != DataType::kFloat32 && dtype != DataType::kFloat16 && dtype != DataType::kUint8) {
    return InvalidArgument("its input {} has an element type that pictures are not turned into",
                           ToString(input.info));
  }
  input.batch = side(s[0]);
  return input;
}

std::vector<int64_t> ShapeFor(const PictureInput& input, const TensorRecipe& recipe, int batch) {
  if (input.layout == TensorLayout::kNchw) return {batch, 3, recipe.height, recipe.width};
  return {batch, recipe.height, recipe.width, 3};
}

std::vector<float> Repeat(const std::vector<float>& picture, int times) {
  std::vector<float> all;
  all.reserve(picture.size() * times);
  for (int i = 0; i < times; ++i) all.insert(all.end(), picture.begin(), picture.end());
  return all;
}

std::vector<TensorInfo> InfosOf(const std::vector<ProbeOutput>& outputs) {
  std::vector<TensorInfo> infos;
  for (const ProbeOutput& o : outputs) infos.push_back(o.info);
  return infos;
}

// The middle value; takes its argument apart.
double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + values.size() / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// ---- YOLOX ----

struct YoloxShape {
  size_t output;
  int levels;
  int classes;
};

std::optional<YoloxShape> FindYolox(const std::vector<ProbeOutput>& outputs, int width,
                                    int height) {
  // One of several outputs may be it only if together they look like nothing else.
  if (outputs.size() > 1 && !NameStranger(width, height, InfosOf(outputs)).name.empty()) {
    return std::nullopt;
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    const std::vector<int64_t>& s = outputs[i].info.shape;
    if (s.size() != 3 || s[2] < 6 || s[2] > 100'000) continue;
    for (const int levels : {3, 4}) {
      if (s[1] == CellsAtStrides(width, height, levels)) {
        return YoloxShape{i, levels, static_cast<int>(s[2] - 5)};
      }
    }
  }
  return std::nullopt;
}

// How far the boxes' centres lie from where each reading would have them, in cells. The nearest
// reading must be nearer by a factor of four than the others.
absl::StatusOr<std::string> YoloxLayout(const ProbeOutput& output, const YoloxShape& shape,
                                        int width, int height) {
  const int64_t numbers = 5 + shape.classes;
  std::vector<double> raw, decoded, fractions;
  int64_t in_range = 0, ones = 0, row = 0;
  for (int level = 0; level < shape.levels; ++level) {
    const int stride = 8 << level;
    for (int y = 0; y < height / stride; ++y) {
      for (int x = 0; x < width / stride; ++x, ++row) {
        const float* r = output.values.data() + row * numbers;
        raw.push_back(std::abs(r[0] - 0.5) + std::abs(r[1] - 0.5));
        decoded.push_back(std::abs(r[0] / stride - x - 0.5) + std::abs(r[1] / stride - y - 0.5));
        fractions.push_back(std::abs(r[0] * width / stride - x - 0.5) +
                            std::abs(r[1] * height / stride - y - 0.5));
        in_range +=
            std::all_of(r + 4, r + numbers, [](float v) { return v >= -1e-3f && v <= 1.01f; });
        ones += r[4] > 0.9999f;
      }
    }
  }
  if (in_range < kNearlyAll * row) {
    return InvalidArgument(
        "its {} has the shape of YOLOX rows, but only {:.0f} % of them have scores within 0..1; "
        "either its export lacks the last sigmoid, or it is another family (NanoDet-Plus has rows "
        "of "
        "classes + 32)",
        ToString(output.info), 100.0 * in_range / row);
  }
  if (ones > kNearlyAll * row) {
    return InvalidArgument(
        "its {} has the shape of YOLOX rows, but every objectness is 1, as YOLOv6 has it; its rows "
        "read like decoded YOLOX rows: describe it by `family: yolox`, `layout: decoded` and the "
        "input as the model was trained (RGB, scale 1/255, letterbox_center for YOLOv6)",
        ToString(output.info));
  }
  const double d_raw = Median(raw), d_decoded = Median(decoded), d_fractions = Median(fractions);
  if (d_raw * 4 < std::min(d_decoded, d_fractions)) return "raw_grid";
  if (d_decoded * 4 < std::min(d_raw, d_fractions)) return "decoded";
  return InvalidArgument(
      "its {} has the shape of YOLOX rows, but the boxes it gives for a test picture are neither "
      "offsets to the cells (off by {:.2g} cells) nor pixels (off by {:.2g}){}; if you know them, "
      "describe it by `family: yolox` and `layout: raw_grid` or `layout: decoded`",
      ToString(output.info), d_raw, d_decoded,
      d_fractions < 2 && d_fractions * 4 < d_decoded ? "; they look like fractions of the picture"
                                                     : "");
}

// ---- Ultra-Light face ----

struct UltrafaceShape {
  size_t scores;
  size_t boxes;
};

std::optional<UltrafaceShape> FindUltraface(const std::vector<ProbeOutput>& outputs, int width,
                                            int height) {
  if (outputs.size() != 2) return std::nullopt;
  const auto priors = static_cast<int64_t>(UltrafacePriors(width, height).size());
  for (const size_t scores : {0u, 1u}) {
    const std::vector<int64_t>& s = outputs[scores].info.shape;
    const std::vector<int64_t>& b = outputs[1 - scores].info.shape;
    if (s.size() == 3 && b.size() == 3 && s[2] == 2 && b[2] == 4 && s[1] == b[1] &&
        s[1] == priors) {
      return UltrafaceShape{scores, 1 - scores};
    }
  }
  return std::nullopt;
}

absl::StatusOr<std::string> UltrafaceLayout(const ProbeOutput& scores, const ProbeOutput& boxes,
                                            int width, int height) {
  const std::vector<UltrafacePrior> priors = UltrafacePriors(width, height);
  int64_t sums_to_one = 0, background = 0, is_box = 0;
  for (size_t i = 0; i < priors.size(); ++i) {
    const float* s = scores.values.data() + 2 * i;
    const float* b = boxes.values.data() + 4 * i;
    sums_to_one += std::abs(s[0] + s[1] - 1) < 0.01f && s[0] >= 0 && s[1] >= 0;
    background += s[0] > s[1];
    is_box += b[2] > b[0] && b[3] > b[1] && std::abs((b[0] + b[2]) / 2 - priors[i].cx) < 0.25f &&
              std::abs((b[1] + b[3]) / 2 - priors[i].cy) < 0.25f;
  }
  const auto count = static_cast<double>(priors.size());
  if (sums_to_one < kNearlyAll * count) {
    return InvalidArgument(
        "its {} has the shape of Ultra-Light face scores, but only {:.0f} % of the pairs add up to "
        "1; "
        "its export lacks the softmax",
        ToString(scores.info), 100 * sums_to_one / count);
  }
  if (background < 0.5 * count) {
    return InvalidArgument(
        "its {} has the shape of Ultra-Light face scores, but takes most of a picture without "
        "faces "
        "for faces; background is expected in the first column",
        ToString(scores.info));
  }
  if (is_box > 0.9 * count) return "decoded";
  if (is_box < 0.5 * count) return "raw_deltas";
  return InvalidArgument(
      "its {} has the shape of Ultra-Light face boxes, but {:.0f} % of them look like corners and "
      "the rest like offsets; if you know them, describe it by `family: ultraface` and `layout: "
      "raw_deltas` or `layout: decoded`",
      ToString(boxes.info), 100 * is_box / count);
}

// ---- FastestDet ----

std::optional<size_t> FindFastestdet(const std::vector<ProbeOutput>& outputs, int width,
                                     int height) {
  if (outputs.size() != 1) return std::nullopt;
  const std::vector<int64_t>& s = outputs[0].info.shape;
  if (s.size() != 4 || s[1] < 6 || s[2] < 1 || s[3] < 1) return std::nullopt;
  // The family has one grid, at stride 16.
  if (s[2] != height / 16 || s[3] != width / 16) return std::nullopt;
  return 0;
}

absl::Status CheckFastestdet(const ProbeOutput& output) {
  const std::vector<int64_t>& s = output.info.shape;
  const int64_t cells = s[2] * s[3];
  int64_t fine = 0;
  for (int64_t i = 0; i < cells; ++i) {
    double sum = 0;
    for (int64_t c = 5; c < s[1]; ++c) sum += output.values[c * cells + i];
    fine += output.values[i] >= 0 && output.values[i] <= 1.001f && std::abs(sum - 1) < 0.01;
  }
  if (fine >= kNearlyAll * cells) return absl::OkStatus();
  return InvalidArgument(
      "its {} has the shape of FastestDet's grid, but only {:.0f} % of the cells have an "
      "objectness "
      "within 0..1 and class scores that add up to 1; it looks like another family with one map "
      "(YOLOv2, a heat map or a segmentation)",
      ToString(output.info), 100.0 * fine / cells);
}

// ---- any family ----

struct Candidate {
  std::string family;
  std::vector<size_t> outputs;  // in the family's order
  int classes = 0;
  std::string sentence;  // what was seen
};

std::optional<Candidate> ByShape(const std::vector<ProbeOutput>& outputs, int width, int height) {
  if (const auto face = FindUltraface(outputs, width, height)) {
    return Candidate{
        "ultraface",
        {face->scores, face->boxes},
        1,
        fmt::format("{} and {}: the {} priors of Ultra-Light face for {}x{}",
                    ToString(outputs[face->scores].info), ToString(outputs[face->boxes].info),
                    outputs[face->scores].info.shape[1], width, height)};
  }
  if (const auto grid = FindFastestdet(outputs, width, height)) {
    const TensorInfo& info = outputs[*grid].info;
    return Candidate{"fastestdet",
                     {*grid},
                     static_cast<int>(info.shape[1] - 5),
                     fmt::format("{}: one grid of {}x{} cells at stride 16 with 5 + {} planes, as "
                                 "FastestDet has it",
                                 ToString(info), info.shape[3], info.shape[2], info.shape[1] - 5)};
  }
  if (const auto yolox = FindYolox(outputs, width, height)) {
    const TensorInfo& info = outputs[yolox->output].info;
    return Candidate{
        "yolox",
        {yolox->output},
        yolox->classes,
        fmt::format("{}: 5 + {} numbers for each of the {} cells of {}x{} at strides 8 to "
                    "{}, as YOLOX has it",
                    ToString(info), yolox->classes, info.shape[1], width, height,
                    8 << (yolox->levels - 1))};
  }
  return std::nullopt;
}

absl::StatusOr<std::string> LayoutOf(const Candidate& found,
                                     const std::vector<ProbeOutput>& outputs, int width,
                                     int height) {
  for (const size_t i : found.outputs) {
    const ProbeOutput& o = outputs[i];
    if (o.info.dtype != DataType::kFloat32) {
      return InvalidArgument("its output {} is not float32; export it with float32 outputs",
                             ToString(o.info));
    }
    if (!std::ranges::all_of(o.values, [](float v) { return std::isfinite(v); })) {
      return InvalidArgument("its output {} holds NaN or infinite numbers for a plain test picture",
                             ToString(o.info));
    }
  }
  const ProbeOutput& first = outputs[found.outputs[0]];
  if (found.family == "yolox") {
    return YoloxLayout(first, *FindYolox(outputs, width, height), width, height);
  }
  if (found.family == "ultraface") {
    return UltrafaceLayout(first, outputs[found.outputs[1]], width, height);
  }
  SL_RETURN_IF_ERROR(CheckFastestdet(first));
  return "grid";
}

absl::Status Refuse(const OnnxFileInfo& file, const std::vector<TensorInfo>& outputs, int width,
                    int height) {
  const Stranger stranger = NameStranger(width, height, outputs);
  std::string text;
  if (stranger.name.empty()) {
    text = "its outputs fit none of the known families";
  } else {
    text = fmt::format("it looks like {}, which is not supported yet", stranger.name);
  }
  return InvalidArgument(
      "{}: {}. Seen: {} -> {}. {}", file.path, text, DescribeTensors(file.inputs),
      DescribeTensors(outputs),
      stranger.hint.empty()
          ? "Known are yolox ([batch, cells, 5 + classes]), ultraface ([batch, priors, 2] and "
            "[batch, "
            "priors, 4]) and fastestdet ([batch, 5 + classes, rows, columns]); if it is one of "
            "them, "
            "describe it by `family`, `layout`, `input` and `outputs`"
          : "If you want to try, " + stranger.hint);
}

// Whether a batch of two pictures gives what the pictures give alone.
bool BatchesWork(const ModelProbe& probe, const PictureInput& input, const TensorRecipe& recipe) {
  const std::vector<float> one = ProbePicture(recipe, 0), other = ProbePicture(recipe, 1);
  std::vector<float> both = one;
  both.insert(both.end(), other.begin(), other.end());
  const auto first = probe(ShapeFor(input, recipe, 1), one);
  const auto second = probe(ShapeFor(input, recipe, 1), other);
  const auto pair = probe(ShapeFor(input, recipe, 2), both);
  if (!first.ok() || !second.ok() || !pair.ok() || pair->size() != first->size()) return false;
  for (size_t o = 0; o < pair->size(); ++o) {
    const std::vector<float>&a = (*first)[o].values, &b = (*second)[o].values,
          &p = (*pair)[o].values;
    if (p.size() != a.size() + b.size()) return false;
    for (size_t i = 0; i < p.size(); ++i) {
      const float alone = i < a.size() ? a[i] : b[i - a.size()];
      if (!(std::abs(p[i] - alone) <= 1e-3f * std::max(1.0f, std::abs(alone)))) return false;
    }
  }
  return true;
}

}  // namespace

absl::StatusOr<ModelSpec> FamilyDefaults(const std::string& family, int width, int height) {
  ModelSpec spec;
  spec.family = family;
  spec.input.width = width;
  spec.input.height = height;
  if (family == "yolox") {  // demo/ONNXRuntime and tools/demo.py of its repository
    spec.input.resize = ResizeMode::kLetterboxTopLeft;
    spec.input.channels = ChannelOrder::kBgr;
    spec.input.pad_value = {114, 114, 114};
    spec.confidence_threshold = 0.25f;
    spec.nms.iou_threshold = 0.45f;
  } else if (family == "ultraface") {  // run_video_face_detect_onnx.py
    spec.input.channels = ChannelOrder::kRgb;
    spec.input.mean = {127, 127, 127};
    spec.input.scale = {1 / 128.0f, 1 / 128.0f, 1 / 128.0f};
    spec.confidence_threshold = 0.7f;
    spec.nms.iou_threshold = 0.3f;
  } else if (family == "fastestdet") {
    // Its repository contradicts itself: training and test.py shrink with INTER_LINEAR, the ONNX
    // example with INTER_AREA. What the model was trained with is taken; input.interpolation: area
    // in model.yaml gives the other.
    spec.input.channels = ChannelOrder::kBgr;
    spec.input.interpolation = Interpolation::kBilinear;
    spec.input.scale = {1 / 255.0f, 1 / 255.0f, 1 / 255.0f};
    spec.confidence_threshold = 0.5f;
    spec.nms.iou_threshold = 0.45f;
  } else {
    return InvalidArgument("unknown family \"{}\"; the families are yolox, ultraface, fastestdet",
                           family);
  }
  return spec;
}

absl::StatusOr<Recognition> RecogniseModel(const OnnxFileInfo& file, const ModelProbe& probe) {
  const auto in_file = [&](const absl::Status& status) { return WithContext(status, file.path); };
  auto found_input = FindPictureInput(file);
  if (!found_input.ok()) return in_file(found_input.status());
  const PictureInput& input = *found_input;
  Recognition result;

  // First run, to see real shapes: declared ones may be open or wrong. The values do not matter
  // yet.
  TensorRecipe recipe;
  recipe.width = input.width > 0 ? input.width : kOpenWidth;
  recipe.height = input.height > 0 ? input.height : kOpenHeight;
  recipe.layout = input.layout;
  const int run_batch = std::max(input.batch, 1);
  auto shapes_run =
      probe(ShapeFor(input, recipe, run_batch), Repeat(ProbePicture(recipe, 0), run_batch));
  if (!shapes_run.ok()) {
    return in_file(
        WithContext(shapes_run.status(), fmt::format("it cannot be run on a test picture of "
                                                     "{}x{}",
                                                     recipe.width, recipe.height)));
  }
  const std::optional<Candidate> found = ByShape(*shapes_run, recipe.width, recipe.height);
  if (!found) return Refuse(file, InfosOf(*shapes_run), recipe.width, recipe.height);
  if (input.width == 0 || input.height == 0) {
    result.warnings.push_back(
        fmt::format("the file leaves its input size open; {}x{} is assumed, describe it by "
                    "`input.width` and `input.height` for another",
                    recipe.width, recipe.height));
  }

  // Second run, with the picture prepared as the family wants it, to see the values.
  auto defaults = FamilyDefaults(found->family, recipe.width, recipe.height);
  if (!defaults.ok()) return in_file(defaults.status());
  ModelSpec& spec = result.spec;
  spec = *std::move(defaults);
  spec.input.layout = input.layout;
  spec.input.dtype = input.info.dtype;
  if (spec.input.dtype == DataType::kUint8 && found->family != "yolox") {
    spec.input.mean = {0, 0, 0};
    spec.input.scale = {1, 1, 1};
    result.warnings.push_back("its input is uint8: it is fed pixels of 0..255 as they are");
  }
  auto values_run =
      probe(ShapeFor(input, recipe, run_batch), Repeat(ProbePicture(spec.input, 0), run_batch));
  if (!values_run.ok()) return in_file(values_run.status());
  auto layout = LayoutOf(*found, *values_run, recipe.width, recipe.height);
  if (!layout.ok()) return in_file(layout.status());
  spec.layout = *std::move(layout);

  spec.batch = input.batch;
  if (input.batch == 0 && !BatchesWork(probe, input, spec.input)) {
    spec.batch = 1;
    result.warnings.push_back(
        "the file leaves its batch open but gives wrong results or fails for two pictures at once: "
        "one "
        "at a time is used");
  }
  spec.name = ModelNameFromFile(file.path);
  spec.file = file.path;
  spec.sha256 = FileSha256(file.path);
  spec.input_name = input.info.name;
  for (const size_t i : found->outputs) spec.output_names.push_back((*values_run)[i].info.name);
  ModelLabels labels = LabelsFor(file.metadata, found->family, found->classes);
  spec.labels = std::move(labels.labels);
  if (!labels.warning.empty()) result.warnings.push_back(std::move(labels.warning));
  result.why = fmt::format("{}; layout {} by the values for a test picture; labels: {}",
                           found->sentence, spec.layout, labels.source);
  return result;
}

}  // namespace sightline
