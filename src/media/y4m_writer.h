// Frames as they are into a YUV4MPEG2 file (mjpegtools, yuv4mpeg(5)), which ffmpeg and most research
// code read: for whoever must not have a codec between the pictures and the eye.
//
// I420 only, 8 bits; the file says that its range is limited. Stamps are not kept: the format knows
// a frame rate and nothing more. The file keeps its .partial name until Close()
// (base/partial_file.h).
//
// Threads: one at a time. Memory: one frame, allocated with the first. Cost: writing 1.5 bytes a
// pixel.
#pragma once

#include <memory>
#include <string>

#include "base/partial_file.h"
#include "base/status.h"
#include "types/frame.h"

namespace sightline {

class Y4mWriter {
 public:
  struct Options {
    std::string path;
    int width = 0;    // px
    int height = 0;   // px
    double fps = 25;  // kept to a thousandth
  };

  // InvalidArgument for impossible sizes and rates; else the errors of FileError.
  static absl::StatusOr<std::unique_ptr<Y4mWriter>> Create(const Options& options);

  // InvalidArgument for another format or size than at the start; else the errors of FileError.
  absl::Status Write(const ImageView& image);

  // Gives the file its name; nothing may be written after it.
  absl::Status Close();

 private:
  Y4mWriter(Options options, std::unique_ptr<PartialFile> file)
      : options_(std::move(options)), file_(std::move(file)) {}

  const Options options_;
  const std::unique_ptr<PartialFile> file_;
  std::string frame_;
};

}  // namespace sightline
