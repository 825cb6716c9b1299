#include "detect/classic/face_cascade_detector.h"

#include <filesystem>
#include <opencv2/imgproc.hpp>
#include <opencv2/objdetect.hpp>
#include <utility>

#include "base/uuid.h"
#include "detect/classic/classic_detector_internal.h"
#include "detect/neural_detector.h"

namespace sightline {
namespace {

constexpr char kCascade[] = "haarcascade_frontalface_alt2.xml";
constexpr const char* kFolders[] = {"/usr/share/opencv4/haarcascades",
                                    "/usr/local/share/opencv4/haarcascades",
                                    "/usr/share/opencv/haarcascades"};
constexpr float kConfidence = 0.5f;
constexpr int kMaxSide = 1280;  // of the working picture's longer side, px; chosen
constexpr double kScaleStep = 1.1;
constexpr int kMinNeighbours = 3;
constexpr int kMinFace = 20;  // px of the working picture; the cascade's own window

class FaceCascadeDetector final : public ClassicDetector {
 public:
  FaceCascadeDetector(DetectorInfo info, float confidence, const NmsSettings& nms,
                      cv::CascadeClassifier cascade)
      : ClassicDetector(std::move(info), confidence, nms, WorkingPicture(1, kMaxSide)),
        cascade_(std::move(cascade)) {}

 private:
  void Find(const cv::Mat& bgr, bool, std::vector<Detection>* found) override {
    if (bgr.cols < kMinFace || bgr.rows < kMinFace) return;
    cv::cvtColor(bgr, grey_, cv::COLOR_BGR2GRAY);
    cv::equalizeHist(grey_, grey_);
    faces_.clear();
    neighbours_.clear();
    cascade_.detectMultiScale(grey_, faces_, neighbours_, kScaleStep, kMinNeighbours, 0,
                              cv::Size(kMinFace, kMinFace));
    for (size_t i = 0; i < faces_.size(); ++i) {
      const cv::Rect& r = faces_[i];
      const auto n = static_cast<float>(neighbours_[i]);
      found->push_back({{static_cast<float>(r.x), static_cast<float>(r.y),
                         static_cast<float>(r.x + r.width), static_cast<float>(r.y + r.height)},
                        n / (n + 3),
                        0});
    }
  }

  cv::CascadeClassifier cascade_;
  cv::Mat grey_;
  std::vector<cv::Rect> faces_;
  std::vector<int> neighbours_;
};

absl::StatusOr<std::string> FindCascade(const std::string& asked) {
  std::error_code ignored;
  if (!asked.empty()) {
    if (std::filesystem::is_regular_file(asked, ignored)) return asked;
    return NotFound("faces: there is no cascade file {}", asked);
  }
  for (const char* folder : kFolders) {
    const std::string path = fmt::format("{}/{}", folder, kCascade);
    if (std::filesystem::is_regular_file(path, ignored)) return path;
  }
  return NotFound(
      "faces: {} is not installed; install the package that holds it (apt-get install "
      "opencv-data), or "
      "add a neural face model with `sightline models add FILE.onnx`",
      kCascade);
}

}  // namespace

absl::StatusOr<DetectorFactory> MakeFaceCascadeDetectorFactory(std::optional<float> confidence,
                                                               const NmsChoice& nms,
                                                               const std::string& cascade_file) {
  // Strictly above the threshold, and three windows that agree give exactly 0.5.
  const float threshold = confidence.value_or(kConfidence - 0.01f);
  NmsSettings settings = nms.Over({.iou_threshold = 0.3f});
  SL_RETURN_IF_ERROR(WithContext(CheckThresholds(threshold, settings), "faces"));
  SL_ASSIGN_OR_RETURN(const std::string path, FindCascade(cascade_file));
  const DetectorInfo info = ClassicInfo(
      "faces", "face",
      fmt::format(
          "Haar cascade {} ({:.12}), working side up to {} px, scale step {}, {} neighbours",
          std::filesystem::path(path).filename().string(), FileSha256(path), kMaxSide, kScaleStep,
          kMinNeighbours),
      threshold, settings);
  return DetectorFactory([=]() -> absl::StatusOr<std::unique_ptr<Detector>> {
    try {
      cv::CascadeClassifier cascade;
      if (!cascade.load(path))
        return DataLoss("faces: {} is not a cascade that OpenCV reads", path);
      return std::make_unique<FaceCascadeDetector>(info, threshold, settings, std::move(cascade));
    } catch (const std::exception& e) {
      return DataLoss("faces: {} cannot be read: {}", path, e.what());
    }
  });
}

}  // namespace sightline
