#include "detect/prove_batch.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "base/log.h"
#include "detect/model_probe.h"

namespace sightline {
namespace {

constexpr int kPictures = 4;
// Whole numbers come as floats, which hold them up to here.
constexpr float kExactInteger = 16777216.0f;

std::vector<int64_t> ShapeOf(const TensorRecipe& recipe, int batch) {
  if (recipe.layout == TensorLayout::kNchw) return {batch, 3, recipe.height, recipe.width};
  return {batch, recipe.height, recipe.width, 3};
}

// Whether the values are all that the output says.
absl::Status CheckComparable(const ProbeOutput& output) {
  const DataType dtype = output.info.dtype;
  if (dtype == DataType::kFloat32 || dtype == DataType::kFloat16) return absl::OkStatus();
  const bool integers = dtype == DataType::kInt64 || dtype == DataType::kInt32;
  const auto exact = [](float value) { return value > -kExactInteger && value < kExactInteger; };
  if (integers && std::ranges::all_of(output.values, exact)) return absl::OkStatus();
  return FailedPrecondition("its output {} is of a kind that is not compared",
                            ToString(output.info));
}

// Outputs for the pictures `order`, compared with what each gave alone.
absl::Status Compare(const std::vector<ProbeOutput>& together, std::span<const int> order,
                     const std::vector<std::vector<ProbeOutput>>& alone) {
  for (size_t i = 0; i < order.size(); ++i) {
    const std::vector<ProbeOutput>& one = alone[static_cast<size_t>(order[i])];
    if (together.size() != one.size()) return FailedPrecondition("it has other outputs");
    for (size_t o = 0; o < one.size(); ++o) {
      const std::vector<float>&wanted = one[o].values, &found = together[o].values;
      const TensorInfo& info = together[o].info;
      const size_t batch = order.size();
      if (info.shape.empty() || info.shape[0] != static_cast<int64_t>(batch) ||
          found.size() != wanted.size() * batch) {
        return FailedPrecondition("its output {} is {} for {} pictures at once", info.name,
                                  ToString(info), batch);
      }
      const float* const part = found.data() + i * wanted.size();
      if (!wanted.empty() && std::memcmp(part, wanted.data(), wanted.size() * sizeof(float)) != 0) {
        return FailedPrecondition("its output {} has other numbers for {}", info.name,
                                  batch == 1 ? "a picture alone" : "several pictures at once");
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ProveBatch(const std::string& original, const std::string& opened,
                        const ModelSpec& spec, InferenceBackend& backend) {
  const ModelProbe before = ProbeWith(backend, original), after = ProbeWith(backend, opened);
  std::vector<std::vector<float>> pictures;
  std::vector<std::vector<ProbeOutput>> alone;
  for (int i = 0; i < kPictures; ++i) {
    pictures.push_back(ProbePicture(spec.input, i));
    auto outputs = before(ShapeOf(spec.input, 1), pictures.back());
    if (!outputs.ok()) return outputs.status();
    for (const ProbeOutput& output : *outputs) SL_RETURN_IF_ERROR(CheckComparable(output));
    alone.push_back(*std::move(outputs));
  }
  // All four first: what a session learns of its outputs from one picture may hold for one alone.
  const std::vector<std::vector<int>> orders = {{0, 1, 2, 3}, {0},    {1},         {2},
                                                {3},          {3, 1}, {2, 0, 3, 1}};
  for (const std::vector<int>& order : orders) {
    std::vector<float> values;
    for (const int i : order) {
      const std::vector<float>& picture = pictures[static_cast<size_t>(i)];
      values.insert(values.end(), picture.begin(), picture.end());
    }
    const auto outputs = after(ShapeOf(spec.input, static_cast<int>(order.size())), values);
    if (!outputs.ok()) {
      // The runtime's words speak of nodes that it made itself, of a file that is gone by then.
      Log().info("{}", MessageOf(outputs.status()));
      return FailedPrecondition(
          "it fails with {} pictures at once: its graph holds the batch in more "
          "than its outer shapes",
          order.size());
    }
    SL_RETURN_IF_ERROR(Compare(*outputs, order, alone));
  }
  return absl::OkStatus();
}

}  // namespace sightline
