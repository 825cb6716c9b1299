// What storing costs: frames of results through the SQLite and the JSON lines sink; no decoding, no
// model.   build/bin/sqlite_bench [FRAMES] [BATCH_ROWS]      writes below TMPDIR and cleans up
// Prints detections per second of CPU and of wall time, Close() (sync to the disk) included in the
// wall time; making the synthetic results is not included.
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/time.h"
#include "store/jsonl_sink.h"
#include "store/sqlite_sink.h"
#include "store/synthetic_results.h"

namespace sightline {
namespace {

constexpr int kPrepared = 500;  // results made ahead at a time, outside the measured time

struct Cost {
  double cpu_s = 0;
  double wall_s = 0;
};

template <typename Work>
absl::Status Measure(Cost& cost, Work work) {
  const double cpu_s = ProcessCpuSeconds();
  const int64_t wall_us = Clock::Real().NowMonotonicUs();
  const absl::Status status = work();
  cost.cpu_s += ProcessCpuSeconds() - cpu_s;
  cost.wall_s += static_cast<double>(Clock::Real().NowMonotonicUs() - wall_us) * 1e-6;
  return status;
}

absl::Status Store(ResultSink& sink, int frames, const std::vector<SyntheticResults>& cameras,
                   Cost& cost) {
  std::vector<FrameResult> results(kPrepared);
  for (int done = 0; done < frames; done += kPrepared) {
    for (int i = 0; i < kPrepared; ++i) {
      const auto turn = static_cast<size_t>(done + i);
      cameras[turn % cameras.size()].Fill(turn / cameras.size(), results[static_cast<size_t>(i)]);
    }
    SL_RETURN_IF_ERROR(Measure(cost, [&]() -> absl::Status {
      for (const FrameResult& result : results) SL_RETURN_IF_ERROR(sink.Write(result));
      return absl::OkStatus();
    }));
  }
  return Measure(cost, [&] { return sink.Close(); });
}

absl::StatusOr<std::unique_ptr<ResultSink>> MakeSink(const std::string& what,
                                                     const std::string& folder, int batch_rows) {
  if (what == "jsonl") return JsonlSink::Create({.path = folder + "/results.jsonl"});
  SqliteSinkOptions options{.path = folder + "/results.db", .batch_rows = batch_rows};
  if (what == "sqlite, power loss") options.durability = SqliteDurability::kPowerLoss;
  return SqliteSink::Create(options);
}

absl::Status Run(const std::string& what, int frames, int objects, int camera_count,
                 int batch_rows) {
  std::string folder = (std::filesystem::temp_directory_path() / "sightline_bench_XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) return FailedPrecondition("no temporary folder");
  std::vector<SyntheticResults> cameras;
  for (int i = 0; i < camera_count; ++i) cameras.emplace_back(fmt::format("camera{}", i), objects);
  const std::vector<const char*> rounds = {"first run", "same again"};
  absl::Status status;
  for (const char* round : rounds) {
    SL_ASSIGN_OR_RETURN(const auto sink, MakeSink(what, folder, batch_rows));
    Cost cost;
    status = Store(*sink, frames, cameras, cost);
    if (!status.ok()) break;
    uint64_t bytes = 0;
    for (const auto& file : std::filesystem::directory_iterator(folder)) bytes += file.file_size();
    const double rows = static_cast<double>(frames) * objects;
    fmt::print(
        "{:<19} {:<11} {:>2} cameras {:>3} objects  {:>10.0f} detections/s CPU  {:>10.0f} "
        "wall  {:>7.2f} us CPU/frame  {:>4.0f} bytes/detection\n",
        what, round, camera_count, objects, rows / cost.cpu_s, rows / cost.wall_s,
        1e6 * cost.cpu_s / frames, static_cast<double>(bytes) / rows);
  }
  std::filesystem::remove_all(folder);
  return status;
}

int Main(int argc, char** argv) {
  const int frames = argc > 1 ? std::atoi(argv[1]) : 50'000;
  const int batch_rows = argc > 2 ? std::atoi(argv[2]) : SqliteSinkOptions().batch_rows;
  fmt::print("{} {} {}\n", argv[0], frames, batch_rows);
  for (const char* what : {"sqlite", "sqlite, power loss", "jsonl"}) {
    for (const auto& [objects, cameras] : {std::pair(10, 1), std::pair(10, 8), std::pair(2, 1)}) {
      if (const absl::Status status = Run(what, frames, objects, cameras, batch_rows);
          !status.ok()) {
        fmt::print(stderr, "sqlite_bench: {}\n", MessageOf(status));
        return 1;
      }
    }
  }
  return 0;
}

}  // namespace
}  // namespace sightline

int main(int argc, char** argv) { return sightline::Main(argc, argv); }
