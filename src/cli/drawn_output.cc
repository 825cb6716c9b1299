#include "cli/drawn_output.h"

#include <fmt/format.h>

#include <filesystem>

#include "cli/composition.h"
#include "media/image_codec.h"
#include "observe/annotate.h"
#include "vision/color.h"

namespace sightline::cli {

namespace fs = std::filesystem;

absl::StatusOr<std::unique_ptr<DrawnOutput>> DrawnOutput::Create(const std::string& folder,
                                                                 const std::string& input,
                                                                 const SourceInfo& source) {
  auto output = std::make_unique<DrawnOutput>();
  if (folder.empty()) return output;
  std::error_code error;
  fs::create_directories(folder, error);
  if (error || !fs::is_directory(folder)) {
    return FailedPrecondition("cannot make the folder {} for the pictures; choose another with --out",
                              folder);
  }
  output->folder_ = folder;
  output->stem_ = fs::path(input).stem().string();
  if (output->stem_.empty() || output->stem_.find('*') != std::string::npos) {
    output->stem_ = "picture";
  }
  output->video_ = source.container != "image";
  output->fps_ = source.fps;
  return output;
}

absl::Status DrawnOutput::Add(const Frame& frame, const Detections& detections) {
  if (folder_.empty()) return absl::OkStatus();
  std::vector<uint8_t> bgr;
  SL_RETURN_IF_ERROR(ToBgr(frame.image, &bgr));
  const int width = frame.image.width;
  const int height = frame.image.height;
  AnnotateDetections(detections, {.data = bgr.data(), .width = width, .height = height, .stride = width * 3});
  const ImageView view{.format = PixelFormat::kBgr24,
                       .range = ColorRange::kFull,
                       .width = width,
                       .height = height,
                       .planes = {bgr.data(), nullptr, nullptr},
                       .strides = {width * 3, 0, 0}};
  if (!video_) {
    // A folder's pictures are numbered; a single one keeps its name.
    const std::string name =
        pictures_++ == 0 ? stem_ + ".jpg" : fmt::format("{}-{}.jpg", stem_, frame.meta.ordinal);
    return WriteImage((fs::path(folder_) / name).string(), view);
  }
  if (!writer_) {
    SL_ASSIGN_OR_RETURN(writer_, OpenVideo((fs::path(folder_) / (stem_ + ".mp4")).string(), width,
                                           height, fps_, /*crf=*/23));
  }
  return writer_->Write(view, frame.meta.time.pts_us);
}

absl::Status DrawnOutput::Close() {
  return writer_ ? writer_->Close() : absl::OkStatus();
}

}  // namespace sightline::cli
