// The chart of the report: objects in view over time, stacked by class.
#pragma once

#include <string>
#include <vector>

#include "observe/canvas.h"
#include "observe/report_data.h"

namespace sightline {

// Fills `area` (a card with heading, legend, axes).
void DrawCountsChart(Canvas& canvas, const Area& area, const ReportData& data);

// "0:42", "1:02:03": stream time for people.
std::string FormatStreamTime(int64_t time_us);

// Distance of ticks so that at most `max_ticks` fit into `range`: 1, 2 or 5 times a power of ten.
double NiceStep(double range, int max_ticks);
// The same for time: seconds, minutes and hours that people count in.
int64_t NiceTimeStepUs(int64_t range_us, int max_ticks);

}  // namespace sightline
