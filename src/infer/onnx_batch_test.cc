#include "infer/onnx_batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "base/whole_file.h"
#include "infer/onnx_file.h"
#include "infer/onnx_wire.h"

namespace sightline {
namespace {

using ::testing::HasSubstr;

std::string TestModel(const std::string& name) {
  return SIGHTLINE_SOURCE_DIR "/tests/data/models/" + name + ".onnx";
}

std::string Bytes(const std::string& path) {
  auto content = ReadWholeFile(path, 1 << 30);
  EXPECT_TRUE(content.ok()) << content.status();
  return content.ok() ? *content : "";
}

absl::Status Refusal(const std::string& model) {
  const std::string bytes = Bytes(TestModel(model));
  return OpenBatch(AsBytes(bytes), model).status();
}

TEST(OpenBatch, OpensInputsOutputsAndShapes) {
  const std::string before = Bytes(TestModel("batch_of_one"));
  const auto opened = OpenBatch(AsBytes(before), "m");
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(opened->reshapes, 4) << "but not the one of a weight";
  const auto was = InspectOnnxBytes(AsBytes(before), "m");
  const auto info = InspectOnnxBytes(AsBytes(opened->model), "m");
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(Describe(*info), "images float32[-1,3,4,4] -> output float32[-1,48]");
  EXPECT_EQ(info->op_counts, was->op_counts);
  EXPECT_EQ(info->initializers, was->initializers);
  EXPECT_EQ(info->metadata, was->metadata);
  EXPECT_EQ(info->producer, was->producer);
  EXPECT_EQ(info->opset, was->opset);
  EXPECT_EQ(OpenBatch(AsBytes(opened->model), "m").status().message(), "its batch is open already");
}

TEST(OpenBatch, ChangesNothingElse) {
  // Without shapes to open, what is dropped and what is longer can be counted.
  const std::string before = Bytes(TestModel("batch_mixed"));
  const auto opened = OpenBatch(AsBytes(before), "m");
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(opened->reshapes, 0);
  // A name of 15 bytes for a number of one, in an input and an output; lengths in front may grow.
  const std::string name = "sightline_batch";
  size_t names = 0;
  for (size_t at = 0; (at = opened->model.find(name, at)) != std::string::npos; at += name.size()) {
    ++names;
  }
  EXPECT_EQ(names, 2u);
  EXPECT_GE(opened->model.size(), before.size() + 2 * name.size());
  EXPECT_LE(opened->model.size(), before.size() + 2 * name.size() + 10);
}

TEST(OpenBatch, TheRealModelIsOpenedAsByHand) {
  const char* data = std::getenv("SIGHTLINE_TEST_DATA");
  if (data == nullptr) GTEST_SKIP() << "SIGHTLINE_TEST_DATA is not set: no real model file is read";
  const std::string bytes = Bytes(std::string(data) + "/models/yolox_nano_kazuhito.onnx");
  const auto opened = OpenBatch(AsBytes(bytes), "m");
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(opened->reshapes, 3);
}

TEST(OpenBatch, SaysWhatStandsInTheWay) {
  EXPECT_EQ(Refusal("dynamic").message(), "its batch is open already");
  EXPECT_THAT(std::string(Refusal("two_inputs").message()),
              HasSubstr("its input a float32[2,3] does not begin with a batch of 1"));
  EXPECT_THAT(std::string(Refusal("data_dependent").message()), HasSubstr("its output where"));
  EXPECT_TRUE(absl::IsInvalidArgument(Refusal("external")));
  EXPECT_TRUE(absl::IsInvalidArgument(OpenBatch(AsBytes("no model"), "m").status()));
  EXPECT_TRUE(absl::IsNotFound(OpenBatch("/nowhere.onnx", "/tmp/x.onnx").status()));
}

// Nothing that is damaged does any harm, and what comes out can be read.
void ExpectHarmless(const std::string& bytes) {
  const auto opened = OpenBatch(AsBytes(bytes), "m");
  if (!opened.ok()) return;
  const auto info = InspectOnnxBytes(AsBytes(opened->model), "m");
  ASSERT_TRUE(info.ok()) << info.status();
}

TEST(OpenBatch, SurvivesEveryTruncationAndEveryChangedByte) {
  const std::string whole = Bytes(TestModel("batch_of_one"));
  for (size_t size = 0; size < whole.size(); ++size) ExpectHarmless(whole.substr(0, size));
  for (size_t i = 0; i < whole.size(); ++i) {
    for (const unsigned char value : {0x00, 0x01, 0x08, 0x7f, 0x80, 0xff}) {
      std::string changed = whole;
      changed[i] = static_cast<char>(value);
      ExpectHarmless(changed);
    }
  }
}

TEST(WireVarint, IsReadAsItIsWritten) {
  for (const uint64_t value : {uint64_t{0}, uint64_t{127}, uint64_t{128}, UINT64_MAX}) {
    std::string bytes;
    AppendWireVarint(value, bytes);
    uint64_t read = 1;
    size_t length = 0;
    EXPECT_TRUE(ReadWireVarint(AsBytes(bytes), read, length));
    EXPECT_EQ(read, value);
    EXPECT_EQ(length, bytes.size());
    EXPECT_FALSE(ReadWireVarint(AsBytes(bytes).first(bytes.size() - 1), read, length));
  }
}

}  // namespace
}  // namespace sightline
