// Perceptual hashes of decoded pictures, one core; benchmarks/peers/hashes.py measures the Python packages.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <vector>

#include "vision/perceptual_hash.h"

namespace sightline {
namespace {

// Soft waves and noise: what the pixels are does not matter for the time.
std::vector<uint8_t> Pixels(int width, int height) {
  std::vector<uint8_t> pixels;
  uint32_t state = 1;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < 3 * width; ++x) {
      state = state * 1664525u + 1013904223u;
      pixels.push_back(static_cast<uint8_t>((x + 2 * y) / 8 % 200 + (state >> 28)));
    }
  }
  return pixels;
}

void Hash(benchmark::State& state, HashKind kind, PixelFormat format) {
  const auto width = static_cast<int>(state.range(0)), height = static_cast<int>(state.range(1));
  const std::vector<uint8_t> pixels = Pixels(width, height);
  ImageView view;
  view.format = format;
  view.width = width;
  view.height = height;
  view.planes[0] = pixels.data();
  view.strides[0] = (format == PixelFormat::kGray8 ? 1 : 3) * width;
  for (auto _ : state) {
    auto hash = HashPicture(view, kind);
    if (!hash.ok()) state.SkipWithError(hash.status().ToString().c_str());
    benchmark::DoNotOptimize(hash);
  }
  state.SetItemsProcessed(state.iterations());
}

void Sizes(benchmark::internal::Benchmark* bench) {
  bench->Args({512, 512})->Args({768, 576})->Args({1920, 1080});
}

BENCHMARK_CAPTURE(Hash, pdq_rgb, HashKind::kPdq, PixelFormat::kRgb24)->Apply(Sizes);
BENCHMARK_CAPTURE(Hash, pdq_grey, HashKind::kPdq, PixelFormat::kGray8)->Apply(Sizes);
BENCHMARK_CAPTURE(Hash, phash_rgb, HashKind::kDct, PixelFormat::kRgb24)->Apply(Sizes);
BENCHMARK_CAPTURE(Hash, phash_grey, HashKind::kDct, PixelFormat::kGray8)->Apply(Sizes);
BENCHMARK_CAPTURE(Hash, ahash_rgb, HashKind::kAverage, PixelFormat::kRgb24)->Apply(Sizes);
BENCHMARK_CAPTURE(Hash, dhash_rgb, HashKind::kDifference, PixelFormat::kRgb24)->Apply(Sizes);

}  // namespace
}  // namespace sightline

BENCHMARK_MAIN();
