// Real model files as users bring them: recognised, mended, batched, or refused by their name.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstdlib>
#include <filesystem>

#include "base/uuid.h"
#include "detect/detector_factory.h"
#include "detect/prove_batch.h"
#include "infer/backends/onnxruntime/onnxruntime_backend.h"
#include "infer/onnx_batch.h"
#include "infer/onnx_file.h"
#include "media/image_codec.h"

namespace sightline {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

absl::StatusOr<InferenceBackend*> Backend() { return OnnxRuntimeBackend(); }
absl::StatusOr<InferenceBackend*> NoBackend() { return FailedPrecondition("not to be asked"); }

class ModelFiles : public testing::Test {
 protected:
  void SetUp() override {
    const char* data = std::getenv("SIGHTLINE_TEST_DATA");
    if (data == nullptr)
      GTEST_SKIP() << "SIGHTLINE_TEST_DATA is not set: no real model file is read";
    data_ = data;
    if (!Backend().ok()) GTEST_SKIP() << Backend().status();
    std::string pattern = (fs::temp_directory_path() / "models-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    setenv("XDG_CACHE_HOME", (folder_ / "cache").c_str(), 1);
  }
  void TearDown() override {
    std::error_code ignored;
    if (!folder_.empty()) fs::remove_all(folder_, ignored);
  }
  std::string File(const std::string& name) const { return (data_ / "models" / name).string(); }

  fs::path data_;
  fs::path folder_;
};

// Opens the batch of a file and proves it, as `models add` does.
absl::Status OpenAndProve(const ModelSpec& spec, const fs::path& folder) {
  const std::string open = (folder / "open.onnx").string();
  SL_RETURN_IF_ERROR(OpenBatch(spec.file, open).status());
  SL_ASSIGN_OR_RETURN(InferenceBackend * backend, Backend());
  return ProveBatch(spec.file, open, spec, *backend);
}

TEST(TinyModelFiles, TakeManyPicturesWhereThatChangesNoBit) {
  if (!Backend().ok()) GTEST_SKIP() << Backend().status();
  std::string pattern = (fs::temp_directory_path() / "models-XXXXXX").string();
  ASSERT_NE(mkdtemp(pattern.data()), nullptr);
  ModelSpec spec;
  spec.input.width = spec.input.height = 4;
  const auto prove = [&](const std::string& name) {
    spec.file = SIGHTLINE_SOURCE_DIR "/tests/data/models/" + name + ".onnx";
    return OpenAndProve(spec, pattern);
  };
  EXPECT_TRUE(prove("batch_of_one").ok()) << prove("batch_of_one");
  EXPECT_THAT(std::string(prove("batch_folded").message()), HasSubstr("it fails with 4 pictures"));
  EXPECT_THAT(std::string(prove("batch_mixed").message()), HasSubstr("has other numbers"));
  std::error_code ignored;
  fs::remove_all(pattern, ignored);
}

struct Known {
  const char* file;
  const char* family;
  const char* layout;
  int width, height, batch;
};

TEST_F(ModelFiles, AreRecognised) {
  for (const Known& known :
       {Known{"yolox_nano_kazuhito.onnx", "yolox", "raw_grid", 416, 416, 1},
        Known{"yolox_nano_kazuhito_dynbatch.onnx", "yolox", "raw_grid", 416, 416, 0},
        Known{"fastestdet_352.onnx", "fastestdet", "grid", 352, 352, 1},
        Known{"ultraface_rfb_320.onnx", "ultraface", "raw_deltas", 320, 240, 1},
        Known{"ultraface_rfb_320_dynbatch.onnx", "ultraface", "raw_deltas", 320, 240, 0},
        Known{"ultraface_slim_320.onnx", "ultraface", "raw_deltas", 320, 240, 1},
        Known{"ultraface_rfb_640.onnx", "ultraface", "decoded", 640, 480, 1},
        Known{"nanodet_m_416.onnx", "nanodet", "distributions", 416, 416, 1},
        Known{"nanodet_320.onnx", "nanodet", "distributions", 320, 320, 1},
        Known{"yolo_fastestv2_352.onnx", "yolo_fastestv2", "maps", 352, 352, 1},
        Known{"picodet_s_320.onnx", "picodet", "distributions", 320, 320, 1},
        Known{"yunet_n_320.onnx", "yunet", "strides", 320, 320, 1},
        Known{"yunet_n_dynamic.onnx", "yunet", "strides", 640, 640, 0}}) {
    const auto spec = DescribeModelFile(File(known.file), Backend);
    ASSERT_TRUE(spec.ok()) << spec.status();
    EXPECT_EQ(spec->family, known.family) << known.file;
    EXPECT_EQ(spec->layout, known.layout) << known.file;
    EXPECT_EQ(spec->input.width, known.width) << known.file;
    EXPECT_EQ(spec->input.height, known.height) << known.file;
    EXPECT_EQ(spec->batch, known.batch) << known.file;
    const bool faces = spec->family == "ultraface" || spec->family == "yunet";
    EXPECT_EQ(spec->labels->names.size(), faces ? 1u : 80u);
  }
}

TEST_F(ModelFiles, TakeManyPicturesWhereThatChangesNoBit) {
  for (const auto& [file, reason] : std::initializer_list<std::pair<const char*, const char*>>{
           {"yolox_nano_kazuhito.onnx", ""},
           {"ultraface_rfb_320.onnx", ""},
           {"ultraface_rfb_640.onnx", ""},
           {"ultraface_slim_320.onnx", ""},
           {"yunet_n_320.onnx", ""},
           {"picodet_s_320.onnx", ""},
           {"yolox_nano_kazuhito_dynbatch.onnx", "its batch is open already"},
           {"fastestdet_352.onnx", "it fails with 4 pictures at once"},
           {"yolo_fastestv2_352.onnx", "it fails with 4 pictures at once"},
           {"nanodet_m_416.onnx", "it fails with 4 pictures at once"},
           {"nanodet_320.onnx", "does not begin with a batch of 1"}}) {
    const auto spec = DescribeModelFile(File(file), Backend);
    ASSERT_TRUE(spec.ok()) << spec.status();
    const absl::Status proven = OpenAndProve(*spec, folder_);
    EXPECT_EQ(proven.ok(), *reason == '\0') << file << ": " << proven;
    EXPECT_THAT(std::string(MessageOf(proven)), HasSubstr(reason)) << file;
  }
}

TEST_F(ModelFiles, OfOtherFormatsAreRefusedByName) {
  const auto tflite = DescribeModelFile(File("yolox_nano_kazuhito_fp16.tflite"), Backend);
  EXPECT_THAT(std::string(MessageOf(tflite.status())), HasSubstr("TensorFlow Lite"));
}

TEST_F(ModelFiles, WithWeightsAsInputsAreMendedOnceAndRemembered) {
  const std::string path = File("ultraface_slim_320.onnx");
  const auto first = DescribeModelFile(path, Backend);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_NE(first->file, path);
  EXPECT_EQ(first->sha256, FileSha256(first->file));
  const auto mended = InspectOnnx(first->file);
  ASSERT_TRUE(mended.ok()) << mended.status();
  EXPECT_TRUE(mended->weights_as_inputs.empty());
  const auto second = DescribeModelFile(path, NoBackend);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->file, first->file);
  EXPECT_EQ(second->layout, first->layout);
  EXPECT_EQ(second->input.mean, first->input.mean);
  EXPECT_EQ(second->name, "ultraface_slim_320");
}

TEST_F(ModelFiles, WorkWithoutAPlaceToRememberThem) {
  setenv("XDG_CACHE_HOME", "/proc/nowhere", 1);
  const auto spec = DescribeModelFile(File("ultraface_slim_320.onnx"), Backend);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->file, File("ultraface_slim_320.onnx"));
}

