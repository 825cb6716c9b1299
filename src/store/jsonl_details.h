// What some families say beside boxes, as members of a line of JSON (see jsonl_format.h), and the
// pieces that all lines are made of. Everything is appended to `out`.
#pragma once

#include <charconv>
#include <cmath>
#include <string>

#include "types/detections.h"

namespace sightline {

template <typename T>
void AppendNumber(T value, std::string& out) {
  char digits[32];
  const auto result = std::to_chars(digits, digits + sizeof digits, value);
  out.append(digits, result.ptr);
}

inline void AppendFloat(float value, std::string& out) {
  if (std::isfinite(value)) {
    AppendNumber(value, out);
  } else {
    out += "null";
  }
}

void AppendBox(const Box& box, std::string& out);  // [x1,y1,x2,y2]

void AppendClassName(const LabelSet* labels, int32_t class_id, std::string& out);

// "class_id":7,"class":"car","confidence":0.9,"box_xyxy_px":[x1,y1,x2,y2]
void AppendObject(int32_t class_id, float confidence, const Box& box_px, const LabelSet* labels,
                  std::string& out);

// ,"rotated_box":{"center_px":[x,y],"size_px":[w,h],"angle_rad":a}
// ,"keypoints_px":[[x,y,confidence],...]
// ,"mask":{"extent_px":[x1,y1,x2,y2],"width":w,"height":h,"runs":[background,object,...]}
// ,"stages":{"NAME":{"detections":[...],"classes":...},...}
// each where items[index] has it; what a stage said is written as that of a picture is.
void AppendDetails(const Detections& detections, size_t index, std::string& out);

// {"extent_px":[x1,y1,x2,y2],"width":w,"height":h,"runs":[class,count,...]}
void AppendClassMap(const ClassMap& map, std::string& out);
// {"score":s,"extent_px":[x1,y1,x2,y2],"width":w,"height":h,"values":[...]}, values with four digits
void AppendAnomaly(const AnomalyMap& anomaly, std::string& out);

// [{"class_id","class","confidence","box_xyxy_px","..."},...] with details.
void AppendItems(const Detections& detections, std::string& out);

// ,"classes":[{"class_id","class","confidence"},...]
// ,"embedding":[...]
// ,"class_map":{...}
// ,"anomaly":{...}
// each where the model gives it.
void AppendPictureResults(const Detections& detections, std::string& out);

}  // namespace sightline
