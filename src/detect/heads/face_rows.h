// Faces with five landmarks, from rows at several strides: what YuNet, SCRFD and RetinaFace share.
// Landmarks are the right eye, left eye, nose, right and left corner of the mouth, as seen in the
// picture from left to right; they carry no confidence of their own.
#pragma once

#include <array>
#include <cstdint>

#include "detect/heads/head.h"

namespace sightline {

class FaceRowsHead : public Head {
 public:
  static constexpr int kLandmarks = 5;
  static constexpr int kMostLevels = 5;

  int classes() const override { return 1; }
  absl::Status Decode(const RawResult& raw, float min_confidence,
                      std::vector<Detection>* out) const override;
  absl::Status Complete(const RawResult& raw, Detections* result) const override;

 protected:
  // The rows of one stride: up to four tensors of `rows` rows each, in the family's order.
  struct Level {
    std::array<const float*, 4> data{};
    int64_t rows = 0;
    int64_t first = 0;  // row 0 of this level among all
  };
  struct Levels {
    std::array<Level, kMostLevels> level;
    int count = 0;
    bool landmarks = true;  // whether the model gives them
  };
  virtual absl::StatusOr<Levels> Open(const RawResult& raw) const = 0;
  virtual float Score(const Level& level, int64_t row) const = 0;
  virtual Box TensorBox(const Levels& levels, int index, int64_t row) const = 0;
  virtual PointF TensorPoint(const Levels& levels, int index, int64_t row, int point) const = 0;
};

}  // namespace sightline
