// The simulator's own account of who crossed a line, and the event rules' when they are fed with the
// truth: two programs written apart must agree on every crossing.
#include <gtest/gtest.h>

#include <map>
#include <tuple>
#include <vector>

#include "events/line_rule.h"
#include "sim/crossings.h"
#include "sim/renderer.h"

namespace sightline {
namespace {

using Counted = std::tuple<int64_t, uint64_t, bool>;  // frame, id, forward

std::vector<Counted> ByTheRule(const LineRule& rule, const Truth& truth, int64_t frame,
                               std::map<uint64_t, LineRule::State>* states) {
  std::vector<Counted> found;
  for (const TruthObject& object : truth.objects) {
    const CrossDirection way =
        rule.Watch(object.box_px.bottom_center(), object.box_px.height(), &(*states)[object.id]);
    if (way != CrossDirection::kNone) {
      found.emplace_back(frame, object.id, way == CrossDirection::kForward);
    }
  }
  return found;
}

TEST(SimCrossings, AreThoseThatTheLineRuleCounts) {
  const std::vector<std::pair<PointF, PointF>> lines = {{{320, 0}, {320, 360}},
                                                        {{0, 210}, {640, 220}},
                                                        {{100, 350}, {500, 150}},
                                                        {{600, 152}, {200, 160}},
                                                        {{50, 360}, {60, 250}}};
  for (const uint64_t seed : {1, 2, 3}) {
    const auto sim = sim::ParseSimUrl(
        "sim://street?people=40&bicycles=5&cars=6&fps=10&shake=2&seed=" + std::to_string(seed));
    ASSERT_TRUE(sim.ok());
    sim::Renderer renderer(*sim, sim->width, sim->height, false);
    std::vector<LineRule> rules;
    std::vector<sim::CrossingFinder> finders;
    for (const auto& [a, b] : lines) {
      LineSpec spec;
      spec.name = "line";
      spec.a_px = a;
      spec.b_px = b;
      rules.push_back(LineRule::Create(spec).value());
      finders.emplace_back(a, b);
    }
    std::vector<std::map<uint64_t, LineRule::State>> states(lines.size());
    std::vector<std::vector<Counted>> expected(lines.size());
    std::vector<std::vector<sim::Crossing>> found(lines.size());
    Truth truth;
    for (int64_t k = 0; k < 1800; ++k) {
      renderer.Draw(sim->FrameTimeUs(k), nullptr, &truth);
      for (size_t i = 0; i < lines.size(); ++i) {
        for (const Counted& one : ByTheRule(rules[i], truth, k, &states[i])) {
          expected[i].push_back(one);
        }
        finders[i].Watch(k, truth, &found[i]);
      }
    }
    for (size_t i = 0; i < lines.size(); ++i) {
      std::vector<Counted> counted;
      for (const sim::Crossing& c : found[i]) counted.emplace_back(c.frame, c.id, c.forward);
      EXPECT_EQ(counted, expected[i]) << "seed " << seed << ", line " << i;
      EXPECT_GT(counted.size(), 5u) << "seed " << seed << ", line " << i;
    }
  }
}

}  // namespace
}  // namespace sightline
