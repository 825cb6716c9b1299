#include "serve/inference/row_probe.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "serve/inference/tensor_types.h"

namespace sightline::serve {
namespace {

constexpr double kTolerance = 1e-3;  // of the largest number of a row
constexpr unsigned kWideSeed = 2;
constexpr int64_t kMostElements = int64_t{16} << 20;  // of a row; more is not tried

// Small whole numbers, so that they may also be indices. A `wide` row has another range than others: what
// is normalised over a batch shows.
void FillRow(DataType dtype, size_t bytes, bool wide, std::mt19937& random, void* to) {
  if (dtype == DataType::kFloat32 || dtype == DataType::kFloat64) {
    for (size_t i = 0; i < bytes / SizeOf(dtype); ++i) {
      double value = static_cast<double>(random() % 1000) / 1000;
      if (wide) value = 16 * value - 4;
      if (dtype == DataType::kFloat32) static_cast<float*>(to)[i] = static_cast<float>(value);
      if (dtype == DataType::kFloat64) static_cast<double*>(to)[i] = value;
    }
    return;
  }
  std::memset(to, 0, bytes);
  const size_t size = SizeOf(dtype);
  for (size_t at = 0; at < bytes; at += size) {
    const bool one = random() % 2 == 1;
    auto* const element = static_cast<unsigned char*>(to) + at;
    if (dtype == DataType::kFloat16) {
      element[1] = one ? (wide ? 0x44 : 0x3C) : 0;  // 4 or 1
    } else if (dtype == DataType::kBfloat16) {
      element[0] = one ? 0x80 : 0;
      element[1] = one ? (wide ? 0x40 : 0x3F) : 0;
    } else {
      element[0] = one ? 1 : 0;
    }
  }
}

using Bytes = std::vector<char>;

// Outputs of a run of the given rows; each row of every input by its own seed. Empty: it failed.
std::vector<Bytes> RunRows(InferenceSession& session, std::vector<unsigned> seeds) {
  for (size_t port = 0; port < session.inputs().size(); ++port) {
    std::vector<int64_t> shape = session.inputs()[port].shape;
    shape[0] = static_cast<int64_t>(seeds.size());
    const absl::StatusOr<void*> to = session.InputBuffer(port, shape);
    const absl::StatusOr<int64_t> elements = CountElements(shape);
    if (!to.ok() || !elements.ok() || *elements > kMostElements) return {};
    const size_t row =
        static_cast<size_t>(*elements) / seeds.size() * SizeOf(session.inputs()[port].dtype);
    for (size_t i = 0; i < seeds.size(); ++i) {
      std::mt19937 random(seeds[i] * 101 + static_cast<unsigned>(port));
      FillRow(session.inputs()[port].dtype, row, seeds[i] == kWideSeed, random,
              static_cast<char*>(*to) + i * row);
    }
  }
  const auto views = session.Run();
  std::vector<Bytes> outputs;
  if (!views.ok()) return outputs;
  for (const TensorView& view : *views) {
    if (view.shape.empty() || view.shape[0] != static_cast<int64_t>(seeds.size())) return {};
    const auto* from = static_cast<const char*>(view.data);
    outputs.emplace_back(from, from + static_cast<size_t>(view.elements()) * SizeOf(view.dtype));
  }
  return outputs;
}

template <typename T>
bool NearlyEqual(const char* a, const char* b, size_t bytes) {
  const auto number = [](const char* from, size_t at) {
    T value;
    std::memcpy(&value, from + at, sizeof(T));
    return static_cast<double>(value);
  };
  double largest = 0;
  for (size_t at = 0; at < bytes; at += sizeof(T)) {
    const double x = number(a, at);
    if (std::isfinite(x)) largest = std::max(largest, std::abs(x));
  }
  for (size_t at = 0; at < bytes; at += sizeof(T)) {
    const double x = number(a, at), y = number(b, at);
    if (std::isnan(x) && std::isnan(y)) continue;
    if (x != y && !(std::abs(x - y) <= kTolerance * largest)) return false;
  }
  return true;
}

bool Equal(DataType dtype, const char* a, const char* b, size_t bytes) {
  if (dtype == DataType::kFloat32) return NearlyEqual<float>(a, b, bytes);
  if (dtype == DataType::kFloat64) return NearlyEqual<double>(a, b, bytes);
  return std::memcmp(a, b, bytes) == 0;
}

}  // namespace

bool HasFreeFirstDimensions(const InferenceSession& session) {
  const auto free_first = [](const TensorInfo& info) {
    return !info.shape.empty() && info.shape[0] == -1;
  };
  return std::ranges::all_of(session.inputs(), free_first) &&
         std::ranges::all_of(session.outputs(), free_first);
}

bool HasIndependentRows(InferenceSession& session) {
  if (!HasFreeFirstDimensions(session)) return false;
  for (const TensorInfo& input : session.inputs()) {
    if (SizeOf(input.dtype) == 0) return false;
    if (std::find(input.shape.begin() + 1, input.shape.end(), -1) != input.shape.end())
      return false;
  }
  for (const TensorInfo& output : session.outputs()) {
    if (SizeOf(output.dtype) == 0) return false;
  }
  const std::vector<Bytes> first = RunRows(session, {1});
  const std::vector<Bytes> second = RunRows(session, {kWideSeed});
  const std::vector<Bytes> both = RunRows(session, {1, kWideSeed});
  if (first.empty() || second.empty() || both.empty()) return false;
  for (size_t i = 0; i < both.size(); ++i) {
    const size_t row = first[i].size();
    if (second[i].size() != row || both[i].size() != 2 * row) return false;
    const DataType dtype = session.outputs()[i].dtype;
    if (!Equal(dtype, first[i].data(), both[i].data(), row)) return false;
    if (!Equal(dtype, second[i].data(), both[i].data() + row, row)) return false;
  }
  return true;
}

}  // namespace sightline::serve
