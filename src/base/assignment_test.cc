#include "base/assignment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

namespace sightline {
namespace {

struct Problem {
  int rows = 0;
  int columns = 0;
  double limit = 1;
  std::vector<double> cost;  // rows x columns
};

// The cheapest sum(cost - limit) by trying everything: row by row, each column or none.
double CheapestFrom(const Problem& p, int row, unsigned used) {
  if (row == p.rows) return 0;
  double best = CheapestFrom(p, row + 1, used);
  for (int column = 0; column < p.columns; ++column) {
    const double cost = p.cost[row * p.columns + column];
    if ((used >> column & 1) != 0 || cost >= p.limit) continue;
    best = std::min(best, cost - p.limit + CheapestFrom(p, row + 1, used | 1u << column));
  }
  return best;
}

double SolvedCost(const Problem& p, Assignment* assignment) {
  assignment->Begin(p.rows, p.columns, p.limit);
  for (int row = 0; row < p.rows; ++row) {
    for (int column = 0; column < p.columns; ++column) {
      assignment->Add(row, column, p.cost[row * p.columns + column]);
    }
  }
  assignment->Solve();
  double sum = 0;
  std::set<int32_t> used;
  for (int row = 0; row < p.rows; ++row) {
    const int32_t column = assignment->column_of_row()[row];
    if (column == Assignment::kNone) continue;
    EXPECT_TRUE(used.insert(column).second);
    EXPECT_EQ(assignment->row_of_column()[column], row);
    EXPECT_LT(p.cost[row * p.columns + column], p.limit);
    sum += p.cost[row * p.columns + column] - p.limit;
  }
  const auto& back = assignment->row_of_column();
  EXPECT_EQ(std::count_if(back.begin(), back.end(), [](int32_t r) { return r >= 0; }),
            static_cast<long>(used.size()));
  return sum;
}

TEST(Assignment, AsGoodAsTryingEverything) {
  std::mt19937 random(5);
  Assignment assignment;
  for (int round = 0; round < 3000; ++round) {
    Problem p;
    p.rows = static_cast<int>(random() % 7);
    p.columns = static_cast<int>(random() % 7);
    p.limit = 0.2 + 0.2 * static_cast<double>(random() % 4);
    // Coarse costs in every second round, for ties.
    const unsigned steps = round % 2 == 0 ? 10 : 100'000;
    for (int i = 0; i < p.rows * p.columns; ++i) {
      p.cost.push_back(static_cast<double>(random() % (steps + 1)) / steps);
    }
    ASSERT_NEAR(SolvedCost(p, &assignment), CheapestFrom(p, 0, 0), 1e-9) << "round " << round;
  }
}

TEST(Assignment, PrefersOneGoodPairToTwoPoorOnes) {
  // Both pairings are allowed; leaving two alone costs as much as one limit.
  Problem p{2, 2, 0.8, {0.10, 0.70, 0.75, 0.95}};
  Assignment assignment;
  EXPECT_NEAR(SolvedCost(p, &assignment), -0.7, 1e-12);
  EXPECT_EQ(assignment.column_of_row()[1], Assignment::kNone);
}

TEST(Assignment, TheLimitItselfIsTooMuchAndNanToo) {
  Problem p{2, 1, 0.5, {0.5, std::numeric_limits<double>::quiet_NaN()}};
  Assignment assignment;
  EXPECT_EQ(SolvedCost(p, &assignment), 0);
}

TEST(Assignment, LargeCrowdHasNoAlternatingGain) {
  // On a large problem the duals cannot be seen; instead no swap of two rows may be cheaper.
  std::mt19937 random(9);
  Problem p{120, 150, 0.8, {}};
  for (int i = 0; i < p.rows * p.columns; ++i) {
    p.cost.push_back(random() % 10 < 6 ? 1.0 : static_cast<double>(random() % 10007) / 10007);
  }
  Assignment assignment;
  SolvedCost(p, &assignment);
  const auto gain = [&](int row, int32_t column) {
    return column < 0 ? 0.0 : std::min(0.0, p.cost[row * p.columns + column] - p.limit);
  };
  const auto& match = assignment.column_of_row();
  for (int a = 0; a < p.rows; ++a) {
    for (int b = 0; b < a; ++b) {
      EXPECT_GE(gain(a, match[b]) + gain(b, match[a]),
                gain(a, match[a]) + gain(b, match[b]) - 1e-9);
    }
    for (int32_t column = 0; column < p.columns; ++column) {
      if (assignment.row_of_column()[column] != Assignment::kNone) continue;
      EXPECT_GE(gain(a, column), gain(a, match[a]) - 1e-9);
    }
  }
}

}  // namespace
}  // namespace sightline
