// How well a run did on a clip whose truth is known: boxes, tracks and line crossings at once.
//
// Frame n of the results (from 0) is frame n + 1 of the truth. Classes go by their names
// (class_names.h). Boxes of classes that the truth does not know are left out, and counted. Where results and truth were made at different picture sizes,
// truth is scaled.
// Boxes are judged by DetectionAccuracy, tracks class by class by MotAccuracy (boxes with a track),
// crossings by line, class, direction and time.
//
// Threads: reentrant. Memory: that of the truth and of both measures.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "evaluate/detection_accuracy.h"
#include "evaluate/mot_accuracy.h"
#include "evaluate/truth_sequence.h"

namespace sightline::evaluate {

struct RunComparison {
  std::string camera = {};                // empty: the only one in the file
  std::vector<std::string> classes = {};  // empty: all that the truth knows
  // Objects of which less is visible need not be found, and whoever finds them is not wrong. 0.1
  // is chosen, not measured: a head behind a car.
  double least_visibility = 0.1;
  // False: frames without a line in the results (skipped, dropped, after the end of the run) are not
  // judged. True: nothing was found in them.
  bool all_frames = false;
  // Truth line name -> rule name, where they differ. One line and one rule go together anyway.
  std::map<std::string, std::string> line_names = {};
  double crossing_tolerance_s = 1;
};

struct CrossingCount {
  std::string line;  // of the truth
  std::string rule;  // of the results; empty when there is none
  std::string object_class;
  int64_t truth = 0;
  int64_t found = 0;  // of those
  int64_t invented = 0;
};

struct RunOutcome {
  std::string camera;
  int64_t true_frames = 0;
  int64_t judged_frames = 0;
  int64_t frames_without_result = 0;  // of the truth
  int64_t frames_beyond_truth = 0;    // results after its end: not judged
  std::vector<std::string> classes;   // names by class_id
  DetectionReport boxes;
  std::vector<std::pair<int32_t, MotReport>> tracks;  // by class_id; those with truth or tracks
  MotReport all_tracks;                               // together
  bool has_tracks = false;
  bool has_crossings = false;  // the truth knows of some, or of a line
  std::vector<CrossingCount> crossings;
  std::map<std::string, int64_t> strange_classes;  // boxes of classes that are not judged
};

// `results`: a run's folder (its detections.jsonl) or a file of JSON lines.
// Errors: those of ForEachResultFrame; InvalidArgument for several cameras when none is named, frames
// that do not rise (several runs in a file), classes that nobody knows, and a truth without frame
// rate but with crossings.
absl::StatusOr<RunOutcome> CompareRun(const TruthSequence& truth, const std::string& results,
                                      const RunComparison& comparison);

}  // namespace sightline::evaluate
