// Preprocessing against the chain of OpenCV calls that it replaces, on one thread, in one run:
//   cvtColor -> resize -> copyMakeBorder -> convertTo float, normalise -> planes
// Usage: build/bin/preprocess_bench [options of Google Benchmark]
// The last lines are the ratios of the CPU times, OpenCV / Sightline.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <random>
#include <string>
#include <vector>

#include "vision/motion.h"
#include "vision/preprocess.h"

namespace sightline {
namespace {

struct Case {
  std::string name;
  PixelFormat format;
  int width, height;
  TensorRecipe recipe;
};

// One contiguous picture of even sides, as cv::cvtColor wants it: luma, then chroma. Noise over a
// gradient; the time of neither side depends on the content.
struct Source {
  std::vector<uint8_t> bytes;
  ImageView view;
  explicit Source(const Case& c) {
    const bool bgr = c.format == PixelFormat::kBgr24;
    const size_t luma = static_cast<size_t>(c.width) * c.height;
    bytes.resize(bgr ? 3 * luma : luma * 3 / 2);
    std::mt19937 random(1);
    for (size_t i = 0; i < bytes.size(); ++i) {
      bytes[i] = static_cast<uint8_t>(i / 64 % 200 + random() % 40);
    }
    view.format = c.format;
    view.width = c.width;
    view.height = c.height;
    view.planes = {bytes.data(), bytes.data() + luma, bytes.data() + luma * 5 / 4};
    view.strides = {c.width * (bgr ? 3 : 1), c.format == PixelFormat::kNv12 ? c.width : c.width / 2,
                    c.width / 2};
  }
};

// The chain, with its buffers kept from call to call as a careful user would.
class Chain {
 public:
  void Run(const Case& c, Source& source, float* tensor) {
    const TensorRecipe& r = c.recipe;
    const cv::Mat packed(c.height * 3 / 2, c.width, CV_8UC1, source.bytes.data());
    if (c.format == PixelFormat::kNv12) cv::cvtColor(packed, bgr_, cv::COLOR_YUV2BGR_NV12);
    if (c.format == PixelFormat::kI420) cv::cvtColor(packed, bgr_, cv::COLOR_YUV2BGR_I420);
    if (c.format == PixelFormat::kBgr24) {
      bgr_ = cv::Mat(c.height, c.width, CV_8UC3, source.bytes.data());
    }
    int w = r.width, h = r.height;
    if (r.resize != ResizeMode::kStretch) {
      const double s =
          std::min(static_cast<double>(w) / c.width, static_cast<double>(h) / c.height);
      w = static_cast<int>(c.width * s);
      h = static_cast<int>(c.height * s);
    }
    constexpr int kFlags[] = {cv::INTER_NEAREST, cv::INTER_LINEAR, cv::INTER_AREA, cv::INTER_CUBIC};
    cv::resize(bgr_, resized_, {w, h}, 0, 0, kFlags[static_cast<int>(r.interpolation)]);
    cv::Mat* picture = &resized_;
    if (w != r.width || h != r.height) {
      cv::copyMakeBorder(resized_, bordered_, 0, r.height - h, 0, r.width - w, cv::BORDER_CONSTANT,
                         cv::Scalar(r.pad_value[0], r.pad_value[1], r.pad_value[2]));
      picture = &bordered_;
    }
    // As cv::dnn::blobFromImage does it: split the bytes, then convert each plane into the tensor.
    cv::split(*picture, planes_);
    for (int c2 = 0; c2 < 3; ++c2) {
      const int from = r.channels == ChannelOrder::kRgb ? 2 - c2 : c2;
      cv::Mat out(r.height, r.width, CV_32F, tensor + static_cast<size_t>(c2) * r.width * r.height);
      planes_[from].convertTo(out, CV_32F, r.scale[c2], -r.mean[c2] * r.scale[c2]);
    }
  }

