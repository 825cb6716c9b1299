#include "cli/tune_measure.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <set>
#include <thread>
#include <utility>

#include "base/thread.h"
#include "base/time.h"
#include "detect/neural_detector.h"
#include "types/detector.h"
#include "types/frame.h"

namespace sightline::cli {
namespace {

// Chosen: long against the clocks' steps and the start of threads, short enough for dozens of ways.
constexpr double kSliceSeconds = 0.1;
constexpr int kMaxRunsASlice = 10'000;
constexpr int kMaxRounds = 200;
constexpr size_t kSlicesToJudge = 3;  // before one is given up
constexpr double kFarBehind = 1.25;   // of the best median: more than any noise seen here
constexpr double kHopeless = 2.0;     // by the first slice alone
constexpr double kAsGood = 1.05;
constexpr double kInTheRunning = 1.15;  // these are measured often enough to be told apart
constexpr size_t kLeastSlices = 5;
constexpr double kLongest = 3;  // times the seconds that were asked for

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

// A picture with edges, a slope and noise, the same every time.
class MadeUpPicture {
 public:
  MadeUpPicture(int width, int height) : pixels_(size_t{3} * width * height) {
    uint32_t noise = 12345;
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        for (int c = 0; c < 3; ++c) {
          noise = noise * 1664525u + 1013904223u;
          const int value = 120 * (x + y) / (width + height) + (x / 24 + y / 24) % 2 * 80 +
                            static_cast<int>(noise >> 27);
          pixels_[(size_t{static_cast<size_t>(y)} * width + x) * 3 + c] =
              static_cast<uint8_t>(value);
        }
      }
    }
    frame_.meta.width = width;
    frame_.meta.height = height;
    frame_.image = {.format = PixelFormat::kBgr24,
                    .range = ColorRange::kFull,
                    .width = width,
                    .height = height,
                    .planes = {pixels_.data()},
                    .strides = {3 * width}};
  }
  const Frame& frame() const { return frame_; }

 private:
  std::vector<uint8_t> pixels_;
  Frame frame_;
};

// One way of running the model, opened: a detector and its jobs for each instance.
class OpenCandidate {
 public:
  static absl::StatusOr<std::unique_ptr<OpenCandidate>> Open(const ModelSpec& spec,
                                                             const TuneCandidate& candidate,
                                                             const Frame& frame) {
    NeuralOptions options;
    options.threads = candidate.threads;
    options.parallel_detectors = candidate.instances;
    options.max_batch = candidate.batch;
    SL_ASSIGN_OR_RETURN(const DetectorFactory factory,
                        MakeNeuralDetectorFactory(spec, *candidate.backend, options));
    auto open = std::make_unique<OpenCandidate>();
    for (int i = 0; i < candidate.instances; ++i) {
      auto& instance = open->instances_.emplace_back(std::make_unique<Instance>());
      SL_ASSIGN_OR_RETURN(instance->detector, factory());
      instance->found.resize(candidate.batch);
      for (Detections& found : instance->found) {
        instance->jobs.push_back({.frame = &frame, .result = &found, .status = {}});
      }
    }
    // The first runs do more than the later ones.
    constexpr int kWarmUps = 3;
    double run_s = 0;  // of one instance; by CPU time, which other programs do not lengthen
    for (int i = 0; i < kWarmUps; ++i) {
      const double cpu_s = ProcessCpuSeconds();
      SL_RETURN_IF_ERROR(open->RunAll(1));
      run_s = (ProcessCpuSeconds() - cpu_s) / candidate.instances;
    }
    open->runs_ = static_cast<int>(
        std::clamp(kSliceSeconds / std::max(run_s, 1e-6), 1.0, double{kMaxRunsASlice}));
    return open;
  }

  // Adds one slice to `result`.
  absl::Status Measure(TuneResult& result) {
    const int64_t begin_us = Clock::Real().NowMonotonicUs();
    const double cpu_s = ProcessCpuSeconds();
    SL_RETURN_IF_ERROR(RunAll(runs_));
    const double used_s = ProcessCpuSeconds() - cpu_s;
    const double wall_s = static_cast<double>(Clock::Real().NowMonotonicUs() - begin_us) * 1e-6;
    const double pictures = static_cast<double>(runs_) * static_cast<double>(instances_.size()) *
                            static_cast<double>(instances_[0]->jobs.size());
    result.cpu_ms.push_back(used_s * 1e3 / pictures);
    result.per_s.push_back(wall_s > 0 ? pictures / wall_s : 0);
    return absl::OkStatus();
  }

 private:
  struct Instance {
    std::unique_ptr<Detector> detector;
    std::vector<Detections> found;
    std::vector<DetectJob> jobs;
    absl::Status status;

    void Run(int runs) {
      for (int i = 0; i < runs && status.ok(); ++i) {
        detector->Detect(jobs);
        for (const DetectJob& job : jobs) status.Update(job.status);
      }
    }
  };

  // Every instance so many times, all at once.
  absl::Status RunAll(int runs) {
    std::vector<std::thread> threads;
    absl::Status first;
    for (size_t i = 1; i < instances_.size(); ++i) {
      auto thread = StartThread("tune", [&instance = *instances_[i], runs] { instance.Run(runs); });
      first.Update(thread.status());
      if (!thread.ok()) break;
      threads.push_back(*std::move(thread));
    }
    if (first.ok()) instances_[0]->Run(runs);
    for (std::thread& thread : threads) thread.join();
    for (const auto& instance : instances_) first.Update(instance->status);
    return first;
  }

