#include "detect/neural_detector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "base/allocation_scope.h"
#include "detect/fake_backend.h"

namespace {
std::atomic<uint64_t> allocations{0};
}  // namespace

// The program's own allocations, counted; those that libraries make on our behalf are left out.
// Every form without alignment is replaced, so that no memory is freed by another allocator than
// its own.
[[gnu::noinline]] void* operator new(size_t size, const std::nothrow_t&) noexcept {
  if (!sightline::LibraryAllocations::Inside()) allocations.fetch_add(1, std::memory_order_relaxed);
  return std::malloc(size == 0 ? 1 : size);
}
[[gnu::noinline]] void* operator new(size_t size) {
  if (void* memory = ::operator new(size, std::nothrow)) return memory;
  throw std::bad_alloc();
}
void* operator new[](size_t size) { return ::operator new(size); }
void* operator new[](size_t size, const std::nothrow_t& tag) noexcept {
  return ::operator new(size, tag);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { ::operator delete(memory); }
void operator delete(void* memory, size_t) noexcept { ::operator delete(memory); }
void operator delete[](void* memory) noexcept { ::operator delete(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { ::operator delete(memory); }
void operator delete[](void* memory, size_t) noexcept { ::operator delete(memory); }

namespace sightline {
namespace {

using testing::HasSubstr;

constexpr int kSide = 64;            // of the model's input
constexpr int kCells = 64 + 16 + 4;  // at strides 8, 16, 32
constexpr int kRow = 5 + 2;          // two classes

ModelSpec Spec(int batch) {
  ModelSpec spec;
  spec.name = "tiny";
  spec.family = "yolox";
  spec.layout = "raw_grid";
  spec.sha256 = "ab";
  spec.input.width = kSide;
  spec.input.height = kSide;
  spec.input.resize = ResizeMode::kLetterboxTopLeft;
  spec.input.channels = ChannelOrder::kBgr;
  spec.input_name = "images";
  spec.batch = batch;
  spec.labels = std::make_shared<LabelSet>(LabelSet{{"dark", "bright"}});
  return spec;
}

FakeBackendOptions Model(int64_t batch) {
  FakeBackendOptions options;
  options.inputs = {{"images", DataType::kFloat32, {batch, 3, kSide, kSide}}};
  options.outputs = {{"output", DataType::kFloat32, {batch, kCells, kRow}}};
  // One box, in the cell whose number is the first pixel's value.
  options.run = [](const FakeModelRun& run) {
    std::vector<float>& out = (*run.outputs)[0];
    std::ranges::fill(out, 0.0f);
    for (int64_t entry = 0; entry < run.input_shape[0]; ++entry) {
      const auto pixel = static_cast<int>(run.input[entry * 3 * kSide * kSide]);
      if (pixel < 0 || pixel >= 64) continue;
      float* row = out.data() + (entry * kCells + pixel) * kRow;
      row[4] = 0.9f;
      row[6] = 0.9f;
    }
    return absl::OkStatus();
  };
  return options;
}

// A grey picture of one value.
struct Picture {
  Picture(int width, int height, uint8_t value) : pixels(size_t{3} * width * height, value) {
    frame.image.format = PixelFormat::kBgr24;
    frame.image.width = width;
    frame.image.height = height;
    frame.image.planes[0] = pixels.data();
    frame.image.strides[0] = 3 * width;
    frame.meta.ordinal = value;
  }
  std::vector<uint8_t> pixels;
  Frame frame;
};

struct Batch {
  explicit Batch(std::vector<Picture*> pictures) : results(pictures.size()) {
    for (size_t i = 0; i < pictures.size(); ++i)
      jobs.push_back({&pictures[i]->frame, &results[i], {}});
  }
  std::vector<Detections> results;
  std::vector<DetectJob> jobs;
};

std::unique_ptr<Detector> MustOpen(const ModelSpec& spec, FakeBackend& backend,
                                   const NeuralOptions& options = {}) {
  auto factory = MakeNeuralDetectorFactory(spec, backend, options);
  EXPECT_TRUE(factory.ok()) << factory.status();
  auto detector = (*factory)();
  EXPECT_TRUE(detector.ok()) << detector.status();
  return *std::move(detector);
}

TEST(NeuralDetector, BoxesLandInTheSourcePicture) {
  FakeBackend backend(Model(1));
  const auto detector = MustOpen(Spec(1), backend);
  Picture picture(128, 64, 9);  // half size in the tensor; cell 9 is column 1, row 1
  Batch batch({&picture});
  detector->Detect(batch.jobs);
  ASSERT_TRUE(batch.jobs[0].status.ok()) << batch.jobs[0].status;
  ASSERT_EQ(batch.results[0].items.size(), 1u);
  EXPECT_EQ(batch.results[0].items[0].box_px, (Box{8, 8, 24, 24}));
  EXPECT_EQ(batch.results[0].items[0].class_id, 1);
  EXPECT_NEAR(batch.results[0].items[0].confidence, 0.81, 1e-6);
  EXPECT_EQ(batch.results[0].frame.ordinal, 9u);
  EXPECT_EQ(batch.results[0].labels->NameOf(1), "bright");
}

TEST(NeuralDetector, BoxesAreClippedToThePicture) {
  FakeBackend backend(Model(1));
  const auto detector = MustOpen(Spec(1), backend);
  Picture picture(64, 64, 0);  // centre at 0, 0
  Batch batch({&picture});
  detector->Detect(batch.jobs);
  ASSERT_EQ(batch.results[0].items.size(), 1u);
  EXPECT_EQ(batch.results[0].items[0].box_px, (Box{0, 0, 4, 4}));
}

TEST(NeuralDetector, BoxesInThePaddingVanish) {
  FakeBackend backend(Model(1));
  const auto detector = MustOpen(Spec(1), backend);
  Picture wide(640, 64, 60);  // 64x6 in the tensor, cell 60 is in row 7
  Batch batch({&wide});
  detector->Detect(batch.jobs);
  EXPECT_TRUE(batch.jobs[0].status.ok());
  EXPECT_TRUE(batch.results[0].items.empty());
}

TEST(NeuralDetector, EveryPictureOfABatchGetsItsOwnBoxes) {
  for (const int file_batch : {-1, 1, 2, 4}) {
    FakeBackend backend(Model(file_batch));
    NeuralOptions options;
    options.max_batch = 4;
    const auto detector = MustOpen(Spec(std::max(file_batch, 0)), backend, options);
    EXPECT_EQ(detector->info().max_batch, file_batch == -1 ? 4 : file_batch);
    Picture a(64, 64, 9), b(64, 64, 18), c(64, 64, 27);
    Batch batch({&a, &b, &c});
    detector->Detect(batch.jobs);
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(batch.jobs[i].status.ok());
      ASSERT_EQ(batch.results[i].items.size(), 1u) << file_batch;
      EXPECT_FLOAT_EQ(batch.results[i].items[0].box_px.center().x, 8.0f * (i + 1));
    }
  }
}

TEST(NeuralDetector, OneBadPictureFailsAlone) {
  FakeBackend backend(Model(-1));
  NeuralOptions options;
  options.max_batch = 3;
  const auto detector = MustOpen(Spec(0), backend, options);
  Picture a(64, 64, 9), bad(64, 64, 18), c(64, 64, 27);
  bad.frame.image.width = 0;
  Batch batch({&a, &bad, &c});
  batch.results[1].items.resize(3);  // of an earlier frame
  detector->Detect(batch.jobs);
  EXPECT_TRUE(batch.jobs[0].status.ok());
  EXPECT_EQ(batch.jobs[1].status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(batch.jobs[1].failure, DropReason::kPreprocessError);
  EXPECT_TRUE(batch.results[1].items.empty());
  ASSERT_EQ(batch.results[2].items.size(), 1u);
  EXPECT_FLOAT_EQ(batch.results[2].items[0].box_px.center().x, 24);
}

TEST(NeuralDetector, AFailedRunFailsItsPicturesAndTheNextOneWorks) {
  FakeBackendOptions model = Model(1);
  bool fail = true;
  const auto run = model.run;
  model.run = [&fail, run](const FakeModelRun& r) {
    return fail ? absl::Status(Internal("out of memory")) : run(r);
  };
  FakeBackend backend(model);
  const auto detector = MustOpen(Spec(1), backend);
  Picture picture(64, 64, 9);
  Batch batch({&picture});
  detector->Detect(batch.jobs);
  EXPECT_THAT(std::string(MessageOf(batch.jobs[0].status)), HasSubstr("tiny: out of memory"));
  EXPECT_EQ(batch.jobs[0].failure, DropReason::kInferenceError);
  fail = false;
  Batch again({&picture});
  detector->Detect(again.jobs);
  EXPECT_TRUE(again.jobs[0].status.ok());
}

TEST(NeuralDetector, OverridesCount) {
  FakeBackend backend(Model(1));
  NeuralOptions options;
  options.confidence = 0.85f;
  options.threads = 3;
  options.providers = {"cuda", "cpu"};
  const auto detector = MustOpen(Spec(1), backend, options);
  Picture picture(64, 64, 9);
  Batch batch({&picture});
  detector->Detect(batch.jobs);
  EXPECT_TRUE(batch.results[0].items.empty());
  EXPECT_EQ(backend.last.intra_op_threads, 3);
  EXPECT_EQ(backend.last.providers.size(), 2u);
}

TEST(NeuralDetector, IdentityFollowsWhateverChangesResults) {
  FakeBackend backend(Model(1));
  const auto identity = [&](auto change) {
    ModelSpec spec = Spec(1);
    change(spec);
    return MustOpen(spec, backend)->info().identity;
  };
  const Hash128 base = identity([](ModelSpec&) {});
  EXPECT_EQ(base, identity([](ModelSpec& s) { s.name = "other"; }));
  EXPECT_NE(base, identity([](ModelSpec& s) { s.sha256 = "cd"; }));
  EXPECT_NE(base, identity([](ModelSpec& s) { s.confidence_threshold = 0.3f; }));
  EXPECT_NE(base, identity([](ModelSpec& s) { s.nms.iou_threshold = 0.5f; }));
  EXPECT_NE(base, identity([](ModelSpec& s) { s.input.interpolation = Interpolation::kArea; }));
  EXPECT_NE(base, identity([](ModelSpec& s) { s.input.mean[2] = 1; }));
}

TEST(NeuralDetector, ImpossibleSettingsAreRefused) {
  FakeBackend backend(Model(1));
  const auto refused = [&](auto change) {
    ModelSpec spec = Spec(1);
    change(spec);
    auto factory = MakeNeuralDetectorFactory(spec, backend, {});
    if (!factory.ok()) return std::string(MessageOf(factory.status()));
    const auto detector = (*factory)();
    EXPECT_FALSE(detector.ok());
    return std::string(MessageOf(detector.status()));
  };
  EXPECT_THAT(refused([](ModelSpec& s) { s.confidence_threshold = 1.5f; }), HasSubstr("1.5"));
  EXPECT_THAT(refused([](ModelSpec& s) { s.confidence_threshold = std::nanf(""); }),
              HasSubstr("0..1"));
  EXPECT_THAT(refused([](ModelSpec& s) { s.nms.iou_threshold = -1; }), HasSubstr("-1"));
  EXPECT_THAT(refused([](ModelSpec& s) { s.nms.max_detections = 0; }), HasSubstr("max_detections"));
  EXPECT_THAT(refused([](ModelSpec& s) { s.input.width = 32; }), HasSubstr("[1,3,64,64]"));
  EXPECT_THAT(refused([](ModelSpec& s) { s.batch = 2; }), HasSubstr("[2,3,64,64]"));
  EXPECT_THAT(refused([](ModelSpec& s) { s.input.dtype = DataType::kUint8; }), HasSubstr("uint8"));
  EXPECT_THAT(refused([](ModelSpec& s) {
                s.family = "ultraface";
                s.layout = "decoded";
              }),
              HasSubstr("scores"));
}

TEST(NeuralDetector, AllocatesNothingOnceWarm) {
  FakeBackendOptions model = Model(-1);
  // More and more boxes with every run, all of them above the threshold and apart.
  auto boxes = std::make_shared<int>(0);
  model.run = [boxes](const FakeModelRun& run) {
    std::vector<float>& out = (*run.outputs)[0];
    std::ranges::fill(out, 0.0f);
    *boxes += 3;
    for (int i = 0; i < std::min(*boxes, 64); ++i) {
      out[i * kRow + 4] = 0.9f;
      out[i * kRow + 5] = 0.5f + 0.005f * i;
    }
    return absl::OkStatus();
  };
  FakeBackend backend(model);
  NeuralOptions options;
  options.max_batch = 2;
  const auto detector = MustOpen(Spec(0), backend, options);
  Picture a(640, 480, 9), b(640, 480, 18);
  Batch batch({&a, &b});
  for (int i = 0; i < 2; ++i) detector->Detect(batch.jobs);
  const uint64_t before = allocations.load();
  for (int i = 0; i < 30; ++i) detector->Detect(batch.jobs);
  EXPECT_EQ(allocations.load() - before, 0u);
  EXPECT_GT(batch.results[0].items.size(), 20u);
}

}  // namespace
}  // namespace sightline
