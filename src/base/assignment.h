// The linear assignment problem with a cost limit, over the pairs that are worth a thought.
//
// Minimises sum(cost - limit) over the chosen pairs, each row and column at most once: the same
// optimum as lap.lapjv(cost, extend_cost=True, cost_limit=limit), where leaving a row and a column
// alone costs half the limit each. Only pairs cheaper than the limit can be chosen, so only those
// are given, and groups of objects that do not touch cost nothing together.
//
// Source: Jonker and Volgenant, "A Shortest Augmenting Path Algorithm for Dense and Sparse Linear
// Assignment Problems", Computing 38, 1987; without its column reduction, whose gain is for dense
// problems.
// Ties: among equally cheap solutions one is found that depends on the order of rows and columns
// alone. Cost: O(rows x pairs) at worst, about linear in the pairs where few compete.
// Threads: one at a time per instance. Allocates only while its vectors grow.
#pragma once

#include <cstdint>
#include <vector>

namespace sightline {

class Assignment {
 public:
  static constexpr int32_t kNone = -1;

  // Begins a problem. Pairs are then added row by row, rows in rising order.
  void Begin(int rows, int columns, double limit);
  // cost < limit; anything else is ignored, NaN too.
  void Add(int row, int column, double cost);
  void Solve();

  // After Solve: the partner of each row and column, or kNone.
  const std::vector<int32_t>& column_of_row() const { return column_of_row_; }
  const std::vector<int32_t>& row_of_column() const { return row_of_column_; }

 private:
  struct Pair {
    int32_t column;
    double cost;  // minus the limit: negative
  };
  // The way to the nearest free end, found from one row.
  struct End {
    int32_t column = kNone;  // a free column, or
    int32_t row = kNone;     // a row that is better left alone
    double distance = 0;
  };

  void CloseRowsUpTo(int row);
  End FindEnd(int32_t start);
  void Reach(int32_t row, double distance);
  int32_t NearestReached() const;
  void UpdateDuals(int32_t start, const End& end);
  void Augment(int32_t start, const End& end);

  double limit_ = 0;
  int rows_ = 0;
  std::vector<Pair> pairs_;
  std::vector<int32_t> first_pair_;  // of each row; one more at the end
  std::vector<int32_t> column_of_row_;
  std::vector<int32_t> row_of_column_;
  std::vector<double> row_dual_;
  std::vector<double> column_dual_;
  // Of one search; only the columns in reached_ hold anything.
  std::vector<double> distance_;
  std::vector<int32_t> from_row_;
  std::vector<uint8_t> seen_;  // 0 no, 1 reached, 2 settled
  std::vector<int32_t> reached_;
};

}  // namespace sightline
