// The JSON lines of a run (docs/output_formats.md), read back frame by frame.
//
// Threads: reentrant. Memory: one line, at most 16 MiB. Cost: about that of parsing the JSON.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "evaluate/scored_box.h"

namespace sightline::evaluate {

struct ResultFrame {
  static constexpr int64_t kNoTrack = -1;
  struct Object {
    std::string object_class;
    double confidence = 0;
    PlacedBox box_px;
    int64_t track_id = kNoTrack;
  };
  struct Crossing {
    std::string line;
    std::string object_class;
    bool forward = true;
  };

  std::string camera;
  int64_t frame = 0;  // in the source, from 0
  int width = 0;
  int height = 0;
  std::vector<Object> objects;
  std::vector<Crossing> crossings;
};

// `take` for every frame, in the order of the file; its error ends the reading. Lines that are no
// frames (states of cameras, the end of a stream) are passed over.
// Errors: NotFound, InvalidArgument with the path and the line for what is no such line.
absl::Status ForEachResultFrame(const std::string& path,
                                const std::function<absl::Status(const ResultFrame&)>& take);

}  // namespace sightline::evaluate
