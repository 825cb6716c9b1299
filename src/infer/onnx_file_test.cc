#include "infer/onnx_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/whole_file.h"
#include "infer/onnx_wire.h"

namespace sightline {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

std::string TestModel(const std::string& name) {
  return SIGHTLINE_SOURCE_DIR "/tests/data/models/" + name + ".onnx";
}

std::string Bytes(const std::string& path) {
  auto content = ReadWholeFile(path, 1 << 30);
  EXPECT_TRUE(content.ok()) << content.status();
  return content.ok() ? *content : "";
}

absl::Status InspectText(std::string_view bytes) {
  return InspectOnnxBytes(AsBytes(bytes), "m.onnx").status();
}

class OnnxFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "onnx_file_XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string Path(const std::string& name) const { return folder_ + "/" + name; }
  std::string folder_;
};

TEST_F(OnnxFileTest, ReadsWhatTheFileSays) {
  const auto info = InspectOnnx(TestModel("conv"));
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->producer, "sightline-tests");
  EXPECT_EQ(info->producer_version, "1");
  EXPECT_EQ(info->ir_version, 8);
  EXPECT_EQ(info->opset, 13);
  EXPECT_EQ(info->graph_name, "conv");
  EXPECT_THAT(info->metadata,
              ElementsAre(Pair("names", "{0: 'person', 1: 'car'}"), Pair("stride", "2")));
  EXPECT_THAT(info->initializers, ElementsAre("w", "b"));
  EXPECT_THAT(info->weights_as_inputs, IsEmpty());
  EXPECT_THAT(info->op_counts, ElementsAre(Pair("Conv", 1), Pair("Relu", 1)));
  EXPECT_FALSE(info->has_external_data());
  EXPECT_EQ(info->file_bytes, std::filesystem::file_size(TestModel("conv")));
  EXPECT_EQ(Describe(*info), "images float32[1,3,8,8] -> output float32[1,4,4,4]");
}

TEST_F(OnnxFileTest, DynamicDimensionsAndOtherTypes) {
  EXPECT_EQ(Describe(*InspectOnnx(TestModel("dynamic"))),
            "x float32[-1,3,-1,-1] -> y float32[-1,3,-1,-1]");
  EXPECT_EQ(Describe(*InspectOnnx(TestModel("half"))), "x float16[1,4] -> y uint8[1,4]");
}

TEST_F(OnnxFileTest, WeightsAmongTheInputsAreToldApart) {
  const auto info = InspectOnnx(TestModel("conv_weights_as_inputs"));
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->inputs.size(), 1u);
  EXPECT_THAT(info->weights_as_inputs, ElementsAre("w", "b"));
  // The old format demands the listing, and it costs nothing there.
  const auto old = InspectOnnx(TestModel("conv_ir3"));
  EXPECT_EQ(old->inputs.size(), 1u);
  EXPECT_THAT(old->weights_as_inputs, IsEmpty());
}

TEST_F(OnnxFileTest, MendingTakesOutTheWeightsAndNothingElse) {
  const auto mended = MendOnnx(TestModel("conv_weights_as_inputs"), Path("mended.onnx"));
  ASSERT_TRUE(mended.ok()) << mended.status();
  EXPECT_EQ(*mended, 2);
  const auto before = InspectOnnx(TestModel("conv_weights_as_inputs"));
  const auto after = InspectOnnx(Path("mended.onnx"));
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_THAT(after->weights_as_inputs, IsEmpty());
  EXPECT_EQ(Describe(*after), Describe(*before));
  EXPECT_EQ(after->initializers, before->initializers);
  EXPECT_EQ(after->metadata, before->metadata);
  EXPECT_EQ(after->ir_version, 4);
  // Whole fields went, so what is left is the old bytes with gaps.
  const std::string old_bytes = Bytes(TestModel("conv_weights_as_inputs"));
  const std::string new_bytes = Bytes(Path("mended.onnx"));
  EXPECT_LT(new_bytes.size(), old_bytes.size());
  // Mending twice, or what needs none, changes no byte.
  EXPECT_EQ(*MendOnnx(Path("mended.onnx"), Path("mended.onnx")), 0);
  EXPECT_EQ(Bytes(Path("mended.onnx")), new_bytes);
  EXPECT_EQ(*MendOnnx(TestModel("conv_ir3"), Path("old.onnx")), 0);
  EXPECT_EQ(Bytes(Path("old.onnx")), Bytes(TestModel("conv_ir3")));
}

