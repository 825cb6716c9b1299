#include "detect/detector_factory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <opencv2/core/mat.hpp>
#include <opencv2/imgproc.hpp>

#include "base/uuid.h"
#include "detect/classic/face_cascade_detector.h"
#include "detect/fake_backend.h"
#include "detect/recognised_cache.h"
#include "infer/model_package.h"

namespace sightline {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::IsEmpty;

// A folder of its own, where the store and the cache are too.
class DetectorFactoryTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "detect-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    setenv("XDG_CACHE_HOME", (folder_ / "cache").c_str(), 1);
  }
  void TearDown() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  std::string Message(const DetectorRequest& request) {
    const auto factory = OpenDetector(request, NoBackend, ModelStore((folder_ / "store").string()));
    if (!factory.ok()) return std::string(MessageOf(factory.status()));
    const auto detector = (*factory)();
    return detector.ok() ? "" : std::string(MessageOf(detector.status()));
  }
  static absl::StatusOr<InferenceBackend*> NoBackend() {
    return FailedPrecondition("the runtime is not installed");
  }
  fs::path folder_;
};

TEST_F(DetectorFactoryTest, ErrorsNameTheNearestModelAndWhatThereIs) {
  EXPECT_THAT(Message({.model = "poeple"}), HasSubstr("did you mean \"people\"?"));
  EXPECT_THAT(Message({.model = "poeple"}), HasSubstr("people, motion, faces"));
  EXPECT_THAT(Message({.model = "quantum"}), HasSubstr("sightline models add"));
  EXPECT_THAT(Message({.model = ""}), HasSubstr("no model \"\""));
  std::ofstream(folder_ / "yolox_nano.onnx") << "x";
  EXPECT_THAT(Message({.model = (folder_ / "yolox_nan.onnx").string()}),
              HasSubstr(fmt::format("did you mean {}", (folder_ / "yolox_nano.onnx").string())));
  EXPECT_THAT(Message({.model = "/nowhere/at/all.onnx"}),
              HasSubstr("no file /nowhere/at/all.onnx"));
}

TEST_F(DetectorFactoryTest, FilesThatAreNoModelsAreRefused) {
  const std::string path = (folder_ / "picture.onnx").string();
  std::ofstream(path) << "\x89PNG\r\n\x1a\n and so on";
  EXPECT_THAT(Message({.model = path}), HasSubstr(path));
  std::ofstream(folder_ / "empty.onnx");
  EXPECT_THAT(Message({.model = (folder_ / "empty.onnx").string()}), HasSubstr("empty.onnx"));
  EXPECT_THAT(Message({.model = folder_.string()}), HasSubstr("model.yaml"));
}

TEST_F(DetectorFactoryTest, BuiltInDetectorsNeedNoBackend) {
  for (const char* name : {"people", "motion"}) EXPECT_THAT(Message({.model = name}), IsEmpty());
  EXPECT_THAT(Message({.model = "people", .confidence = 2.0f}), HasSubstr("confidence of 2"));
  EXPECT_THAT(Message({.model = "motion", .nms_iou = -1.0f}), HasSubstr("IoU"));
  EXPECT_THAT(Message({.model = "people", .labels = {"a"}}), HasSubstr("no labels"));
}

// As much of a description as can be kept.
ModelSpec SomethingRecognised() {
  ModelSpec spec;
  spec.name = "m";
  spec.family = "yolox";
  spec.layout = "raw_grid";
  spec.input.width = spec.input.height = 64;
  spec.input_name = "images";
  spec.output_names = {"output"};
  spec.labels = std::make_shared<LabelSet>(LabelSet{{"a", "b"}});
  return spec;
}

TEST_F(DetectorFactoryTest, WhatWasRecognisedIsKeptUnderTheHashOfTheFile) {
  const std::string path = (folder_ / "m.onnx").string();
  std::ofstream(path) << "not looked at";
  ModelSpec spec = SomethingRecognised();
  const std::string sha(64, 'a');
  const RecognisedCache cache = RecognisedCache::Default();
  EXPECT_FALSE(cache.Find(path, sha).ok());
  spec.sha256 = sha;
  const absl::Status kept = cache.Keep(sha, spec);
  ASSERT_TRUE(kept.ok()) << kept;
  const auto found = cache.Find(path, sha);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->file, path);
  EXPECT_EQ(found->layout, "raw_grid");
  EXPECT_EQ(found->labels->names, spec.labels->names);
  EXPECT_FALSE(cache.Find(path, std::string(64, 'b')).ok());
  EXPECT_FALSE(RecognisedCache("").Keep(sha, spec).ok());
}

