// The frame path allocates nothing per frame once warm: from the decoder to the rows and lines,
// through a neural model, tracker and rules. Counts every operator new of this program that is not
// within LibraryAllocations (base/allocation_scope.h).
//
// SIGHTLINE_ALLOCATION_TRACE=1 prints a backtrace of each counted allocation (names by addr2line).
#include <execinfo.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <new>

#include "base/allocation_scope.h"
#include "base/mutex.h"
#include "detect/detector_factory.h"
#include "infer/backends/onnxruntime/onnxruntime_backend.h"
#include "media/open_source.h"
#include "pipeline/config/parse.h"
#include "pipeline/engine.h"
#include "store/jsonl_sink.h"
#include "store/sqlite_sink.h"

namespace {

// Threads by what they do; their names begin with it (docs/life_of_a_frame.md).
enum Group { kRead, kBatch, kCamera, kDeliver, kOther, kGroups };
constexpr std::array<std::string_view, kGroups> kGroupNames = {"read", "batch", "cam", "deliver",
                                                               "other"};
std::array<std::atomic<int64_t>, kGroups> allocations{};
std::atomic<bool> trace{false};
std::atomic<int> traced{0};

Group GroupOfThisThread() {
  char name[16] = "";
  pthread_getname_np(pthread_self(), name, sizeof name);
  for (size_t i = 0; i < kOther; ++i) {
    if (std::string_view(name).starts_with(kGroupNames[i])) return static_cast<Group>(i);
  }
  return kOther;
}

void Trace(Group group) {
  constexpr int kMost = 200;
  if (group == kOther || ++traced > kMost) return;
  void* frames[16];
  const int depth = backtrace(frames, 16);
  static sightline::Mutex mutex;
  const sightline::MutexLock lock(mutex);
  const std::string_view name = kGroupNames[group];
  [[maybe_unused]] ssize_t ignored = write(2, "-- ", 3);
  ignored = write(2, name.data(), name.size());
  ignored = write(2, "\n", 1);
  backtrace_symbols_fd(frames + 2, depth - 2, 2);
}

void CountOne() {
  if (sightline::LibraryAllocations::Inside()) return;
  const Group group = GroupOfThisThread();
  allocations[group].fetch_add(1, std::memory_order_relaxed);
  if (trace) Trace(group);
}

void* Take(size_t size) {
  CountOne();
  return std::malloc(size > 0 ? size : 1);
}

void* Take(size_t size, std::align_val_t alignment) {
  CountOne();
  void* memory = nullptr;
  const size_t align = std::max(static_cast<size_t>(alignment), sizeof(void*));
  return posix_memalign(&memory, align, size > 0 ? size : 1) == 0 ? memory : nullptr;
}

void* OrThrow(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

// Every form that the standard lets a program replace.
void* operator new(size_t n) { return OrThrow(Take(n)); }
void* operator new[](size_t n) { return OrThrow(Take(n)); }
void* operator new(size_t n, std::align_val_t a) { return OrThrow(Take(n, a)); }
void* operator new[](size_t n, std::align_val_t a) { return OrThrow(Take(n, a)); }
void* operator new(size_t n, const std::nothrow_t&) noexcept { return Take(n); }
void* operator new[](size_t n, const std::nothrow_t&) noexcept { return Take(n); }
void* operator new(size_t n, std::align_val_t a, const std::nothrow_t&) noexcept {
  return Take(n, a);
}
void* operator new[](size_t n, std::align_val_t a, const std::nothrow_t&) noexcept {
  return Take(n, a);
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
void operator delete[](void* p, size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t, const std::nothrow_t&) noexcept { std::free(p); }

namespace sightline {
namespace {

using Counts = std::array<int64_t, kGroups>;

Counts CountsNow() {
  Counts counts;
  for (size_t i = 0; i < kGroups; ++i) counts[i] = allocations[i];
  return counts;
}

constexpr uint64_t kWarmFrames = 300;
constexpr uint64_t kCountedFrames = 600;

// Stands before the real sinks. It holds the first frame back until the pipeline is full behind
// it, so that every pool reaches its largest size while warming up, whatever the threads do later;
// and it marks where counting begins and ends.
class Gate {
 public:
  // Frames that leave the source while the first one is held: that one, the lane's queue, one in
  // the camera's hand, the reorder window, one in the reader's hand. Where the window was full
  // before, its reader may wait for a burst that is one or two slots short.
  static constexpr uint64_t kLaneQueue = 64;
  static constexpr int kInFlight = 6;
  static constexpr uint64_t kFull = 1 + kLaneQueue + 1 + kInFlight + 1 - (kInFlight / 2 - 1);

  void OnRead() {
    const MutexLock lock(mutex_);
    if (++read_ == kFull) filled_.NotifyAll();
  }

  void OnDeliver(const FrameResult& result) {
    const uint64_t ordinal = result.frame.meta.ordinal;
    if (result.end_of_stream) return;
    ++delivered;
    detections += result.detections.items.size();
    events += result.events.size();
    if (ordinal == 0) WaitUntilFull();
    if (ordinal == kWarmFrames) {
      before = CountsNow();
      trace = std::getenv("SIGHTLINE_ALLOCATION_TRACE") != nullptr;
      events_while_warm = events;
    }
    for (const TrackedObject& track : result.tracks.items)
      last_track_ = std::max(last_track_, track.track_id);
    if (ordinal == kWarmFrames) first_counted_ = last_track_;
    if (ordinal == kWarmFrames + kCountedFrames) {
      tracks_counted = static_cast<uint64_t>(last_track_ - first_counted_);
      trace = false;
      after = CountsNow();
      events_counted = events - events_while_warm;
    }
  }

  Counts before{}, after{};
  uint64_t delivered = 0, detections = 0, events = 0, events_while_warm = 0, events_counted = 0;
  uint64_t tracks_counted = 0;  // new ones

 private:
  void WaitUntilFull() {
    const MutexLock lock(mutex_);
    constexpr std::chrono::microseconds kHang = std::chrono::minutes(2);
    while (read_ < kFull) {
      if (filled_.WaitFor(mutex_, kHang)) continue;
      ADD_FAILURE() << "only " << read_ << " frames were read while one was held back; did a "
                    << "queue become shorter?";
      return;
    }
  }

  int64_t last_track_ = 0, first_counted_ = 0;
  Mutex mutex_;
  CondVar filled_;
  uint64_t read_ GUARDED_BY(mutex_) = 0;
};

class GateSink final : public ResultSink {
 public:
  explicit GateSink(Gate* gate) : gate_(gate) {}
  std::string_view name() const override { return "gate"; }
  absl::Status Write(const FrameResult& result) override {
    gate_->OnDeliver(result);
    return absl::OkStatus();
  }
  absl::Status Close() override { return absl::OkStatus(); }

 private:
  Gate* gate_;
};

class WatchedSource final : public FrameSource {
 public:
  WatchedSource(std::unique_ptr<FrameSource> source, Gate* gate)
      : source_(std::move(source)), gate_(gate) {}
  const SourceInfo& info() const override { return source_->info(); }
  absl::StatusOr<std::optional<Frame>> Next() override {
    absl::StatusOr<std::optional<Frame>> frame = source_->Next();
    if (frame.ok() && frame->has_value()) gate_->OnRead();
    return frame;
  }
  void Cancel() override { source_->Cancel(); }

 private:
  std::unique_ptr<FrameSource> source_;
  Gate* gate_;
};

class AllocationTest : public testing::Test {
 protected:
  void SetUp() override {
    if (std::system("ffmpeg -version >/dev/null 2>&1") != 0) {
      GTEST_SKIP() << "the ffmpeg program is not installed";
    }
    if (!OnnxRuntimeBackend().ok()) GTEST_SKIP() << OnnxRuntimeBackend().status();
    std::string pattern =
        (std::filesystem::temp_directory_path() / "sightline-allocation-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  void TearDown() override {
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }

  // Two rectangles on grey; the expressions are ffmpeg's, over the frame number n.
  std::string MakeClip(const std::string& x1, const std::string& x2, const std::string& output) {
    const std::string path = folder_ + "/" + output;
    const std::string command =
        "ffmpeg -nostdin -v error -f lavfi -i color=0x767676:s=320x256:r=25 "
        "-f lavfi -i color=white:s=24x48:r=25 -f lavfi -i color=red:s=40x30:r=25 -filter_complex "
        "\"[0][1]overlay=x='" +
        x1 + "':y=30[a];[a][2]overlay=x='" + x2 + "':y=150\" -frames:v " +
        std::to_string(kWarmFrames + kCountedFrames + 100) + " -pix_fmt yuv420p " + path;
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
    return path;
  }

  void Run(const std::string& clip, const std::string& more) {
    const std::string text =
        "cameras: [{id: the_camera_with_a_name_that_is_long, source: '" + clip +
        "', model: '" SIGHTLINE_SOURCE_DIR "/tests/data/models/blobs_yolox.onnx'" + more +
        "}]\nlimits: {threads: 2, "
        "frames_in_flight: " +
        std::to_string(Gate::kInFlight) + "}\n";
    const ParsedConfig parsed = ParseConfig(text, "test.yaml");
    EXPECT_TRUE(parsed.config.has_value()) << parsed.ErrorText();
    EngineFactories factories;
    factories.open_source =
        [&](const SourceOptions& options, const LiveConfig&,
            FrameLedger& ledger) -> absl::StatusOr<std::unique_ptr<FrameSource>> {
      SL_ASSIGN_OR_RETURN(std::unique_ptr<FrameSource> source, OpenSource(options, ledger));
      return std::make_unique<WatchedSource>(std::move(source), &gate_);
    };
    factories.open_detector = [](const ModelConfig& model) {
      DetectorRequest request;
      request.model = model.reference;
      return OpenDetector(request, [] { return OnnxRuntimeBackend(); });
    };
    using Made = absl::StatusOr<std::unique_ptr<ResultSink>>;
    factories.plan_sinks = [&](const Config&, bool) {
      return std::vector<SinkPlan>{
          {.lane = "rows",
           .what = "gate",
           .make = [&](const SinkContext&) { return Made(std::make_unique<GateSink>(&gate_)); }},
          {.lane = "rows",
           .what = "rows",
           .make = [&](const SinkContext&) -> Made {
             SL_ASSIGN_OR_RETURN(
                 std::unique_ptr<ResultSink> rows,
                 SqliteSink::Create({.path = folder_ + "/a.db", .batch_rows = 500}));
             return rows;
           }},
          {.lane = "rows", .what = "lines", .make = [&](const SinkContext&) -> Made {
             SL_ASSIGN_OR_RETURN(
                 std::unique_ptr<ResultSink> lines,
                 JsonlSink::Create({.path = folder_ + "/a.jsonl", .flush_bytes = 65536}));
             return lines;
           }}};
    };
    absl::StatusOr<std::unique_ptr<Engine>> engine =
        Engine::Create(*parsed.config, std::move(factories));
    EXPECT_TRUE(engine.ok()) << engine.status();
    RunSummary summary;
    if (engine.ok()) {
      const absl::Status status = (*engine)->Run({}, &summary);
      EXPECT_TRUE(status.ok()) << status;
    }
  }

  int64_t Counted(Group group) const { return gate_.after[group] - gate_.before[group]; }
  int64_t CountedAll() const {
    int64_t sum = 0;
    for (int group = 0; group < kGroups; ++group) sum += Counted(static_cast<Group>(group));
    return sum;
  }
  void Print() const {
    for (int group = 0; group < kGroups; ++group) {
      printf("%8s: %ld allocations in %lu frames\n", kGroupNames[group].data(),
             static_cast<long>(Counted(static_cast<Group>(group))),
             static_cast<unsigned long>(kCountedFrames));
    }
  }

  std::string folder_;
  Gate gate_;
};

TEST(Allocations, TheCounterCounts) {
  const Counts before = CountsNow();
  const auto number = std::make_unique<std::string>(100, 'x');
  struct alignas(64) Wide {
    char bytes[64];
  };
  const auto wide = std::make_unique<Wide>();
  {
    const LibraryAllocations library;
    const auto hidden = std::make_unique<std::string>(100, 'x');
  }
  EXPECT_EQ(CountsNow()[kOther] - before[kOther], 3);
}

// Two objects that stay: what every frame does.
TEST_F(AllocationTest, NothingPerFrame) {
  Run(MakeClip("60+abs(mod(n,100)-50)", "200-abs(mod(n,80)-40)", "stay.mkv"), "");
  Print();
  EXPECT_EQ(gate_.delivered, kWarmFrames + kCountedFrames + 100);
  EXPECT_EQ(gate_.detections, 2 * gate_.delivered) << "the model must have found both";
  EXPECT_EQ(CountedAll(), 0);
}

// They go to and fro across a line and through a zone. An event carries the names of its rule and
// direction, which take room of their own when they are longer than a std::string holds in place;
// and a sink's list of events that wait for their commit may still grow a few times.
TEST_F(AllocationTest, OnlyLongNamesPerEvent) {
  Run(MakeClip("60+3*abs(mod(n,100)-50)", "230-3*abs(mod(n,80)-40)", "rules.mkv"),
      ", coordinates: pixels, zones: [{name: the middle of the picture, polygon: [[120, 0], [200, "
      "0], "
      "[200, 256], [120, 256]]}], lines: [{name: the line in the middle, from: [160, 0], to: [160, "
      "256], directions: {forward: from right to left, backward: from left to right}}]");
  Print();
  EXPECT_GT(gate_.events_counted, 50u);
  EXPECT_EQ(Counted(kRead) + Counted(kBatch) + Counted(kOther), 0);
  EXPECT_LE(Counted(kCamera), static_cast<int64_t>(2 * gate_.events_counted));
  EXPECT_LE(Counted(kDeliver), 16);
}

// They leave the picture and come back as new objects, every 90 and 110 frames.
TEST_F(AllocationTest, FewPerNewObject) {
  Run(MakeClip("mod(n*4,360)-30", "320-mod(n*4,440)", "births.mkv"), "");
  Print();
  EXPECT_GE(gate_.tracks_counted, 8u);
  // Chosen: what a track's own records may take; a leak per frame would be hundreds.
  EXPECT_LE(CountedAll(), static_cast<int64_t>(4 * gate_.tracks_counted));
}

}  // namespace
}  // namespace sightline
