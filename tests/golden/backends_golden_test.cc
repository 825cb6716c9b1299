// The same tensors through every backend that is there: raw outputs and results have to agree.
//
// Tolerances. A value may differ by 1e-3 of its own size or, where that is larger, of the root mean
// square of its tensor. Backends add the products of a convolution in other orders and some by
// Winograd's transformation, each in float32: errors of some 1e-6 a layer that grow with depth, and
// they are relative to what was added, not to what little may be left of it. Wrong weights, layouts or paddings are off by far more than 1e-3.
// Differences below 1e-6 are none: runtimes approximate a sigmoid in its far tail differently, which is
// where YuNet's objectness of a picture without faces lies.
// float16 models may differ by 2e-2: some backends compute them in float16, others in float32.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <set>

#include "detect/detector_factory.h"
#include "detect/model_probe.h"
#include "infer/backends/onnxruntime/onnxruntime_backend.h"
#include "infer/model_format.h"
#include "infer/onnx_file.h"
#include "media/image_codec.h"
#ifdef SIGHTLINE_HAS_OPENVINO
#include "infer/backends/openvino/openvino_backend.h"
#endif
#ifdef SIGHTLINE_HAS_TORCHSCRIPT
#include "infer/backends/torchscript/torchscript_backend.h"
#endif

namespace sightline {
namespace {

namespace fs = std::filesystem;

constexpr double kTolerance = 1e-3;
constexpr double kHalfTolerance = 2e-2;
constexpr double kLeastScale = 1e-3;
constexpr int64_t kOpenBatch = 2;
constexpr int64_t kOpenSide = 64;

std::vector<InferenceBackend*> BackendsHere() {
  std::vector<InferenceBackend*> backends;
  if (const auto backend = OnnxRuntimeBackend(); backend.ok()) backends.push_back(*backend);
#ifdef SIGHTLINE_HAS_OPENVINO
  if (const auto backend = OpenVinoBackend(); backend.ok()) backends.push_back(*backend);
#endif
  return backends;
}

// Files that are models: what the fixtures hold that is to be refused is left out, and wrong_shape.onnx,
// which takes a shape as an input and runs with few.
std::vector<fs::path> ModelFiles() {
  static const std::set<std::string> kRefused = {"external.onnx", "external_escape.onnx",
                                                 "sequence.onnx", "wrong_shape.onnx"};
  std::vector<fs::path> folders = {SIGHTLINE_SOURCE_DIR "/tests/data/models",
                                   SIGHTLINE_SOURCE_DIR "/models/street"};
  if (const char* data = std::getenv("SIGHTLINE_TEST_DATA")) {
    folders.push_back(fs::path(data) / "models");
  }
  std::vector<fs::path> files;
  for (const fs::path& folder : folders) {
    for (const auto& entry : fs::directory_iterator(folder)) {
      const fs::path extension = entry.path().extension();
      if (extension != ".onnx" && extension != ".tflite") continue;
      if (!kRefused.contains(entry.path().filename().string())) files.push_back(entry.path());
    }
  }
  std::ranges::sort(files);
  return files;
}

std::vector<int64_t> ShapeFor(const TensorInfo& input) {
  std::vector<int64_t> shape = input.shape;
  for (size_t d = 0; d < shape.size(); ++d) {
    if (shape[d] < 0) shape[d] = d == 0 ? kOpenBatch : kOpenSide;
  }
  return shape;
}

uint16_t HalfOfSmall(float value) {  // of normal numbers
  const auto bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits >> 16 & 0x8000u) |
                               (((bits & 0x7fffffffu) - 0x38000000u) >> 13));
}

// The same numbers every time, of the size of normalised pixels. `picture`: the shape of the first input
// where the file does not say it.
absl::Status FillInputs(InferenceSession& session, const std::vector<int64_t>& picture) {
  for (size_t i = 0; i < session.inputs().size(); ++i) {
    const TensorInfo& info = session.inputs()[i];
    const std::vector<int64_t> shape = i == 0 && !picture.empty() ? picture : ShapeFor(info);
    SL_ASSIGN_OR_RETURN(void* const data, session.InputBuffer(i, shape));
    int64_t elements = 1;
    for (const int64_t size : shape) elements *= size;
    uint32_t noise = 2026;
    for (int64_t e = 0; e < elements; ++e) {
      noise = noise * 1664525u + 1013904223u;
      const float value = 0.25f + static_cast<float>(noise >> 24) * (1.0f / 128);
      if (info.dtype == DataType::kFloat32) static_cast<float*>(data)[e] = value;
      if (info.dtype == DataType::kFloat16) static_cast<uint16_t*>(data)[e] = HalfOfSmall(value);
      if (info.dtype == DataType::kUint8) static_cast<uint8_t*>(data)[e] = noise >> 24;
      if (info.dtype == DataType::kInt64) static_cast<int64_t*>(data)[e] = 1 + (noise >> 28);
      if (info.dtype == DataType::kInt32) static_cast<int32_t*>(data)[e] = 1 + (noise >> 28);
    }
  }
  return absl::OkStatus();
}