TEST_F(ModelFiles, GiveTheSameBoxesInABatchAsAlone) {
  std::vector<DecodedImage> pictures;
  for (const char* name : {"messi5.jpg", "home.jpg", "fruits.jpg"}) {
    auto picture = ReadImage((data_ / "media/images/opencv-doc" / name).string());
    ASSERT_TRUE(picture.ok()) << picture.status();
    pictures.push_back(*std::move(picture));
  }
  const auto run = [&](int max_batch) {
    auto factory = OpenDetector({.model = File("yolox_nano_kazuhito_dynbatch.onnx"),
                                 .confidence = 0.1f,
                                 .max_batch = max_batch},
                                Backend);
    EXPECT_TRUE(factory.ok()) << factory.status();
    auto detector = (*factory)();
    EXPECT_TRUE(detector.ok()) << detector.status();
    EXPECT_EQ((*detector)->info().max_batch, max_batch);
    std::vector<Frame> frames(pictures.size());
    std::vector<Detections> results(pictures.size());
    std::vector<DetectJob> jobs;
    for (size_t i = 0; i < pictures.size(); ++i) {
      frames[i].image = pictures[i].view();
      jobs.push_back({&frames[i], &results[i], {}});
    }
    (*detector)->Detect(jobs);
    return results;
  };
  const auto alone = run(1), together = run(3);
  size_t boxes = 0;
  for (size_t i = 0; i < pictures.size(); ++i) {
    ASSERT_EQ(alone[i].items.size(), together[i].items.size());
    boxes += alone[i].items.size();
    for (size_t k = 0; k < alone[i].items.size(); ++k) {
      EXPECT_EQ(alone[i].items[k].class_id, together[i].items[k].class_id);
      EXPECT_NEAR(alone[i].items[k].confidence, together[i].items[k].confidence, 1e-4);
      EXPECT_GT(IntersectionOverUnion(alone[i].items[k].box_px, together[i].items[k].box_px),
                0.999f);
    }
  }
  EXPECT_GT(boxes, 5u);
}

}  // namespace
}  // namespace sightline
