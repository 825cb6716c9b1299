// For tests and fuzzing: for each family and layout, a description and outputs that its head takes,
// for an input of 64x64.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "types/detections.h"
#include "types/model_spec.h"
#include "types/tensor.h"

namespace sightline {

struct FamilyExample {
  std::string family;
  std::string layout;
  std::vector<TensorInfo> outputs;  // shapes of a batch of one
  int width = 64;
  int height = 64;

  ModelSpec spec() const {
    ModelSpec spec;
    spec.name = family;
    spec.family = family;
    spec.layout = layout;
    spec.input.width = width;
    spec.input.height = height;
    if (layout == "deployed" || layout == "selected") spec.size_input_name = "sizes";
    return spec;
  }

  // For GoogleTest's messages.
  friend void PrintTo(const FamilyExample& example, std::ostream* out) {
    *out << example.family << " " << example.layout;
  }
};

inline std::vector<FamilyExample> EveryFamily() {
  constexpr DataType kFloat = DataType::kFloat32;
  constexpr DataType kInteger = DataType::kInt64;
  const std::vector<TensorInfo> yunet = {
      {"cls_8", kFloat, {1, 64, 1}},   {"cls_16", kFloat, {1, 16, 1}},
      {"cls_32", kFloat, {1, 4, 1}},   {"obj_8", kFloat, {1, 64, 1}},
      {"obj_16", kFloat, {1, 16, 1}},  {"obj_32", kFloat, {1, 4, 1}},
      {"bbox_8", kFloat, {1, 64, 4}},  {"bbox_16", kFloat, {1, 16, 4}},
      {"bbox_32", kFloat, {1, 4, 4}},  {"kps_8", kFloat, {1, 64, 10}},
      {"kps_16", kFloat, {1, 16, 10}}, {"kps_32", kFloat, {1, 4, 10}}};
  const std::vector<TensorInfo> scrfd = {
      {"s8", kFloat, {1, 128, 1}},  {"s16", kFloat, {1, 32, 1}},  {"s32", kFloat, {1, 8, 1}},
      {"b8", kFloat, {1, 128, 4}},  {"b16", kFloat, {1, 32, 4}},  {"b32", kFloat, {1, 8, 4}},
      {"k8", kFloat, {1, 128, 10}}, {"k16", kFloat, {1, 32, 10}}, {"k32", kFloat, {1, 8, 10}}};
  const std::vector<TensorInfo> scrfd_flat = {{"s8", kFloat, {128, 1}}, {"s16", kFloat, {32, 1}},
                                              {"s32", kFloat, {8, 1}},  {"b8", kFloat, {128, 4}},
                                              {"b16", kFloat, {32, 4}}, {"b32", kFloat, {8, 4}}};
  const std::vector<TensorInfo> nanodet = {
      {"c8", kFloat, {1, 64, 3}},  {"c16", kFloat, {1, 16, 3}},  {"c32", kFloat, {1, 4, 3}},
      {"d8", kFloat, {1, 64, 32}}, {"d16", kFloat, {1, 16, 32}}, {"d32", kFloat, {1, 4, 32}}};
  const std::vector<TensorInfo> maps = {{"m8", kFloat, {1, 24, 8, 8}},
                                        {"m16", kFloat, {1, 24, 4, 4}},
                                        {"m32", kFloat, {1, 24, 2, 2}}};
  std::vector<TensorInfo> picodet = nanodet;
  picodet.push_back({"c64", kFloat, {1, 1, 3}});
  picodet.push_back({"d64", kFloat, {1, 1, 32}});
  return {
      {"yolox", "raw_grid", {{"o", kFloat, {1, 84, 8}}}},
      {"yolox", "decoded", {{"o", kFloat, {1, 84, 8}}}},
      {"yolov4", "boxes_scores", {{"b", kFloat, {1, 60, 1, 4}}, {"c", kFloat, {1, 60, 3}}}},
      {"yolov3", "maps", maps},
      {"yolov4", "maps_scored", maps},
      {"yolov5", "maps_activated", maps},
      {"yolov3",
       "selected",
       {{"b", kFloat, {1, 60, 4}}, {"s", kFloat, {1, 5, 60}}, {"i", kInteger, {20, 3}}}},
      {"yolov5", "decoded", {{"o", kFloat, {1, 252, 8}}}},
      {"yolov5_seg", "decoded", {{"o", kFloat, {1, 252, 12}}, {"p", kFloat, {1, 4, 16, 16}}}},
      {"yolov6", "decoded", {{"o", kFloat, {1, 84, 8}}}},
      {"yolov8", "columns", {{"o", kFloat, {1, 7, 84}}}},
      {"yolov8_seg", "columns", {{"o", kFloat, {1, 11, 84}}, {"p", kFloat, {1, 4, 16, 16}}}},
      {"yolov8_pose", "xy_confidence", {{"o", kFloat, {1, 14, 84}}}},
      {"yolov8_pose", "xy", {{"o", kFloat, {1, 11, 84}}}},
      {"yolov8_obb", "columns", {{"o", kFloat, {1, 8, 84}}}},
      {"yolo_end2end", "boxes", {{"o", kFloat, {1, 30, 6}}}},
      {"yolo_end2end", "masks", {{"o", kFloat, {1, 30, 10}}, {"p", kFloat, {1, 4, 16, 16}}}},
      {"yolo_end2end", "xy_confidence", {{"o", kFloat, {1, 30, 15}}}},
      {"yolo_end2end", "xy", {{"o", kFloat, {1, 30, 12}}}},
      {"yolo_end2end", "rotated", {{"o", kFloat, {1, 30, 7}}}},
      {"yolo_nas", "boxes_scores", {{"b", kFloat, {1, 84, 4}}, {"s", kFloat, {1, 84, 3}}}},
      {"damo_yolo", "boxes_scores", {{"b", kFloat, {1, 84, 4}}, {"s", kFloat, {1, 84, 3}}}},
      {"detr", "softmax", {{"b", kFloat, {1, 30, 4}}, {"l", kFloat, {1, 30, 4}}}},
      {"rtdetr_logits", "sigmoid", {{"b", kFloat, {1, 30, 4}}, {"l", kFloat, {1, 30, 3}}}},
      {"rf_detr", "sigmoid", {{"dets", kFloat, {1, 30, 4}}, {"labels", kFloat, {1, 30, 3}}}},
      {"rtdetr",
       "deployed",
       {{"l", kInteger, {1, 30}}, {"b", kFloat, {1, 30, 4}}, {"s", kFloat, {1, 30}}}},
      {"rtdetr", "rows", {{"o", kFloat, {1, 30, 6}}}},
      {"rtdetr", "class_rows", {{"o", kFloat, {1, 30, 7}}}},
      {"torchvision",
       "boxes",
       {{"b", kFloat, {20, 4}}, {"l", kInteger, {20}}, {"s", kFloat, {20}}}},
      {"torchvision",
       "masks",
       {{"b", kFloat, {20, 4}},
        {"l", kInteger, {20}},
        {"s", kFloat, {20}},
        {"m", kFloat, {20, 1, 64, 64}}}},
      {"fastestdet", "grid", {{"o", kFloat, {1, 8, 4, 4}}}},
      {"yolo_fastestv2", "activated", {{"a", kFloat, {1, 4, 4, 18}}, {"b", kFloat, {1, 2, 2, 18}}}},
      {"yolo_fastestv2",
       "maps",
       {{"r16", kFloat, {1, 12, 4, 4}},
        {"o16", kFloat, {1, 3, 4, 4}},
        {"c16", kFloat, {1, 5, 4, 4}},
        {"r32", kFloat, {1, 12, 2, 2}},
        {"o32", kFloat, {1, 3, 2, 2}},
        {"c32", kFloat, {1, 5, 2, 2}}}},
      {"nanodet", "distributions", nanodet},
      {"nanodet_plus", "distributions", {{"o", kFloat, {1, 85, 35}}}},
      {"picodet", "distributions", picodet},
      {"ultraface",
       "raw_deltas",
       {{"s", kFloat, {1, 708, 2}}, {"b", kFloat, {1, 708, 4}}},
       128,
       96},
      {"ultraface", "decoded", {{"s", kFloat, {1, 708, 2}}, {"b", kFloat, {1, 708, 4}}}, 128, 96},
      {"yunet", "strides", yunet},
      {"scrfd", "landmarks", scrfd},
      {"scrfd", "boxes", scrfd_flat},
      {"retinaface",
       "deltas",
       {{"b", kFloat, {1, 168, 4}}, {"s", kFloat, {1, 168, 2}}, {"l", kFloat, {1, 168, 10}}}},
      {"classifier", "logits", {{"o", kFloat, {1, 9}}}},
      {"classifier", "probabilities", {{"o", kFloat, {1, 9}}}},
      {"classifier", "multilabel", {{"o", kFloat, {1, 9}}}},
      {"classifier", "multilabel_logits", {{"o", kFloat, {1, 9, 1, 1}}}},
      {"segmenter", "argmax", {{"o", kFloat, {1, 3, 64, 64}}}},
      {"segmenter", "binary_logits", {{"o", kFloat, {1, 1, 64, 64}}}},
      {"segmenter", "binary_probabilities", {{"o", kFloat, {1, 1, 64, 64}}}},
      {"pose_heatmaps", "quarter_offset", {{"o", kFloat, {1, 5, 16, 16}}}},
      {"pose_heatmaps", "dark_udp", {{"o", kFloat, {1, 5, 16, 16}}}},
      {"openpose",
       "body_18",
       {{"pafs", kFloat, {1, 38, 8, 8}}, {"heatmaps", kFloat, {1, 19, 8, 8}}}},
      {"padim", "features", {{"o", kFloat, {1, 6, 8, 8}}}},
      {"autoencoder", "mean", {{"o", kFloat, {1, 3, 64, 64}}}},
      {"autoencoder", "largest", {{"o", kFloat, {1, 3, 64, 64}}}},
      {"clip_image", "vector", {{"image_embeds", kFloat, {1, 16}}}},
      {"dinov2", "vector", {{"pooler_output", kFloat, {1, 16}}}},
      {"reid", "vector", {{"o", kFloat, {1, 16}}}},
      {"embedding", "vector", {{"o", kFloat, {1, 16}}}},
  };
}

// What must hold of any result, whatever numbers a model gave; "" when it does.
inline std::string WhatIsWrong(const Detections& found, float min_confidence, int classes) {
  const auto near = [](float v) { return v == v && v - v == 0; };  // neither NaN nor infinite
  for (const Detection& d : found.items) {
    if (!(d.confidence >= min_confidence && d.confidence <= 1)) return "a confidence";
    const Box& b = d.box_px;
    if (!near(b.width()) || !(b.width() > 0 && b.height() > 0) || !near(b.height())) return "a box";
    if (d.class_id < 0 || (classes > 0 && d.class_id >= classes)) return "a class";
    if (d.detail < -1) return "a detail";
    const auto at = static_cast<size_t>(d.detail);
    const bool has_detail =
        found.keypoints_per_item > 0 || !found.masks.empty() || !found.rotated_boxes.empty();
    if (has_detail != (d.detail >= 0)) return "a detail that is not there";
    const auto points = static_cast<size_t>(found.keypoints_per_item);
    if (points > 0 && (at + 1) * points > found.keypoints.size()) return "keypoints";
    if (!found.masks.empty() && at >= found.masks.size()) return "a mask";
    if (!found.rotated_boxes.empty() && at >= found.rotated_boxes.size()) return "a turned box";
  }
  for (const InstanceMask& mask : found.masks) {
    uint64_t cells = 0;
    for (const uint32_t run : mask.runs) cells += run;
    if (cells != static_cast<uint64_t>(mask.width) * mask.height) return "a mask's runs";
  }
  for (const ClassScore& score : found.classes) {
    if (!(score.confidence >= 0 && score.confidence <= 1)) return "a class's confidence";
  }
  if (found.class_map.class_ids.size() !=
      static_cast<size_t>(found.class_map.width) * found.class_map.height) {
    return "a class map";
  }
  const AnomalyMap& anomaly = found.anomaly;
  if (anomaly.values.size() != static_cast<size_t>(anomaly.width) * anomaly.height ||
      !near(anomaly.score) || anomaly.score < 0) {
    return "an anomaly";
  }
  for (const float v : anomaly.values) {
    if (!near(v) || v < 0) return "an anomaly's value";
  }
  return "";
}

}  // namespace sightline
