// For tests: the golden results under tests/golden/heads, and the references' own ways to suppress
// boxes, word for word, so that heads are compared and not rules at a threshold's edge.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "types/detections.h"

namespace sightline::golden {

inline nlohmann::json Load(const std::string& name) {
  const std::string path = fmt::format("{}/tests/golden/heads/{}", SIGHTLINE_SOURCE_DIR, name);
  std::ifstream file(path);
  EXPECT_TRUE(file) << path << " is missing";
  const nlohmann::json golden = nlohmann::json::parse(file, nullptr, false);
  EXPECT_FALSE(golden.is_discarded() || golden.value("cases", nlohmann::json::array()).empty())
      << path << " holds no case";
  return golden;
}

inline std::vector<Detection> Expected(const nlohmann::json& rows) {
  std::vector<Detection> all;
  for (const auto& r : rows) {
    const auto& b = r.at("box_xyxy_px");
    all.push_back({{b[0], b[1], b[2], b[3]}, r.at("score"), r.at("class_id")});
  }
  EXPECT_FALSE(all.empty()) << "an empty golden result proves nothing";
  return all;
}

// How a family's reference compares two boxes, in source pixels; the width and height of the source
// for those that do it in fractions.
struct SuppressionRule {
  double inclusive = 0;     // added to each side's length
  bool truncate = false;    // corners are cut to whole pixels first
  bool fractions = false;   // in fractions of the picture, with 1e-5 added to the union
  size_t best = 1'000'000;  // only that many are looked at

  static SuppressionRule Of(const std::string& family) {
    if (family == "yolox") return {1, false, false, 1'000'000};
    if (family == "fastestdet") return {1, true, false, 1'000'000};
    return {0, false, true, 200};
  }

  double Iou(const Box& a, const Box& b, double width, double height) const {
    const auto corner = [&](double v, double size) {
      if (truncate) v = std::trunc(v);
      return fractions ? v / size : v;
    };
    const double ax1 = corner(a.x1, width), ay1 = corner(a.y1, height);
    const double ax2 = corner(a.x2, width), ay2 = corner(a.y2, height);
    const double bx1 = corner(b.x1, width), by1 = corner(b.y1, height);
    const double bx2 = corner(b.x2, width), by2 = corner(b.y2, height);
    const double w = std::max(0.0, std::min(ax2, bx2) - std::max(ax1, bx1) + inclusive);
    const double h = std::max(0.0, std::min(ay2, by2) - std::max(ay1, by1) + inclusive);
    const double area_a = (ax2 - ax1 + inclusive) * (ay2 - ay1 + inclusive);
    const double area_b = (bx2 - bx1 + inclusive) * (by2 - by1 + inclusive);
    return w * h / (area_a + area_b - w * h + (fractions ? 1e-5 : 0));
  }

  // Over all classes together, as the references do.
  std::vector<Detection> Apply(std::vector<Detection> boxes, double iou_threshold, double width,
                               double height) const {
    std::stable_sort(boxes.begin(), boxes.end(), [](const Detection& a, const Detection& b) {
      return a.confidence > b.confidence;
    });
    if (boxes.size() > best) boxes.resize(best);
    std::vector<Detection> kept;
    for (const Detection& d : boxes) {
      if (std::none_of(kept.begin(), kept.end(), [&](const Detection& k) {
            return Iou(d.box_px, k.box_px, width, height) > iou_threshold;
          })) {
        kept.push_back(d);
      }
    }
    return kept;
  }
};

inline double Distance(const Box& a, const Box& b) {
  return std::max(
      {std::abs(a.x1 - b.x1), std::abs(a.y1 - b.y1), std::abs(a.x2 - b.x2), std::abs(a.y2 - b.y2)});
}

inline std::string Text(const Detection& d) {
  return fmt::format("class {} score {:.4f} box {:.2f},{:.2f},{:.2f},{:.2f}", d.class_id,
                     d.confidence, d.box_px.x1, d.box_px.y1, d.box_px.x2, d.box_px.y2);
}

// Every expected result is there once and nothing else: same class, boxes within 0.5 px, scores
// within 1e-3. What scores within 1e-3 of `threshold` may come or go.
inline void ExpectSame(std::vector<Detection> ours, const std::vector<Detection>& expected,
                       float threshold = 0) {
  const auto borderline = [&](const Detection& d) { return d.confidence < threshold + 1e-3f; };
  for (const Detection& e : expected) {
    const auto match = std::find_if(ours.begin(), ours.end(), [&](const Detection& o) {
      return o.class_id == e.class_id && Distance(o.box_px, e.box_px) <= 0.5 &&
             std::abs(o.confidence - e.confidence) <= 1e-3;
    });
    if (match != ours.end()) {
      ours.erase(match);
    } else if (!borderline(e)) {
      ADD_FAILURE() << "missing: " << Text(e);
    }
  }
  for (const Detection& o : ours) {
    if (!borderline(o)) ADD_FAILURE() << "not in the reference: " << Text(o);
  }
}

// How many of `expected` have a result of their class with IoU 0.9 and a score within 0.02.
inline size_t CountFound(std::vector<Detection> ours, const std::vector<Detection>& expected) {
  size_t found = 0;
  for (const Detection& e : expected) {
    const auto match = std::find_if(ours.begin(), ours.end(), [&](const Detection& o) {
      return o.class_id == e.class_id && IntersectionOverUnion(o.box_px, e.box_px) >= 0.9f &&
             std::abs(o.confidence - e.confidence) <= 0.02f;
    });
    if (match == ours.end()) continue;
    ours.erase(match);
    ++found;
  }
  return found;
}

}  // namespace sightline::golden
