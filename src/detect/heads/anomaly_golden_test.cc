// Anomaly detection against tests/golden/families/padim and autoencoder: raw outputs in, maps and
// scores out, at batch 1 and 4; and statistics of good pictures against NumPy's.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <random>

#include "detect/anomaly_fit.h"
#include "detect/anomaly_statistics.h"
#include "detect/detector_factory.h"
#include "detect/fake_backend.h"
#include "detect/family.h"
#include "detect/family_golden.h"
#include "detect/heads/head.h"
#include "detect/neural_detector.h"
#include "detect/recognise.h"

namespace sightline {
namespace {

using golden::Golden;
using golden::Raw;
using nlohmann::json;
using testing::HasSubstr;

class Folder {
 public:
  Folder() {
    path_ = testing::TempDir() + "anomaly_XXXXXX";
    EXPECT_NE(mkdtemp(path_.data()), nullptr);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

std::vector<float> Numbers(const Golden& golden, const json& holder) {
  size_t count = 1;
  for (const json& d : holder["shape"]) count *= d.get<size_t>();
  const float* from = golden.raw.data() + holder["offset"].get<size_t>();
  return {from, from + count};
}

GaussianStatistics StatisticsOf(const Golden& golden, const json& c) {
  const json& shape = c["raw"][0]["shape"];
  return {shape[1],
          shape[2],
          shape[3],
          40,
          Numbers(golden, c["mean"]),
          Numbers(golden, c["inverse_covariance"])};
}

ModelSpec SpecFor(const char* family, const json& c) {
  auto spec = FamilyDefaults(family, c["input_wh"][0], c["input_wh"][1]);
  EXPECT_TRUE(spec.ok()) << spec.status();
  spec->name = "m";
  return *spec;
}

void ExpectSame(const AnomalyMap& ours, const std::vector<float>& wanted, const ModelSpec& spec) {
  ASSERT_EQ(ours.width, spec.input.width);
  ASSERT_EQ(ours.height, spec.input.height);
  ASSERT_EQ(ours.values.size(), wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) {
    ASSERT_NEAR(ours.values[i], wanted[i], 1e-4 * std::max(1.0f, wanted[i])) << "at " << i;
  }
}

// Calls check(head, raw result, entry) for each entry of each case, alone and of four.
template <typename Check>
size_t ForEachEntry(const Golden& golden, const json& c, const ModelSpec& spec, Check check) {
  const std::vector<Raw> raw = golden::RawOf(golden, c);
  const auto head = MakeHead(spec, std::vector{raw[0].info});
  EXPECT_TRUE(head.ok()) << head.status();
  if (!head.ok()) return 0;
  size_t checked = 0;
  for (const int batch : {1, 4}) {
    for (int entry = 0; entry < static_cast<int>(c["entries"].size()); ++entry) {
      const json& e = c["entries"][entry];
      const std::vector<TensorView> views = {batch == 1 ? raw[0].Alone(entry) : raw[0].Whole()};
      const int width = e["source_wh"][0], height = e["source_wh"][1];
      const ImageToTensor mapping = {static_cast<float>(spec.input.width) / width,
                                     static_cast<float>(spec.input.height) / height, 0, 0};
      RawResult result{views, batch == 1 ? 0 : entry, mapping, width, height};
      Detections ours;
      SCOPED_TRACE(fmt::format("input {}, batch {}, entry {}", c["input_wh"].dump(), batch, entry));
      check(**head, result, e, entry, &ours);
      EXPECT_NEAR(ours.anomaly.extent_px.x2, width, 1e-2);
      EXPECT_NEAR(ours.anomaly.extent_px.y2, height, 1e-2);
      ++checked;
    }
  }
  return checked;
}

TEST(AnomalyGolden, PadimGivesTheReferencesMaps) {
  const Golden golden = Golden::Load("padim");
  const Folder folder;
  size_t checked = 0;
  ASSERT_GE(golden.cases().size(), 3u);
  for (const json& c : golden.cases()) {
    ModelSpec spec = SpecFor("padim", c);
    spec.companion_file = folder.File(fmt::format("statistics{}", checked));
    ASSERT_TRUE(WriteStatistics(StatisticsOf(golden, c), spec.companion_file).ok());
    checked += ForEachEntry(
        golden, c, spec,
        [&](const Head& head, const RawResult& raw, const json& e, int, Detections* ours) {
          const absl::Status status = head.Complete(raw, ours);
          ASSERT_TRUE(status.ok()) << status;
          const json& r = e["results"][0];
          EXPECT_NEAR(ours->anomaly.score, r["score"].get<double>(),
                      1e-4 * r["score"].get<double>());
          ExpectSame(ours->anomaly, Numbers(golden, r["map"]), spec);
        });
  }
  EXPECT_EQ(checked, 24u);
}

TEST(AnomalyGolden, AutoencodersGiveTheReferencesErrors) {
  const Golden golden = Golden::Load("autoencoder");
  size_t checked = 0;
  ASSERT_GE(golden.cases().size(), 3u);
  for (const char* layout : {"mean", "largest"}) {
    for (const json& c : golden.cases()) {
      ModelSpec spec = SpecFor("autoencoder", c);
      spec.layout = layout;
      const std::vector<float> input = Numbers(golden, c["input_tensor"]);
      const size_t each = input.size() / c["entries"].size();
      checked += ForEachEntry(
          golden, c, spec,
          [&](const Head& head, RawResult raw, const json& e, int entry, Detections* ours) {
            raw.input = input.data() + each * entry;
            const absl::Status status = head.Complete(raw, ours);
            ASSERT_TRUE(status.ok()) << status;
            const json& r = e["results"][0];
            const double wanted = r[layout == std::string("mean") ? "score" : "largest"];
            EXPECT_NEAR(ours->anomaly.score, wanted, 1e-5 * std::max(1.0, wanted));
            ExpectSame(ours->anomaly, Numbers(golden, r["map"]), spec);
          });
    }
  }
  EXPECT_EQ(checked, 48u);
}

TEST(AnomalyStatistics, ComeBackAsWritten) {
  const Golden golden = Golden::Load("padim");
  const GaussianStatistics written = StatisticsOf(golden, golden.cases()[0]);
  const Folder folder;
  const std::string path = folder.File("s");
  ASSERT_TRUE(WriteStatistics(written, path).ok());
  const auto read = ReadStatistics(path, "ab");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ((*read)->depth, written.depth);
  EXPECT_EQ((*read)->rows, written.rows);
  EXPECT_EQ((*read)->columns, written.columns);
  EXPECT_EQ((*read)->pictures, 40);
  EXPECT_EQ((*read)->mean, written.mean);
  EXPECT_EQ((*read)->inverse, written.inverse);
  EXPECT_EQ(ReadStatistics(path, "ab")->get(), read->get()) << "those in use are shared";
}

TEST(AnomalyStatistics, DamagedFilesAreRefused) {
  const Golden golden = Golden::Load("padim");
  const Folder folder;
  const std::string path = folder.File("s");
  GaussianStatistics statistics = StatisticsOf(golden, golden.cases()[0]);
  ASSERT_TRUE(WriteStatistics(statistics, path).ok());
  const uintmax_t whole = std::filesystem::file_size(path);
  for (const uintmax_t bytes : {uintmax_t{0}, uintmax_t{7}, uintmax_t{23}, whole - 1}) {
    std::filesystem::resize_file(path, bytes);
    EXPECT_EQ(ReadStatistics(path, "").status().code(), absl::StatusCode::kDataLoss) << bytes;
  }
  statistics.columns = -statistics.columns;
  ASSERT_TRUE(WriteStatistics(statistics, path).ok());
  EXPECT_EQ(ReadStatistics(path, "").status().code(), absl::StatusCode::kDataLoss);
  statistics = StatisticsOf(golden, golden.cases()[0]);
  statistics.mean[3] = std::numeric_limits<float>::quiet_NaN();
  ASSERT_TRUE(WriteStatistics(statistics, path).ok());
  EXPECT_EQ(ReadStatistics(path, "").status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ReadStatistics(folder.File("none"), "").status().code(), absl::StatusCode::kNotFound);
}

// Numbers of which mean and covariance are known: three pictures, two channels, one position.
TEST(AnomalyStatistics, AreThoseOfTheDefinition) {
  auto fit = GaussianFit::Create(2, 1, 1);
  ASSERT_TRUE(fit.ok());
  EXPECT_EQ(fit->Finish().status().code(), absl::StatusCode::kFailedPrecondition);
  for (const auto& [a, b] : {std::pair{1.0f, 2.0f}, {2.0f, 2.0f}, {3.0f, 5.0f}}) {
    const float features[] = {a, b};
    ASSERT_TRUE(fit->Add(features).ok());
  }
  const float nan[] = {1, std::numeric_limits<float>::quiet_NaN()};
  EXPECT_FALSE(fit->Add(nan).ok());
  const auto s = fit->Finish();
  ASSERT_TRUE(s.ok()) << s.status();
  EXPECT_THAT(s->mean, testing::ElementsAre(2, 3));
  // Covariance [[1, 1.5], [1.5, 3]] and 0.01 on its diagonal.
  const double a = 1.01, b = 1.5, d = 3.01, det = a * d - b * b;
  const double wanted[] = {d / det, -b / det, -b / det, a / det};
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(s->inverse[i], wanted[i], 1e-5 * std::abs(wanted[i]));
}

TEST(AnomalyStatistics, InverseTimesCovarianceIsOne) {
  constexpr int kDepth = 17;
  auto fit = GaussianFit::Create(kDepth, 1, 1);
  ASSERT_TRUE(fit.ok());
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<std::vector<double>> seen;
  for (int n = 0; n < 60; ++n) {
    std::vector<float> features(kDepth);
    for (int i = 0; i < kDepth; ++i) {
      features[i] = normal(random) + 100 + (i > 0 ? features[i - 1] * 0.5f : 0);
    }
    ASSERT_TRUE(fit->Add(features.data()).ok());
    seen.emplace_back(features.begin(), features.end());
  }
  const auto s = fit->Finish();
  ASSERT_TRUE(s.ok());
  for (int i = 0; i < kDepth; ++i) {
    for (int j = 0; j < kDepth; ++j) {
      double product = 0;
      for (int k = 0; k < kDepth; ++k) {
        double covariance = i == k ? 0.01 : 0;
        double mean_i = 0, mean_k = 0;
        for (const auto& v : seen) mean_i += v[i] / 60, mean_k += v[k] / 60;
        for (const auto& v : seen) covariance += (v[i] - mean_i) * (v[k] - mean_k) / 59;
        product += covariance * s->inverse[k * kDepth + j];
      }
      EXPECT_NEAR(product, i == j ? 1 : 0, 1e-3) << i << ", " << j;
    }
  }
}

TEST(AnomalyStatistics, HugeOnesAreRefused) {
  EXPECT_TRUE(CheckStatisticsSize(100, 56, 56).ok());
  EXPECT_THAT(std::string(CheckStatisticsSize(448, 56, 56).message()), HasSubstr("fewer channels"));
  EXPECT_FALSE(CheckStatisticsSize(int64_t{1} << 40, int64_t{1} << 40, 1).ok());
  EXPECT_FALSE(CheckStatisticsSize(0, 1, 1).ok());
  EXPECT_FALSE(GaussianFit::Create(-1, 4, 4).ok());
}

// A model whose features are the first six numbers of the picture's tensor, at 2x2 places.
struct Fitted {
  Fitted() : backend(Model()) {
    spec = *FamilyDefaults("padim", 16, 16);
    spec.name = "plates";
    spec.sha256 = "ab";
    spec.input_name = "images";
  }
  static FakeBackendOptions Model() {
    FakeBackendOptions options;
    options.inputs = {{"images", DataType::kFloat32, {1, 3, 16, 16}}};
    options.outputs = {{"features", DataType::kFloat32, {1, 6, 2, 2}}};
    options.run = [](const FakeModelRun& run) {
      for (size_t i = 0; i < 24; ++i) (*run.outputs)[0][i] = run.input[i * 32];
      return absl::OkStatus();
    };
    return options;
  }
  ModelSpec spec;
  FakeBackend backend;
};

struct Noise {
  explicit Noise(unsigned seed, int dark = 0) : pixels(size_t{3} * 16 * 16) {
    std::mt19937 random(seed);
    for (uint8_t& p : pixels) p = static_cast<uint8_t>(120 + random() % 16 - dark);
    frame.image = {.format = PixelFormat::kRgb24,
                   .width = 16,
                   .height = 16,
                   .planes = {pixels.data()},
                   .strides = {48}};
  }
  std::vector<uint8_t> pixels;
  Frame frame;
};

TEST(AnomalyFit, WhatWasNotSeenStandsOut) {
  Fitted model;
  EXPECT_TRUE(NeedsFitting(model.spec));
  EXPECT_TRUE(TryModel(model.spec, model.backend).ok()) << "it can be added before it is fitted";
  auto fitter = AnomalyFitter::Open(model.spec, model.backend, 1);
  ASSERT_TRUE(fitter.ok()) << fitter.status();
  for (unsigned seed = 1; seed <= 50; ++seed) {
    const Noise good(seed);
    ASSERT_TRUE((*fitter)->Add(good.frame.image).ok());
  }
  EXPECT_EQ((*fitter)->pictures(), 50);
  const auto statistics = (*fitter)->Finish();
  ASSERT_TRUE(statistics.ok()) << statistics.status();
  const Folder folder;
  model.spec.companion_file = folder.File("s");
  ASSERT_TRUE(WriteStatistics(*statistics, model.spec.companion_file).ok());
  EXPECT_FALSE(NeedsFitting(model.spec));
  const auto factory = MakeNeuralDetectorFactory(model.spec, model.backend, {});
  ASSERT_TRUE(factory.ok()) << factory.status();
  const auto detector = (*factory)();
  ASSERT_TRUE(detector.ok()) << detector.status();
  const auto score = [&](const Noise& picture) {
    Detections found;
    DetectJob job{.frame = &picture.frame, .result = &found, .status = {}};
    (*detector)->Detect({&job, 1});
    EXPECT_TRUE(job.status.ok()) << job.status;
    return found.anomaly.score;
  };
  EXPECT_GT(score(Noise(99, 60)), 3 * score(Noise(99)));
}

TEST(AnomalyFit, SaysWhatItCannotDo) {
  Fitted model;
  const auto factory = MakeNeuralDetectorFactory(model.spec, model.backend, {});
  ASSERT_TRUE(factory.ok());
  const auto detector = (*factory)();
  ASSERT_TRUE(detector.ok()) << detector.status();
  const Noise picture(1);
  Detections found;
  DetectJob job{.frame = &picture.frame, .result = &found, .status = {}};
  (*detector)->Detect({&job, 1});
  EXPECT_THAT(std::string(job.status.message()), HasSubstr("sightline models fit plates"));
  ModelSpec other = model.spec;
  other.family = "yolox";
  EXPECT_THAT(std::string(AnomalyFitter::Open(other, model.backend, 1).status().message()),
              HasSubstr("only models of family padim"));
  other = model.spec;
  other.input_name = "picture";
  EXPECT_FALSE(AnomalyFitter::Open(other, model.backend, 1).ok());
  const auto fitter = AnomalyFitter::Open(model.spec, model.backend, 1);
  ASSERT_TRUE(fitter.ok());
  EXPECT_FALSE((*fitter)->Finish().ok());
  // Statistics of another map.
  const Folder folder;
  auto fit = GaussianFit::Create(2, 2, 2);
  const std::vector<float> some = {1, 2, 3, 4, 5, 6, 7, 8};
  ASSERT_TRUE(fit->Add(some.data()).ok() && fit->Add(some.data()).ok());
  model.spec.companion_file = folder.File("s");
  ASSERT_TRUE(WriteStatistics(*fit->Finish(), model.spec.companion_file).ok());
  EXPECT_THAT(std::string(TryModel(model.spec, model.backend).message()), HasSubstr("[2, 2, 2]"));
}

TEST(Anomaly, NumbersThatAreNoneAreErrors) {
  const Golden golden = Golden::Load("autoencoder");
  const json& c = golden.cases()[0];
  const ModelSpec spec = SpecFor("autoencoder", c);
  const std::vector<Raw> raw = golden::RawOf(golden, c);
  const auto head = MakeHead(spec, std::vector{raw[0].info});
  ASSERT_TRUE(head.ok());
  std::vector<float> input = Numbers(golden, c["input_tensor"]);
  input[5] = std::numeric_limits<float>::infinity();
  const std::vector<TensorView> views = {raw[0].Alone(0)};
  Detections found;
  EXPECT_EQ((*head)->Complete({views, 0, {}, 64, 48, input.data()}, &found).code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(found.anomaly.width, 0);
  EXPECT_FALSE((*head)->Complete({views, 0, {}, 64, 48, nullptr}, &found).ok());
  ModelSpec wrong = spec;
  wrong.layout = "median";
  EXPECT_FALSE(MakeHead(wrong, std::vector{raw[0].info}).ok());
  wrong = spec;
  wrong.input.dtype = DataType::kUint8;
  EXPECT_FALSE(MakeHead(wrong, std::vector{raw[0].info}).ok());
}

}  // namespace
}  // namespace sightline
