#include "detect/prove_batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "detect/fake_backend.h"

namespace sightline {
namespace {

using testing::HasSubstr;

constexpr int kSide = 8;
constexpr size_t kInput = size_t{3} * kSide * kSide;

// The backend opens one and the same model for both files: sums of a picture's first and last half.
// `spoil(values, picture, pictures)` is what a larger batch makes of them.
using Spoil = std::function<void(float* values, size_t picture, size_t pictures)>;

absl::Status Prove(const Spoil& spoil, DataType dtype = DataType::kFloat32,
                   int64_t declared_batch = -1) {
  FakeBackendOptions options;
  options.inputs = {{"x", DataType::kFloat32, {-1, 3, kSide, kSide}}};
  options.outputs = {{"y", dtype, {declared_batch, 2}}};
  options.run = [&](const FakeModelRun& run) {
    const auto pictures = static_cast<size_t>(run.input_shape[0]);
    std::vector<float>& values = (*run.outputs)[0];
    for (size_t i = 0; i < pictures && 2 * i + 1 < values.size(); ++i) {
      const float* picture = run.input + i * kInput;
      values[2 * i] = std::accumulate(picture, picture + kInput / 2, 0.0f);
      values[2 * i + 1] = std::accumulate(picture + kInput / 2, picture + kInput, 0.0f);
      spoil(&values[2 * i], i, pictures);
    }
    return absl::OkStatus();
  };
  FakeBackend backend(options);
  ModelSpec spec;
  spec.input.width = spec.input.height = kSide;
  return ProveBatch("before.onnx", "after.onnx", spec, backend);
}

TEST(ProveBatch, TheSameNumbersAreAProof) {
  EXPECT_TRUE(Prove([](float*, size_t, size_t) {}).ok());
  const auto not_a_number = [](float* values, size_t, size_t) {
    values[1] = std::numeric_limits<float>::quiet_NaN();
  };
  EXPECT_TRUE(Prove(not_a_number).ok()) << "of the same bits";
}

TEST(ProveBatch, TheLeastDifferenceIsNone) {
  const auto last_bit = [](float* values, size_t picture, size_t pictures) {
    if (picture == 1 && pictures == 2) values[1] = std::nextafter(values[1], 0.0f);
  };
  EXPECT_THAT(std::string(Prove(last_bit).message()),
              HasSubstr("its output y has other numbers for several pictures at once"));
  const auto swapped = [](float* values, size_t picture, size_t pictures) {
    if (pictures == 4 && picture == 3) std::swap_ranges(values, values + 2, values - 2);
  };
  EXPECT_FALSE(Prove(swapped).ok());
}

TEST(ProveBatch, OutputsWithoutABatchAreNone) {
  EXPECT_THAT(std::string(Prove([](float*, size_t, size_t) {}, DataType::kFloat32, 1).message()),
              HasSubstr("for 4 pictures at once"));
  EXPECT_THAT(std::string(Prove([](float*, size_t, size_t) {}, DataType::kBool).message()),
              HasSubstr("of a kind that is not compared"));
}

}  // namespace
}  // namespace sightline