TEST_F(OnnxFileTest, ExternalDataIsReported) {
  EXPECT_THAT(InspectOnnx(TestModel("external"))->external_data, ElementsAre("external.bin"));
  EXPECT_THAT(InspectOnnx(TestModel("external_escape"))->external_data,
              ElementsAre("../../secret.bin"));
}

TEST_F(OnnxFileTest, NamesDoNotReachTheTerminalAsTheyAre) {
  std::string bytes = Bytes(TestModel("conv"));
  for (size_t at = 0; (at = bytes.find("images", at)) != bytes.npos;) bytes[at] = '\x1b';
  const auto info = InspectOnnxBytes(AsBytes(bytes), "m.onnx");
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->inputs[0].name, "\x1bmages") << "the runtime wants it so";
  EXPECT_THAT(Describe(*info), HasSubstr("?mages"));
}

TEST_F(OnnxFileTest, OtherFormatsAreNamed) {
  using namespace std::string_view_literals;
  const std::pair<std::string_view, const char*> cases[] = {
      {"\x1c\0\0\0TFL3 and more"sv, "TensorFlow Lite"},
      {"PK\x03\x04........model/data.pkl"sv, "TorchScript"},
      {"PK\x03\x04........something.txt"sv, "ZIP archive"},
      {"\x80\x02}q\0"sv, "pickle"},
      {"\x89HDF\r\n"sv, "HDF5"},
      {"version https://git-lfs.github.com/spec/v1"sv, "git lfs pull"},
      {"<!DOCTYPE html><html>"sv, "web page"},
      {"\x7f"
       "ELF\2\1"sv,
       "program"},
      {"just some text"sv, "not an ONNX model"},
      {""sv, "empty"},
      {"\x08"sv, "not an ONNX model"},
  };
  for (const auto& [bytes, words] : cases) {
    const absl::Status status = InspectText(bytes);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << words;
    EXPECT_THAT(std::string(MessageOf(status)), AllOf(HasSubstr("m.onnx"), HasSubstr(words)));
  }
}

TEST_F(OnnxFileTest, EveryTruncationIsNoticedOrHarmless) {
  const std::string whole = Bytes(TestModel("conv"));
  int lost = 0;
  for (size_t size = 0; size < whole.size(); ++size) {
    const absl::Status status = InspectText(std::string_view(whole).substr(0, size));
    // Cut between two fields after the graph, the rest is a model without its last properties.
    lost += status.ok() ? 0 : 1;
  }
  EXPECT_GT(lost, static_cast<int>(whole.size()) - 5);
  const absl::Status half = InspectText(std::string_view(whole).substr(0, whole.size() / 2));
  EXPECT_EQ(half.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(MessageOf(half)), HasSubstr("cut short"));
}

TEST_F(OnnxFileTest, EveryChangedByteIsSurvived) {
  const std::string whole = Bytes(TestModel("conv_weights_as_inputs"));
  for (size_t i = 0; i < whole.size(); ++i) {
    for (const unsigned char value : {0x00, 0x7f, 0x80, 0xff}) {
      std::string changed = whole;
      changed[i] = static_cast<char>(value);
      (void)InspectText(changed);
    }
  }
}

