// Neural detectors against their references, with real models and pictures: (a) the head alone, fed
// the reference's own tensor; (b) end to end from the picture file.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <opencv2/core/mat.hpp>
#include <opencv2/imgproc.hpp>

#include "base/uuid.h"
#include "detect/golden_results.h"
#include "detect/heads/head.h"
#include "detect/model_probe.h"
#include "detect/neural_detector.h"
#include "detect/recognise.h"
#include "infer/backends/onnxruntime/onnxruntime_backend.h"
#include "media/image_codec.h"

namespace sightline {
namespace {

std::string Sha256Hex(const std::vector<float>& values) {
  unsigned char digest[32];
  EVP_Digest(values.data(), values.size() * sizeof(float), digest, nullptr, EVP_sha256(), nullptr);
  std::string hex;
  for (const unsigned char byte : digest) hex += fmt::format("{:02x}", byte);
  return hex;
}

// The references' own preparation, by OpenCV.
std::vector<float> ReferenceTensor(const std::string& family, const std::string& how,
                                   const cv::Mat& bgr, int width, int height,
                                   const nlohmann::json& c) {
  cv::Mat picture;
  if (family == "yolox") {
    const cv::Size inside(c["resized_wh"][0], c["resized_wh"][1]);
    picture = cv::Mat(height, width, CV_8UC3, cv::Scalar(114, 114, 114));
    cv::Mat resized;
    cv::resize(bgr, resized, inside, 0, 0, cv::INTER_LINEAR);
    resized.copyTo(picture(cv::Rect({0, 0}, inside)));
  } else {
    const bool area = how.find("INTER_AREA") != std::string::npos;
    cv::resize(bgr, picture, {width, height}, 0, 0, area ? cv::INTER_AREA : cv::INTER_LINEAR);
  }
  std::vector<float> tensor;
  tensor.reserve(size_t{3} * width * height);
  for (int c3 = 0; c3 < 3; ++c3) {
    const int channel = family == "ultraface" ? 2 - c3 : c3;  // RGB
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        const double v = picture.at<cv::Vec3b>(y, x)[channel];
        tensor.push_back(static_cast<float>(family == "yolox"       ? v
                                            : family == "ultraface" ? (v - 127) / 128
                                                                    : v / 255));
      }
    }
  }
  return tensor;
}

class DetectorGolden : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    golden_ = golden::Load(fmt::format("{}.json", GetParam()));
    const char* data = std::getenv("SIGHTLINE_TEST_DATA");
    if (data == nullptr) {
      GTEST_SKIP() << "SIGHTLINE_TEST_DATA is not set: the real model " << golden_["model"]
                   << " is not compared with its reference";
    }
    data_ = data;
    model_ = (data_ / golden_["model"].get<std::string>()).string();
    if (!std::filesystem::exists(model_)) GTEST_SKIP() << model_ << " is not there";
    ASSERT_EQ(FileSha256(model_), golden_["model_sha256"].get<std::string>());
    auto backend = OnnxRuntimeBackend();
    if (!backend.ok()) GTEST_SKIP() << backend.status();
    backend_ = *backend;
    auto info = InspectOnnx(model_);
    ASSERT_TRUE(info.ok()) << info.status();
    auto recognised = RecogniseModel(*info, ProbeWith(*backend_, model_));
    ASSERT_TRUE(recognised.ok()) << recognised.status();
    spec_ = recognised->spec;
    EXPECT_EQ(spec_.family, golden_["family"].get<std::string>());
    spec_.confidence_threshold = golden_["score_threshold"];
    spec_.nms.iou_threshold = golden_["nms_iou"];
    spec_.nms.class_aware = golden_["class_aware"];
    // The FastestDet goldens are for either interpolation; the file's says which.
    const std::string how = golden_["tensor"]["how"];
    if (how.find("INTER_AREA") != std::string::npos)
      spec_.input.interpolation = Interpolation::kArea;
  }

  DecodedImage Picture(const nlohmann::json& c) {
    const std::string path = (data_ / c["image"].get<std::string>()).string();
    auto image = ReadImage(path);
    EXPECT_TRUE(image.ok()) << image.status();
    EXPECT_EQ(image->width, c["width"].get<int>()) << path;
    return image.ok() ? *std::move(image) : DecodedImage();
  }

  nlohmann::json golden_;
  std::filesystem::path data_;
  std::string model_;
  InferenceBackend* backend_ = nullptr;
  ModelSpec spec_;
};

