// How long a picture of a simulated camera takes, on one core: with pixels, and truth alone.
//
//   build/bin/sim_bench [WxH] [people] [frames] [--out FILE.yuv]
//
// With --out every 100th picture is written (I420, one after the other) to look at:
//   ffmpeg -f rawvideo -pix_fmt yuv420p -s 640x360 -i FILE.yuv shot_%02d.png
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "sim/renderer.h"

namespace {

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double MillisecondsAFrame(const sightline::sim::SimOptions& options, int frames, bool pixels,
                          std::FILE* out) {
  using namespace sightline;
  sim::Renderer renderer(options, options.width, options.height, pixels);
  const auto luma = static_cast<size_t>(options.width) * static_cast<size_t>(options.height);
  const size_t chroma =
      static_cast<size_t>((options.width + 1) / 2) * static_cast<size_t>((options.height + 1) / 2);
  std::vector<uint8_t> bytes(luma + 2 * chroma);
  sim::Canvas canvas{.width = options.width,
                     .height = options.height,
                     .planes = {bytes.data(), bytes.data() + luma, bytes.data() + luma + chroma},
                     .strides = {options.width, (options.width + 1) / 2, (options.width + 1) / 2}};
  Truth truth;
  double spent = 0;
  for (int k = 0; k < frames; ++k) {
    const double start = Now();
    renderer.Draw(options.FrameTimeUs(k), pixels ? &canvas : nullptr, &truth);
    spent += Now() - start;
    if (out != nullptr && k % 100 == 0) std::fwrite(bytes.data(), 1, bytes.size(), out);
  }
  return spent * 1e3 / frames;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  std::FILE* out = nullptr;
  for (size_t i = 0; i + 1 < words.size(); ++i) {
    if (words[i] != "--out") continue;
    out = std::fopen(words[i + 1].c_str(), "wb");
    words.resize(i);
  }
  const std::string size = !words.empty() ? words[0] : "640x360";
  const std::string people = words.size() > 1 ? words[1] : "20";
  const int frames = words.size() > 2 ? std::max(1, std::atoi(words[2].c_str())) : 600;
  const char* more = std::getenv("SIM_BENCH_URL_MORE");
  const auto options = sightline::sim::ParseSimUrl(
      fmt::format("sim://street?people={}&size={}&seed=7{}", people, size, more ? more : ""));
  if (!options.ok()) {
    fmt::print(stderr, "{}\n", sightline::MessageOf(options.status()));
    return 2;
  }
  fmt::print("{} with {} people, {} frames: {:.3f} ms a picture, {:.3f} ms truth alone\n", size,
             people, frames, MillisecondsAFrame(*options, frames, true, out),
             MillisecondsAFrame(*options, frames, false, nullptr));
  if (out != nullptr) std::fclose(out);
  return 0;
}
