#include "base/assignment.h"

#include <limits>

namespace sightline {

void Assignment::Begin(int rows, int columns, double limit) {
  limit_ = limit;
  rows_ = rows;
  pairs_.clear();
  first_pair_.assign(1, 0);
  column_of_row_.assign(rows, kNone);
  row_of_column_.assign(columns, kNone);
  row_dual_.assign(rows, 0);
  column_dual_.assign(columns, 0);
  distance_.resize(columns);
  from_row_.resize(columns);
  seen_.assign(columns, 0);
}

void Assignment::CloseRowsUpTo(int row) {
  while (static_cast<int>(first_pair_.size()) <= row) {
    first_pair_.push_back(static_cast<int32_t>(pairs_.size()));
  }
}

void Assignment::Add(int row, int column, double cost) {
  if (!(cost < limit_)) return;
  CloseRowsUpTo(row);
  pairs_.push_back({column, cost - limit_});
}

void Assignment::Solve() {
  CloseRowsUpTo(rows_);
  for (int32_t row = 0; row < rows_; ++row) {
    if (first_pair_[row] == first_pair_[row + 1]) continue;
    const End end = FindEnd(row);
    UpdateDuals(row, end);
    Augment(row, end);
    for (const int32_t column : reached_) seen_[column] = 0;
    reached_.clear();
  }
}

// Lowers the distances of the columns that `row`, itself at `distance`, can go to.
void Assignment::Reach(int32_t row, double distance) {
  for (int32_t i = first_pair_[row]; i < first_pair_[row + 1]; ++i) {
    const int32_t column = pairs_[i].column;
    if (seen_[column] == 2) continue;
    const double length = distance + pairs_[i].cost - row_dual_[row] - column_dual_[column];
    if (seen_[column] == 0) {
      seen_[column] = 1;
      reached_.push_back(column);
    } else if (length >= distance_[column]) {
      continue;
    }
    distance_[column] = length;
    from_row_[column] = row;
  }
}

// The nearest column that is reached and not settled; a free one first, then the lowest.
int32_t Assignment::NearestReached() const {
  int32_t nearest = kNone;
  for (const int32_t column : reached_) {
    if (seen_[column] != 1) continue;
    if (nearest == kNone || distance_[column] < distance_[nearest]) {
      nearest = column;
      continue;
    }
    if (distance_[column] > distance_[nearest]) continue;
    const bool free = row_of_column_[column] == kNone;
    const bool nearest_free = row_of_column_[nearest] == kNone;
    if (free != nearest_free ? free : column < nearest) nearest = column;
  }
  return nearest;
}

// Dijkstra over reduced costs. Every row visited on the way could also stay alone, at cost 0.
Assignment::End Assignment::FindEnd(int32_t start) {
  int32_t row = start;
  double distance = 0;
  End alone{kNone, start, -row_dual_[start]};
  for (;;) {
    Reach(row, distance);
    const int32_t column = NearestReached();
    if (column == kNone || alone.distance < distance_[column]) return alone;
    seen_[column] = 2;
    distance = distance_[column];
    if (row_of_column_[column] == kNone) return {column, kNone, distance};
    row = row_of_column_[column];
    const double alone_distance = distance - row_dual_[row];
    if (alone_distance < alone.distance) alone = {kNone, row, alone_distance};
  }
}

void Assignment::UpdateDuals(int32_t start, const End& end) {
  row_dual_[start] += end.distance;
  for (const int32_t column : reached_) {
    if (seen_[column] != 2) continue;
    const double slack = end.distance - distance_[column];  // >= 0: nearer ones settle first
    column_dual_[column] -= slack;
    const int32_t row = row_of_column_[column];
    if (row != kNone) row_dual_[row] += slack;
  }
}

void Assignment::Augment(int32_t start, const End& end) {
  int32_t column = end.column;
  if (column == kNone) {
    if (end.row == start) return;
    column = column_of_row_[end.row];
    column_of_row_[end.row] = kNone;
  }
  for (;;) {
    const int32_t row = from_row_[column];
    const int32_t next = column_of_row_[row];
    column_of_row_[row] = column;
    row_of_column_[column] = row;
    if (row == start) return;
    column = next;
  }
}

}  // namespace sightline
