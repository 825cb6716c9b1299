#include "detect/heads/ultralytics.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "detect/model_labels.h"

namespace sightline::ultralytics {
namespace {

constexpr std::array<std::string_view, 6> kTasks = {"detect", "segment",  "pose",
                                                    "obb",    "classify", "semantic"};
constexpr int kMostKeypoints = 1'000;  // as model.yaml has it

// "[17, 3]"
void ReadPair(std::string_view text, int* first, int* second) {
  const auto number = [&](int* value) {
    while (!text.empty() && (text[0] < '0' || text[0] > '9')) text.remove_prefix(1);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
    if (error != std::errc()) *value = 0;
    text.remove_prefix(end - text.data());
  };
  number(first);
  number(second);
}

}  // namespace

ExportNotes NotesOf(const SeenModel& seen) {
  ExportNotes notes;
  // Others write a task too, in words of their own.
  const std::string_view task = seen.Metadata("task");
  if (std::ranges::find(kTasks, task) == kTasks.end()) return notes;
  notes.task = task;
  notes.classes = static_cast<int>(ParseLabelList(std::string(seen.Metadata("names"))).size());
  ReadPair(seen.Metadata("kpt_shape"), &notes.keypoints, &notes.keypoint_numbers);
  if (notes.keypoints < 1 || notes.keypoints > kMostKeypoints ||
      (notes.keypoint_numbers != 2 && notes.keypoint_numbers != 3)) {
    notes.keypoints = notes.keypoint_numbers = 0;
  }
  const std::string_view end_to_end = seen.Metadata("end2end");
  notes.end_to_end = end_to_end == "True" || end_to_end == "true";
  return notes;
}

ModelSpec PredictorDefaults(std::string_view family, int width, int height) {
  ModelSpec spec = DefaultSpec(family, width, height, ChannelOrder::kRgb, 1 / 255.0f);
  spec.input.resize = ResizeMode::kLetterboxCenter;
  spec.input.rounding = Rounding::kNearest;
  spec.input.pad_value = {114, 114, 114};
  spec.confidence_threshold = 0.25f;
  spec.nms.iou_threshold = 0.7f;
  return spec;
}

bool IsCellCount(int64_t boxes, int width, int height) {
  for (const int first : {8, 4}) {
    int64_t cells = 0;
    for (int stride = first; stride <= 128; stride *= 2) {
      // Convolutions with stride 2 round up.
      cells += int64_t{(width + stride - 1) / stride} * ((height + stride - 1) / stride);
      if (cells == boxes && stride >= 16) return true;
    }
  }
  return false;
}

}  // namespace sightline::ultralytics