  std::vector<std::unique_ptr<Instance>> instances_;
  int runs_ = 1;  // of each instance in a slice
};

double BestMedian(const std::vector<TuneResult>& results) {
  double best = 0;
  for (const TuneResult& result : results) {
    if (!result.status.ok() || result.cpu_ms.empty()) continue;
    const double median = result.median_cpu_ms();
    if (best == 0 || median < best) best = median;
  }
  return best;
}

bool ClearlyBehind(const TuneResult& result, double best) {
  const double median = result.median_cpu_ms();
  return median > kHopeless * best ||
         (result.cpu_ms.size() >= kSlicesToJudge && median > kFarBehind * best);
}

// Whether a result is measured further when the time that was asked for is over.
bool NeedsMore(const TuneResult& result, double best) {
  return result.cpu_ms.size() < kLeastSlices && result.median_cpu_ms() <= kInTheRunning * best;
}

}  // namespace

std::string ToString(const TuneCandidate& candidate) {
  return fmt::format("{}, {} x {} thread{}, batch {}", candidate.backend->name(),
                     candidate.instances, candidate.threads, candidate.threads == 1 ? "" : "s",
                     candidate.batch);
}

double TuneResult::median_cpu_ms() const { return Median(cpu_ms); }
double TuneResult::median_per_s() const { return Median(per_s); }

std::vector<TuneCandidate> TuneCandidates(const ModelSpec& spec,
                                          const std::vector<InferenceBackend*>& backends,
                                          int cores) {
  std::set<std::pair<int, int>> layouts;  // threads, instances
  for (int threads = 1; threads < 2 * cores; threads *= 2) {
    const int used = std::min(threads, cores);
    const int most = std::max(1, cores / used);
    for (const int instances : {1, std::max(1, most / 2), most}) layouts.insert({used, instances});
  }
  const std::vector<int> batches =
      spec.batch > 0 ? std::vector<int>{spec.batch} : std::vector<int>{1, 2, 4, 8};
  std::vector<TuneCandidate> candidates;
  for (InferenceBackend* backend : backends) {
    for (const auto& [threads, instances] : layouts) {
      for (const int batch : batches) candidates.push_back({backend, threads, instances, batch});
    }
  }
  return candidates;
}

absl::StatusOr<std::vector<TuneResult>> MeasureCandidates(
    const ModelSpec& spec, const std::vector<TuneCandidate>& candidates,
    const TuneOptions& options) {
  const MadeUpPicture picture(spec.input.width, spec.input.height);
  std::vector<TuneResult> results;
  for (const TuneCandidate& candidate : candidates) results.push_back({.candidate = candidate});
  std::vector<std::unique_ptr<OpenCandidate>> open(candidates.size());
  const auto now_s = [] { return static_cast<double>(Clock::Real().NowMonotonicUs()) * 1e-6; };
  double measured_s = 0;
  for (int round = 0; round < kMaxRounds; ++round) {
    size_t measured = 0;
    for (size_t turn = 0; turn < candidates.size(); ++turn) {
      // Another one first in every round, so that none always follows the same one.
      const size_t i = (turn + static_cast<size_t>(round) * 7) % candidates.size();
      TuneResult& result = results[i];
      if (options.stop && options.stop()) return Cancelled("stopped; nothing was stored");
      if (!result.status.ok() || result.given_up) continue;
      if (round > 0 && measured_s >= options.seconds && !NeedsMore(result, BestMedian(results))) {
        continue;
      }
      if (open[i] == nullptr) {
        auto opened = OpenCandidate::Open(spec, candidates[i], picture.frame());
        result.status = opened.status();
        if (!opened.ok()) continue;
        open[i] = *std::move(opened);
      }
      const double begin_s = now_s();
      result.status = open[i]->Measure(result);
      measured_s += now_s() - begin_s;
      ++measured;
      if (result.status.ok() && !options.exhaustive) {
        result.given_up = ClearlyBehind(result, BestMedian(results));
      }
      if (!result.status.ok() || result.given_up) open[i].reset();
    }
    if (measured == 0 || measured_s >= kLongest * options.seconds) break;
  }
  return results;
}

absl::StatusOr<size_t> ChooseCandidate(const std::vector<TuneResult>& results) {
  const double best = BestMedian(results);
  size_t chosen = results.size();
  absl::Status first;
  for (size_t i = 0; i < results.size(); ++i) {
    const TuneResult& result = results[i];
    first.Update(result.status);
    if (!result.status.ok() || result.given_up || result.cpu_ms.empty()) continue;
    if (result.median_cpu_ms() > kAsGood * best) continue;
    if (chosen == results.size() || result.median_per_s() > results[chosen].median_per_s()) {
      chosen = i;
    }
  }
  if (chosen < results.size()) return chosen;
  return NotFound("no way of running the model could be measured{}{}", first.ok() ? "" : ": ",
                  first.ok() ? "" : MessageOf(first));
}

}  // namespace sightline::cli
