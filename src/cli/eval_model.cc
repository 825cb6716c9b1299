#include "cli/eval_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <set>
#include <utility>

#include "cli/run_in_order.h"
#include "evaluate/class_names.h"
#include "media/image_codec.h"

namespace sightline::cli {
namespace {

// Of most files the header stands in the first bytes; large EXIF blocks push it further back.
absl::StatusOr<evaluate::PictureSize> SizeOfPicture(const std::string& path) {
  constexpr size_t kFirstBytes = size_t{64} << 10;
  std::vector<uint8_t> bytes(kFirstBytes);
  std::ifstream file(path, std::ios::binary);
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<size_t>(file.gcount()));
  if (const auto header = ReadImageHeader(bytes); header.ok()) {
    return evaluate::PictureSize{header->width, header->height};
  }
  SL_ASSIGN_OR_RETURN(const DecodedImage image, ReadImage(path));
  return evaluate::PictureSize{image.width, image.height};
}

}  // namespace

evaluate::PictureAccess PictureFileAccess() {
  return {.is_picture = [](const std::string& path) { return HasImageExtension(path); },
          .size_of = SizeOfPicture};
}

Frame FrameOfBgr(int width, int height, std::vector<uint8_t> bgr) {
  const auto pixels = std::make_shared<const std::vector<uint8_t>>(std::move(bgr));
  Frame frame;
  frame.meta.width = width;
  frame.meta.height = height;
  frame.image = {.format = PixelFormat::kBgr24,
                 .range = ColorRange::kFull,
                 .width = width,
                 .height = height,
                 .planes = {pixels->data(), nullptr, nullptr},
                 .strides = {width * 3, 0, 0}};
  frame.pixels = pixels;
  return frame;
}

absl::StatusOr<evaluate::BgrImage> ThroughJpeg(const evaluate::BgrImage& image, int quality) {
  const ImageView view{.format = PixelFormat::kBgr24,
                       .range = ColorRange::kFull,
                       .width = image.width,
                       .height = image.height,
                       .planes = {image.bgr.data(), nullptr, nullptr},
                       .strides = {image.width * 3, 0, 0}};
  SL_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes, EncodeJpeg(view, quality));
  SL_ASSIGN_OR_RETURN(DecodedImage decoded, DecodeImage(bytes));
  return evaluate::BgrImage{decoded.width, decoded.height, std::move(decoded.bgr)};
}

absl::StatusOr<Frame> ReadLabelledPicture(const evaluate::LabelledPicture& picture) {
  if (picture.path.empty()) {
    return NotFound("the picture {} of the truth is not beside it, nor in images/ or JPEGImages/",
                    picture.name);
  }
  SL_ASSIGN_OR_RETURN(DecodedImage image, ReadImage(picture.path));
  const bool known = picture.width > 0 && picture.height > 0;
  if (known && (picture.width != image.width || picture.height != image.height)) {
    return InvalidArgument("{} has {} x {} px, and the truth was made at {} x {}", picture.path,
                           image.width, image.height, picture.width, picture.height);
  }
  return FrameOfBgr(image.width, image.height, std::move(image.bgr));
}

// Of a model that speaks of the whole picture boxes would all be missed, which says nothing of it.
absl::Status CheckSaysWhere(const Detections& found) {
  const bool whole = !found.classes.empty() || !found.embedding.empty() ||
                     found.class_map.width > 0 || found.anomaly.width > 0;
  if (!found.items.empty() || !whole) return absl::OkStatus();
  return InvalidArgument(
      "this model says what a picture shows, not where: give its results by --labels or "
      "--segments");
}

absl::Status DetectInOrder(
    StartedModel& model, size_t count, const std::function<absl::StatusOr<Frame>(size_t)>& read,
    const std::function<absl::Status(size_t, const Frame&, const std::vector<Detection>&)>& take) {
  return RunInOrder(model, count, "eval", read,
                    [&](size_t i, const Frame& frame, Detections&& found) -> absl::Status {
                      SL_RETURN_IF_ERROR(CheckSaysWhere(found));
                      return take(i, frame, found.items);
                    });
}

absl::StatusOr<JudgedClasses> JudgedClasses::Create(const LabelSet& model,
                                                    const std::map<int32_t, std::string>& truth) {
  JudgedClasses judged;
  judged.classes_ = evaluate::MatchClasses(model.names, truth);
  const std::set<int32_t> known(judged.classes_.begin(), judged.classes_.end());
  for (const auto& [id, name] : truth) {
    if (!known.contains(id)) judged.unknown_to_model_.push_back(name);
  }
  if (judged.unknown_to_model_.size() < truth.size()) return judged;
  return InvalidArgument(
      "the model finds none of the classes of the truth: it knows {}{}, the truth {}{}",
      model.names.empty() ? "no names" : model.names[0],
      model.names.size() > 1 ? " and others" : "", truth.empty() ? "none" : truth.begin()->second,
      truth.size() > 1 ? " and others" : "");
}

void JudgedClasses::Take(const Detection& detection, std::vector<evaluate::FoundBox>* found) const {
  const auto index = static_cast<size_t>(detection.class_id);
  if (detection.class_id < 0 || index >= classes_.size()) return;
  if (classes_[index] == evaluate::kNoClass) return;
  found->push_back({.box_px = evaluate::PlacedBoxOf(detection.box_px),
                    .class_id = classes_[index],
                    .confidence = detection.confidence});
}

}  // namespace sightline::cli
