#include "detect/heads/head.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "detect/family.h"

namespace sightline {
namespace {

constexpr int kMaxInputSide = 8192;  // bounds what a made-up model.yaml makes us allocate; chosen

}  // namespace

void Head::Suppress(const RawResult&, const NmsSettings& settings, float min_confidence,
                    NonMaxSuppressor* suppressor, std::vector<Detection>* boxes) const {
  suppressor->Run(settings, min_confidence, boxes);
}

absl::Status Head::Complete(const RawResult&, Detections* result) const {
  for (Detection& d : result->items) d.detail = -1;
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Head>> MakeHead(const ModelSpec& spec,
                                               std::span<const TensorInfo> outputs) {
  if (spec.input.width < 1 || spec.input.height < 1 || spec.input.width > kMaxInputSide ||
      spec.input.height > kMaxInputSide) {
    return InvalidArgument("model {}: an input of {}x{} pixels; sides are 1 to {}", spec.name,
                           spec.input.width, spec.input.height, kMaxInputSide);
  }
  for (const TensorInfo& output : outputs) {
    const bool meant = spec.output_names.empty() ||
                       std::ranges::find(spec.output_names, output.name) != spec.output_names.end();
    if (meant && output.dtype == DataType::kFloat16) {
      return InvalidArgument(
          "model {}: its output {} is not float32; export it with float32 outputs", spec.name,
          ToString(output));
    }
  }
  auto family = FindFamily(spec.family);
  if (!family.ok()) return WithContext(family.status(), "model " + spec.name);
  return (*family)->MakeHead(spec, outputs);
}

std::string DescribeTensors(std::span<const TensorInfo> tensors) {
  std::string text;
  for (const TensorInfo& t : tensors) {
    if (!text.empty()) text += ", ";
    text += ToString(t);
  }
  return text.empty() ? "nothing" : text;
}

namespace head_internal {

absl::StatusOr<MeantTensors> NamedOutputs(const ModelSpec& spec,
                                          std::span<const TensorInfo> outputs) {
  MeantTensors meant;
  for (const std::string& name : spec.output_names) {
    const auto found = std::ranges::find(outputs, name, &TensorInfo::name);
    if (found == outputs.end()) {
      return InvalidArgument("model {}: it has no output \"{}\"; its outputs are {}", spec.name,
                             name, DescribeTensors(outputs));
    }
    const auto at = static_cast<size_t>(found - outputs.begin());
    if (std::ranges::find(meant.index, at) != meant.index.end()) {
      return InvalidArgument("model {}: `outputs` in its model.yaml names \"{}\" twice", spec.name,
                             name);
    }
    meant.index.push_back(at);
  }
  if (meant.index.empty()) {
    for (size_t i = 0; i < outputs.size(); ++i) meant.index.push_back(i);
  }
  for (const size_t i : meant.index) meant.infos.push_back(outputs[i]);
  return meant;
}

absl::StatusOr<std::vector<size_t>> MeantOutputs(const ModelSpec& spec,
                                                 std::span<const TensorInfo> outputs) {
  SL_ASSIGN_OR_RETURN(MeantTensors meant, NamedOutputs(spec, outputs));
  for (const TensorInfo& info : meant.infos) {
    if (info.dtype != DataType::kFloat32) {
      return InvalidArgument(
          "model {}: its output {} is not float32; export it with float32 outputs", spec.name,
          ToString(info));
    }
  }
  return std::move(meant.index);
}

absl::StatusOr<std::vector<size_t>> MeantOutputs(const ModelSpec& spec,
                                                 std::span<const TensorInfo> outputs,
                                                 size_t count) {
  SL_ASSIGN_OR_RETURN(std::vector<size_t> meant, MeantOutputs(spec, outputs));
  if (meant.size() == count) return meant;
  return InvalidArgument(
      "model {}: family {} has {} output{}, this file has {}; set `outputs` in its model.yaml to "
      "those that are meant, in the family's order",
      spec.name, spec.family, count, count == 1 ? "" : "s", DescribeTensors(outputs));
}

bool ShapeFits(std::span<const int64_t> shape, std::span<const int64_t> wanted) {
  return std::ranges::equal(shape, wanted,
                            [](int64_t a, int64_t b) { return a == b || a == -1 || b == -1; });
}

absl::StatusOr<const float*> EntryOf(const RawResult& raw, size_t index,
                                     std::span<const int64_t> wanted) {
  if (index >= raw.outputs.size()) {
    return DataLoss("the model gave {} outputs where at least {} were expected", raw.outputs.size(),
                    index + 1);
  }
  const TensorView& view = raw.outputs[index];
  const int entry = raw.batch_index;
  const bool fits = view.shape.size() == wanted.size() && entry >= 0 && entry < view.shape[0] &&
                    std::equal(view.shape.begin() + 1, view.shape.end(), wanted.begin() + 1);
  if (!fits || view.dtype != DataType::kFloat32 || view.data == nullptr) {
    return DataLoss("output {} is {}[{}] where float32[at least {},{}] was expected", index,
                    ToString(view.dtype), fmt::join(view.shape, ","), entry + 1,
                    fmt::join(wanted.subspan(1), ","));
  }
  int64_t per_entry = 1;
  for (const int64_t d : wanted.subspan(1)) per_entry *= d;
  return view.f32() + per_entry * entry;
}

absl::Status CheckLabels(const ModelSpec& spec, int classes) {
  const size_t labels = spec.labels == nullptr ? 0 : spec.labels->names.size();
  if (labels == 0 || labels == static_cast<size_t>(classes)) return absl::OkStatus();
  return InvalidArgument(
      "model {}: {} labels are given but its outputs are for {} classes; correct `labels` in its "
      "model.yaml",
      spec.name, labels, classes);
}

absl::Status CheckLayout(const ModelSpec& spec, std::initializer_list<std::string_view> layouts) {
  if (spec.layout.empty() && layouts.size() == 1) return absl::OkStatus();
  if (std::ranges::find(layouts, spec.layout) != layouts.end()) return absl::OkStatus();
  return InvalidArgument("model {}: unknown layout \"{}\" of family {}; it is {}", spec.name,
                         spec.layout, spec.family, fmt::join(layouts, " or "));
}

absl::Status NotProbabilities(float score) {
  return DataLoss(
      "the model gave a score of {:.4g}, and scores end at 1: its export lacks the last sigmoid or "
      "softmax, or its family is another",
      score);
}

absl::Status TooManyCandidates() {
  return DataLoss(
      "more than {} boxes of one picture are above the least confidence: it is too low, or the "
      "model gives the same score everywhere",
      kMostCandidates);
}

absl::Status NothingButNan() {
  return DataLoss(
      "every score that the model gave is NaN: its numbers overflow, or its input is "
      "not scaled as it expects");
}

bool IsUsable(const Box& box) {
  // Comparisons with NaN are false; the difference of infinite corners is infinite or NaN.
  return box.width() > 0 && box.height() > 0 && std::isfinite(box.width()) &&
         std::isfinite(box.height());
}

}  // namespace head_internal
}  // namespace sightline
