// Results as lines of JSON (RFC 8259), one object a frame. docs/output_formats.md shows them field
// by field.
//
// Numbers: floats are written shortest, so that reading them back gives the same float; a value
// that is not finite becomes null. Strings: UTF-8, escaped; each byte that is not valid UTF-8
// becomes U+FFFD. Times: RFC 3339 in UTC with microseconds. The text depends on no locale.
//
// Threads: reentrant. Cost: about 0.25 us per detection; appends to `line` and allocates only when
// its capacity is too small.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "types/detections.h"
#include "types/result_sink.h"

namespace sightline {

// What every line about a camera begins with: {"camera":"door",
void AppendLineStart(std::string_view camera_id, std::string& line);

// {"camera","frame","pts_us","epoch","timestamp","width","height","detections":[{"id","class_id",
//  "class","confidence","box_xyxy_px":[x1,y1,x2,y2],"track_id"}],"events":[{...}]} and a newline.
// At the end of a stream "end_of_stream":true is added, and its detections are empty.
// Of a live camera "latency_us" stands behind the height: from capture to this line.
// What a model says beside boxes stands with each detection, what it says of the whole picture
// behind the detections: see jsonl_details.h.
// `result` must have as many detection_ids as detections.
void AppendFrameLine(const FrameResult& result, std::string& line,
                     std::optional<int64_t> latency_us = std::nullopt);

// {"camera","timestamp","state","previous","reason","epoch","attempts","gap_us"} and a newline.
void AppendCameraStateLine(const CameraStateChange& change, std::string& line);

// The line of `detect --json` and a newline:
// `input` is what was given, for a picture of a folder or glob its own path.
// {"input","frame","pts_us","width","height","detections":[{"class_id","class","confidence",
//  "box_xyxy_px":[x1,y1,x2,y2]}]}
void AppendDetectLine(std::string_view input, const Detections& detections, std::string& line);

// Appends `text` as a JSON string, quotes included.
void AppendJsonString(std::string_view text, std::string& out);

}  // namespace sightline
