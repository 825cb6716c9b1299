// What the anchor families with decoded rows share when they are recognised: which output holds
// three rows for each cell, and whether its values are boxes about those cells. Exporters write the
// grids in either order, and a cell's rows together or anchor by anchor.
#pragma once

#include <optional>
#include <string_view>

#include "detect/family.h"
#include "detect/heads/yolo_rows.h"

namespace sightline::yolov5 {

struct RowsFound {
  size_t output = 0;
  int numbers = 0;  // of a row
  int levels = 3;   // grids at strides that double
  int stride = 8;   // the smallest: 8, or 16 in the tiny models with two grids
};
std::optional<RowsFound> FindRows(const SeenModel& seen);

// InvalidArgument, with what was seen, when scores are not within 0..1 or the boxes' centres do not
// lie about their own cells.
absl::Status CheckRows(const SeenModel& seen, const RowsFound& rows, int classes,
                       std::string_view family);

}  // namespace sightline::yolov5
