// The two pictures of the report: the ways of the objects, and where they were.
#pragma once

#include "observe/canvas.h"
#include "observe/report_data.h"

namespace sightline {

// Fills `area` with a card: a frame of the video with its objects, the longest ways, zones and
// lines.
void DrawTracksScene(Canvas& canvas, const Area& area, const ReportData& data);
// Fills `area` with a card: the frame in grey under the heat map of the objects' feet.
void DrawHeatMapScene(Canvas& canvas, const Area& area, const ReportData& data);

}  // namespace sightline
