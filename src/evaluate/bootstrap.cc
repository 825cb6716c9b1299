#include "evaluate/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace sightline::evaluate {
namespace {

// SplitMix64 (Steele, Lea and Flood, 2014): the standard library's distributions differ from one
// implementation to the next.
uint64_t NextRandom(uint64_t* state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

// The value below which that part of the sorted ones lies; between two of them in a straight line.
double Quantile(const std::vector<double>& sorted, double part) {
  const double place = part * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], place - static_cast<double>(below));
}

}  // namespace

std::optional<Interval> BootstrapInterval(size_t pictures, const ResampledFigure& figure,
                                          const BootstrapOptions& options) {
  if (pictures == 0 || options.drawings <= 0) return std::nullopt;
  uint64_t state = options.seed;
  std::vector<uint32_t> times(pictures);
  std::vector<double> figures;
  figures.reserve(static_cast<size_t>(options.drawings));
  for (int drawing = 0; drawing < options.drawings; ++drawing) {
    std::ranges::fill(times, 0);
    for (size_t i = 0; i < pictures; ++i) ++times[NextRandom(&state) % pictures];
    const std::optional<double> value = figure(times);
    if (value && std::isfinite(*value)) figures.push_back(*value);
  }
  if (figures.size() * 2 < static_cast<size_t>(options.drawings)) return std::nullopt;
  std::ranges::sort(figures);
  const double tail = (1 - options.coverage) / 2;
  return Interval{Quantile(figures, tail), Quantile(figures, 1 - tail)};
}

}  // namespace sightline::evaluate
