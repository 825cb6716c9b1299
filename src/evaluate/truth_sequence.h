// What is known of a clip: true boxes with ids, and who really crossed which line.
//
//   FOLDER/gt/gt.txt       frame,id,x,y,w,h,mark[,class[,visibility]], frames from 1 (mot_files.h)
//   FOLDER/gt/labels.txt   class names, one a line; class n is the n-th. Without it the numbers are
//                          MOTChallenge's: 1 and 2 person (2 rides), 3 car, 4 bicycle, 5 motorcycle;
//                          7, 8, 12 and 13 (standing people, look-alikes, reflections, crowds)
//                          excuse boxes of people; others are left out
//   FOLDER/seqinfo.ini     frameRate, seqLength, imWidth, imHeight; may be missing
//   FOLDER/crossings.csv   line,frame,time_s,id,class,direction; may be missing
//
// `sightline sim truth` writes such a folder, and annotation tools export the first two (CVAT: "MOT
// 1.1"). Rows of mark 0 need not be found.
// Threads: reentrant. Memory: 80 bytes a row.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "evaluate/scored_box.h"

namespace sightline::evaluate {

struct TruthSequence {
  struct Object {
    int64_t frame = 0;  // from 1
    int64_t id = 0;
    PlacedBox box_px;
    int32_t class_id = 0;  // index into classes
    bool excused = false;  // need not be found, and whoever finds it is not wrong
    bool crowd = false;    // the same for any number of boxes
    double visibility = 1;
  };
  struct Crossing {
    std::string line;
    int64_t frame = 0;  // from 1
    std::string object_class;
    bool forward = true;
  };

  double frames_per_second = 0;  // 0: not known
  int64_t frames = 0;            // seqLength, or the last frame with a box
  int width = 0;                 // 0: not known
  int height = 0;
  std::vector<std::string> classes;
  std::vector<Object> objects;  // by rising frame
  std::vector<Crossing> crossings;
  std::vector<std::string> lines;  // names, in the order in which they come
};

// `path`: the folder, or its gt.txt alone.
// Errors: NotFound, InvalidArgument with file and line.
absl::StatusOr<TruthSequence> ReadTruthSequence(const std::string& path);

}  // namespace sightline::evaluate
