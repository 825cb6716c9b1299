#include "detect/heads/face_rows.h"

#include <algorithm>
#include <cmath>

namespace sightline {

using namespace head_internal;  // NOLINT: the heads' own

absl::Status FaceRowsHead::Decode(const RawResult& raw, float min_confidence,
                                  std::vector<Detection>* out) const {
  SL_ASSIGN_OR_RETURN(const Levels levels, Open(raw));
  int64_t rows = 0, nan_rows = 0;
  for (int l = 0; l < levels.count; ++l) {
    const Level& level = levels.level[l];
    rows += level.rows;
    for (int64_t r = 0; r < level.rows; ++r) {
      const float score = Score(level, r);
      if (!(score > min_confidence)) {
        nan_rows += score != score;
        continue;
      }
      if (score > kMaxScore) {
        if (std::isfinite(score)) return NotProbabilities(score);
        continue;
      }
      const Box box = raw.mapping.ToImage(TensorBox(levels, l, r));
      if (!IsUsable(box)) continue;
      out->push_back({box, std::min(score, 1.0f), 0, static_cast<int32_t>(level.first + r)});
    }
  }
  return rows > 0 && nan_rows == rows ? NothingButNan() : absl::OkStatus();
}

absl::Status FaceRowsHead::Complete(const RawResult& raw, Detections* result) const {
  SL_ASSIGN_OR_RETURN(const Levels levels, Open(raw));
  if (!levels.landmarks) return Head::Complete(raw, result);
  result->keypoints_per_item = kLandmarks;
  int32_t next = 0;
  for (Detection& d : result->items) {
    int l = 0;
    while (l + 1 < levels.count && d.detail >= levels.level[l + 1].first) ++l;
    const int64_t row = d.detail - levels.level[l].first;
    for (int k = 0; k < kLandmarks; ++k) {
      const PointF p = TensorPoint(levels, l, row, k);
      const Box at = raw.mapping.ToImage({p.x, p.y, p.x, p.y});
      result->keypoints.push_back({{at.x1, at.y1}, 1.0f});
    }
    d.detail = next++;
  }
  return absl::OkStatus();
}

}  // namespace sightline
