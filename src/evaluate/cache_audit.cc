#include "evaluate/cache_audit.h"

namespace sightline::evaluate {
namespace {

CacheAuditRow AuditRadius(const CacheAuditInput& input, double radius) {
  CacheAuditRow row;
  row.radius = radius;
  row.pictures = static_cast<int64_t>(input.pictures);
  std::vector<size_t> kept;
  for (size_t asked = 0; asked < input.pictures; ++asked) {
    std::optional<size_t> nearest;
    double least = radius;
    for (const size_t candidate : kept) {
      const std::optional<double> distance = input.distance(asked, candidate);
      if (!distance || !(*distance <= least)) continue;
      least = *distance;
      nearest = candidate;
    }
    if (!nearest) {
      kept.push_back(asked);
      continue;
    }
    ++row.hits;
    if (input.answer_differs && input.answer_differs(asked, *nearest)) ++row.other_answers;
    if (input.label_differs && input.label_differs(asked, *nearest)) ++row.other_labels;
  }
  return row;
}

}  // namespace

std::vector<CacheAuditRow> AuditCache(const CacheAuditInput& input, std::span<const double> radii) {
  std::vector<CacheAuditRow> rows;
  for (const double radius : radii) rows.push_back(AuditRadius(input, radius));
  return rows;
}

}  // namespace sightline::evaluate
