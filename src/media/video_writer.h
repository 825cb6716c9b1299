// Frames into an MP4 that browsers play: H.264 (libx264) where libavcodec has it, else MPEG-4
// part 2.
//
// The file grows as `<path>.partial`, which Close() renames (base/partial_file.h); an older file of
// that name stays until then. It is a fragmented MP4 (ISO 14496-12, movie fragments), a fragment
// every two seconds: after a kill everything up to the last whole fragment of the .partial plays. Pictures are 4:2:0; an odd width or height
// gets one more column or row, a copy of the last. A picture's time in the file is its pts_us,
// exactly with H.264 (within 20 us with MPEG-4), so that the recording and the annotated copy agree
// on every frame.
//
// Threads: one at a time. Cost: the encoder's ("veryfast"); nothing is allocated per frame beyond
// what libav does. Memory: about ten frames in the encoder.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/output_wait.h"
#include "base/partial_file.h"
#include "base/status.h"
#include "types/frame.h"

namespace sightline {

class VideoWriter {
 public:
  struct Options {
    std::string path;
    int width = 0;     // px of the pictures that will be written
    int height = 0;    // px
    double fps = 25;   // about how many a second; a hint for the encoder, not positive = 25
    int quality = 23;  // libx264's constant rate factor: 0 best, 51 worst; 23 its default
    int threads = 1;
    // What the file says of its colours. Pictures in YUV of another kind are converted by way of
    // RGB.
    ColorMatrix matrix = ColorMatrix::kBt601;
    ColorRange range = ColorRange::kLimited;
    std::shared_ptr<OutputWait> wait = nullptr;  // null: a full disk is an error at once
  };

  // Creates the .partial, unless `file` is one already, and starts the encoder. InvalidArgument for
  // impossible sizes, Unavailable when another program is writing the same file, FailedPrecondition when the file cannot be made there, ResourceExhausted when
  // the disk is full, Unimplemented when this machine's libavcodec has no encoder for MP4.
  static absl::StatusOr<std::unique_ptr<VideoWriter>> Create(
      const Options& options, std::unique_ptr<PartialFile> file = nullptr);

  // Closes the file, if Close() has not; errors then go to the log.
  ~VideoWriter();

  // A picture of any format and of the size given at the start. `pts_us` must rise from call to
  // call; where it steps back (a new epoch) the picture comes one frame period after the last, and
  // those after it keep their distance to it. Errors: ResourceExhausted (disk full) and others,
  // with the path; after one, every further call gives the same.
  absl::Status Write(const ImageView& image, int64_t pts_us);

  // Writes what the encoder still holds, syncs the file to the disk and gives it its name; after an
  // error the .partial stays. Further calls give the same answer.
  absl::Status Close();

  const std::string& codec() const;  // "libx264" or "mpeg4"

 private:
  class Impl;
  explicit VideoWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sightline
