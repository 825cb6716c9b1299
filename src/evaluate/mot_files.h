// Truth and results in MOTChallenge's text format, and their comparison under its rules.
//
//   truth    frame,id,x,y,w,h,mark[,class[,visibility]]   mark 0: not to be judged
//   results  frame,id,x,y,w,h,confidence[,class]
//
// Frames from 1, in any order; ids whole numbers, each at most once in a frame; x and y are the left
// top corner in px. Blank lines, CRLF and further columns are accepted.
// Source: MOTChallenge's instructions, https://motchallenge.net/instructions/; the rules as
// TrackEval 1.3.0 applies them.
// Threads: reentrant. Memory: 80 bytes a row.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "evaluate/mot_accuracy.h"
#include "evaluate/scored_box.h"

namespace sightline::evaluate {

struct MotTableRow {
  static constexpr int64_t kNoClass = -1;

  int64_t frame = 0;
  int64_t id = 0;
  PlacedBox box_px;
  double mark = 1;  // of results: the confidence
  int64_t class_id = kNoClass;
  double visibility = 1;
  uint32_t line = 0;  // of the text
};

// Rows by rising frame, within a frame in the order of the text.
// Errors: InvalidArgument with the line's number for a line that is no row, and for an id that comes
// twice in a frame; ResourceExhausted beyond 20 million rows and 1,000 rows a frame.
absl::StatusOr<std::vector<MotTableRow>> ParseMotTable(std::string_view text);

// As above with the path in front; NotFound or InvalidArgument when the file cannot be read.
absl::StatusOr<std::vector<MotTableRow>> ReadMotTable(const std::string& path);

// gt/gt.txt, or gt.txt, when `path` is a folder; else `path` itself.
std::string MotTruthFile(const std::string& path);

enum class MotRules : uint8_t {
  kAuto,   // kMot17 when any true row has a class, else kMot15
  kMot15,  // everything that is not marked 0 counts; the truth's further columns mean nothing
  // Pedestrians (class 1) count. Boxes on class 2 (person on a vehicle), 7 (static person), 8
  // (distractor) and 12 (reflection) are neither right nor wrong. The rest is not to be found.
  kMot17,  // MOT16 and MOT17
  kMot20,  // as MOT17, and class 6 (vehicle without engine) excuses, too
};

struct MotComparison {
  MotRules rules = MotRules::kAuto;
  // Objects of which less is visible need not be found, and whoever finds them is not wrong. 0 as
  // the MOTChallenge has it.
  double least_visibility = 0;
};

struct MotOutcome {
  MotReport report;
  MotRules rules = MotRules::kMot15;  // those that were applied
  int64_t last_true_frame = 0;
  int64_t last_found_frame = 0;
};

// Errors: InvalidArgument for classes outside 1 to 13 under kMot17 and kMot20, and for results of a
// class beyond 1; those of MotAccuracy.
absl::StatusOr<MotOutcome> CompareMot(const std::vector<MotTableRow>& truth,
                                      const std::vector<MotTableRow>& found,
                                      const MotComparison& comparison);

}  // namespace sightline::evaluate
