#include "media/y4m_writer.h"

#include <cmath>
#include <utility>

#include "base/whole_file.h"

namespace sightline {
namespace {

constexpr int kMostSide = 1 << 15;
constexpr double kMostFps = 1000;
constexpr int kFpsDenominator = 1000;

}  // namespace

absl::StatusOr<std::unique_ptr<Y4mWriter>> Y4mWriter::Create(const Options& options) {
  const auto sane = [](int side) { return side >= 1 && side <= kMostSide; };
  if (!sane(options.width) || !sane(options.height)) {
    return InvalidArgument(
        "{}: pictures of {}x{} cannot be written; 1 to {} px a side are possible", options.path,
        options.width, options.height, kMostSide);
  }
  const double rate = std::round(options.fps * kFpsDenominator);
  if (!(rate >= 1 && rate <= kMostFps * kFpsDenominator)) {
    return InvalidArgument("{}: {} frames a second cannot be written; 0.001 to {} are possible",
                           options.path, options.fps, kMostFps);
  }
  SL_ASSIGN_OR_RETURN(std::unique_ptr<PartialFile> file, PartialFile::Open(options.path));
  const std::string header =
      fmt::format("YUV4MPEG2 W{} H{} F{}:{} Ip A1:1 C420 XCOLORRANGE=LIMITED\n", options.width,
                  options.height, static_cast<int64_t>(rate), kFpsDenominator);
  const int error = WriteAll(file->fd(), header);
  if (error != 0) return FileError(error, "writing to", options.path);
  return std::unique_ptr<Y4mWriter>(new Y4mWriter(options, std::move(file)));
}

absl::Status Y4mWriter::Write(const ImageView& image) {
  if (image.format != PixelFormat::kI420 || image.width != options_.width ||
      image.height != options_.height) {
    return InvalidArgument("{}: I420 pictures of {}x{} are wanted, this one has {}x{}{}",
                           options_.path, options_.width, options_.height, image.width,
                           image.height,
                           image.format == PixelFormat::kI420 ? "" : " and another format");
  }
  frame_.assign("FRAME\n");
  for (int plane = 0; plane < 3; ++plane) {
    const int rows = PlaneRows(image.format, plane, image.height);
    const int bytes = PlaneRowBytes(image.format, plane, image.width);
    const auto p = static_cast<size_t>(plane);
    for (int y = 0; y < rows; ++y) {
      const uint8_t* const row = image.planes[p] + static_cast<int64_t>(y) * image.strides[p];
      frame_.append(reinterpret_cast<const char*>(row), static_cast<size_t>(bytes));
    }
  }
  const int error = WriteAll(file_->fd(), frame_);
  return error == 0 ? absl::OkStatus() : FileError(error, "writing to", options_.path);
}

absl::Status Y4mWriter::Close() { return file_->Commit(); }

}  // namespace sightline
