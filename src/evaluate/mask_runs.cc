#include "evaluate/mask_runs.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <utility>

namespace sightline::evaluate {
namespace {

constexpr int kFiner = 5;
constexpr int64_t kMostSteps = 20'000'000;  // of an outline; bounds its memory, chosen
constexpr int64_t kLongestRun = int64_t{1}
                                << 31;  // beyond every picture; sums stay far from 64 bits

struct GridPoint {
  int x = 0;
  int y = 0;
};

// Calls `take` with each stretch on which both masks stay the same: its length, and who covers it.
template <typename Take>
void WalkBoth(const MaskRuns& a, const MaskRuns& b, Take take) {
  size_t i = 0;
  size_t j = 0;
  uint32_t left_a = a.runs.empty() ? 0 : a.runs[0];
  uint32_t left_b = b.runs.empty() ? 0 : b.runs[0];
  while (i < a.runs.size() && j < b.runs.size()) {
    const uint32_t length = std::min(left_a, left_b);
    if (length > 0) take(length, i % 2 == 1, j % 2 == 1);
    left_a -= length;
    left_b -= length;
    if (left_a == 0 && ++i < a.runs.size()) left_a = a.runs[i];
    if (left_b == 0 && ++j < b.runs.size()) left_b = b.runs[j];
  }
}

// Runs of one kind that follow each other are one.
void AppendRun(uint32_t length, bool masked, std::vector<uint32_t>* runs) {
  if (masked && runs->empty()) runs->push_back(0);
  const bool last_masked = runs->size() % 2 == 0;
  if (!runs->empty() && last_masked == masked) {
    runs->back() += length;
  } else {
    runs->push_back(length);
  }
}

// The points of an edge, from its first to its last, one a step along its longer side.
void WalkEdge(GridPoint from, GridPoint to, std::vector<GridPoint>* points) {
  const int dx = std::abs(to.x - from.x);
  const int dy = std::abs(to.y - from.y);
  const bool wide = dx >= dy;
  const bool backwards = wide ? from.x > to.x : from.y > to.y;
  if (backwards) std::swap(from, to);
  const int steps = wide ? dx : dy;
  const double slope = steps == 0 ? 0
                       : wide     ? static_cast<double>(to.y - from.y) / dx
                                  : static_cast<double>(to.x - from.x) / dy;
  for (int d = 0; d <= steps; ++d) {
    const int t = backwards ? steps - d : d;
    if (wide) {
      points->push_back({from.x + t, static_cast<int>(from.y + slope * t + 0.5)});
    } else {
      points->push_back({static_cast<int>(from.x + slope * t + 0.5), from.y + t});
    }
  }
}

// Where the outline crosses the middle of a column: the pixel, counted down the columns, at which
// inside and outside change.
std::vector<uint32_t> Crossings(const std::vector<GridPoint>& points, int width, int height) {
  std::vector<uint32_t> crossings;
  for (size_t i = 1; i < points.size(); ++i) {
    const GridPoint a = points[i - 1];
    const GridPoint b = points[i];
    if (a.x == b.x) continue;
    const double x = (static_cast<double>(b.x < a.x ? b.x : b.x - 1) + 0.5) / kFiner - 0.5;
    if (std::floor(x) != x || x < 0 || x > width - 1) continue;
    double y = (static_cast<double>(std::min(a.y, b.y)) + 0.5) / kFiner - 0.5;
    y = std::ceil(std::clamp(y, 0.0, static_cast<double>(height)));
    crossings.push_back(static_cast<uint32_t>(x) * static_cast<uint32_t>(height) +
                        static_cast<uint32_t>(y));
  }
  return crossings;
}

absl::Status CheckSize(int width, int height) {
  constexpr int kMostSide = 32'768;  // chosen; the area stays within 32 bits
  if (width > 0 && height > 0 && width <= kMostSide && height <= kMostSide) return absl::OkStatus();
  return InvalidArgument("a mask of {} x {} px", width, height);
}

}  // namespace

int64_t AreaOf(const MaskRuns& mask) {
  int64_t area = 0;
  for (size_t i = 1; i < mask.runs.size(); i += 2) area += mask.runs[i];
  return area;
}

absl::StatusOr<MaskRuns> MaskOfRuns(std::span<const int64_t> runs, int width, int height) {
  SL_RETURN_IF_ERROR(CheckSize(width, height));
  const int64_t pixels = int64_t{width} * height;
  MaskRuns mask{width, height, {}};
  int64_t sum = 0;
  for (const int64_t run : runs) {
    if (run < 0 || run > pixels - sum) {
      return InvalidArgument("the runs of a mask do not add up to {} x {} px", width, height);
    }
    sum += run;
    mask.runs.push_back(static_cast<uint32_t>(run));
  }
  if (sum == pixels) return mask;
  return InvalidArgument("the runs of a mask add up to {} px, not to {} x {}", sum, width, height);
}

absl::StatusOr<MaskRuns> MaskOfText(std::string_view text, int width, int height) {
  std::vector<int64_t> runs;
  for (size_t at = 0; at < text.size();) {
    int64_t value = 0;
    int bits = 0;
    for (bool more = true; more; bits += 5) {
      const int letter = at < text.size() ? text[at++] - 48 : -1;
      if (letter < 0 || letter > 63 || bits > 50) {
        return InvalidArgument("a mask's text is damaged at its letter {}", at);
      }
      value |= int64_t{letter & 0x1f} << bits;
      more = (letter & 0x20) != 0;
      if (!more && (letter & 0x10) != 0) value -= int64_t{1} << (bits + 5);
    }
    if (runs.size() > 2) value += runs[runs.size() - 2];
    if (std::abs(value) > kLongestRun) {
      return InvalidArgument("a mask's text is damaged before its letter {}", at);
    }
    runs.push_back(value);
  }
  return MaskOfRuns(runs, width, height);
}

absl::StatusOr<MaskRuns> MaskOfOutline(std::span<const double> points_px, int width, int height) {
  SL_RETURN_IF_ERROR(CheckSize(width, height));
  if (points_px.size() < 6 || points_px.size() % 2 != 0) {
    return InvalidArgument("an outline of {} values; x1, y1, x2, y2, x3, y3, ... are expected",
                           points_px.size());
  }
  std::vector<GridPoint> corners;
  for (size_t i = 0; i < points_px.size(); i += 2) {
    const double x = points_px[i];
    const double y = points_px[i + 1];
    const bool near = x >= -width && x <= 2.0 * width && y >= -height && y <= 2.0 * height;
    if (!near) {
      return InvalidArgument("an outline goes through ({}, {}), far from the picture of {} x {} px",
                             x, y, width, height);
    }
    corners.push_back({static_cast<int>(kFiner * x + 0.5), static_cast<int>(kFiner * y + 0.5)});
  }
  int64_t steps = 0;
  for (size_t i = 0; i < corners.size(); ++i) {
    const GridPoint &a = corners[i], &b = corners[(i + 1) % corners.size()];
    steps += std::max(std::abs(a.x - b.x), std::abs(a.y - b.y));
  }
  if (steps > kMostSteps) {
    return InvalidArgument("an outline that is {} px long, longer than any object's",
                           steps / kFiner);
  }
  std::vector<GridPoint> points;
  for (size_t i = 0; i < corners.size(); ++i) {
    WalkEdge(corners[i], corners[(i + 1) % corners.size()], &points);
  }
  std::vector<uint32_t> changes = Crossings(points, width, height);
  std::sort(changes.begin(), changes.end());
  MaskRuns mask{width, height, {}};
  const auto pixels = static_cast<uint32_t>(width) * static_cast<uint32_t>(height);
  // Two changes at one pixel undo each other.
  uint32_t at = 0;
  bool inside = false;
  for (const uint32_t change : changes) {
    const uint32_t to = std::min(change, pixels);
    if (to > at) AppendRun(to - at, inside, &mask.runs);
    at = to;
    inside = !inside;
  }
  if (pixels > at) AppendRun(pixels - at, inside, &mask.runs);
  return mask;
}

MaskRuns Union(const MaskRuns& a, const MaskRuns& b) {
  MaskRuns both{a.width, a.height, {}};
  WalkBoth(a, b, [&](uint32_t length, bool in_a, bool in_b) {
    AppendRun(length, in_a || in_b, &both.runs);
  });
  return both;
}

double MaskOverlap(const MaskRuns& found, const MaskRuns& truth, bool crowd) {
  if (found.width != truth.width || found.height != truth.height) return 0;
  int64_t shared = 0;
  int64_t either = 0;
  WalkBoth(found, truth, [&](uint32_t length, bool in_found, bool in_truth) {
    if (in_found && in_truth) shared += length;
    if (in_found || in_truth) either += length;
  });
  if (shared == 0) return 0;
  return static_cast<double>(shared) / static_cast<double>(crowd ? AreaOf(found) : either);
}

}  // namespace sightline::evaluate
