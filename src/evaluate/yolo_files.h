// Truth and results in YOLO's text files, as Ultralytics' tools read and write them.
//
//   images/**/NAME.jpg   labels/**/NAME.txt    or both side by side in one folder
//   data.yaml            names (a list, or numbers to names), train, val and test (folders or lists
//                        of pictures, from `path` or the file's own folder), kpt_shape
//   classes.txt          instead of data.yaml: one name a line, class 0 first
//
// A line is one object, in fractions of the picture's width and height:
//   class cx cy w h                  a box
//   class x1 y1 x2 y2 x3 y3 ...      an outline; its box is what it spans
//   class cx cy w h kx ky [v] ...    with key points, where data.yaml has kpt_shape
// Results have the confidence behind it. A picture without a text file, or with an empty one, shows
// nothing that is to be found. The area of an outline is its own, not that of its box.
// Threads: reentrant.
#pragma once

#include <string>

#include "base/status.h"
#include "evaluate/labelled_pictures.h"

namespace sightline::evaluate {

// Whether the folder is laid out like that.
bool LooksLikeYolo(const std::string& folder);

// `path`: the folder or its data.yaml. Errors: as of ReadLabelledPictures.
absl::StatusOr<LabelledPictures> ReadYoloTruth(const std::string& path, const std::string& split,
                                               const PictureAccess& access);

// A folder of text files NAME.txt for truth of any format; pictures without one have no results. For
// COCO's truth class n is the n-th category by rising id, as in the usual conversions.
// InvalidArgument as file:line, for files of pictures that the truth lacks, and for truth whose
// classes have no numbers.
absl::StatusOr<ReadBoxes> ReadYoloResults(const LabelledPictures& truth, const std::string& folder);

}  // namespace sightline::evaluate
