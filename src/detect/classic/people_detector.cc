#include "detect/classic/people_detector.h"

#include <algorithm>
#include <cmath>
#include <opencv2/objdetect.hpp>
#include <utility>

#include "detect/classic/classic_detector_internal.h"
#include "detect/neural_detector.h"

namespace sightline {
namespace {

// Measured on vtest.avi (768x576, every 20th frame), against the people of at least 40 px that
// YOLOX-nano finds there, matches at IoU 0.45; CPU time of one core of a busy two-core machine:
//   working side  scale step  average precision  CPU ms a picture
//   768           1.05        0.61               250
//   960           1.1         0.83               200
//   1088          1.2         0.89               170      <- chosen
//   1152          1.1         0.91               340
// Small people are what limits it, hence the enlarging.
constexpr int kWorkingSide = 1088;  // of the working picture's longer side, px
constexpr double kScaleStep = 1.2;
constexpr int kStride = 8;
// The SVM's window holds a margin around the person. Cut off, boxes overlap YOLOX's by 0.77 (mean
// IoU) instead of 0.57 with the margins that OpenCV's own example takes off.
constexpr float kMarginX = 0.22f;
constexpr float kMarginTop = 0.12f;
constexpr float kMarginBottom = 0.10f;
// Logistic fit of "is right" to the distance, on the same frames. At 0.5, 0.95 of the boxes are
// right and 0.84 of the people are found; at 0.3 it is 0.85 and 0.86.
constexpr float kSlope = 3.75f;
constexpr float kOffset = -2.47f;
constexpr float kConfidence = 0.3f;
constexpr float kLeastDistance = -0.5f;  // below, everything is taken for a person

float DistanceOf(float confidence) {
  const float odds = confidence / std::max(1 - confidence, 1e-6f);
  return (std::log(std::max(odds, 1e-6f)) - kOffset) / kSlope;
}

class PeopleDetector final : public ClassicDetector {
 public:
  PeopleDetector(DetectorInfo info, float confidence, const NmsSettings& nms)
      : ClassicDetector(std::move(info), confidence, nms,
                        WorkingPicture(kWorkingSide, kWorkingSide)),
        least_distance_(std::max(DistanceOf(confidence), kLeastDistance)) {
    hog_.setSVMDetector(cv::HOGDescriptor::getDefaultPeopleDetector());
  }

 private:
  void Find(const cv::Mat& bgr, bool, std::vector<Detection>* found) override {
    if (bgr.cols < hog_.winSize.width || bgr.rows < hog_.winSize.height) return;
    boxes_.clear();
    distances_.clear();
    // Group threshold 0: suppression is ours.
    hog_.detectMultiScale(bgr, boxes_, distances_, least_distance_, cv::Size(kStride, kStride),
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

  const double least_distance_;
  cv::HOGDescriptor hog_;
  std::vector<cv::Rect> boxes_;
  std::vector<double> distances_;
};

}  // namespace

absl::StatusOr<DetectorFactory> MakePeopleDetectorFactory(std::optional<float> confidence,
                                                          const NmsChoice& nms) {
  const float threshold = confidence.value_or(kConfidence);
  NmsSettings settings = nms.Over({.iou_threshold = 0.3f});
  SL_RETURN_IF_ERROR(WithContext(CheckThresholds(threshold, settings), "people"));
  const std::string parameters =
      fmt::format("HOG people detector, working side {} px, stride {}, scale step {}", kWorkingSide,
                  kStride, kScaleStep);
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