TEST_P(DetectorGolden, HeadAloneGivesTheSameBoxes) {
  if (golden_.contains("boxes_decoded_by_model")) {
    EXPECT_EQ(spec_.layout,
              golden_["boxes_decoded_by_model"].get<bool>() ? "decoded" : "raw_deltas");
  }
  SessionOptions options;
  options.model_file = model_;
  auto session = backend_->Open(options);
  ASSERT_TRUE(session.ok()) << session.status();
  auto head = MakeHead(spec_, (*session)->outputs());
  ASSERT_TRUE(head.ok()) << head.status();
  const int width = spec_.input.width, height = spec_.input.height;
  const std::vector<int64_t> shape = {1, 3, height, width};
  size_t tensors_equal = 0;
  for (const auto& c : golden_["cases"]) {
    SCOPED_TRACE(c["image"]);
    DecodedImage picture = Picture(c);
    const cv::Mat bgr(picture.height, picture.width, CV_8UC3, picture.bgr.data());
    const std::vector<float> tensor =
        ReferenceTensor(spec_.family, golden_["tensor"]["how"], bgr, width, height, c);
    if (Sha256Hex(tensor) != c["tensor_sha256"].get<std::string>()) continue;
    ++tensors_equal;
    auto buffer = (*session)->InputBuffer(0, shape);
    ASSERT_TRUE(buffer.ok()) << buffer.status();
    std::memcpy(*buffer, tensor.data(), tensor.size() * sizeof(float));
    auto outputs = (*session)->Run();
    ASSERT_TRUE(outputs.ok()) << outputs.status();
    ImageToTensor mapping;
    if (spec_.family == "yolox") {
      mapping.scale_x = mapping.scale_y = c["ratio"];
    } else {
      mapping.scale_x = static_cast<float>(width) / picture.width;
      mapping.scale_y = static_cast<float>(height) / picture.height;
    }
    std::vector<Detection> found;
    const absl::Status status =
        (*head)->Decode({*outputs, 0, mapping}, spec_.confidence_threshold, &found);
    ASSERT_TRUE(status.ok()) << status;
    found = golden::SuppressionRule::Of(spec_.family)
                .Apply(found, spec_.nms.iou_threshold, picture.width, picture.height);
    golden::ExpectSame(found, golden::Expected(c["detections"]), spec_.confidence_threshold);
  }
  // Other builds of the picture codecs may round otherwise; then there is nothing to compare here.
  EXPECT_GE(tensors_equal, golden_["cases"].size() * 9 / 10)
      << "the references' tensors are not met";
}

TEST_P(DetectorGolden, EndToEndFindsTheConfidentOnes) {
  auto factory = MakeNeuralDetectorFactory(spec_, *backend_, {});
  ASSERT_TRUE(factory.ok()) << factory.status();
  auto detector = (*factory)();
  ASSERT_TRUE(detector.ok()) << detector.status();
  size_t expected = 0, found = 0;
  for (const auto& c : golden_["cases"]) {
    const DecodedImage picture = Picture(c);
    Frame frame;
    frame.image = picture.view();
    Detections result;
    DetectJob job{&frame, &result, {}};
    (*detector)->Detect({&job, 1});
    ASSERT_TRUE(job.status.ok()) << job.status;
    std::vector<Detection> confident = golden::Expected(c["detections"]);
    std::erase_if(confident, [&](const Detection& d) {
      return d.confidence < golden_["confident_score"].get<float>();
    });
    ClipToPicture(picture.width, picture.height, &confident);
    expected += confident.size();
    found += golden::CountFound(result.items, confident);
  }
  ASSERT_GE(expected, 10u);
  const double share = static_cast<double>(found) / expected;
  fmt::print("{}: {} of {} confident reference detections found ({:.3f})\n", GetParam(), found,
             expected, share);
  RecordProperty("found_share", fmt::format("{:.4f}", share));
  EXPECT_GE(share, 0.97);
}

INSTANTIATE_TEST_SUITE_P(Models, DetectorGolden,
                         testing::Values("yolox_nano_416", "ultraface_rfb_320",
                                         "ultraface_slim_320", "ultraface_rfb_640",
                                         "fastestdet_352_linear", "fastestdet_352_area"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace sightline
