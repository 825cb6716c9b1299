// Weighted boxes fusion of the boxes of several models.
//   build/bin/fusion_bench         made-up boxes of 3 models with 100 each and of 5 with 1000 each
//   build/bin/fusion_bench FILE    the boxes of FILE; one line of JSON with the time and the fused boxes,
//                                  for benchmarks/peers/fusion.py
// FILE: numbers between blanks: IoU threshold, models, then of each model its number of boxes and of
// each box class, confidence, x1, y1, x2, y2.
// Time is CPU time of the thread, median of the rounds: neighbours on the machine count little.
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <random>
#include <vector>

#include "base/time.h"
#include "detect/box_fusion.h"

namespace sightline {
namespace {

using Looks = std::vector<std::vector<Detection>>;

// `boxes` boxes a model: four of five are another look at an object that all models see.
Looks MadeUp(int models, int boxes, int classes) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> chance(0, 1);
  struct Object {
    float x, y, width, height;
    int32_t class_id;
  };
  const auto object = [&] {
    return Object{chance(random) * 0.9f, chance(random) * 0.9f, 0.01f + chance(random) * 0.08f,
                  0.01f + chance(random) * 0.08f,
                  static_cast<int32_t>(random() % static_cast<unsigned>(classes))};
  };
  std::vector<Object> objects;
  for (int i = 0; i < boxes * 4 / 5; ++i) objects.push_back(object());
  Looks looks(models);
  for (auto& look : looks) {
    for (int i = 0; i < boxes; ++i) {
      const Object o = static_cast<size_t>(i) < objects.size() ? objects[i] : object();
      const auto shaken = [&] { return (chance(random) - 0.5f) * 0.1f; };
      const float x = o.x + shaken() * o.width;
      const float y = o.y + shaken() * o.height;
      look.push_back({.box_px = {x, y, x + o.width * (1 + shaken()), y + o.height * (1 + shaken())},
                      .confidence = 0.05f + 0.9f * chance(random),
                      .class_id = o.class_id});
    }
  }
  return looks;
}

// Median of the calls' CPU time in microseconds; as many as take about a second.
double MedianUs(const Looks& looks, float iou) {
  std::vector<double> us;
  double spent = 0;
  while ((spent < 1e6 || us.size() < 5) && us.size() < 2000) {
    const double begin = ThreadCpuSeconds();
    const std::vector<Detection> fused = FuseBoxes(looks, iou);
    us.push_back((ThreadCpuSeconds() - begin) * 1e6);
    spent += us.back();
    if (fused.empty()) break;
  }
  std::nth_element(us.begin(), us.begin() + us.size() / 2, us.end());
  return us[us.size() / 2];
}

int FuseFile(const char* path) {
  std::ifstream in(path);
  float iou = 0;
  size_t models = 0;
  in >> iou >> models;
  Looks looks(in ? models : 0);
  for (auto& look : looks) {
    size_t boxes = 0;
    in >> boxes;
    for (size_t i = 0; in && i < boxes; ++i) {
      Detection one;
      in >> one.class_id >> one.confidence >> one.box_px.x1 >> one.box_px.y1 >> one.box_px.x2 >>
          one.box_px.y2;
      look.push_back(one);
    }
  }
  if (!in || looks.empty()) {
    fmt::print(stderr, "{} is no file of boxes\n", path);
    return 1;
  }
  fmt::print("{{\"us\": {:.3f}, \"fused\": [", MedianUs(looks, iou));
  const char* comma = "";
  for (const Detection& one : FuseBoxes(looks, iou)) {
    const Box& box = one.box_px;
    fmt::print("{}[{}, {:.9g}, {:.9g}, {:.9g}, {:.9g}, {:.9g}]", comma, one.class_id,
               one.confidence, box.x1, box.y1, box.x2, box.y2);
    comma = ", ";
  }
  fmt::print("]}}\n");
  return 0;
}

}  // namespace
}  // namespace sightline

int main(int argc, char** argv) {
  if (argc > 1) return sightline::FuseFile(argv[1]);
  for (const auto& [models, boxes] : {std::pair(3, 100), std::pair(5, 1000)}) {
    for (const int classes : {1, 80}) {
      const auto looks = sightline::MadeUp(models, boxes, classes);
      fmt::print("{} models x {:4} boxes, {:2} classes: {:9.1f} us, {} fused\n", models, boxes,
                 classes, sightline::MedianUs(looks, 0.55f),
                 sightline::FuseBoxes(looks, 0.55f).size());
    }
  }
  return 0;
}
