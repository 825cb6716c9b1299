#include "detect/classic/people_detector.h"

#include <cmath>
#include <opencv2/objdetect.hpp>
#include <utility>

#include "detect/classic/classic_detector.h"
#include "detect/neural_detector.h"

namespace sightline {
namespace {

constexpr float kConfidence = 0.5f;
constexpr int kMinSide = 640;  // of the working picture's longer side, px
constexpr int kMaxSide = 960;
constexpr double kHitThreshold = 0.0;
constexpr double kScaleStep = 1.05;
constexpr int kStride = 8;
// The SVM's window holds a margin around the person; the part of it that is the person.
constexpr float kMarginX = 0.1f;
constexpr float kMarginTop = 0.07f;
constexpr float kMarginBottom = 0.06f;
// See people_detector.h.
constexpr float kSlope = 3.0f;
constexpr float kOffset = -1.0f;

class PeopleDetector final : public ClassicDetector {
 public:
  PeopleDetector(DetectorInfo info, float confidence, const NmsSettings& nms)
      : ClassicDetector(std::move(info), confidence, nms, WorkingPicture(kMinSide, kMaxSide)) {
    hog_.setSVMDetector(cv::HOGDescriptor::getDefaultPeopleDetector());
  }

 private:
  void Find(const cv::Mat& bgr, bool, std::vector<Detection>* found) override {
    if (bgr.cols < hog_.winSize.width || bgr.rows < hog_.winSize.height) return;
    boxes_.clear();
    distances_.clear();
    // Group threshold 0: suppression is ours.
    hog_.detectMultiScale(bgr, boxes_, distances_, kHitThreshold, cv::Size(kStride, kStride),
                          cv::Size(kStride, kStride), kScaleStep, 0);
    for (size_t i = 0; i < boxes_.size(); ++i) {
      const cv::Rect& r = boxes_[i];
      const auto x = static_cast<float>(r.x), y = static_cast<float>(r.y);
      const auto w = static_cast<float>(r.width), h = static_cast<float>(r.height);
      const auto distance = static_cast<float>(distances_[i]);
      found->push_back({{x + w * kMarginX, y + h * kMarginTop, x + w * (1 - kMarginX),
                         y + h * (1 - kMarginBottom)},
                        1 / (1 + std::exp(-(kSlope * distance + kOffset))),
                        0});
    }
  }

  cv::HOGDescriptor hog_;
  std::vector<cv::Rect> boxes_;
  std::vector<double> distances_;
};

}  // namespace

absl::StatusOr<DetectorFactory> MakePeopleDetectorFactory(std::optional<float> confidence,
                                                          std::optional<NmsSettings> nms) {
  const float threshold = confidence.value_or(kConfidence);
  NmsSettings settings = nms.value_or(NmsSettings{.iou_threshold = 0.3f});
  SL_RETURN_IF_ERROR(WithContext(CheckThresholds(threshold, settings), "people"));
  const std::string parameters =
      fmt::format("HOG people detector, working side {}-{} px, stride {}, scale step {}", kMinSide,
                  kMaxSide, kStride, kScaleStep);
  const DetectorInfo info = ClassicInfo("people", "person", parameters, threshold, settings);
  return DetectorFactory([=]() -> absl::StatusOr<std::unique_ptr<Detector>> {
    try {
      return std::make_unique<PeopleDetector>(info, threshold, settings);
    } catch (const std::exception& e) {
      return Internal("people: OpenCV: {}", e.what());
    }
  });
}

}  // namespace sightline
