// What a vision-language model is asked about a picture, and what it may answer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "types/detections.h"

namespace sightline {

enum class AnswerKind : uint8_t {
  kOneLabel,       // exactly one of the labels
  kSeveralLabels,  // any number of them, also none
  kBoxes           // objects with a label and a box each
};

// What the numbers of a box are; models are trained on one or the other.
enum class BoxUnit : uint8_t {
  kThousandths,  // of the picture's width and height
  kPixels        // of the picture as it is sent
};

struct Question {
  std::string text;                 // what is asked; how to answer is added to it
  std::vector<std::string> labels;  // by class id
  AnswerKind kind = AnswerKind::kOneLabel;
  bool may_find_none = false;  // kOneLabel: "none" is an answer too, and finds no class
  BoxUnit box_unit = BoxUnit::kThousandths;
  int max_boxes = 100;  // the surest are kept
};

struct AnsweredBox {
  int32_t class_id = 0;
  float confidence = 0;
  // Shares of the picture's width and height, 0 to 1, with an area.
  double left = 0, top = 0, right = 0, bottom = 0;
};

struct Answer {
  std::vector<ClassScore> classes;  // best first
  std::vector<AnsweredBox> boxes;   // best first
};

}  // namespace sightline
