#include "cli/progress_line.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace sightline::cli {

ProgressLine::ProgressLine(bool quiet) : enabled_(!quiet && isatty(STDERR_FILENO) == 1) {}

ProgressLine::~ProgressLine() {
  if (drawn_) std::fputc('\n', stderr);
}

std::string FormatElapsed(double seconds) {
  const auto whole = static_cast<int64_t>(std::max(0.0, seconds));
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

void ProgressLine::Draw(const RunProgress& p) {
  if (!enabled_) return;
  const double rate = p.elapsed_s > 0 ? static_cast<double>(p.frames_done) / p.elapsed_s : 0;
  std::string line;
  if (p.frames_estimate > 0) {
    // The estimate comes from the container and can be too small.
    const double share =
        std::min(1.0, static_cast<double>(p.frames_done) / static_cast<double>(p.frames_estimate));
    constexpr int kCells = 24;
    const int full = static_cast<int>(share * kCells);
    const double left = share > 0 ? p.elapsed_s * (1 - share) / share : 0;
    line = fmt::format("[{}{}] {:3.0f}%  {} frames  {:.1f}/s  {} objects  {} events  {} left",
                       std::string(full, '#'), std::string(kCells - full, '.'), share * 100,
                       p.frames_done, rate, p.tracks, p.events, FormatElapsed(left));
  } else {
    line = fmt::format("{} frames  {:.1f}/s  {} objects  {} events  {}", p.frames_done, rate,
                       p.tracks, p.events, FormatElapsed(p.elapsed_s));
  }
  std::fprintf(stderr, "\r\033[K%s", line.c_str());
  std::fflush(stderr);
  drawn_ = true;
}

}  // namespace sightline::cli
