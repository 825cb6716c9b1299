// Who really crosses a line: the exact answer that counters are held against.
//
// The anchor is the bottom centre of the true box. Seen from a to b with y down, forward goes from
// left to right. An object is on a side when its anchor is farther than `margin_box_heights` of its
// box's height from the (endless) line; it crosses when it comes to be on the other side than before
// and went through the segment between a and b on the way, so that trembling on the line counts
// once and a way round the line's end not at all.
//
// Threads: one. Memory: per object in the picture. Cost: some ns an object and line.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "types/geometry.h"
#include "types/truth.h"

namespace sightline::sim {

struct Crossing {
  int64_t frame = 0;
  uint64_t id = 0;
  TruthClass object_class = TruthClass::kPerson;
  bool forward = true;
};

class CrossingFinder {
 public:
  // a != b.
  CrossingFinder(PointF a_px, PointF b_px, double margin_box_heights = 0.05);

  // To be called for every frame in order; adds the crossings that are complete with it.
  void Watch(int64_t frame, const Truth& truth, std::vector<Crossing>* found);

 private:
  struct State {
    PointF anchor_px;
    int side = 0;      // -1 left, 1 right, 0 not known yet
    int through = 0;   // ways through the segment since then: forward less backward
    int64_t seen = 0;  // the last frame
  };
  double Distance(PointF p) const;
  int WayThrough(PointF from, PointF to) const;

  const PointF a_;
  const PointF b_;
  const double margin_;
  double length_ = 1;
  std::map<uint64_t, State> states_;
};

}  // namespace sightline::sim
