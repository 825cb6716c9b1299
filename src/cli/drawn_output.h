// Pictures with their boxes drawn, for `detect --out`: one JPEG per picture, one MP4 per video.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/file_key.h"
#include "base/status.h"
#include "types/detections.h"
#include "types/frame_source.h"
#include "types/picture_writer.h"

namespace sightline::cli {

// The folder of one command: hands every picture and video a name of its own, x.jpg, x-1.jpg, ...
// Threads: one.
class DrawnFolder {
 public:
  // Makes the folder, unless it is empty. InvalidArgument, before anything is made, when a result
  // would be written over one of `inputs` or over `model` (a file, or any name that is none).
  static absl::StatusOr<std::unique_ptr<DrawnFolder>> Create(const std::string& folder,
                                                             const std::vector<std::string>& inputs,
                                                             const std::string& model);
  bool wanted() const { return !folder_.empty(); }
  // The path for what was made of `file`; never one that was given before, nor an input's.
  std::string PathFor(const std::string& file, const std::string& extension);

 private:
  std::string folder_;
  std::set<std::string> taken_;  // names
};

// What is drawn of one input. Threads: one. Without a folder it does nothing.
class DrawnOutput {
 public:
  // `folder` must outlive it.
  DrawnOutput(DrawnFolder* folder, std::string input, const SourceInfo& source);
  absl::Status Add(const Frame& frame, const Detections& detections);
  absl::Status Close();

 private:
  DrawnFolder* const folder_;
  const std::string input_;
  const bool video_;
  const double fps_;
  std::unique_ptr<PictureWriter> writer_;
};

}  // namespace sightline::cli
