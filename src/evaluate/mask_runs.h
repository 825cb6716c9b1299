// Masks as COCO stores them: the lengths of runs, not masked and masked in turn, down the columns.
//
// Outlines become masks as in pycocotools, to the pixel: their edges are walked on a grid five times
// finer, and a pixel of a column is inside between the crossings of its middle.
// Source: cocodataset.org/#format-data; pycocotools 2.0.11 (maskApi), with which results are compared
// (tests/golden/evaluate). Threads: reentrant.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace sightline::evaluate {

struct MaskRuns {
  int width = 0;               // px
  int height = 0;              // px
  std::vector<uint32_t> runs;  // their sum is width * height
};

int64_t AreaOf(const MaskRuns& mask);  // px

// InvalidArgument when runs are negative or their sum is not the picture.
absl::StatusOr<MaskRuns> MaskOfRuns(std::span<const int64_t> runs, int width, int height);
// From COCO's compressed text: six bits a letter, runs as differences to the last but one.
absl::StatusOr<MaskRuns> MaskOfText(std::string_view text, int width, int height);
// From an outline x1, y1, x2, y2, ... (px); at least three points. InvalidArgument for coordinates
// further from the picture than it is large.
absl::StatusOr<MaskRuns> MaskOfOutline(std::span<const double> points_px, int width, int height);

// What either covers; of one size.
MaskRuns Union(const MaskRuns& a, const MaskRuns& b);
// Over the union; for a crowd over the found mask alone. 0 where nothing is shared or the sizes differ.
double MaskOverlap(const MaskRuns& found, const MaskRuns& truth, bool crowd);

}  // namespace sightline::evaluate
