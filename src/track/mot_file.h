// Detections and tracks in MOTChallenge's text format.
//
// In:   frame,id,x,y,w,h,confidence[,...]: seven columns or more, the rest is not looked at; frames
//       from 1, in any order; x and y are the left top corner in px. Blank lines, spaces around
//       values, CRLF and a byte-order mark are accepted.
// Out:  frame,id,x,y,w,h,confidence,-1,-1,-1
// Source: MOTChallenge's instructions, https://motchallenge.net/instructions/
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "types/detections.h"
#include "types/tracks.h"

namespace sightline {

struct MotRow {
  int64_t frame = 0;  // from 1
  Detection detection;
};

// Rows in rising frame, within a frame in the order of the text.
// Errors: InvalidArgument with the line's number for a line that is no detection; ResourceExhausted
// beyond 20 million rows.
absl::StatusOr<std::vector<MotRow>> ParseMotDetections(std::string_view text);

// As above; NotFound or InvalidArgument with the path when the file cannot be read.
absl::StatusOr<std::vector<MotRow>> ReadMotDetections(const std::string& path);

// Appends the rows of one frame.
void AppendMotTracks(int64_t frame, const Tracks& tracks, std::string* text);

}  // namespace sightline
