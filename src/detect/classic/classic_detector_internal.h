// What the classic detectors share: one picture at a time, brought to a working size, OpenCV's
// exceptions caught, boxes brought back, suppressed and clipped. Internal to this folder.
#pragma once

#include <memory>
#include <opencv2/core/mat.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "detect/nms.h"
#include "types/detector.h"
#include "types/model_spec.h"
#include "vision/preprocess.h"

namespace sightline {

// Makes a BGR copy of pictures, scaled so that the longer side is between two bounds. The tables
// for a picture size are kept until another size comes.
class WorkingPicture {
 public:
  WorkingPicture(int min_side_px, int max_side_px)
      : min_side_(min_side_px), max_side_(max_side_px) {}

  // `picture()` is valid until the next call.
  absl::Status Prepare(const ImageView& image);
  const cv::Mat& picture() const { return picture_; }
  // True when the last Prepare() met another picture size than the one before.
  bool size_changed() const { return size_changed_; }
  Box ToImage(const Box& working) const {
    return {working.x1 / scale_x_, working.y1 / scale_y_, working.x2 / scale_x_,
            working.y2 / scale_y_};
  }

 private:
  const int min_side_;
  const int max_side_;
  int image_width_ = 0;
  int image_height_ = 0;
  float scale_x_ = 1;
  float scale_y_ = 1;
  bool size_changed_ = false;
  std::optional<Preprocessor> preprocessor_;
  cv::Mat picture_;
};

class ClassicDetector : public Detector {
 public:
  ClassicDetector(DetectorInfo info, float confidence, NmsSettings nms, WorkingPicture working);

  const DetectorInfo& info() const final { return info_; }
  void Detect(std::span<DetectJob> jobs) final;

 protected:
  // Appends boxes in pixels of the working picture. May throw what OpenCV throws.
  virtual void Find(const cv::Mat& bgr, bool size_changed, std::vector<Detection>* found) = 0;

 private:
  absl::Status DetectOne(DetectJob& job);

  const DetectorInfo info_;
  const float confidence_;
  const NmsSettings nms_settings_;
  WorkingPicture working_;
  NonMaxSuppressor nms_;
  std::vector<Detection> found_;
};

// Name, the only class, and an identity of the name, `parameters` (whatever changes results: say it
// all, and a version when the code changes them), OpenCV's version and the thresholds.
DetectorInfo ClassicInfo(const std::string& name, const std::string& class_name,
                         const std::string& parameters, float confidence, const NmsSettings& nms);

}  // namespace sightline
