#include "detect/classic/classic_detector_internal.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <exception>
#include <opencv2/core/utility.hpp>
#include <opencv2/core/version.hpp>
#include <utility>

#include "base/allocation_scope.h"
#include "base/uuid.h"
#include "detect/neural_detector.h"

namespace sightline {

absl::Status WorkingPicture::Prepare(const ImageView& image) {
  size_changed_ = image.width != image_width_ || image.height != image_height_;
  if (size_changed_) {
    preprocessor_.reset();
    image_width_ = image_height_ = 0;
    const int longer = std::max(image.width, image.height);
    if (std::min(image.width, image.height) <= 0) {
      return InvalidArgument("a picture of {}x{}", image.width, image.height);
    }
    const double scale = static_cast<double>(std::clamp(longer, min_side_, max_side_)) / longer;
    TensorRecipe recipe;
    recipe.width = std::max(1, static_cast<int>(std::lround(image.width * scale)));
    recipe.height = std::max(1, static_cast<int>(std::lround(image.height * scale)));
    recipe.interpolation = scale < 1 ? Interpolation::kArea : Interpolation::kBilinear;
    recipe.channels = ChannelOrder::kBgr;
    recipe.layout = TensorLayout::kNhwc;
    recipe.dtype = DataType::kUint8;
    SL_ASSIGN_OR_RETURN(preprocessor_, Preprocessor::Create(recipe));
    picture_.create(recipe.height, recipe.width, CV_8UC3);
    scale_x_ = static_cast<float>(recipe.width) / image.width;
    scale_y_ = static_cast<float>(recipe.height) / image.height;
    image_width_ = image.width;
    image_height_ = image.height;
  }
  return preprocessor_->Run(image, picture_.data, nullptr);
}

ClassicDetector::ClassicDetector(DetectorInfo info, float confidence, NmsSettings nms,
                                 WorkingPicture working)
    : info_(std::move(info)),
      confidence_(confidence),
      nms_settings_(nms),
      working_(std::move(working)) {
  // The engine has a thread a core already; OpenCV's own would only get in their way.
  cv::setNumThreads(1);
  found_.reserve(1024);
  nms_.Reserve(1024);
}

void ClassicDetector::Detect(std::span<DetectJob> jobs) {
  for (DetectJob& job : jobs) {
    job.result->frame = job.frame->meta;
    job.result->labels = info_.labels;
    job.result->ClearResults();
    try {
      job.status = WithContext(DetectOne(job), info_.name);
    } catch (const std::exception& e) {  // cv::Exception is one
      job.status = Internal("{}: OpenCV: {}", info_.name, e.what());
    }
  }
}

absl::Status ClassicDetector::DetectOne(DetectJob& job) {
  const ImageView& image = job.frame->image;
  found_.clear();
  {
    LibraryAllocations opencv;
    job.failure = DropReason::kPreprocessError;
    SL_RETURN_IF_ERROR(working_.Prepare(image));
    job.failure = DropReason::kInferenceError;
    Find(working_.picture(), working_.size_changed(), &found_);
  }
  std::erase_if(found_, [&](const Detection& d) { return !(d.confidence > confidence_); });
  for (Detection& d : found_) d.box_px = working_.ToImage(d.box_px);
  nms_.Run(nms_settings_, confidence_, &found_);
  ClipToPicture(image.width, image.height, &found_);
  job.result->items.reserve(std::min(nms_settings_.max_detections, 1000));
  job.result->items.assign(found_.begin(), found_.end());
  return absl::OkStatus();
}

DetectorInfo ClassicInfo(const std::string& name, const std::string& class_name,
                         const std::string& parameters, float confidence, const NmsSettings& nms) {
  DetectorInfo info;
  info.name = name;
  info.describe = fmt::format("{}, confidence above {:.4g}, IoU {:.4g}, OpenCV {}, 1 thread",
                              parameters, confidence, nms.iou_threshold, CV_VERSION);
  info.identity = FieldHasher()
                      .Add(name)
                      .Add(parameters)
                      .Add(CV_VERSION)
                      .Add(std::bit_cast<uint32_t>(confidence))
                      .Add(nms.kind)
                      .Add(std::bit_cast<uint32_t>(nms.iou_threshold))
                      .Add(std::bit_cast<uint32_t>(nms.sigma))
                      .Add(nms.class_aware)
                      .Add(nms.max_detections)
                      .Finish();
  info.labels = std::make_shared<LabelSet>(LabelSet{{class_name}});
  info.max_batch = 1;
  return info;
}

}  // namespace sightline
