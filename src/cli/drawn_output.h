// Pictures with their boxes drawn, for `detect --out`: one JPEG per picture, one MP4 per video.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "types/detections.h"
#include "types/frame_source.h"
#include "types/picture_writer.h"

namespace sightline::cli {

// Threads: one. Without a folder it does nothing.
class DrawnOutput {
 public:
  static absl::StatusOr<std::unique_ptr<DrawnOutput>> Create(const std::string& folder,
                                                             const std::string& input,
                                                             const SourceInfo& source);
  absl::Status Add(const Frame& frame, const Detections& detections);
  absl::Status Close();

 private:
  std::string folder_;
  std::string stem_;
  bool video_ = false;
  double fps_ = 0;
  uint64_t pictures_ = 0;
  std::unique_ptr<PictureWriter> writer_;
};

}  // namespace sightline::cli
