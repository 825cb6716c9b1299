// Draws the report: one page that says at a glance what the camera saw. Title and figures; the ways
// of the objects on a frame of the video; where they were (heat map); how many there were over
// time; lines and zones.
//
// Threads: reentrant. Cost: some 150 ms and 30 MB while it draws.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "observe/report_data.h"

namespace sightline {

struct ReportText {
  std::string title;   // "door"
  std::string source;  // clip or address, without secrets
  std::string model;   // "yolox_nano"
  double wall_s = 0;   // how long the work took; 0 = unknown
};

struct ReportPage {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> bgr;  // packed, width * height * 3 bytes
};

ReportPage RenderReport(const ReportData& data, const ReportText& text);

}  // namespace sightline
