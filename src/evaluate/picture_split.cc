#include "evaluate/picture_split.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

namespace sightline::evaluate {

PictureSplit SplitPictures(std::span<const Hash128> contents, double work_share, size_t most,
                           uint64_t seed) {
  PictureSplit split;
  std::set<Hash128> seen;
  std::vector<std::pair<Hash128, size_t>> order;
  for (size_t i = 0; i < contents.size(); ++i) {
    if (!seen.insert(contents[i]).second) {
      ++split.copies;
      continue;
    }
    order.emplace_back(FieldHasher().Add(contents[i]).Add(seed).Finish(), i);
  }
  std::ranges::sort(order);
  if (order.size() > most) {
    split.beyond = order.size() - most;
    order.resize(most);
  }
  const double share = std::clamp(work_share, 0.0, 1.0);
  const auto work = static_cast<size_t>(std::lround(share * static_cast<double>(order.size())));
  for (size_t i = 0; i < order.size(); ++i) {
    (i < work ? split.work : split.judge).push_back(order[i].second);
  }
  std::ranges::sort(split.work);
  std::ranges::sort(split.judge);
  return split;
}

}  // namespace sightline::evaluate
