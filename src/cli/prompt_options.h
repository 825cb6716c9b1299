// What `sightline detect` asks a promptable segmenter: --point, --outside, --box.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "base/status.h"
#include "detect/promptable_segmenter.h"

namespace sightline::cli {

struct PromptOptions {
  std::vector<std::string> inside;   // "x,y" in px of the picture
  std::vector<std::string> outside;  // the same
  std::vector<std::string> boxes;    // "x1,y1,x2,y2"
};

void AddPromptOptions(CLI::App& command, PromptOptions& options);

// All points together say what one object is, with the box where there is one; several boxes are an
// object each, and then there must be no points. InvalidArgument for what are no numbers.
absl::StatusOr<std::vector<Prompt>> PromptsOf(const PromptOptions& options);

}  // namespace sightline::cli
