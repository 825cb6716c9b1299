#include "store/jsonl_details.h"

#include "store/jsonl_format.h"

namespace sightline {
namespace {

// Whether the detection's details lie within `all`, `each` of them an item.
template <typename T>
bool Has(const std::vector<T>& all, const Detection& detection, size_t each = 1) {
  return detection.detail >= 0 && each > 0 &&
         (static_cast<size_t>(detection.detail) + 1) * each <= all.size();
}

// "extent_px":[...],"width":w,"height":h
void AppendExtent(const Box& extent_px, int width, int height, std::string& out) {
  out += "\"extent_px\":";
  AppendBox(extent_px, out);
  out += ",\"width\":";
  AppendNumber(width, out);
  out += ",\"height\":";
  AppendNumber(height, out);
}

void AppendGrid(const Box& extent_px, int width, int height, std::string& out) {
  out += "{";
  AppendExtent(extent_px, width, height, out);
  out += ",\"runs\":[";
}

// Nobody needs more digits of a map, and a line has many of them.
void AppendShort(float value, std::string& out) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  char digits[32];
  const auto result =
      std::to_chars(digits, digits + sizeof digits, value, std::chars_format::general, 4);
  out.append(digits, result.ptr);
}

void AppendRotatedBox(const RotatedBox& box, std::string& out) {
  out += ",\"rotated_box\":{\"center_px\":[";
  AppendFloat(box.center_px.x, out);
  out += ",";
  AppendFloat(box.center_px.y, out);
  out += "],\"size_px\":[";
  AppendFloat(box.width_px, out);
  out += ",";
  AppendFloat(box.height_px, out);
  out += "],\"angle_rad\":";
  AppendFloat(box.angle_rad, out);
  out += "}";
}

void AppendMask(const InstanceMask& mask, std::string& out) {
  out += ",\"mask\":";
  AppendGrid(mask.extent_px, mask.width, mask.height, out);
  for (size_t i = 0; i < mask.runs.size(); ++i) {
    if (i > 0) out += ",";
    AppendNumber(mask.runs[i], out);
  }
  out += "]}";
}

// What each further model said of the object: "NAME":{"detections":[...],"classes":...}.
void AppendStages(const Detections& detections, size_t index, std::string& out) {
  bool any = false;
  for (const StageResult& stage : detections.stages) {
    if (stage.item < 0 || static_cast<size_t>(stage.item) != index) continue;
    out += any ? "," : ",\"stages\":{";
    any = true;
    AppendJsonString(*stage.stage, out);
    out += ":{\"detections\":";
    AppendItems(stage.result, out);
    AppendPictureResults(stage.result, out);
    out += "}";
  }
  if (any) out += "}";
}

}  // namespace

void AppendBox(const Box& box, std::string& out) {
  out += "[";
  AppendFloat(box.x1, out);
  out += ",";
  AppendFloat(box.y1, out);
  out += ",";
  AppendFloat(box.x2, out);
  out += ",";
  AppendFloat(box.y2, out);
  out += "]";
}

void AppendClassName(const LabelSet* labels, int32_t class_id, std::string& out) {
  if (labels != nullptr && class_id >= 0 && static_cast<size_t>(class_id) < labels->names.size()) {
    AppendJsonString(labels->names[static_cast<size_t>(class_id)], out);
    return;
  }
  out += "\"class ";
  AppendNumber(class_id, out);
  out += "\"";
}

void AppendObject(int32_t class_id, float confidence, const Box& box_px, const LabelSet* labels,
                  std::string& out) {
  out += "\"class_id\":";
  AppendNumber(class_id, out);
  out += ",\"class\":";
  AppendClassName(labels, class_id, out);
  out += ",\"confidence\":";
  AppendFloat(confidence, out);
  out += ",\"box_xyxy_px\":";
  AppendBox(box_px, out);
}

void AppendDetails(const Detections& detections, size_t index, std::string& out) {
  const Detection& detection = detections.items[index];
  if (Has(detections.rotated_boxes, detection)) {
    AppendRotatedBox(detections.rotated_boxes[static_cast<size_t>(detection.detail)], out);
  }
  const auto points = static_cast<size_t>(detections.keypoints_per_item);
  if (Has(detections.keypoints, detection, points)) {
    out += ",\"keypoints_px\":[";
    for (size_t k = 0; k < points; ++k) {
      const Keypoint& point =
          detections.keypoints[static_cast<size_t>(detection.detail) * points + k];
      out += k == 0 ? "[" : ",[";
      AppendFloat(point.at_px.x, out);
      out += ",";
      AppendFloat(point.at_px.y, out);
      out += ",";
      AppendFloat(point.confidence, out);
      out += "]";
    }
    out += "]";
  }
  if (Has(detections.masks, detection)) {
    AppendMask(detections.masks[static_cast<size_t>(detection.detail)], out);
  }
  AppendStages(detections, index, out);
}

void AppendItems(const Detections& detections, std::string& out) {
  out += "[";
  for (size_t i = 0; i < detections.items.size(); ++i) {
    const Detection& detection = detections.items[i];
    out += i == 0 ? "{" : ",{";
    AppendObject(detection.class_id, detection.confidence, detection.box_px,
                 detections.labels.get(), out);
    AppendDetails(detections, i, out);
    out += "}";
  }
  out += "]";
}

void AppendClassMap(const ClassMap& map, std::string& out) {
  AppendGrid(map.extent_px, map.width, map.height, out);
  for (size_t i = 0; i < map.class_ids.size();) {
    size_t end = i + 1;
    while (end < map.class_ids.size() && map.class_ids[end] == map.class_ids[i]) ++end;
    if (i > 0) out += ",";
    AppendNumber(map.class_ids[i], out);
    out += ",";
    AppendNumber(end - i, out);
    i = end;
  }
  out += "]}";
}

void AppendAnomaly(const AnomalyMap& anomaly, std::string& out) {
  out += "{\"score\":";
  AppendFloat(anomaly.score, out);
  out += ",";
  AppendExtent(anomaly.extent_px, anomaly.width, anomaly.height, out);
  out += ",\"values\":[";
  for (size_t i = 0; i < anomaly.values.size(); ++i) {
    if (i > 0) out += ",";
    AppendShort(anomaly.values[i], out);
  }
  out += "]}";
}

void AppendPictureResults(const Detections& detections, std::string& out) {
  if (!detections.classes.empty()) {
    out += ",\"classes\":[";
    for (size_t i = 0; i < detections.classes.size(); ++i) {
      out += i == 0 ? "{\"class_id\":" : ",{\"class_id\":";
      AppendNumber(detections.classes[i].class_id, out);
      out += ",\"class\":";
      AppendClassName(detections.labels.get(), detections.classes[i].class_id, out);
      out += ",\"confidence\":";
      AppendFloat(detections.classes[i].confidence, out);
      out += "}";
    }
    out += "]";
  }
  if (!detections.embedding.empty()) {
    out += ",\"embedding\":[";
    for (size_t i = 0; i < detections.embedding.size(); ++i) {
      if (i > 0) out += ",";
      AppendFloat(detections.embedding[i], out);
    }
    out += "]";
  }
  if (detections.class_map.width > 0) {
    out += ",\"class_map\":";
    AppendClassMap(detections.class_map, out);
  }
  if (detections.anomaly.width > 0) {
    out += ",\"anomaly\":";
    AppendAnomaly(detections.anomaly, out);
  }
}

}  // namespace sightline
