// What reading a model's raw outputs into boxes costs, with suppression: a usual street picture's
// worth of hot rows over the background.
//   build/bin/heads_bench
#include <benchmark/benchmark.h>

#include <random>
#include <vector>

#include "base/check.h"
#include "detect/heads/head.h"
#include "detect/nms.h"

namespace sightline {
namespace {

struct Model {
  ModelSpec spec;
  std::vector<TensorInfo> infos;
  std::vector<std::vector<float>> values;
};

// `hot` rows (cells) with an object, 5 neighbours of each nearly as sure, the rest background.
Model MakeModel(const std::string& family, int hot) {
  Model m;
  m.spec.family = family;
  std::mt19937 rng(3);
  const auto sparse = [&](std::vector<float>& v, size_t rows, auto set) {
    for (int i = 0; i < hot; ++i) {
      const size_t row = rng() % (rows - 6);
      for (size_t k = 0; k < 6; ++k) set(v, row + k);
    }
  };
  if (family == "yolox") {
    m.spec.layout = "raw_grid";
    m.spec.input.width = m.spec.input.height = 416;
    m.infos = {{"output", DataType::kFloat32, {1, 3549, 85}}};
    m.values = {std::vector<float>(3549 * 85, 0.001f)};
    sparse(m.values[0], 3549,
           [&](auto& v, size_t r) { v[r * 85 + 4] = v[r * 85 + 5 + rng() % 80] = 0.9f; });
  } else if (family == "yolov8") {
    constexpr size_t kBoxes = 8400;
    m.spec.layout = "columns";
    m.spec.input.width = m.spec.input.height = 640;
    m.infos = {{"output0", DataType::kFloat32, {1, 84, 8400}}};
    m.values = {std::vector<float>(84 * kBoxes, 0.001f)};
    sparse(m.values[0], kBoxes, [&](auto& v, size_t r) {
      v[2 * kBoxes + r] = v[3 * kBoxes + r] = 50;
      v[(4 + rng() % 80) * kBoxes + r] = 0.9f;
    });
  } else if (family == "ultraface") {
    m.spec.layout = "raw_deltas";
    m.spec.input.width = 320;
    m.spec.input.height = 240;
    m.infos = {{"scores", DataType::kFloat32, {1, 4420, 2}},
               {"boxes", DataType::kFloat32, {1, 4420, 4}}};
    m.values = {std::vector<float>(4420 * 2, 0.01f), std::vector<float>(4420 * 4, 0.1f)};
    sparse(m.values[0], 4420, [&](auto& v, size_t r) { v[r * 2 + 1] = 0.95f; });
  } else {
    m.spec.layout = "grid";
    m.spec.input.width = m.spec.input.height = 352;
    m.infos = {{"out", DataType::kFloat32, {1, 85, 22, 22}}};
    m.values = {std::vector<float>(85 * 484, 0.01f)};
    sparse(m.values[0], 484,
           [&](auto& v, size_t r) { v[r] = v[(5 + rng() % 80) * 484 + r] = 0.9f; });
  }
  return m;
}

void Decode(benchmark::State& state, const std::string& family) {
  const Model model = MakeModel(family, static_cast<int>(state.range(0)));
  auto head = MakeHead(model.spec, model.infos);
  SL_CHECK(head.ok(), "{}", MessageOf(head.status()));
  std::vector<TensorView> views;
  for (size_t i = 0; i < model.infos.size(); ++i) {
    views.push_back({DataType::kFloat32, model.infos[i].shape, model.values[i].data()});
  }
  std::vector<Detection> found;
  NonMaxSuppressor nms;
  size_t candidates = 0;
  for (auto _ : state) {
    found.clear();
    const absl::Status status = (*head)->Decode({views}, 0.25f, &found);
    SL_CHECK(status.ok(), "{}", MessageOf(status));
    candidates = found.size();
    nms.Run(model.spec.nms, 0.25f, &found);
    benchmark::DoNotOptimize(found.data());
  }
  state.counters["candidates"] = static_cast<double>(candidates);
  state.counters["kept"] = static_cast<double>(found.size());
}
BENCHMARK_CAPTURE(Decode, yolox_416, "yolox")
    ->Arg(0)
    ->Arg(10)
    ->Arg(100)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(Decode, yolov8_640, "yolov8")
    ->Arg(0)
    ->Arg(10)
    ->Arg(100)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(Decode, ultraface_320, "ultraface")
    ->Arg(0)
    ->Arg(10)
    ->Arg(100)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(Decode, fastestdet_352, "fastestdet")
    ->Arg(0)
    ->Arg(10)
    ->Arg(30)
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace sightline

BENCHMARK_MAIN();
