// What a model wants and gives: the content of a package's model.yaml, read once.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "types/detections.h"
#include "types/tensor.h"

namespace sightline {

enum class ResizeMode : uint8_t {
  kStretch,           // each side scaled on its own
  kLetterboxTopLeft,  // aspect kept, picture at the top left, padding right and below (YOLOX)
  kLetterboxCenter,   // aspect kept, picture in the middle
  // As torchvision's Resize(crop_from) and CenterCrop, timm, transformers and Ultralytics-classify
  // do: aspect kept, the shorter side becomes crop_from pixels, and of that the middle is taken;
  // where the picture is smaller than the tensor there is padding around it.
  kCenterCrop
};
// How a letterboxed side w * r, or the first pixel of a centre crop, becomes whole; and with it the
// way back for boxes, which is by the exact side where it is rounded, by r where it is cut.
enum class Rounding : uint8_t {
  kFloor,   // int(...): YOLOX, NanoDet, transformers
  kNearest  // round(...), to even: Ultralytics, torchvision
};
// Kernels on 8-bit pixels, rounding included, because that is what the models' reference
// implementations were measured with.
enum class Interpolation : uint8_t {
  // OpenCV's: when shrinking, bilinear and cubic skip the pixels between.
  kNearest,
  kBilinear,
  kArea,
  kCubic,
  // Pillow's BILINEAR and BICUBIC (torchvision, timm, transformers): when shrinking the kernel
  // grows with the scale, so that every pixel counts. Pillow's cubic has a = -0.5, OpenCV's -0.75.
  kBilinearAntialias,
  kCubicAntialias
};
enum class ChannelOrder : uint8_t { kBgr, kRgb };

// How an image becomes the input tensor:
//   value[c] = (pixel[c] - mean[c]) * scale[c],  pixel in 0..255 after the resize,
// and padding is pad_value (0..255) taken through the same formula. mean and scale are in the order
// of `channels`.
struct TensorRecipe {
  int width = 0;
  int height = 0;
  ResizeMode resize = ResizeMode::kStretch;
  Rounding rounding = Rounding::kFloor;
  // kCenterCrop only: pixels of the resized picture's shorter side. 0 = max(width, height), so that
  // the picture covers the tensor.
  int crop_from = 0;
  // kLetterboxCenter only: pixels of the tensor that stay free on each side at least; the picture is
  // fitted into what is left (YOLO-NAS: 2, so that 636 of 640 pixels are filled).
  int border = 0;
  Interpolation interpolation = Interpolation::kBilinear;
  ChannelOrder channels = ChannelOrder::kRgb;
  TensorLayout layout = TensorLayout::kNchw;
  DataType dtype = DataType::kFloat32;
  std::array<float, 3> mean{0, 0, 0};
  std::array<float, 3> scale{1, 1, 1};
  std::array<uint8_t, 3> pad_value{0, 0, 0};
};

struct NmsSettings {
  // kNone: the model's boxes are final (end-to-end heads); only the best max_detections are kept.
  enum class Kind : uint8_t { kHard, kSoftLinear, kSoftGaussian, kNone };
  Kind kind = Kind::kHard;
  float iou_threshold = 0.45f;
  float sigma = 0.5f;       // kSoftGaussian
  bool class_aware = true;  // boxes of different classes never suppress each other
  int max_detections = 300;
};

struct ModelSpec {
  std::string name;
  std::string file;    // absolute path of the model file
  std::string sha256;  // of that file
  // A second file that some families want beside the model: the decoder of SAM, the statistics of
  // PaDiM. "" = none.
  std::string companion_file;    // absolute path
  std::string companion_sha256;  // of that file
  std::string family;            // "yolox", "ultraface", ...: see detect/family.h
  std::string layout;  // the family's variant of the outputs ("raw_deltas", "decoded", ...)
  std::shared_ptr<const LabelSet> labels;
  int classes = 0;    // 0 = as many as the outputs' shapes or the labels say
  int keypoints = 0;  // of each object; 0 = none, or as many as the outputs' shapes say
  // Of models that give maps of anchors as they were before their last layer; both empty = the
  // family's own. Anchors: width, height, width, ... in pixels of the input, as many for each map, the
  // map of the smallest stride first. scale_xy: by how much centres reach beyond their cell
  // (scale_x_y of Darknet), one a map.
  std::vector<float> anchors;
  std::vector<float> scale_xy;
  TensorRecipe input;
  std::string input_name;
  // A second input [batch, 2] that takes the size of each source picture, for models that give boxes
  // in pixels of the source: width and height as int64 (RT-DETR), height and width as float32
  // (keras-yolo3). "" = none.
  std::string size_input_name;
  int batch = 1;  // the file's fixed batch; 0 = any
  std::vector<std::string> output_names;
  float confidence_threshold = 0.25f;
  NmsSettings nms;
};

}  // namespace sightline