struct Output {
  TensorInfo info;
  std::vector<double> values;
};

double FloatOfHalf(uint16_t half) {
  const int exponent = half >> 10 & 31;
  const double fraction = half & 1023;
  const double sign = half & 0x8000 ? -1 : 1;
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(1024 + fraction, exponent - 25);
}

absl::StatusOr<std::vector<Output>> RunOn(InferenceBackend& backend, const fs::path& file,
                                          const std::vector<int64_t>& picture = {}) {
  SL_ASSIGN_OR_RETURN(const auto session, backend.Open({.model_file = file.string(),
                                                        .max_batch = static_cast<int>(kOpenBatch),
                                                        .picture_shape = picture}));
  SL_RETURN_IF_ERROR(FillInputs(*session, picture));
  SL_ASSIGN_OR_RETURN(const auto views, session->Run());
  std::vector<Output> outputs;
  for (size_t i = 0; i < views.size(); ++i) {
    const TensorView& view = views[i];
    Output& output = outputs.emplace_back();
    output.info = {session->outputs()[i].name, view.dtype, view.shape};
    for (int64_t e = 0; e < view.elements(); ++e) {
      if (view.dtype == DataType::kFloat32) output.values.push_back(view.f32()[e]);
      if (view.dtype == DataType::kFloat16)
        output.values.push_back(FloatOfHalf(static_cast<const uint16_t*>(view.data)[e]));
      if (view.dtype == DataType::kUint8)
        output.values.push_back(static_cast<const uint8_t*>(view.data)[e]);
      if (view.dtype == DataType::kInt64)
        output.values.push_back(static_cast<double>(static_cast<const int64_t*>(view.data)[e]));
      if (view.dtype == DataType::kInt32)
        output.values.push_back(static_cast<const int32_t*>(view.data)[e]);
    }
  }
  return outputs;
}

double RootMeanSquare(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v * v;
  return values.empty() ? 0 : std::sqrt(sum / static_cast<double>(values.size()));
}

// The largest difference in units of what a value may differ by relatively.
double LargestDifference(const Output& a, const Output& b) {
  const double rms = RootMeanSquare(a.values);
  double largest = 0;
  for (size_t i = 0; i < a.values.size(); ++i) {
    const double scale = std::max({std::abs(a.values[i]), rms, kLeastScale});
    const double difference = std::abs(a.values[i] - b.values[i]) / scale;
    largest = std::isfinite(difference) ? std::max(largest, difference) : HUGE_VAL;
  }
  return largest;
}

TEST(BackendsGolden, TheSameTensorsGiveTheSameOutputs) {
  const std::vector<InferenceBackend*> backends = BackendsHere();
  if (backends.size() < 2) {
    GTEST_SKIP() << backends.size() << " inference backends are there: nothing to compare";
  }
  if (std::getenv("SIGHTLINE_TEST_DATA") == nullptr) {
    GTEST_LOG_(WARNING) << "SIGHTLINE_TEST_DATA is not set: only the models of the repository are "
                           "compared";
  }
  size_t compared = 0, values = 0;
  double largest = 0;
  for (const fs::path& file : ModelFiles()) {
    SCOPED_TRACE(file.filename().string());
    std::vector<Output> first;
    std::string first_name;
    for (InferenceBackend* const backend : backends) {
      if (!backend->Reads(FormatOf(file.string()))) continue;
      const auto outputs = RunOn(*backend, file);
      ASSERT_TRUE(outputs.ok()) << backend->name() << ": " << outputs.status();
      ASSERT_FALSE(outputs->empty());
      for (const Output& output : *outputs) {
        const bool number = output.info.dtype != DataType::kBool;
        EXPECT_TRUE(!number || !output.values.empty()) << ToString(output.info);
      }
      if (first.empty()) {
        first = *outputs;
        first_name = backend->name();
        continue;
      }
      ASSERT_EQ(outputs->size(), first.size());
      for (size_t i = 0; i < first.size(); ++i) {
        const Output &a = first[i], &b = (*outputs)[i];
        SCOPED_TRACE(fmt::format("{} of {} and {}", ToString(a.info), first_name, backend->name()));
        EXPECT_EQ(ToString(a.info), ToString(b.info));
        ASSERT_EQ(a.values.size(), b.values.size());
        const bool half = file.stem() == "half";
        const double difference = LargestDifference(a, b);
        EXPECT_LE(difference, half ? kHalfTolerance : kTolerance)
            << "root mean square " << RootMeanSquare(a.values);
        if (!half) largest = std::max(largest, difference);
        values += a.values.size();
      }
      ++compared;
    }
  }
  EXPECT_GE(compared, 5u);
  RecordProperty("files", static_cast<int>(compared));
  fmt::print("{} files, {} values, largest difference {:.2g}\n", compared, values, largest);
}

