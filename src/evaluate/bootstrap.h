// How sure a figure is that was measured on some pictures: the percentile bootstrap.
//
// The pictures are drawn again and again with replacement, as many as there are, and the figure is
// computed for each drawing; the interval holds the middle part of what comes out. Figures of two
// models on the same pictures are compared by one statistic of both, so that what is hard for both
// cancels. Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
//
// The same seed gives the same drawings on every machine. Threads: reentrant.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

namespace sightline::evaluate {

struct Interval {
  double low = 0;
  double high = 0;
};

struct BootstrapOptions {
  int drawings = 1000;
  double coverage = 0.95;
  uint64_t seed = 1;
};

// The figure when picture i is counted times[i] times; absent where those pictures give none.
using ResampledFigure = std::function<std::optional<double>(std::span<const uint32_t> times)>;

// Absent when fewer than half of the drawings give a figure, and without pictures.
std::optional<Interval> BootstrapInterval(size_t pictures, const ResampledFigure& figure,
                                          const BootstrapOptions& options = {});

}  // namespace sightline::evaluate
