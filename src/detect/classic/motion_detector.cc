#include "detect/classic/motion_detector.h"

#include <algorithm>
#include <opencv2/imgproc.hpp>
#include <opencv2/video/background_segm.hpp>
#include <utility>

#include "detect/classic/classic_detector_internal.h"
#include "detect/neural_detector.h"

namespace sightline {
namespace {

// All chosen by looking at results on vtest.avi (768x576, 10 frames/s, pedestrians).
constexpr float kConfidence = 0.5f;
constexpr int kMaxSide = 480;     // of the working picture's longer side, px
constexpr int kHistory = 300;     // frames
constexpr double kVariance = 25;  // squared distance that still is background
constexpr int kWarmUpFrames = 5;
constexpr double kTooMuch = 0.5;         // of the picture
constexpr double kMinArea = 1 / 2000.0;  // of the picture

class MotionDetector final : public ClassicDetector {
 public:
  MotionDetector(DetectorInfo info, float confidence, const NmsSettings& nms)
      : ClassicDetector(std::move(info), confidence, nms, WorkingPicture(1, kMaxSide)),
        open_(cv::getStructuringElement(cv::MORPH_ELLIPSE, {3, 3})),
        // Taller than wide: what moves in front of most cameras stands upright.
        close_(cv::getStructuringElement(cv::MORPH_ELLIPSE, {5, 11})) {}

 private:
  void Find(const cv::Mat& bgr, bool size_changed, std::vector<Detection>* found) override {
    if (size_changed) {
      background_ =
          cv::createBackgroundSubtractorMOG2(kHistory, kVariance, /*detectShadows=*/false);
      seen_ = 0;
    }
    background_->apply(bgr, moving_);
    if (++seen_ <= kWarmUpFrames) return;
    cv::morphologyEx(moving_, moving_, cv::MORPH_OPEN, open_);
    const double all = static_cast<double>(moving_.rows) * moving_.cols;
    if (cv::countNonZero(moving_) > kTooMuch * all) return;
    cv::morphologyEx(moving_, joined_, cv::MORPH_CLOSE, close_);
    const int blobs = cv::connectedComponentsWithStats(joined_, labels_, stats_, centroids_, 8,
                                                       CV_32S, cv::CCL_WU);
    for (int i = 1; i < blobs; ++i) {  // 0 is the background
      const int* s = stats_.ptr<int>(i);
      if (s[cv::CC_STAT_AREA] < kMinArea * all) continue;
      const cv::Rect r(s[cv::CC_STAT_LEFT], s[cv::CC_STAT_TOP], s[cv::CC_STAT_WIDTH],
                       s[cv::CC_STAT_HEIGHT]);
      const float share = static_cast<float>(s[cv::CC_STAT_AREA]) / static_cast<float>(r.area());
      found->push_back({{static_cast<float>(r.x), static_cast<float>(r.y),
                         static_cast<float>(r.x + r.width), static_cast<float>(r.y + r.height)},
                        0.5f + 0.5f * share,
                        0});
    }
  }

  const cv::Mat open_;
  const cv::Mat close_;
  cv::Ptr<cv::BackgroundSubtractorMOG2> background_;
  int seen_ = 0;
  cv::Mat moving_, joined_, labels_, stats_, centroids_;
};

}  // namespace

absl::StatusOr<DetectorFactory> MakeMotionDetectorFactory(std::optional<float> confidence,
                                                          const NmsChoice& nms) {
  const float threshold = confidence.value_or(kConfidence);
  NmsSettings settings = nms.Over({.iou_threshold = 0.5f});
  SL_RETURN_IF_ERROR(WithContext(CheckThresholds(threshold, settings), "motion"));
  DetectorInfo info = ClassicInfo(
      "motion", "motion",
      fmt::format("MOG2 background subtraction, history {} frames, working side up to {} px",
                  kHistory, kMaxSide),
      threshold, settings);
  info.stateful = true;
  return DetectorFactory([=]() -> absl::StatusOr<std::unique_ptr<Detector>> {
    try {
      return std::make_unique<MotionDetector>(info, threshold, settings);
    } catch (const std::exception& e) {
      return Internal("motion: OpenCV: {}", e.what());
    }
  });
}

}  // namespace sightline
