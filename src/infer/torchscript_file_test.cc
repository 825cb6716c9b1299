#include "infer/torchscript_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "base/whole_file.h"
#include "infer/inspect_model.h"
#include "infer/model_format.h"
#include "infer/test_zip_archive.h"

namespace sightline {
namespace {

using test::ZipArchive;
using test::ZipPart;
using ::testing::HasSubstr;

std::string TestModel(const std::string& name) {
  return SIGHTLINE_SOURCE_DIR "/tests/data/models/" + name;
}

// What torch.jit.save() writes, as far as it is looked at here.
std::vector<ZipPart> Parts(const std::string& notes = "") {
  std::vector<ZipPart> parts = {{.name = "m/data.pkl", .bytes = "x"},
                                {.name = "m/code/__torch__.py", .bytes = "code", .method = 8},
                                {.name = "m/constants.pkl", .bytes = "y"}};
  if (!notes.empty()) parts.push_back({.name = "m/extra/config.txt", .bytes = notes});
  return parts;
}

std::string Refusal(const std::vector<ZipPart>& parts) {
  const auto notes = CheckTorchScript(AsBytes(ZipArchive(parts)), "m.pt");
  EXPECT_FALSE(notes.ok());
  EXPECT_THAT(std::string(notes.status().message()), HasSubstr("m.pt"));
  return std::string(notes.status().message());
}

// A runtime that takes pictures of one size and gives two numbers of each.
class OneSizeBackend final : public InferenceBackend {
 public:
  explicit OneSizeBackend(std::vector<int64_t> sides, bool batches = true)
      : sides_(std::move(sides)), batches_(batches) {}
  std::string_view name() const override { return "test"; }
  std::string version() const override { return "1"; }
  std::vector<std::string> providers() const override { return {"cpu"}; }
  bool Reads(ModelFormat format) const override { return format == ModelFormat::kTorchScript; }
  absl::StatusOr<std::unique_ptr<InferenceSession>> Open(const SessionOptions&) override {
    return std::make_unique<Session>(*this);
  }

 private:
  class Session final : public InferenceSession {
   public:
    explicit Session(const OneSizeBackend& backend) : backend_(backend) {}
    std::span<const TensorInfo> inputs() const override { return {&input_, 1}; }
    std::span<const TensorInfo> outputs() const override { return {&output_, 1}; }
    absl::StatusOr<void*> InputBuffer(size_t, std::span<const int64_t> shape) override {
      shape_.assign(shape.begin(), shape.end());
      buffer_.resize(static_cast<size_t>(shape[0] * shape[1] * shape[2] * shape[3]));
      return buffer_.data();
    }
    absl::StatusOr<std::span<const TensorView>> Run() override {
      const auto& sides = backend_.sides_;
      if (std::find(sides.begin(), sides.end(), shape_[3]) == sides.end()) {
        return Internal("that size will not do");
      }
      view_ = {DataType::kFloat32, {backend_.batches_ ? shape_[0] : 1, 2}, buffer_.data()};
      return std::span<const TensorView>(&view_, 1);
    }