// TorchScript files cannot be read by other backends, so a file is compared with the ONNX file of its
// name, which is the same network (tools/make_torchscript_models.py): that of the repository, and those
// of the test data where somebody converted some.
TEST(BackendsGolden, TorchScriptFilesGiveWhatTheirOnnxFilesGive) {
#ifndef SIGHTLINE_HAS_TORCHSCRIPT
  GTEST_SKIP() << "built without TorchScript: its outputs are not compared";
#else
  const auto torchscript = TorchScriptBackend();
  if (!torchscript.ok()) {
    GTEST_SKIP() << "the outputs of TorchScript files are not compared: " << torchscript.status();
  }
  const std::vector<InferenceBackend*> backends = BackendsHere();
  ASSERT_FALSE(backends.empty());
  size_t compared = 0, values = 0;
  double largest = 0;
  for (const fs::path& onnx : ModelFiles()) {
    const fs::path file = fs::path(onnx).replace_extension(".torchscript");
    if (onnx.extension() != ".onnx" || !fs::exists(file)) continue;
    SCOPED_TRACE(file.filename().string());
    const auto info = InspectOnnx(onnx.string());
    ASSERT_TRUE(info.ok()) << info.status();
    const auto found = RunOn(**torchscript, file, ShapeFor(info->inputs[0]));
    ASSERT_TRUE(found.ok()) << found.status();
    for (InferenceBackend* const backend : backends) {
      SCOPED_TRACE(backend->name());
      const auto wanted = RunOn(*backend, onnx);
      ASSERT_TRUE(wanted.ok()) << wanted.status();
      ASSERT_EQ(found->size(), wanted->size());
      for (size_t i = 0; i < wanted->size(); ++i) {
        const Output &a = (*wanted)[i], &b = (*found)[i];
        ASSERT_EQ(a.info.shape, b.info.shape);
        ASSERT_EQ(a.info.dtype, b.info.dtype);
        ASSERT_FALSE(a.values.empty());
        ASSERT_EQ(a.values.size(), b.values.size());
        const double difference = LargestDifference(a, b);
        EXPECT_LE(difference, kTolerance) << ToString(a.info);
        largest = std::max(largest, difference);
        values += a.values.size();
      }
      ++compared;
    }
  }
  EXPECT_GE(compared, 2u);
  fmt::print("{} comparisons, {} values, largest difference {:.2g}\n", compared, values, largest);
#endif
}

constexpr const char* kStreet = "images/opencv-doc/messi5.jpg";
constexpr const char* kHouse = "images/opencv-doc/home.jpg";
constexpr const char* kFaces = "faces/dlib/2007_007763.jpg";

double IouOf(const Box& a, const Box& b) {
  const double width = std::min(a.x2, b.x2) - std::max(a.x1, b.x1);
  const double height = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
  if (width <= 0 || height <= 0) return 0;
  const double common = width * height;
  return common / (static_cast<double>(a.width()) * a.height() +
                   static_cast<double>(b.width()) * b.height() - common);
}