TEST_F(DetectorFactoryTest, FilesThatWereNeverAddedAreTriedElsewhereFirst) {
  const std::string path = (folder_ / "blobs.onnx").string();
  fs::copy_file(SIGHTLINE_SOURCE_DIR "/tests/data/models/blobs_yolox.onnx", path);
  int trials = 0;
  absl::Status said = DataLoss("it crashed");
  ModelSpec found = SomethingRecognised();
  found.sha256 = FileSha256(path);
  const ModelTrial trial = [&](const std::string& file) {
    EXPECT_EQ(file, path);
    ++trials;
    if (said.ok()) {
      EXPECT_TRUE(RecognisedCache::Default().Keep(found.sha256, found).ok());
    }
    return said;
  };
  // No runtime is asked for here, whatever comes of the trial.
  EXPECT_EQ(DescribeModelFile(path, NoBackend, trial).status(), said);
  said = absl::OkStatus();
  const auto spec = DescribeModelFile(path, NoBackend, trial);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->layout, "raw_grid");
  EXPECT_EQ(spec->file, path);
  EXPECT_EQ(trials, 2);
  EXPECT_TRUE(DescribeModelFile(path, NoBackend, trial).ok());
  EXPECT_EQ(trials, 2) << "what was recognised is known";
  // Where there can be no other process, or nothing can be kept, it is recognised here.
  setenv("XDG_CACHE_HOME", "/proc/no/such", 1);
  said = Unavailable("no process");
  EXPECT_THAT(std::string(MessageOf(DescribeModelFile(path, NoBackend, trial).status())),
              HasSubstr("the runtime is not installed"));
}

// Pictures for the classic detectors.
struct Clip {
  Clip(int width, int height) : bgr(height, width, CV_8UC3, cv::Scalar(90, 110, 100)) {
    frame.image.width = width;
    frame.image.height = height;
    frame.image.planes[0] = bgr.data;
    frame.image.strides[0] = static_cast<int>(bgr.step);
  }
  cv::Mat bgr;
  Frame frame;
};

absl::Status DetectOne(Detector& detector, Frame& frame, Detections* result) {
  DetectJob job{&frame, result, {}};
  detector.Detect({&job, 1});
  return job.status;
}

std::unique_ptr<Detector> MustOpen(const DetectorRequest& request) {
  auto factory = OpenDetector(
      request, []() -> absl::StatusOr<InferenceBackend*> { return FailedPrecondition("none"); });
  EXPECT_TRUE(factory.ok()) << factory.status();
  auto detector = (*factory)();
  EXPECT_TRUE(detector.ok()) << detector.status();
  return *std::move(detector);
}

TEST(Motion, FindsWhatMovesAndNothingElse) {
  const auto detector = MustOpen({.model = "motion"});
  EXPECT_TRUE(detector->info().stateful);
  Clip clip(640, 480);
  cv::randn(clip.bgr, cv::Scalar(90, 110, 100), cv::Scalar(3, 3, 3));
  const cv::Mat empty = clip.bgr.clone();
  Detections result;
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(DetectOne(*detector, clip.frame, &result).ok());
    EXPECT_TRUE(result.items.empty()) << i;
  }
  for (int i = 0; i < 10; ++i) {
    empty.copyTo(clip.bgr);
    const cv::Rect walker(100 + 8 * i, 200, 40, 100);
    cv::rectangle(clip.bgr, walker, cv::Scalar(30, 30, 200), cv::FILLED);
    ASSERT_TRUE(DetectOne(*detector, clip.frame, &result).ok());
    ASSERT_EQ(result.items.size(), 1u) << i;
    const Box truth = {static_cast<float>(walker.x), 200, static_cast<float>(walker.x + 40), 300};
    EXPECT_GT(IntersectionOverUnion(result.items[0].box_px, truth), 0.7f) << i;
    EXPECT_GT(result.items[0].confidence, 0.9f);
  }
}

TEST(Motion, ACutIsNoObject) {
  const auto detector = MustOpen({.model = "motion"});
  Clip clip(320, 240);
  Detections result;
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(DetectOne(*detector, clip.frame, &result).ok());
  clip.bgr.setTo(cv::Scalar(250, 250, 250));
  ASSERT_TRUE(DetectOne(*detector, clip.frame, &result).ok());
  EXPECT_TRUE(result.items.empty());
  Clip other(200, 100);  // another size: learnt anew
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(DetectOne(*detector, other.frame, &result).ok());
    EXPECT_TRUE(result.items.empty());
  }
}

TEST(Classic, TinyOddAndBrokenPicturesDoNoHarm) {
  for (const char* name : {"people", "motion", "faces"}) {
    if (std::string(name) == "faces" && !MakeFaceCascadeDetectorFactory({}, {}).ok()) continue;
    const auto detector = MustOpen({.model = name});
    for (const auto& [width, height] : {std::pair{1, 1}, {3, 700}, {700, 3}, {17, 19}, {65, 129}}) {
      Clip clip(width, height);
      Detections result;
      EXPECT_TRUE(DetectOne(*detector, clip.frame, &result).ok()) << name << width;
      EXPECT_TRUE(result.items.empty());
    }
    Clip broken(64, 64);
    broken.frame.image.width = 0;
    Detections result;
    EXPECT_FALSE(DetectOne(*detector, broken.frame, &result).ok());
    broken.frame.image.width = 64;
    EXPECT_TRUE(DetectOne(*detector, broken.frame, &result).ok());
  }
}

TEST(Faces, AMissingCascadeNamesThePackage) {
  const auto missing = MakeFaceCascadeDetectorFactory({}, {}, "/nowhere/cascade.xml");
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  const std::string path = testing::TempDir() + "/broken_cascade.xml";
  std::ofstream(path) << "<opencv_storage><nothing/></opencv_storage>";
  const auto broken = MakeFaceCascadeDetectorFactory({}, {}, path);
  ASSERT_TRUE(broken.ok());
  const auto detector = (*broken)();
  ASSERT_FALSE(detector.ok());
  EXPECT_EQ(detector.status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace sightline
