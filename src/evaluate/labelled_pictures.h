// Pictures whose objects are known, from the formats that annotation tools write.
//
//   COCO        a JSON file (coco_files.h), or a folder that holds one, alone or under annotations/
//   YOLO        a folder with images/ and labels/ (yolo_files.h), or its data.yaml
//   Pascal VOC  a folder with Annotations/*.xml (voc_files.h)
//
// Coordinates: px of the upright picture. Threads: reentrant. Memory: all annotations at once.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "evaluate/detection_accuracy.h"

namespace sightline::evaluate {

struct LabelledPicture {
  int64_t id = 0;    // COCO's; otherwise the position, from 0
  std::string name;  // of its file, for messages and for results that name pictures
  std::string path;  // its file; empty where there is none
  int width = 0;     // px; 0: not known
  int height = 0;    // px
  std::vector<TrueBox> truth;
};

struct LabelledPictures {
  std::string format;                               // "COCO", "YOLO", "Pascal VOC"
  std::map<int32_t, std::string> class_names = {};  // by class_id
  // Whether others number the classes in the same way. Pascal VOC names them only: there the ids are
  // ours, by the alphabet, unless a classes.txt says otherwise.
  bool numbered_classes = true;
  std::vector<LabelledPicture> pictures = {};  // by rising id
  std::vector<std::string> remarks = {};  // for people: what was left out, which part was taken
};

struct PictureSize {
  int width = 0;   // px, upright
  int height = 0;  // px
};

// What is asked of picture files. Reading them is not this module's.
struct PictureAccess {
  std::function<bool(const std::string& path)> is_picture;  // by its name
  std::function<absl::StatusOr<PictureSize>(const std::string& path)> size_of;
};

struct TruthChoice {
  std::string format = "auto";  // "coco", "yolo", "voc"
  // Which part: of YOLO a key of data.yaml (train, val, test), of Pascal VOC a list in
  // ImageSets/Main; "all" is everything. Empty: YOLO's val where there is one, otherwise everything.
  std::string split = {};
};

// Errors: those of ReadWholeFile; NotFound when there is nothing of the kind; InvalidArgument when a
// folder could be several of them, with the choices, and for what is malformed, as file:line.
absl::StatusOr<LabelledPictures> ReadLabelledPictures(const std::string& path,
                                                      const TruthChoice& choice,
                                                      const PictureAccess& access);

// What was found in each of the pictures, in their order.
using FoundInPictures = std::vector<std::vector<FoundBox>>;

struct ReadBoxes {
  FoundInPictures found;
  int64_t strange_boxes = 0;  // of classes that the truth lacks; left out
};

// Results for those pictures: COCO's results JSON, where image_id may also be a picture's name, or a
// folder of YOLO's text files with the confidence as last value, named after the pictures.
// Errors: as above; NotFound for pictures that the truth lacks.
absl::StatusOr<ReadBoxes> ReadFoundBoxes(const LabelledPictures& truth, const std::string& path);

// Errors: those of DetectionAccuracy::AddPicture, with the picture.
absl::StatusOr<DetectionReport> CompareBoxes(const LabelledPictures& truth,
                                             const FoundInPictures& found);

// The name by which results call a picture: its file's, without folder and extension.
std::string PictureStem(const std::string& name);

}  // namespace sightline::evaluate
