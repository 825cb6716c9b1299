// Writing model.yaml.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string>

#include "infer/model_package.h"
#include "infer/model_words.h"

namespace sightline {
namespace {

// Always in double quotes: no word then means a number, a truth value or nothing by accident.
std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      quoted += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

// Plain where nothing else could be meant, since people read these.
std::string Word(std::string_view text) {
  const bool plain = !text.empty() &&
                     ((text[0] >= 'a' && text[0] <= 'z') || (text[0] >= 'A' && text[0] <= 'Z')) &&
                     std::ranges::all_of(text, [](unsigned char c) {
                       return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                              (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
                     });
  return plain ? std::string(text) : Quoted(text);
}

template <typename Names>
std::string WordList(const Names& names) {
  std::string list = "[";
  for (size_t i = 0; i < names.size(); ++i) list += (i > 0 ? ", " : "") + Word(names[i]);
  return list + "]";
}

// One item a line where a line would be too long.
void AppendLabels(const LabelSet& labels, std::string& out) {
  constexpr size_t kShort = 4;
  if (labels.names.size() <= kShort) {
    out += "labels: " + WordList(labels.names) + "\n";
    return;
  }
  out += "labels:\n";
  for (const std::string& name : labels.names) out += "  - " + Word(name) + "\n";
}

template <typename T>
std::string Numbers(const std::array<T, 3>& values) {
  return fmt::format("[{}, {}, {}]", values[0], values[1], values[2]);
}

}  // namespace

std::string FormatModelPackage(const ModelPackage& package) {
  const ModelSpec& spec = package.spec;
  const TensorRecipe& input = spec.input;
  std::string out =
      "# What `sightline models add` found in the model file. It may be edited by hand;\n"
      "# `sightline models show NAME` checks it. value = (pixel - mean) * scale, pixel 0..255.\n"
      "format: 1\n";
  out += "name: " + Word(spec.name) + "\n";
  out += "file: " + Word(spec.file) + "\n";
  out += "sha256: " + Quoted(spec.sha256) + "\n";
  if (!spec.companion_file.empty()) {
    out += "companion: " + Word(spec.companion_file) + "\n";
    out += "companion_sha256: " + Quoted(spec.companion_sha256) + "\n";
  }
  out += "family: " + Word(spec.family) + "\n";
  if (!spec.layout.empty()) out += "layout: " + Word(spec.layout) + "\n";
  if (spec.labels != nullptr) AppendLabels(*spec.labels, out);
  if (spec.classes > 0) out += fmt::format("classes: {}\n", spec.classes);
  if (spec.keypoints > 0) out += fmt::format("keypoints: {}\n", spec.keypoints);
  if (!spec.anchors.empty()) {
    out += fmt::format("anchors: [{}]\n", fmt::join(spec.anchors, ", "));
  }
  if (!spec.scale_xy.empty()) {
    out += fmt::format("scale_xy: [{}]\n", fmt::join(spec.scale_xy, ", "));
  }
  out += "input:\n";
  out += "  name: " + Word(spec.input_name) + "\n";
  if (!spec.size_input_name.empty()) {
    out += "  size_name: " + Word(spec.size_input_name) + "\n";
  }
  out += fmt::format("  width: {}\n  height: {}\n", input.width, input.height);
  out += fmt::format("  resize: {}\n", WordOf(kResizeWords, input.resize));
  if (input.rounding != Rounding::kFloor) {
    out += fmt::format("  rounding: {}\n", WordOf(kRoundingWords, input.rounding));
  }
  if (input.resize == ResizeMode::kCenterCrop && input.crop_from > 0) {
    out += fmt::format("  crop_from: {}\n", input.crop_from);
  }
  if (input.resize == ResizeMode::kLetterboxCenter && input.border > 0) {
    out += fmt::format("  border: {}\n", input.border);
  }
  out += fmt::format("  interpolation: {}\n", WordOf(kInterpolationWords, input.interpolation));
  out += fmt::format("  channels: {}\n", WordOf(kChannelWords, input.channels));
  out += fmt::format("  layout: {}\n", WordOf(kLayoutWords, input.layout));
  out += fmt::format("  dtype: {}\n", WordOf(kDtypeWords, input.dtype));
  out += "  mean: " + Numbers(input.mean) + "\n";
  out += "  scale: " + Numbers(input.scale) + "\n";
  out += "  pad: " + Numbers(input.pad_value) + "\n";
  out += spec.batch == 0 ? "  batch: any\n" : fmt::format("  batch: {}\n", spec.batch);
  out += "outputs: " + WordList(spec.output_names) + "\n";
  out += fmt::format("confidence: {}\n", spec.confidence_threshold);
  out += "nms:\n";
  out += fmt::format("  kind: {}\n", WordOf(kNmsWords, spec.nms.kind));
  out += fmt::format("  iou: {}\n  sigma: {}\n", spec.nms.iou_threshold, spec.nms.sigma);
  out += fmt::format("  class_aware: {}\n", spec.nms.class_aware);
  out += fmt::format("  max_detections: {}\n", spec.nms.max_detections);
  if (!package.why.empty()) {
    out += "why:\n";
    for (std::string reason : package.why) {
      std::ranges::replace_if(
          reason, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
      out += "  - " + Quoted(reason) + "\n";
    }
  }
  return out;
}

}  // namespace sightline
