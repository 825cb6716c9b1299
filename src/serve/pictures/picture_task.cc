#include "serve/pictures/picture_task.h"

#include <fmt/ranges.h>

#include <array>
#include <vector>

namespace sightline::serve {
namespace {

using enum PictureTask;

constexpr std::array kTasks = {kDetect, kClassify, kSegment, kPose, kEmbed};

struct FamilyTasks {
  std::string_view family;
  PictureTasks tasks;
};

// All others find boxes.
constexpr FamilyTasks kFamilies[] = {
    {"classifier", {kClassify}},
    {"embedding", {kEmbed}},
    {"clip_image", {kEmbed}},
    {"dinov2", {kEmbed}},
    {"reid", {kEmbed}},
    {"segmenter", {kSegment}},
    {"yolov5_seg", {kDetect, kSegment}},
    {"yolov8_seg", {kDetect, kSegment}},
    {"sam", {kDetect, kSegment}},
    {"padim", {kSegment}},
    {"autoencoder", {kSegment}},
    {"yolov8_pose", {kDetect, kPose}},
    {"pose_heatmaps", {kPose}},
    {"openpose", {kDetect, kPose}},
    {"yunet", {kDetect, kPose}},
    {"scrfd", {kDetect, kPose}},
    {"retinaface", {kDetect, kPose}},
};

}  // namespace

std::string_view ToString(PictureTask task) {
  switch (task) {
    case kAny:
      return "";
    case kDetect:
      return "detect";
    case kClassify:
      return "classify";
    case kSegment:
      return "segment";
    case kPose:
      return "pose";
    case kEmbed:
      return "embed";
  }
  return "";
}

PictureTasks TasksOf(const ModelSpec& spec) {
  for (const FamilyTasks& one : kFamilies) {
    if (one.family == spec.family) return one.tasks;
  }
  PictureTasks tasks = {kDetect};
  if (spec.layout == "masks") tasks.Add(kSegment);
  if (spec.keypoints > 0) tasks.Add(kPose);
  return tasks;
}

absl::Status CheckTask(PictureTasks tasks, PictureTask wanted, const std::string& model) {
  if (tasks.Has(wanted)) return absl::OkStatus();
  std::vector<std::string> names, routes;
  for (const PictureTask task : kTasks) {
    if (!tasks.Has(task)) continue;
    names.emplace_back(ToString(task));
    routes.push_back(fmt::format("POST /v1/{}/{}", ToString(task), model));
  }
  return InvalidArgument("the model {} does not {}: it does {}; ask it by {}", model,
                         ToString(wanted), fmt::join(names, " and "), fmt::join(routes, " or "));
}

std::string_view PictureTypeOf(std::string_view bytes) {
  if (bytes.starts_with("\xff\xd8\xff")) return "image/jpeg";
  if (bytes.starts_with("\x89PNG\r\n\x1a\n")) return "image/png";
  if (bytes.size() >= 12 && bytes.starts_with("RIFF") && bytes.substr(8, 4) == "WEBP") {
    return "image/webp";
  }
  return "";
}

}  // namespace sightline::serve
