// One line on a terminal's standard error that says how far the work is; silent elsewhere, so that
// logs stay clean.
#pragma once

#include <string>

#include "pipeline/engine.h"

namespace sightline::cli {

class ProgressLine {
 public:
  // `quiet`: never draw.
  explicit ProgressLine(bool quiet);
  ~ProgressLine();  // ends the line
  void Draw(const RunProgress& progress);

 private:
  bool enabled_ = false;
  bool drawn_ = false;
};

// "1:05", "2:03:04"
std::string FormatElapsed(double seconds);

}  // namespace sightline::cli
