// The truth of a simulated street as files, laid out as a sequence of the MOTChallenge (Milan et al.,
// "MOT16", 2016), which its evaluation programs read:
//
//   DIR/gt/gt.txt       frame,id,x,y,w,h,1,class,visibility
//                       frames from 1; x and y of the left top corner, px, with the origin at the
//                       outer corner of the first pixel; class 1 pedestrian, 2 person on a vehicle,
//                       3 car, 4 bicycle
//   DIR/seqinfo.ini     name, frame rate, length, size
//   DIR/crossings.csv   line,frame,time_s,id,class,direction: every crossing of every line
//                       (crossings.h says what counts)
//
// The frames are those that the camera sends without faults and without selection. Every file is
// whole or keeps its .partial name.
//
// Threads: reentrant. Memory: fixed, whatever the length. Cost: the masks of every frame.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "sim/sim_options.h"
#include "types/geometry.h"

namespace sightline::sim {

struct NamedLine {
  std::string name;
  PointF a_px;
  PointF b_px;
};

struct TruthFileOptions {
  std::string folder;     // made when it is not there
  std::string name;       // of the sequence; the URL is usual
  int64_t length_us = 0;  // of the stream
  std::vector<NamedLine> lines;
  // Asked at every frame; true ends the writing (Cancelled). Empty: never.
  std::function<bool()> stop = {};
};

struct TruthSummary {
  int64_t frames = 0;
  uint64_t boxes = 0;
  uint64_t objects = 0;  // different ones
  struct Line {
    std::string name;
    uint64_t forward = 0;
    uint64_t backward = 0;
  };
  std::vector<Line> lines;
};

// Errors: those of FileError, with the path; InvalidArgument for a line without length; Cancelled.
absl::StatusOr<TruthSummary> WriteTruthFiles(const SimOptions& sim,
                                             const TruthFileOptions& options);

}  // namespace sightline::sim
