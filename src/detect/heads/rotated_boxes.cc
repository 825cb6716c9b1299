#include "detect/heads/rotated_boxes.h"

#include <algorithm>
#include <cmath>

namespace sightline {
namespace {

// The covariance of the Gaussian that stands for a box: [[a, c], [c, b]].
struct Covariance {
  double a = 0;
  double b = 0;
  double c = 0;
};

Covariance CovarianceOf(const RotatedBox& box) {
  const double w = double{box.width_px} * box.width_px / 12;
  const double h = double{box.height_px} * box.height_px / 12;
  const double cos = std::cos(box.angle_rad), sin = std::sin(box.angle_rad);
  return {w * cos * cos + h * sin * sin, w * sin * sin + h * cos * cos, (w - h) * cos * sin};
}

}  // namespace

Box BoundsOf(const RotatedBox& box) {
  const float cos = std::abs(std::cos(box.angle_rad)), sin = std::abs(std::sin(box.angle_rad));
  const float half_w = (box.width_px * cos + box.height_px * sin) * 0.5f;
  const float half_h = (box.width_px * sin + box.height_px * cos) * 0.5f;
  const PointF c = box.center_px;
  return {c.x - half_w, c.y - half_h, c.x + half_w, c.y + half_h};
}

RotatedBox ToImage(const RotatedBox& box, const ImageToTensor& m) {
  const Box at = m.ToImage({box.center_px.x, box.center_px.y, 0, 0});
  return {{at.x1, at.y1}, box.width_px / m.scale_x, box.height_px / m.scale_y, box.angle_rad};
}

double ProbIou(const RotatedBox& p, const RotatedBox& q) {
  constexpr double kEps = 1e-7;  // the reference's
  const Covariance u = CovarianceOf(p), v = CovarianceOf(q);
  const double a = u.a + v.a, b = u.b + v.b, c = u.c + v.c;
  const double dx = double{q.center_px.x} - p.center_px.x;
  const double dy = double{p.center_px.y} - q.center_px.y;
  const double det = a * b - c * c;
  const double det_u = std::max(u.a * u.b - u.c * u.c, 0.0);
  const double det_v = std::max(v.a * v.b - v.c * v.c, 0.0);
  const double shift =
      (a * dy * dy + b * dx * dx) / (det + kEps) * 0.25 + c * dx * dy / (det + kEps) * 0.5;
  const double shape = std::log(det / (4 * std::sqrt(det_u * det_v) + kEps) + kEps) * 0.5;
  const double distance = std::clamp(shift + shape, kEps, 100.0);
  return 1 - std::sqrt(1 - std::exp(-distance) + kEps);
}

void SuppressRotated(const NmsSettings& settings, float min_confidence,
                     NonMaxSuppressor* suppressor,
                     const std::function<RotatedBox(const Detection&)>& rotated,
                     std::vector<Detection>* boxes) {
  // Sorts them and forgets what cannot be a result.
  NmsSettings order = settings;
  order.kind = NmsSettings::Kind::kNone;
  if (settings.kind == NmsSettings::Kind::kNone) {
    return suppressor->Run(order, min_confidence, boxes);
  }
  order.max_detections = static_cast<int>(NonMaxSuppressor::kMaxSoftCandidates);
  suppressor->Run(order, min_confidence, boxes);
  struct Turned {
    RotatedBox box;
    int32_t class_id;
  };
  std::vector<Turned> all;
  all.reserve(boxes->size());
  for (const Detection& d : *boxes) all.push_back({rotated(d), d.class_id});
  size_t kept = 0;
  for (size_t i = 0; i < boxes->size() && kept < static_cast<size_t>(settings.max_detections);
       ++i) {
    bool stays = true;
    for (size_t j = 0; j < i && stays; ++j) {
      if (settings.class_aware && all[j].class_id != all[i].class_id) continue;
      stays = ProbIou(all[j].box, all[i].box) < settings.iou_threshold;
    }
    if (stays) (*boxes)[kept++] = (*boxes)[i];
  }
  boxes->resize(kept);
}

}  // namespace sightline
