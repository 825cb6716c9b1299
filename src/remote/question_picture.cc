#include "remote/question_picture.h"

#include <algorithm>
#include <cmath>

#include "media/image_codec.h"

namespace sightline {

absl::Status QuestionPicture::Prepare(const ImageView& image) {
  const int longer = std::max(image.width, image.height);
  if (std::min(image.width, image.height) <= 0) {
    return InvalidArgument("a picture of {}x{}", image.width, image.height);
  }
  const double scale =
      static_cast<double>(std::clamp(longer, kSmallestSidePx, max_side_px_)) / longer;
  const int width = std::max(1, static_cast<int>(std::lround(image.width * scale)));
  const int height = std::max(1, static_cast<int>(std::lround(image.height * scale)));
  if (!preprocessor_ || width != width_ || height != height_) {
    TensorRecipe recipe;
    recipe.width = width;
    recipe.height = height;
    recipe.interpolation = scale < 1 ? Interpolation::kArea : Interpolation::kBilinear;
    recipe.channels = ChannelOrder::kBgr;
    recipe.layout = TensorLayout::kNhwc;
    recipe.dtype = DataType::kUint8;
    preprocessor_.reset();
    SL_ASSIGN_OR_RETURN(preprocessor_, Preprocessor::Create(recipe));
    width_ = width;
    height_ = height;
    bgr_.resize(static_cast<size_t>(width) * static_cast<size_t>(height) * 3);
  }
  return preprocessor_->Run(image, bgr_.data(), nullptr);
}

Hash128 QuestionPicture::key() const {
  return FieldHasher().Add(width_).Add(height_).Add(HashBytes(bgr_)).Finish();
}

absl::StatusOr<SentPicture> QuestionPicture::Encode() const {
  const ImageView view{.format = PixelFormat::kBgr24,
                       .range = ColorRange::kFull,
                       .width = width_,
                       .height = height_,
                       .planes = {bgr_.data(), nullptr, nullptr},
                       .strides = {width_ * 3, 0, 0}};
  SL_ASSIGN_OR_RETURN(const std::vector<uint8_t> jpeg, EncodeJpeg(view, jpeg_quality_));
  return SentPicture{{jpeg.begin(), jpeg.end()}, width_, height_};
}

}  // namespace sightline