// What a detector finds in a real picture.
class BackendsResults : public testing::Test {
 protected:
  void SetUp() override {
    const char* data = std::getenv("SIGHTLINE_TEST_DATA");
    if (data == nullptr) {
      GTEST_SKIP() << "SIGHTLINE_TEST_DATA is not set: results of real models are not compared";
    }
    data_ = data;
    backends_ = BackendsHere();
    if (backends_.size() < 2) {
      GTEST_SKIP() << backends_.size() << " inference backends are there: nothing to compare";
    }
  }
  std::vector<Detection> Find(InferenceBackend* backend, const std::string& model,
                              const std::string& image, float confidence) {
    auto picture = ReadImage((data_ / "media" / image).string());
    EXPECT_TRUE(picture.ok()) << picture.status();
    const auto factory =
        OpenDetector({.model = (data_ / "models" / model).string(), .confidence = confidence},
                     [backend] { return absl::StatusOr<InferenceBackend*>(backend); });
    EXPECT_TRUE(factory.ok()) << factory.status();
    if (!picture.ok() || !factory.ok()) return {};
    auto detector = (*factory)();
    EXPECT_TRUE(detector.ok()) << detector.status();
    if (!detector.ok()) return {};
    Frame frame;
    frame.image = picture->view();
    Detections found;
    DetectJob job{.frame = &frame, .result = &found, .status = {}};
    (*detector)->Detect({&job, 1});
    EXPECT_TRUE(job.status.ok()) << job.status;
    return found.items;
  }
  static size_t Missing(const std::vector<Detection>& wanted, const std::vector<Detection>& found,
                        float clearly, float least_iou, float score_within) {
    return std::ranges::count_if(wanted, [&](const Detection& w) {
      return w.confidence >= clearly && std::ranges::none_of(found, [&](const Detection& f) {
               return f.class_id == w.class_id && IouOf(f.box_px, w.box_px) >= least_iou &&
                      std::abs(f.confidence - w.confidence) <= score_within;
             });
    });
  }
  fs::path data_;
  std::vector<InferenceBackend*> backends_;
};

TEST_F(BackendsResults, OfOneModelAreTheSame) {
  struct Case {
    const char* model;
    const char* image;
  };
  for (const Case& c :
       {Case{"yolox_nano_kazuhito.onnx", kStreet}, Case{"yolox_nano_kazuhito.onnx", kHouse},
        Case{"fastestdet_352.onnx", kStreet}, Case{"nanodet_m_416.onnx", kStreet},
        Case{"ultraface_rfb_320.onnx", kFaces}, Case{"yunet_n_dynamic.onnx", kFaces}}) {
    SCOPED_TRACE(fmt::format("{} on {}", c.model, c.image));
    constexpr float kConfidence = 0.3f;
    const auto first = Find(backends_[0], c.model, c.image, kConfidence);
    ASSERT_FALSE(first.empty());
    for (size_t b = 1; b < backends_.size(); ++b) {
      SCOPED_TRACE(backends_[b]->name());
      const auto other = Find(backends_[b], c.model, c.image, kConfidence);
      // What stands within 1e-3 of the threshold may come or go.
      EXPECT_EQ(Missing(first, other, kConfidence + 1e-3f, 0.99f, 1e-3f), 0u);
      EXPECT_EQ(Missing(other, first, kConfidence + 1e-3f, 0.99f, 1e-3f), 0u);
    }
  }
}

// The TensorFlow Lite files were converted from the same networks as the ONNX files, one of them with
// weights in float16: what is clearly seen by one has to be seen by the other.
TEST_F(BackendsResults, OfTensorFlowLiteFilesAreThoseOfTheirOnnxFiles) {
  const auto reads = std::ranges::find_if(backends_, [](const InferenceBackend* backend) {
    return backend->Reads(ModelFormat::kTflite);
  });
  ASSERT_NE(reads, backends_.end());
  struct Case {
    const char* tflite;
    const char* onnx;
    const char* image;
  };
  for (const Case& c :
       {Case{"yolox_nano_kazuhito_fp16.tflite", "yolox_nano_kazuhito.onnx", kStreet},
        Case{"ultraface_rfb_320_nopost.tflite", "ultraface_rfb_320.onnx", kFaces}}) {
    SCOPED_TRACE(c.tflite);
    const auto tflite = Find(*reads, c.tflite, c.image, 0.3f);
    const auto onnx = Find(backends_[0], c.onnx, c.image, 0.3f);
    ASSERT_FALSE(onnx.empty());
    EXPECT_EQ(Missing(onnx, tflite, 0.35f, 0.95f, 0.02f), 0u);
    EXPECT_EQ(Missing(tflite, onnx, 0.35f, 0.95f, 0.02f), 0u);
  }
}

}  // namespace
}  // namespace sightline
