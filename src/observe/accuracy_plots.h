// Pictures of how accurate something is: precision over recall, and which classes are taken for which.
//
// Threads: reentrant. Memory: a page. Cost: some 50 ms.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "types/frame.h"

namespace sightline {

// A finished page.
struct DrawnPage {
  int width = 0;   // px
  int height = 0;  // px
  std::vector<uint8_t> bgr;
  ImageView view() const {
    return {.format = PixelFormat::kBgr24,
            .range = ColorRange::kFull,
            .width = width,
            .height = height,
            .planes = {bgr.data(), nullptr, nullptr},
            .strides = {width * 3, 0, 0}};
  }
};

struct PrecisionRecallCurve {
  std::string name;
  std::string figure;             // what stands behind the name: "AP 0.412"
  std::vector<double> precision;  // 0 to 1, at recalls from 0 to 1 in even steps; at least 2
};

// `curves`: the most important first; the first eight have colours and names, the others are thin.
// `mean` is drawn over them.
DrawnPage DrawPrecisionRecall(const std::string& title, const std::string& subtitle,
                              const std::vector<PrecisionRecallCurve>& curves,
                              const PrecisionRecallCurve& mean);

struct ConfusionPicture {
  std::string title;
  std::string subtitle;
  std::vector<std::string> names;  // of the classes; a row and a column each
  std::vector<std::string> more;   // further columns: what is no class of the truth
  std::vector<std::string> more_rows;
  // Rows (truth) of (names + more) columns each: (names + more_rows) * (names + more) counts.
  std::vector<int64_t> counts;
};

// Cells are as dark as their part of the row; of more than 40 classes those with most counts are
// drawn, and the others together.
DrawnPage DrawConfusion(const ConfusionPicture& confusion);

}  // namespace sightline