// Graphs nested in nodes nested in graphs ...
TEST_F(OnnxFileTest, DepthAndNumberAreBounded) {
  const auto wrap = [](char tag, const std::string& content) {
    std::string out(1, tag);
    size_t size = content.size();
    for (; size >= 0x80; size >>= 7) out.push_back(static_cast<char>(size | 0x80));
    out.push_back(static_cast<char>(size));
    return out + content;
  };
  std::string graph;
  for (int depth = 0; depth < 100; ++depth) {
    graph = wrap(0x0a, wrap(0x2a, wrap(0x32, graph)));  // node { attribute { g { ... } } }
  }
  const std::string start = {0x08, 0x08};
  EXPECT_EQ(InspectText(start + wrap(0x3a, graph)).code(), absl::StatusCode::kResourceExhausted);
  std::string many;
  for (int i = 0; i < 200'000; ++i) many += std::string({0x0a, 0x00});
  EXPECT_EQ(InspectText(start + wrap(0x3a, many)).code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(OnnxFileTest, WhatIsNoFile) {
  EXPECT_EQ(InspectOnnx(Path("none.onnx")).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(InspectOnnx(folder_).status().code(), absl::StatusCode::kInvalidArgument);
  ASSERT_EQ(mkfifo(Path("pipe.onnx").c_str(), 0600), 0);
  EXPECT_EQ(InspectOnnx(Path("pipe.onnx")).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(OnnxFileTest, AFailedWriteLeavesTheOldFile) {
  ASSERT_TRUE(WriteWholeFile(Path("kept"), "old").ok());
  EXPECT_FALSE(WriteWholeFile(Path("no/such/folder/file"), "new").ok());
  ASSERT_TRUE(WriteWholeFile(Path("kept"), "new").ok());
  EXPECT_EQ(Bytes(Path("kept")), "new");
  EXPECT_EQ(ReadWholeFile(Path("kept"), 2).status().code(), absl::StatusCode::kResourceExhausted);
  size_t files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder_)) ++files;
  EXPECT_EQ(files, 1u);
}

TEST_F(OnnxFileTest, RealFiles) {
  const char* data = std::getenv("SIGHTLINE_TEST_DATA");
  if (data == nullptr) GTEST_SKIP() << "set SIGHTLINE_TEST_DATA to the folder with models/";
  const std::string models = std::string(data) + "/models/";
  const auto yolox = InspectOnnx(models + "yolox_nano_kazuhito.onnx");
  ASSERT_TRUE(yolox.ok()) << yolox.status();
  EXPECT_EQ(Describe(*yolox), "images float32[1,3,416,416] -> output float32[1,3549,85]");
  EXPECT_EQ(yolox->opset, 11);
  const auto face = InspectOnnx(models + "ultraface_rfb_320.onnx");
  ASSERT_TRUE(face.ok()) << face.status();
  EXPECT_EQ(face->weights_as_inputs.size(), 112u);
  EXPECT_EQ(Describe(*face),
            "input float32[1,3,240,320] -> scores float32[1,4420,2], boxes float32[1,4420,4]");
  EXPECT_EQ(*MendOnnx(models + "ultraface_rfb_320.onnx", Path("face.onnx")), 112);
  EXPECT_THAT(InspectOnnx(Path("face.onnx"))->weights_as_inputs, IsEmpty());
  const auto lite = InspectOnnx(models + "yolox_nano_kazuhito_fp16.tflite");
  EXPECT_THAT(std::string(MessageOf(lite.status())), HasSubstr("TensorFlow Lite"));
}

TEST(WireReader, RefusesWhatIsNoField) {
  const auto fields = [](std::vector<uint8_t> bytes) {
    WireReader reader(bytes);
    WireReader::Field field;
    int count = 0;
    while (reader.Next(field)) ++count;
    return reader.ok() ? count : -1;
  };
  EXPECT_EQ(fields({}), 0);
  EXPECT_EQ(fields({0x08, 0x01, 0x12, 0x00}), 2);
  EXPECT_EQ(fields({0x0d, 1, 2, 3, 4, 0x09, 1, 2, 3, 4, 5, 6, 7, 8}), 2);
  EXPECT_EQ(fields({0x08}), -1) << "no value";
  EXPECT_EQ(fields({0x0b}), -1) << "group";
  EXPECT_EQ(fields({0x00, 0x01}), -1) << "field number 0";
  EXPECT_EQ(fields({0x12, 0x05, 0x00}), -1) << "beyond the end";
  EXPECT_EQ(fields({0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}), -1);
  EXPECT_EQ(fields({0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}), 1);
  EXPECT_EQ(fields({0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}), -1);
  EXPECT_EQ(fields({0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00}), -1);
}

}  // namespace
}  // namespace sightline
