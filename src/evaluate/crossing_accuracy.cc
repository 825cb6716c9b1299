#include "evaluate/crossing_accuracy.h"

#include <algorithm>

namespace sightline::evaluate {
namespace {

// Pairs of sorted times, at most `tolerance` apart.
int64_t PairsOf(std::vector<int64_t> truth, std::vector<int64_t> found, int64_t tolerance) {
  std::sort(truth.begin(), truth.end());
  std::sort(found.begin(), found.end());
  int64_t pairs = 0;
  size_t t = 0;
  size_t f = 0;
  while (t < truth.size() && f < found.size()) {
    if (found[f] < truth[t] - tolerance) {
      ++f;
    } else if (found[f] > truth[t] + tolerance) {
      ++t;
    } else {
      ++pairs;
      ++t;
      ++f;
    }
  }
  return pairs;
}

}  // namespace

void CrossingAccuracy::AddTrue(const std::string& line, const std::string& object_class,
                               bool forward, int64_t frame) {
  times_[{line, object_class, forward}].truth.push_back(frame);
}

void CrossingAccuracy::AddFound(const std::string& line, const std::string& object_class,
                                bool forward, int64_t frame) {
  times_[{line, object_class, forward}].found.push_back(frame);
}

std::map<std::pair<std::string, std::string>, CrossingAccuracy::Count> CrossingAccuracy::Report(
    int64_t tolerance_frames) const {
  std::map<std::pair<std::string, std::string>, Count> counts;
  for (const auto& [key, times] : times_) {
    Count& count = counts[{std::get<0>(key), std::get<1>(key)}];
    const int64_t pairs = PairsOf(times.truth, times.found, tolerance_frames);
    count.truth += static_cast<int64_t>(times.truth.size());
    count.found += pairs;
    count.invented += static_cast<int64_t>(times.found.size()) - pairs;
  }
  return counts;
}

}  // namespace sightline::evaluate
