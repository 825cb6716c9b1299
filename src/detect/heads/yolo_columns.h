// Columns of one box each, as the YOLO line has them from v8 on: [batch, 4 + classes + extra,
// boxes], planes cx, cy, w, h (pixels of the input tensor), class scores (after their sigmoid) and
// what the family adds: mask coefficients, keypoints or an angle. The confidence is the best class
// score.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "detect/family.h"
#include "detect/heads/head.h"

namespace sightline {

struct YoloColumns {
  size_t output = 0;  // index of it among the model's
  int classes = 0;
  int extra = 0;  // planes behind the class scores
};

class YoloColumnsHead : public Head {
 public:
  explicit YoloColumnsHead(YoloColumns columns) : columns_(columns) {}

  int classes() const override { return columns_.classes; }
  // Cost: one pass over the class scores, a few instructions for eight of them.
  absl::Status Decode(const RawResult& raw, float min_confidence,
                      std::vector<Detection>* out) const override;

 protected:
  struct Planes {
    const float* data = nullptr;
    int64_t boxes = 0;
    float At(int64_t plane, int64_t box) const { return data[plane * boxes + box]; }
  };
  absl::StatusOr<Planes> PlanesOf(const RawResult& raw) const;
  int first_extra() const { return 4 + columns_.classes; }
  // In pixels of the input tensor; what the box is, for families whose planes say it otherwise.
  virtual Box TensorBox(const Planes& planes, int64_t box) const;

  const YoloColumns columns_;
};

// The classes and extra planes of an output [batch, 4 + classes + extra, boxes] for what spec says
// of classes and labels; no `extra`: whatever is left. InvalidArgument when they do not fit.
absl::StatusOr<YoloColumns> ColumnsFor(const ModelSpec& spec, std::span<const TensorInfo> outputs,
                                       size_t output, std::optional<int> extra);

// Whether an output has these shapes: `least` planes or more, and a box for each cell.
bool AreColumns(const TensorInfo& output, int64_t least, const SeenModel& seen);

// Whether a trial run's values can be this: class scores within 0..1, and boxes in pixels about
// their own cells. InvalidArgument, with what was seen.
absl::Status CheckColumns(const SeenModel& seen, const FamilyMatch& match, std::string_view family);

}  // namespace sightline
