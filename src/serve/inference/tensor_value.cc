#include "serve/inference/tensor_value.h"

#include <algorithm>
#include <cstring>

#include "serve/inference/tensor_types.h"

namespace sightline::serve {
namespace {

constexpr std::string_view kMagic = "sltv1\n";
constexpr uint64_t kMostDimensions = 64;

template <typename Number>
void Put(Number value, std::string& to) {
  to.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void PutText(std::string_view text, std::string& to) {
  Put<uint64_t>(text.size(), to);
  to += text;
}

// Takes from the front; false where there is too little.
template <typename Number>
bool Take(std::string_view& from, Number& value) {
  if (from.size() < sizeof value) return false;
  std::memcpy(&value, from.data(), sizeof value);
  from.remove_prefix(sizeof value);
  return true;
}

bool TakeText(std::string_view& from, std::string& text) {
  uint64_t size = 0;
  if (!Take(from, size) || size > from.size()) return false;
  text.assign(from.substr(0, size));
  from.remove_prefix(size);
  return true;
}

bool TakeOutput(std::string_view& from, InferOutput& output) {
  uint8_t dtype = 0;
  uint64_t dimensions = 0;
  if (!TakeText(from, output.name) || !Take(from, dtype) || !Take(from, dimensions)) return false;
  output.dtype = static_cast<DataType>(dtype);
  if (dimensions > kMostDimensions || WireName(output.dtype).empty()) return false;
  output.shape.resize(dimensions);
  for (int64_t& dimension : output.shape) {
    if (!Take(from, dimension)) return false;
  }
  if (!TakeText(from, output.bytes)) return false;
  const absl::StatusOr<int64_t> elements = CountElements(output.shape);
  if (!elements.ok()) return false;
  if (output.dtype == DataType::kString) return CheckStrings(output.bytes, *elements).ok();
  return static_cast<uint64_t>(*elements) * SizeOf(output.dtype) == output.bytes.size();
}

}  // namespace

CacheKey KeyOf(const ServedModel& model, const InferRequest& request) {
  CacheKeyHasher hasher;
  hasher.Add(std::string_view("tensors 1")).Add(model.name()).Add(model.version());
  hasher.Add(model.content());
  for (const TensorInfo& port : model.inputs()) {
    const auto input = std::ranges::find(request.inputs, port.name, &InferInput::name);
    if (input == request.inputs.end()) continue;
    hasher.Add(input->name).Add(input->dtype).Add(static_cast<uint64_t>(input->shape.size()));
    for (const int64_t dimension : input->shape) hasher.Add(dimension);
    hasher.Add(input->memory());
  }
  hasher.Add(static_cast<uint64_t>(request.outputs.size()));
  for (const WantedOutput& output : request.outputs) hasher.Add(output.name).Add(output.classes);
  return hasher.Finish();
}

std::string PackOutputs(const std::vector<InferOutput>& outputs) {
  size_t size = kMagic.size() + sizeof(uint64_t);
  for (const InferOutput& output : outputs) {
    size += output.name.size() + output.bytes.size() + 8 * (output.shape.size() + 3) + 1;
  }
  std::string bytes;
  bytes.reserve(size);
  bytes += kMagic;
  Put<uint64_t>(outputs.size(), bytes);
  for (const InferOutput& output : outputs) {
    PutText(output.name, bytes);
    Put(static_cast<uint8_t>(output.dtype), bytes);
    Put<uint64_t>(output.shape.size(), bytes);
    for (const int64_t dimension : output.shape) Put(dimension, bytes);
    PutText(output.bytes, bytes);
  }
  return bytes;
}

absl::StatusOr<std::vector<InferOutput>> UnpackOutputs(std::string_view bytes) {
  const auto damaged = [] { return DataLoss("a cached answer is damaged"); };
  if (!bytes.starts_with(kMagic)) return damaged();
  bytes.remove_prefix(kMagic.size());
  uint64_t count = 0;
  // No output is shorter than its numbers.
  if (!Take(bytes, count) || count > bytes.size() / 17) return damaged();
  std::vector<InferOutput> outputs(count);
  for (InferOutput& output : outputs) {
    if (!TakeOutput(bytes, output)) return damaged();
  }
  if (!bytes.empty()) return damaged();
  return outputs;
}

}  // namespace sightline::serve
