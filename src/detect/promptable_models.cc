#include "detect/promptable_models.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/uuid.h"
#include "detect/family.h"
#include "detect/promptable_segmenter.h"
#include "infer/model_store.h"

namespace sightline {
namespace {

constexpr std::string_view kEmbeddings = "image_embeddings";
constexpr std::string_view kPositions = "image_positional_embeddings";
constexpr int kUsualSide = 1024;  // of SAM's input, where a file leaves it open
constexpr int kMaxSide = 8192;

const TensorInfo* Find(const std::vector<TensorInfo>& tensors, std::string_view name) {
  const auto found = std::ranges::find(tensors, name, &TensorInfo::name);
  return found == tensors.end() ? nullptr : &*found;
}

// "" for what is no decoder.
std::string_view LayoutOf(const OnnxFileInfo& decoder) {
  if (Find(decoder.inputs, kEmbeddings) == nullptr) return "";
  if (Find(decoder.inputs, "input_points") != nullptr &&
      Find(decoder.outputs, "pred_masks") != nullptr) {
    return kLayoutTransformers;
  }
  if (Find(decoder.inputs, "point_coords") != nullptr &&
      Find(decoder.outputs, "low_res_masks") != nullptr) {
    return kLayoutSegmentAnything;
  }
  return "";
}

}  // namespace

std::vector<std::string_view> PromptableEmbeddings(std::string_view layout) {
  if (layout == kLayoutTransformers) return {kEmbeddings, kPositions};
  return {kEmbeddings};
}

std::string PromptableHint(const OnnxFileInfo& file) {
  if (!LayoutOf(file).empty()) {
    return "it is the decoder of a promptable segmenter (SAM): `sightline models add ENCODER.onnx "
           "--with` this file";
  }
  if (file.inputs.size() == 1 && Find(file.outputs, kEmbeddings) != nullptr) {
    return "it is the encoder of a promptable segmenter (SAM): `sightline models add` it `--with "
           "DECODER.onnx`";
  }
  return "";
}

absl::StatusOr<ModelSpec> DescribePromptable(const OnnxFileInfo& encoder,
                                             const OnnxFileInfo& decoder) {
  const std::string_view layout = LayoutOf(decoder);
  if (layout.empty()) {
    return InvalidArgument(
        "{} is no decoder of a promptable segmenter: inputs image_embeddings and input_points or "
        "point_coords, outputs pred_masks or low_res_masks are expected, seen is {}",
        decoder.path, Describe(decoder));
  }
  const auto wrong_encoder = [&] {
    return InvalidArgument(
        "{} is no encoder for {}: one input float32 [batch, 3, height, width] and outputs {} are "
        "expected, seen is {}",
        encoder.path, decoder.path, fmt::join(PromptableEmbeddings(layout), " and "),
        Describe(encoder));
  };
  if (encoder.inputs.size() != 1 || encoder.outputs.empty()) return wrong_encoder();
  const TensorInfo& picture = encoder.inputs[0];
  const std::vector<int64_t>& s = picture.shape;
  if (s.size() != 4 || s[1] != 3 || picture.dtype != DataType::kFloat32 || s[2] > kMaxSide ||
      s[3] > kMaxSide) {
    return wrong_encoder();
  }
  const auto side = [](int64_t d) { return d > 0 ? static_cast<int>(d) : kUsualSide; };
  ModelSpec spec = DefaultSpec(kPromptableFamily, side(s[3]), side(s[2]), ChannelOrder::kRgb);
  spec.input.resize = ResizeMode::kLetterboxTopLeft;
  spec.input.rounding = Rounding::kNearest;
  spec.input.interpolation = Interpolation::kBilinearAntialias;
  NormaliseAsImageNet(&spec.input);
  spec.layout = layout;
  spec.input_name = picture.name;
  spec.confidence_threshold = 0;
  spec.nms.kind = NmsSettings::Kind::kNone;
  spec.nms.max_detections = 1;
  spec.labels = std::make_shared<LabelSet>(LabelSet{{"object"}});
  for (const std::string_view name : PromptableEmbeddings(layout)) {
    const TensorInfo* found = Find(encoder.outputs, name);
    // With one embedding its name does not matter.
    if (found == nullptr && layout == kLayoutSegmentAnything) found = &encoder.outputs[0];
    if (found == nullptr || found->dtype != DataType::kFloat32) return wrong_encoder();
    spec.output_names.push_back(found->name);
  }
  spec.name = ModelNameFromFile(encoder.path);
  spec.file = encoder.path;
  spec.sha256 = FileSha256(encoder.path);
  spec.companion_file = decoder.path;
  spec.companion_sha256 = FileSha256(decoder.path);
  return spec;
}

}  // namespace sightline
