// Any numbers as a model's outputs: the heads and the suppression give usable boxes or an error.
// Also any text as a file's class names.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "detect/heads/head.h"
#include "detect/model_labels.h"
#include "detect/nms.h"

namespace sightline {
namespace {

// The input's bytes as floats, over and over.
std::vector<float> Values(const uint8_t* data, size_t size, size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count && size >= sizeof(float); ++i) {
    std::memcpy(&values[i], data + i * sizeof(float) % (size - sizeof(float) + 1), sizeof(float));
  }
  return values;
}

void Check(bool fine) {
  if (!fine) std::abort();
}

void RunHead(const ModelSpec& spec, const std::vector<TensorInfo>& infos, const uint8_t* data,
             size_t size) {
  const auto head = MakeHead(spec, infos);
  Check(head.ok());
  std::vector<std::vector<float>> values;
  std::vector<TensorView> views;
  for (const TensorInfo& info : infos) {
    int64_t count = 1;
    for (const int64_t d : info.shape) count *= d;
    values.push_back(Values(data, size, count));
    views.push_back({DataType::kFloat32, info.shape, values.back().data()});
  }
  std::vector<Detection> found;
  if (!(*head)->Decode({views, 0, {0.5f, 0.25f, 3, 0}}, 0.25f, &found).ok()) return;
  NonMaxSuppressor().Run(spec.nms, 0.25f, &found);
  for (const Detection& d : found) {
    Check(d.confidence >= 0.25f && d.confidence <= 1);  // Soft-NMS may end at it
    Check(std::isfinite(d.box_px.width()) && d.box_px.width() > 0 && d.box_px.height() > 0);
    Check(d.class_id >= 0 && d.class_id < (*head)->classes());
  }
}

}  // namespace
}  // namespace sightline

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using sightline::DataType;
  if (size < 2) return 0;
  sightline::ModelSpec spec;
  spec.nms.class_aware = (data[0] & 4) != 0;
  spec.nms.kind = static_cast<sightline::NmsSettings::Kind>((data[0] >> 3) % 3);
  spec.input.width = spec.input.height = 64;
  const int which = data[0] & 3;
  ++data;
  --size;
  if (which == 0) {
    spec.family = "yolox";
    spec.layout = "raw_grid";
    sightline::RunHead(spec, {{"o", DataType::kFloat32, {1, 84, 8}}}, data, size);
  } else if (which == 1) {
    spec.family = "ultraface";
    spec.layout = "raw_deltas";
    spec.input.width = 128;
    spec.input.height = 96;
    sightline::RunHead(
        spec, {{"s", DataType::kFloat32, {1, 708, 2}}, {"b", DataType::kFloat32, {1, 708, 4}}},
        data, size);
  } else if (which == 2) {
    spec.family = "fastestdet";
    sightline::RunHead(spec, {{"o", DataType::kFloat32, {1, 8, 4, 4}}}, data, size);
  } else {
    sightline::ParseLabelList(std::string(reinterpret_cast<const char*>(data), size));
  }
  return 0;
}
