// The annotated video of one camera: every processed frame with its objects, zones, lines and
// counts, handed to an encoder.
//
// Pictures keep the first frame's size: a stream that changes its resolution is scaled to it, sides
// padded with black. Times rise through the discontinuities of the stream: a new epoch goes on one
// frame after the last one. Results of other cameras are passed over.
// Errors: those of the writer, with "annotated video of CAMERA" in front; sticky. A frame whose
// pixels cannot be read is left out, and warned about once. Threads: one at a time (ResultSink).
// Cost: one copy of the picture into BGR (1-2 ms at 1080p), drawing, and the encoder. Memory: one
// picture, two while the size differs.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "observe/annotate.h"
#include "types/picture_writer.h"
#include "types/result_sink.h"

namespace sightline {

struct VideoSinkOptions {
  std::string camera_id;
  RulesForSize rules;
  // Called once, with the size of the first frame. Encoders of 4:2:0 want even sides: `width` and
  // `height` are even (a last odd row or column is cut off).
  std::function<absl::StatusOr<std::unique_ptr<PictureWriter>>(int width, int height)> open;
};

class VideoSink final : public ResultSink {
 public:
  // InvalidArgument without camera_id or `open`.
  static absl::StatusOr<std::unique_ptr<VideoSink>> Create(VideoSinkOptions options);

  std::string_view name() const override { return "video"; }
  bool wants_pixels() const override { return true; }
  absl::Status Write(const FrameResult& result) override;
  absl::Status Close() override;  // without a single frame no writer is ever opened

 private:
  explicit VideoSink(VideoSinkOptions options);
  absl::Status WritePicture(const FrameResult& result);
  int64_t OutputPts(const FrameTime& time);
  const uint8_t* FitToOutput(int width, int height);

  VideoSinkOptions options_;
  Annotator annotator_;
  std::optional<uint32_t> rules_version_;  // that it draws
  std::unique_ptr<PictureWriter> writer_;
  std::vector<uint8_t> bgr_;
  std::vector<uint8_t> fitted_;
  int width_ = 0;   // of the output
  int height_ = 0;  // of the output
  bool first_ = true;
  uint32_t epoch_ = 0;
  int64_t offset_us_ = 0;  // from the epoch's time to the output's
  int64_t last_pts_us_ = -1;
  int64_t step_us_ = 40'000;  // between the last two frames; at first that of 25 frames/s
  bool warned_ = false;
  bool closed_ = false;
  absl::Status failure_;
};

}  // namespace sightline
