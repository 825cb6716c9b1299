// `sightline eval` on whole pictures (classification), on every pixel (semantic segmentation) on key points
// and on masks.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <utility>

#include "base/status.h"

namespace sightline::cli {

struct LabelEvalArguments {
  // Truth and results.
  std::pair<std::string, std::string> labels;
  std::pair<std::string, std::string> segments;
  std::pair<std::string, std::string> key_points;
  std::pair<std::string, std::string> masks;
  int top_k = 5;
  int ignored_value = 255;
  std::string plots;  // folder for pictures; empty: none
  bool json = false;

  int given() const {
    return (labels.first.empty() ? 0 : 1) + (segments.first.empty() ? 0 : 1) +
           (key_points.first.empty() ? 0 : 1) + (masks.first.empty() ? 0 : 1);
  }
};

void AddLabelEvalOptions(CLI::App& command, LabelEvalArguments& arguments);

// The one of the four that is given.
absl::Status EvalLabels(const LabelEvalArguments& arguments);

}  // namespace sightline::cli
