// Draws results into a picture: boxes with names, the objects' last steps, zones, lines and counts.
//
// The picture is packed or strided BGR, 8 bits, and is drawn over in place; coordinates are px of
// it. Line widths and text follow the picture's height, from 48 px to 8K. Text as in canvas.h:
// ASCII.
//
// Threads: one at a time per Annotator. Memory: the last steps of at most kMaxTails tracks. Cost:
// some 30 us per object, mostly its label.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "observe/report_data.h"
#include "types/result_sink.h"

namespace sightline {

struct BgrPicture {
  uint8_t* data = nullptr;
  int width = 0;   // px
  int height = 0;  // px
  int stride = 0;  // bytes
};

// Boxes with class and confidence: for single images, where nothing is followed.
void AnnotateDetections(const Detections& detections, const BgrPicture& picture);

class Annotator {
 public:
  static constexpr size_t kMaxTails = 256;
  static constexpr size_t kTailPoints = 24;

  explicit Annotator(std::vector<ReportRule> rules);

  // From the next result on; a rule that stays the same keeps its counts.
  void SetRules(std::vector<ReportRule> rules);

  // Draws the frame's tracks and the rules with their counts so far. Frames in their order.
  void Draw(const FrameResult& result, const BgrPicture& picture);

 private:
  struct Tail {
    std::array<PointF, kTailPoints> points;  // a ring
    size_t count = 0;
    uint64_t last_ordinal = 0;
  };
  void Count(const FrameResult& result);
  void FollowTails(const FrameResult& result);
  void DrawRules(const FrameResult& result, const BgrPicture& picture) const;
  void DrawTails(const FrameResult& result, const BgrPicture& picture) const;
  void DrawObjects(const FrameResult& result, const BgrPicture& picture) const;
  void DrawBanner(const FrameResult& result, const BgrPicture& picture) const;

  std::vector<ReportRule> rules_;
  std::vector<RuleTally> tallies_;
  std::unordered_map<int64_t, Tail> tails_;
};

}  // namespace sightline