   private:
    const OneSizeBackend& backend_;
    TensorInfo input_{.name = "x"};
    TensorInfo output_{.name = "output0"};
    TensorView view_;
    std::vector<int64_t> shape_;
    std::vector<float> buffer_;
  };
  const std::vector<int64_t> sides_;
  const bool batches_;
};

std::string Described(InferenceBackend& backend, int width = 0, int height = 0,
                      const std::string& model = "conv.torchscript") {
  const auto info = InspectTorchScript(TestModel(model), backend, width, height);
  return info.ok() ? Describe(*info) : std::string(info.status().message());
}

TEST(TorchScriptFile, IsToldByItsArchive) {
  EXPECT_EQ(TorchArchiveOf(AsBytes(ZipArchive(Parts()))), TorchArchive::kTorchScript);
  EXPECT_EQ(TorchArchiveOf(AsBytes(ZipArchive({{.name = "archive/data.pkl", .bytes = "x"},
                                               {.name = "archive/data/0", .bytes = "y"}}))),
            TorchArchive::kCheckpoint);
  EXPECT_EQ(TorchArchiveOf(AsBytes(ZipArchive({{.name = "readme.txt", .bytes = "x"}}))),
            TorchArchive::kNone);
  EXPECT_EQ(TorchArchiveOf(AsBytes("PK and nothing more")), TorchArchive::kNone);
  EXPECT_EQ(FormatOf(TestModel("conv.torchscript")), ModelFormat::kTorchScript);
  EXPECT_EQ(FormatOf(TestModel("conv.onnx")), ModelFormat::kOnnx);
  EXPECT_EQ(FormatOf("/tmp"), ModelFormat::kOnnx);
  EXPECT_EQ(FormatOf("/dev/zero"), ModelFormat::kOnnx);
}

TEST(TorchScriptFile, CheckpointsAreNeverOpened) {
  const std::string words = Refusal({{.name = "best/data.pkl", .bytes = "x"}});
  EXPECT_THAT(words, HasSubstr("pickle"));
  EXPECT_THAT(words, HasSubstr("yolo export"));
  const std::string archive = ZipArchive({{.name = "best/data.pkl", .bytes = "x"}});
  const auto onnx = InspectOnnxBytes(AsBytes(archive), "best.pt");
  EXPECT_THAT(std::string(onnx.status().message()), HasSubstr("yolo export"));
  const auto torch = InspectOnnx(TestModel("conv.torchscript"));
  EXPECT_THAT(std::string(torch.status().message()), HasSubstr("--backend torchscript"));
}

TEST(TorchScriptFile, WhatDoesNotHoldTogetherIsRefused) {
  auto parts = Parts();
  parts.push_back({.name = "m/../../etc/x", .bytes = "x"});
  EXPECT_THAT(Refusal(parts), HasSubstr("leads out of it"));
  parts.back() = {.name = "m/data/0", .bytes = "x", .says_bytes = 1 << 20};
  EXPECT_THAT(Refusal(parts), HasSubstr("two sizes"));
  // A few bytes that say to be many once unpacked.
  parts.back() = {.name = "m/data/0", .bytes = "x", .method = 8, .says_bytes = 1 << 30};
  EXPECT_THAT(Refusal(parts), HasSubstr("says that it holds"));
  parts.back() = {.name = "m/extra/config.txt", .bytes = std::string(5 << 20, 'x')};
  EXPECT_FALSE(CheckTorchScript(AsBytes(ZipArchive(parts)), "m.pt").ok());
}

TEST(TorchScriptFile, NotesOfExporters) {
  const auto notes = CheckTorchScript(
      AsBytes(ZipArchive(Parts(R"({"stride": 32, "task": "detect", "imgsz": [480, 640],
                                   "names": {"0": "person", "1": "car"}})"))),
      "m.pt");
  ASSERT_TRUE(notes.ok()) << notes.status();
  EXPECT_EQ(notes->width, 640);
  EXPECT_EQ(notes->height, 480);
  EXPECT_EQ(notes->metadata.at("task"), "detect");
  EXPECT_EQ(notes->metadata.at("stride"), "32");
  EXPECT_EQ(notes->metadata.at("names"), R"({"0":"person","1":"car"})");
  const auto older =
      CheckTorchScript(AsBytes(ZipArchive(Parts(R"({"shape": [1, 3, 320, 416]})"))), "m.pt");
  ASSERT_TRUE(older.ok()) << older.status();
  EXPECT_EQ(older->width, 416);
  const std::string deep =
      "{\"a\": " + std::string(1'000'000, '[') + std::string(1'000'000, ']') + "}";
  EXPECT_TRUE(CheckTorchScript(AsBytes(ZipArchive(Parts(deep))), "m.pt").ok());
  for (const char* odd : {"no JSON", "[1, 2]", R"({"imgsz": [0, -3]})", R"({"imgsz": [1e99, 2]})",
                          R"({"imgsz": "640"})", "{\"a\": \"\xff\"}"}) {
    const auto nothing = CheckTorchScript(AsBytes(ZipArchive(Parts(odd))), "m.pt");
    ASSERT_TRUE(nothing.ok()) << nothing.status();
    EXPECT_EQ(nothing->width, 0) << odd;
  }
}

TEST(TorchScriptFile, SizesAreFoundByRunningIt) {
  OneSizeBackend one({416});
  EXPECT_EQ(Described(one), "x float32[-1,3,416,416] -> output0 float32[-1,2]");
  OneSizeBackend any({640, 320, 100});
  EXPECT_EQ(Described(any), "x float32[-1,3,-1,-1] -> output0 float32[-1,2]");
  OneSizeBackend single({224}, /*batches=*/false);
  EXPECT_EQ(Described(single), "x float32[1,3,224,224] -> output0 float32[1,2]");
  OneSizeBackend odd({100});
  EXPECT_THAT(Described(odd), HasSubstr("--set input.width=W"));
  EXPECT_EQ(Described(odd, 100, 50), "x float32[-1,3,50,100] -> output0 float32[-1,2]");
  EXPECT_THAT(Described(odd, 64, 64), HasSubstr("that size will not do"));
  OneSizeBackend noted({160});
  EXPECT_EQ(Described(noted, 0, 0, "blobs_yolox.torchscript"),
            "x float32[-1,3,128,160] -> output0 float32[-1,2]");
}

}  // namespace
}  // namespace sightline