 private:
  cv::Mat bgr_, resized_, bordered_;
  std::vector<cv::Mat> planes_;
};

TensorRecipe Recipe(int width, int height, ResizeMode mode, Interpolation interpolation) {
  TensorRecipe r;
  r.width = width;
  r.height = height;
  r.resize = mode;
  r.interpolation = interpolation;
  r.channels = ChannelOrder::kBgr;
  r.pad_value = {114, 114, 114};
  return r;
}

std::vector<Case> Cases() {
  constexpr auto kLetterbox = ResizeMode::kLetterboxTopLeft;
  constexpr auto kStretch = ResizeMode::kStretch;
  constexpr auto kLinear = Interpolation::kBilinear;
  const TensorRecipe to640 = Recipe(640, 640, kLetterbox, kLinear);
  const TensorRecipe to416 = Recipe(416, 416, kLetterbox, kLinear);
  TensorRecipe to352 = Recipe(352, 352, kStretch, kLinear);
  to352.scale = {1 / 255.f, 1 / 255.f, 1 / 255.f};
  TensorRecipe to320 = Recipe(320, 240, kStretch, kLinear);
  to320.channels = ChannelOrder::kRgb;
  to320.mean = {127, 127, 127};
  to320.scale = {1 / 128.f, 1 / 128.f, 1 / 128.f};
  return {
      {"1080p_nv12_640_letterbox", PixelFormat::kNv12, 1920, 1080, to640},
      {"1080p_i420_640_letterbox", PixelFormat::kI420, 1920, 1080, to640},
      {"1080p_i420_640_stretch", PixelFormat::kI420, 1920, 1080,
       Recipe(640, 640, kStretch, kLinear)},
      {"1080p_i420_416_letterbox", PixelFormat::kI420, 1920, 1080, to416},
      {"1080p_i420_352_stretch", PixelFormat::kI420, 1920, 1080, to352},
      {"768x576_i420_416_letterbox", PixelFormat::kI420, 768, 576, to416},
      {"768x576_i420_352_stretch", PixelFormat::kI420, 768, 576, to352},
      {"768x576_i420_320_stretch", PixelFormat::kI420, 768, 576, to320},
      {"720p_i420_640_letterbox", PixelFormat::kI420, 1280, 720, to640},
      {"1080p_bgr_640_letterbox", PixelFormat::kBgr24, 1920, 1080, to640},
      {"1080p_i420_416_area", PixelFormat::kI420, 1920, 1080,
       Recipe(416, 416, kLetterbox, Interpolation::kArea)},
      {"1080p_i420_416_cubic", PixelFormat::kI420, 1920, 1080,
       Recipe(416, 416, kStretch, Interpolation::kCubic)},
  };
}

void RunSightline(benchmark::State& state, const Case& c) {
  const Source source(c);
  absl::StatusOr<Preprocessor> preprocessor = Preprocessor::Create(c.recipe);
  std::vector<uint8_t> tensor(TensorBytes(c.recipe));
  for (auto _ : state) {
    if (!preprocessor->Run(source.view, tensor.data(), nullptr).ok()) {
      state.SkipWithError("refused");
    }
    benchmark::ClobberMemory();
  }
}

void RunChain(benchmark::State& state, const Case& c) {
  Source source(c);
  Chain chain;
  std::vector<uint8_t> tensor(TensorBytes(c.recipe));
  for (auto _ : state) {
    chain.Run(c, source, reinterpret_cast<float*>(tensor.data()));
    benchmark::ClobberMemory();
  }
}

void RunMotion(benchmark::State& state, const Case& c) {
  const Source source(c);
  const absl::StatusOr<std::unique_ptr<MotionGate>> gate = MotionGate::Create({});
  int64_t pts_us = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize((*gate)->Measure(source.view, pts_us += 40'000));
  }
}

// Keeps the times for the ratios at the end.
class RatioReporter : public benchmark::ConsoleReporter {
 public:
  void ReportRuns(const std::vector<Run>& runs) override {
    ConsoleReporter::ReportRuns(runs);
    for (const Run& run : runs) {
      if (run.run_type != Run::RT_Iteration) continue;
      auto [it, fresh] = best_us_.try_emplace(run.benchmark_name(), 1e30);
      it->second = std::min(it->second, run.GetAdjustedCPUTime());
    }
  }
  void PrintRatios(const std::vector<Case>& cases) const {
    fmt::print("\n{:<30} {:>12} {:>12} {:>8}\n", "CPU time, one thread (best run)", "Sightline us",
               "OpenCV us", "ratio");
    for (const Case& c : cases) {
      const auto ours = best_us_.find("sightline/" + c.name);
      const auto theirs = best_us_.find("opencv/" + c.name);
      if (ours == best_us_.end() || theirs == best_us_.end()) continue;
      fmt::print("{:<31} {:>12.0f} {:>12.0f} {:>7.1f}x\n", c.name, ours->second, theirs->second,
                 theirs->second / ours->second);
    }
  }

 private:
  std::map<std::string, double> best_us_;
};

}  // namespace
}  // namespace sightline

int main(int argc, char** argv) {
  using namespace sightline;  // NOLINT: the program's own
  std::string command;
  for (int i = 0; i < argc; ++i) command += std::string(i ? " " : "") + argv[i];
  cv::setNumThreads(1);
  const std::vector<Case> cases = Cases();
  for (const Case& c : cases) {
    benchmark::RegisterBenchmark(("sightline/" + c.name).c_str(), RunSightline, c)
        ->Unit(benchmark::kMicrosecond);
    benchmark::RegisterBenchmark(("opencv/" + c.name).c_str(), RunChain, c)
        ->Unit(benchmark::kMicrosecond);
  }
  for (const Case& c : cases) {
    if (c.name != "1080p_i420_640_letterbox") continue;
    benchmark::RegisterBenchmark("motion_gate/1080p_i420", RunMotion, c)
        ->Unit(benchmark::kMicrosecond);
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  RatioReporter reporter;
  benchmark::RunSpecifiedBenchmarks(&reporter);
  reporter.PrintRatios(cases);
  fmt::print("command: {}\n", command);
  return 0;
}
