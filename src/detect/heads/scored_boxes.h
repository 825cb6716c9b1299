// Two outputs, boxes and class scores, row by row: [batch, rows, 4] and [batch, rows, classes], as
// YOLO-NAS, DAMO-YOLO, PP-YOLOE, YOLOv4 and the transformers (DETR, RT-DETR) have them. Families
// differ in how a box is written, in what makes a score of a number, and in whether a row can be
// several objects.
#pragma once

#include <cstdint>
#include <optional>

#include "detect/family.h"
#include "detect/heads/head.h"

namespace sightline {

struct ScoredBoxes {
  enum class Corners : uint8_t { kXyxyPx, kXyxyFrac, kCxcywhPx, kCxcywhFrac };  // of the input
  enum class Score : uint8_t {
    kAsIs,               // probabilities
    kSigmoid,            // of logits
    kSoftmaxLastIsNone,  // of logits, the last being "no object"
  };
  size_t boxes = 0;  // indices of the two among the model's outputs
  size_t scores = 0;
  int columns = 0;       // of the scores
  int64_t box_rank = 3;  // 4: [batch, rows, 1, 4]
  Corners corners = Corners::kXyxyPx;
  Score score = Score::kAsIs;
  bool several = false;  // every class of a row above the threshold is a result, not the best alone
  int width = 0;         // of the input tensor
  int height = 0;
};

class ScoredBoxesHead : public Head {
 public:
  explicit ScoredBoxesHead(const ScoredBoxes& form) : form_(form) {}

  int classes() const override;
  absl::Status Decode(const RawResult& raw, float min_confidence,
                      std::vector<Detection>* out) const override;

 private:
  Box TensorBox(const float* box) const;

  const ScoredBoxes form_;
};

// Which of the seen outputs are boxes [batch, rows, 4] (or [batch, rows, 1, 4], with `box_rank` 4)
// and scores [batch, rows, columns] of the same rows; nothing when there are not exactly two
// outputs of that kind. With four columns in both, names ("box", "score", "logit", "class") decide, then values.
struct BoxesAndScores {
  size_t boxes = 0;
  size_t scores = 0;
  int64_t rows = 0;
  int columns = 0;
};
std::optional<BoxesAndScores> FindBoxesAndScores(const SeenModel& seen, size_t box_rank = 3);

// The same for a session's outputs, in the order boxes, scores. InvalidArgument when they do not
// fit, or do not fit what spec says of classes and labels; `none_columns` of the scores stand for
// no class.
absl::StatusOr<ScoredBoxes> ScoredBoxesFor(const ModelSpec& spec,
                                           std::span<const TensorInfo> outputs, size_t box_rank,
                                           int none_columns);

// Whether the exporter's metadata name this many classes.
bool HasLabels(const SeenModel& seen, int classes);

}  // namespace sightline
