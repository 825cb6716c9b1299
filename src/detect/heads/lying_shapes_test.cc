// Every family's head against outputs that are not what was declared: open dimensions, other shapes,
// other element types. A head refuses or reads; it never reads beyond what is there, which the tests
// under asan see, since each tensor has exactly the numbers of its shape.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "detect/every_family.h"
#include "detect/heads/head.h"
#include "detect/neural_detector.h"

namespace sightline {
namespace {

// Outputs with memory of their own.
struct Outputs {
  Outputs(const std::vector<TensorInfo>& infos, std::mt19937& random) {
    for (const TensorInfo& info : infos) {
      size_t count = 1;
      for (const int64_t d : info.shape) count *= static_cast<size_t>(d);
      std::vector<char>& bytes = memory.emplace_back(count * SizeOf(info.dtype));
      if (info.dtype == DataType::kFloat32) {
        auto* const floats = reinterpret_cast<float*>(bytes.data());
        for (size_t i = 0; i < count; ++i) floats[i] = static_cast<float>(random() % 999) / 999;
      } else if (info.dtype == DataType::kInt64) {
        auto* const integers = reinterpret_cast<int64_t*>(bytes.data());
        for (size_t i = 0; i < count; ++i) integers[i] = static_cast<int64_t>(random() % 3);
      }
      views.push_back({info.dtype, info.shape, bytes.data()});
    }
  }
  std::vector<std::vector<char>> memory;
  std::vector<TensorView> views;
};

struct Read {
  absl::Status status;
  Detections found;
};

Read RunHead(const Head& head, const ModelSpec& spec, const Outputs& outputs, int entry = 0) {
  const std::vector<float> input(size_t{3} * spec.input.width * spec.input.height, 0.5f);
  const RawResult raw = {outputs.views, entry, {0.5f, 0.25f, 3, 0}, 100, 200, input.data()};
  Read read;
  read.status = head.Decode(raw, 0.25f, &read.found.items);
  if (!read.status.ok()) return read;
  NonMaxSuppressor suppressor;
  head.Suppress(raw, spec.nms, 0.25f, &suppressor, &read.found.items);
  ClipToPicture(100, 200, &read.found.items);
  read.status = head.Complete(raw, &read.found);
  if (read.status.ok()) {
    EXPECT_EQ(WhatIsWrong(read.found, 0.25f, head.classes()), "");
  }
  return read;
}

// What a file may say in place of a shape.
std::vector<std::vector<int64_t>> LiesAbout(const std::vector<int64_t>& shape) {
  std::vector<std::vector<int64_t>> lies;
  for (size_t d = 0; d < shape.size(); ++d) {
    for (const int64_t other : {int64_t{0}, shape[d] - 1, shape[d] + 1, 2 * shape[d]}) {
      if (other < 0 || other == shape[d]) continue;
      lies.push_back(shape);
      lies.back()[d] = other;
    }
  }
  lies.emplace_back();  // a scalar
  lies.push_back({1});
  lies.push_back(shape);
  lies.back().push_back(1);
  lies.push_back(shape);
  lies.back().insert(lies.back().begin(), 1);
  if (shape.size() > 1) {
    lies.push_back(shape);
    std::swap(lies.back()[shape.size() - 1], lies.back()[shape.size() - 2]);
    lies.push_back(shape);
    lies.back().pop_back();
  }
  return lies;
}

// Without statistics it reads nothing but says so (anomaly_golden_test.cc has some).
bool ReadsNothing(const FamilyExample& example) { return example.family == "padim"; }

class LyingShapes : public testing::TestWithParam<FamilyExample> {
 protected:
  std::mt19937 random_{7};
};

TEST_P(LyingShapes, OpenDimensionsAreRefusedOrRead) {
  const FamilyExample& example = GetParam();
  const ModelSpec spec = example.spec();
  const Outputs outputs(example.outputs, random_);
  int made = 0;
  // All open, the batch alone, and each dimension alone.
  std::vector<std::vector<TensorInfo>> declared(2, example.outputs);
  for (TensorInfo& info : declared[0]) std::ranges::fill(info.shape, -1);
  for (TensorInfo& info : declared[1]) info.shape[0] = -1;
  for (size_t o = 0; o < example.outputs.size(); ++o) {
    for (size_t d = 0; d < example.outputs[o].shape.size(); ++d) {
      declared.push_back(example.outputs);
      declared.back()[o].shape[d] = -1;
    }
  }
  for (const std::vector<TensorInfo>& infos : declared) {
    SCOPED_TRACE(DescribeTensors(infos));
    const auto head = MakeHead(spec, infos);
    if (!head.ok()) {
      EXPECT_EQ(head.status().code(), absl::StatusCode::kInvalidArgument) << head.status();
      continue;
    }
    ++made;
    const Read read = RunHead(**head, spec, outputs);
    EXPECT_EQ(read.status.ok(), !ReadsNothing(example)) << read.status;
  }
  EXPECT_GT(made, 0) << "an open batch at least is usual";
}

TEST_P(LyingShapes, OtherShapesThanDeclaredAreRefusedOrRead) {
  const FamilyExample& example = GetParam();
  const ModelSpec spec = example.spec();
  std::vector<std::vector<TensorInfo>> declared(2, example.outputs);
  for (TensorInfo& info : declared[1]) std::ranges::fill(info.shape, -1);
  int refused = 0;
  for (const std::vector<TensorInfo>& infos : declared) {
    const auto head = MakeHead(spec, infos);
    if (!head.ok()) continue;
    for (size_t o = 0; o < example.outputs.size(); ++o) {
      for (const std::vector<int64_t>& lie : LiesAbout(example.outputs[o].shape)) {
        std::vector<TensorInfo> given = example.outputs;
        given[o].shape = lie;
        SCOPED_TRACE(
            fmt::format("declared {}, given {}", DescribeTensors(infos), DescribeTensors(given)));
        const Outputs outputs(given, random_);
        for (const int entry : {-1, 0, 1}) {
          refused += !RunHead(**head, spec, outputs, entry).status.ok();
        }
      }
    }
    // Fewer outputs than declared.
    const Outputs fewer({example.outputs.begin(), example.outputs.end() - 1}, random_);
    EXPECT_FALSE(RunHead(**head, spec, fewer).status.ok());
  }
  EXPECT_GT(refused, 0);
}

TEST_P(LyingShapes, FilesThatDeclareOtherShapesAreRefusedOrRead) {
  const FamilyExample& example = GetParam();
  const ModelSpec spec = example.spec();
  for (size_t o = 0; o < example.outputs.size(); ++o) {
    for (const std::vector<int64_t>& lie : LiesAbout(example.outputs[o].shape)) {
      std::vector<TensorInfo> declared = example.outputs;
      declared[o].shape = lie;
      SCOPED_TRACE(DescribeTensors(declared));
      const auto head = MakeHead(spec, declared);
      if (!head.ok()) {
        EXPECT_EQ(head.status().code(), absl::StatusCode::kInvalidArgument) << head.status();
        continue;
      }
      (void)RunHead(**head, spec, Outputs(declared, random_));
      (void)RunHead(**head, spec, Outputs(example.outputs, random_));
    }
  }
}

TEST_P(LyingShapes, HalfPrecisionIsRefusedAndNotRead) {
  const FamilyExample& example = GetParam();
  const ModelSpec spec = example.spec();
  const auto head = MakeHead(spec, example.outputs);
  ASSERT_TRUE(head.ok()) << head.status();
  for (size_t o = 0; o < example.outputs.size(); ++o) {
    std::vector<TensorInfo> half = example.outputs;
    half[o].dtype = DataType::kFloat16;
    SCOPED_TRACE(DescribeTensors(half));
    const auto made = MakeHead(spec, half);
    ASSERT_FALSE(made.ok());
    EXPECT_EQ(made.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(made.status().message().find("float"), std::string::npos) << made.status();
    // A file that declares float32 and gives another type all the same.
    EXPECT_FALSE(RunHead(**head, spec, Outputs(half, random_)).status.ok());
  }
}

INSTANTIATE_TEST_SUITE_P(All, LyingShapes, testing::ValuesIn(EveryFamily()), [](const auto& info) {
  return info.param.family + "_" + info.param.layout;
});

}  // namespace
}  // namespace sightline
