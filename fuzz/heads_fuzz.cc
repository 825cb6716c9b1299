// Any numbers as a model's outputs: each family's head and its suppression give usable results or
// an error. Also any text as a file's class names.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "detect/every_family.h"
#include "detect/heads/head.h"
#include "detect/model_labels.h"
#include "detect/neural_detector.h"
#include "detect/nms.h"

namespace sightline {
namespace {

constexpr float kLeast = 0.25f;

// The input's bytes as numbers, over and over.
template <typename T>
std::vector<T> Values(const uint8_t* data, size_t size, size_t count) {
  std::vector<T> values(count);
  for (size_t i = 0; i < count && size >= sizeof(T); ++i) {
    std::memcpy(&values[i], data + i * sizeof(T) % (size - sizeof(T) + 1), sizeof(T));
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
  std::vector<std::vector<float>> floats(infos.size());
  std::vector<std::vector<int64_t>> integers(infos.size());
  std::vector<TensorView> views;
  for (size_t i = 0; i < infos.size(); ++i) {
    int64_t count = 1;
    for (const int64_t d : infos[i].shape) count *= d;
    floats[i] = Values<float>(data, size, static_cast<size_t>(count));
    integers[i] = Values<int64_t>(data, size, static_cast<size_t>(count));
    const bool whole = infos[i].dtype == DataType::kInt64;
    views.push_back({infos[i].dtype, infos[i].shape,
                     whole ? static_cast<const void*>(integers[i].data()) : floats[i].data()});
  }
  const RawResult raw = {views, 0, {0.5f, 0.25f, 3, 0}, 100, 200};
  Detections found;
  if (!(*head)->Decode(raw, kLeast, &found.items).ok()) return;
  NonMaxSuppressor suppressor;
  (*head)->Suppress(raw, spec.nms, kLeast, &suppressor, &found.items);
  ClipToPicture(100, 200, &found.items);
  if (!(*head)->Complete(raw, &found).ok()) return;
  Check(WhatIsWrong(found, kLeast, (*head)->classes()).empty());
}

}  // namespace
}  // namespace sightline

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  static const std::vector<sightline::FamilyExample> examples = sightline::EveryFamily();
  const size_t which = data[0] % (examples.size() + 1);
  if (which == examples.size()) {
    sightline::ParseLabelList(std::string(reinterpret_cast<const char*>(data + 2), size - 2));
    return 0;
  }
  sightline::ModelSpec spec = examples[which].spec();
  spec.nms.class_aware = (data[1] & 1) != 0;
  spec.nms.kind = static_cast<sightline::NmsSettings::Kind>((data[1] >> 1) % 4);
  sightline::RunHead(spec, examples[which].outputs, data + 2, size - 2);
  return 0;
}
