// What a cache that answers by likeness would have done with a row of pictures: how often it hits within
// a radius, and how often its answer would have been another one's.
//
// Pictures come one after the other, once each. One whose nearest kept picture is within the radius is
// answered with that one's answer, as serve/cache does it (of equally near ones the youngest); any other
// is computed and kept. Nothing is evicted.
// Threads: reentrant. Cost: radii x pictures x kept pictures.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace sightline::evaluate {

struct CacheAuditInput {
  size_t pictures = 0;
  // Between two pictures; nothing: they are never compared.
  std::function<std::optional<double>(size_t, size_t)> distance;
  // Whether the answer for `kept` is another one than that for `asked`; empty: not known.
  std::function<bool(size_t asked, size_t kept)> answer_differs = {};
  // Whether the truth of the two differs; empty: not known.
  std::function<bool(size_t asked, size_t kept)> label_differs = {};
};

struct CacheAuditRow {
  double radius = 0;
  int64_t pictures = 0;
  int64_t hits = 0;
  int64_t other_answers = 0;  // of the hits
  int64_t other_labels = 0;   // of the hits

  double hit_rate() const { return Share(hits, pictures); }
  double wrong_answers() const { return Share(other_answers, hits); }
  double wrong_labels() const { return Share(other_labels, hits); }

 private:
  static double Share(int64_t part, int64_t whole) {
    return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
  }
};

std::vector<CacheAuditRow> AuditCache(const CacheAuditInput& input, std::span<const double> radii);

}  // namespace sightline::evaluate
