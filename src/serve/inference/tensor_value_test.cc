#include "serve/inference/tensor_value.h"

#include <gtest/gtest.h>

#include <random>

#include "serve/inference/tensor_types.h"

namespace sightline::serve {
namespace {

std::vector<InferOutput> Outputs() {
  std::vector<InferOutput> outputs(2);
  outputs[0].name = "y";
  outputs[0].dtype = DataType::kFloat32;
  outputs[0].shape = {2, 3};
  outputs[0].bytes = std::string(24, '\1');
  outputs[1].name = "";
  outputs[1].dtype = DataType::kString;
  outputs[1].shape = {2};
  AppendString("a", outputs[1].bytes);
  AppendString("", outputs[1].bytes);
  return outputs;
}

TEST(TensorValue, ComesBackAsItWas) {
  const auto back = UnpackOutputs(PackOutputs(Outputs()));
  ASSERT_TRUE(back.ok()) << back.status();
  ASSERT_EQ(back->size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ((*back)[i].name, Outputs()[i].name);
    EXPECT_EQ((*back)[i].dtype, Outputs()[i].dtype);
    EXPECT_EQ((*back)[i].shape, Outputs()[i].shape);
    EXPECT_EQ((*back)[i].bytes, Outputs()[i].bytes);
  }
  EXPECT_TRUE(UnpackOutputs(PackOutputs({})).ok());
}

// Values may come from another machine: no bytes do harm, and none that are cut short pass.
TEST(TensorValue, DamagedBytesAreRefused) {
  const std::string bytes = PackOutputs(Outputs());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_TRUE(absl::IsDataLoss(UnpackOutputs(bytes.substr(0, size)).status())) << size;
  }
  EXPECT_TRUE(absl::IsDataLoss(UnpackOutputs(bytes + "x").status()));
  std::mt19937 random(1);
  int taken = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string changed = bytes;
    for (int k = 0; k < 1 + i % 3; ++k)
      changed[random() % changed.size()] = static_cast<char>(random());
    const auto back = UnpackOutputs(changed);
    if (!back.ok()) continue;
    ++taken;
    for (const InferOutput& output : *back) EXPECT_LE(output.bytes.size(), changed.size());
  }
  EXPECT_GT(taken, 0) << "elements may have any value";
}

}  // namespace
}  // namespace sightline::serve
