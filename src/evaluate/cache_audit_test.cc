#include "evaluate/cache_audit.h"

#include <gtest/gtest.h>

#include <cmath>

namespace sightline::evaluate {
namespace {

// Pictures on a line; their labels change at 10.
CacheAuditInput Line(const std::vector<double>& places) {
  CacheAuditInput input;
  input.pictures = places.size();
  input.distance = [places](size_t a, size_t b) -> std::optional<double> {
    return std::abs(places[a] - places[b]);
  };
  input.answer_differs = [places](size_t a, size_t b) { return places[a] != places[b]; };
  input.label_differs = [places](size_t a, size_t b) {
    return (places[a] < 10) != (places[b] < 10);
  };
  return input;
}

TEST(CacheAudit, CountsHitsAndThoseThatAreWrong) {
  const std::vector<double> radii = {0, 2, 100};
  const auto rows = AuditCache(Line({9, 9, 10, 12, 20}), radii);
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].pictures, 5);
  EXPECT_EQ(rows[0].hits, 1);
  EXPECT_EQ(rows[0].other_answers, 0);
  // 9 is kept; 9 and 10 hit it; 12 and 20 are kept.
  EXPECT_EQ(rows[1].hits, 2);
  EXPECT_EQ(rows[1].other_answers, 1);
  EXPECT_EQ(rows[1].other_labels, 1);
  EXPECT_DOUBLE_EQ(rows[1].hit_rate(), 0.4);
  EXPECT_DOUBLE_EQ(rows[1].wrong_answers(), 0.5);
  // All but the first hit it.
  EXPECT_EQ(rows[2].hits, 4);
  EXPECT_EQ(rows[2].other_answers, 3);
  EXPECT_EQ(rows[2].other_labels, 3);
}

TEST(CacheAudit, TheNearestAndOfEqualOnesTheYoungestAnswers) {
  std::vector<size_t> answered_by;
  CacheAuditInput input = Line({0, 6, 12, 9});
  input.answer_differs = [&](size_t, size_t kept) {
    answered_by.push_back(kept);
    return false;
  };
  const std::vector<double> radii = {5};
  EXPECT_EQ(AuditCache(input, radii)[0].hits, 1);
  EXPECT_EQ(answered_by, std::vector<size_t>{2});
}

TEST(CacheAudit, WhatIsNotComparedNeverHits) {
  CacheAuditInput input = Line({1, 1, 1});
  input.distance = [](size_t, size_t) { return std::nullopt; };
  const std::vector<double> radii = {100};
  EXPECT_EQ(AuditCache(input, radii)[0].hits, 0);
  input.pictures = 0;
  EXPECT_EQ(AuditCache(input, radii)[0].hit_rate(), 0);
}

}  // namespace
}  // namespace sightline::evaluate
