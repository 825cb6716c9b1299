// What the result cache costs: keys, hits, look-ups of look-alikes. One core.
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <string>

#include "serve/cache/memory_store.h"
#include "serve/cache/near_index.h"
#include "serve/cache/result_cache.h"

namespace sightline::serve {
namespace {

CacheKey Key(int64_t number) { return CacheKeyHasher().Add(number).Finish(); }

void KeyOfBytes(benchmark::State& state) {
  const std::string bytes(static_cast<size_t>(state.range(0)), 'x');
  for (auto _ : state) benchmark::DoNotOptimize(CacheKeyHasher().Add(bytes).Finish());
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(KeyOfBytes)->Arg(100)->Arg(100 << 10)->Arg(1 << 20);

void Hit(benchmark::State& state) {
  ResultCache cache(std::make_shared<MemoryStore>(MemoryStoreOptions{}), {});
  for (int i = 0; i < 1000; ++i) cache.Put(Key(i), std::make_shared<const std::string>(1000, 'x'));
  const CacheKey key = Key(7);
  for (auto _ : state) {
    cache.Get(
        key, [](ResultCache::Computed) {},
        [](absl::StatusOr<CachedAnswer>&& answer) { benchmark::DoNotOptimize(answer); });
  }
}
BENCHMARK(Hit);

void Miss(benchmark::State& state) {
  ResultCache cache(std::make_shared<MemoryStore>(MemoryStoreOptions{}), {});
  const auto value = std::make_shared<const std::string>(1000, 'x');
  int64_t i = 0;
  for (auto _ : state) {
    cache.Get(
        Key(i++), [&](ResultCache::Computed computed) { computed(value); },
        [](absl::StatusOr<CachedAnswer>&& answer) { benchmark::DoNotOptimize(answer); });
  }
}
BENCHMARK(Miss);

void NearestHash(benchmark::State& state) {
  const auto count = static_cast<size_t>(state.range(0));
  NearIndex index({.max_entries = count});
  std::mt19937_64 random(1);
  PictureLook look;
  look.hash.bits = static_cast<int>(state.range(1));
  const auto next = [&] {
    for (int i = 0; i < look.hash.bits / 64; ++i)
      look.hash.words[static_cast<size_t>(i)] = random();
  };
  for (size_t i = 0; i < count; ++i) {
    next();
    index.Add(Key(0), look, Key(static_cast<int64_t>(i)));
  }
  for (auto _ : state) {
    next();
    benchmark::DoNotOptimize(index.Nearest(Key(0), look, 4));
  }
}
BENCHMARK(NearestHash)
    ->Args({1000, 64})
    ->Args({16384, 64})
    ->Args({16384, 256})
    ->Args({100'000, 64});

void NearestEmbedding(benchmark::State& state) {
  const auto count = static_cast<size_t>(state.range(0));
  NearIndex index({.max_entries = count, .max_embedding_bytes = size_t{1} << 30});
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  PictureLook look;
  const auto next = [&] {
    look.embedding.assign(512, 0);
    float sum = 0;
    for (float& value : look.embedding) {
      value = normal(random);
      sum += value * value;
    }
    for (float& value : look.embedding) value /= std::sqrt(sum);
  };
  for (size_t i = 0; i < count; ++i) {
    next();
    index.Add(Key(0), look, Key(static_cast<int64_t>(i)));
  }
  for (auto _ : state) benchmark::DoNotOptimize(index.Nearest(Key(0), look, 0.1));
}
BENCHMARK(NearestEmbedding)->Arg(1000)->Arg(10'000);

}  // namespace
}  // namespace sightline::serve

BENCHMARK_MAIN();
