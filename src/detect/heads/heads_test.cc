#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <set>

#include "detect/every_family.h"
#include "detect/family.h"
#include "detect/golden_results.h"
#include "detect/heads/head.h"
#include "detect/heads/ultraface_priors.h"
#include "detect/neural_detector.h"

namespace sightline {
namespace {

using testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

ModelSpec Spec(const char* family, const char* layout, int width, int height) {
  ModelSpec spec;
  spec.family = family;
  spec.layout = layout;
  spec.input.width = width;
  spec.input.height = height;
  return spec;
}

// A tensor that owns its numbers.
struct Owned {
  Owned(std::vector<int64_t> s, float fill = 0) : shape(std::move(s)) {
    int64_t n = 1;
    for (const int64_t d : shape) n *= d;
    values.assign(n, fill);
  }
  TensorView view() const { return {DataType::kFloat32, shape, values.data()}; }
  TensorInfo info(const char* name = "out") const { return {name, DataType::kFloat32, shape}; }
  std::vector<int64_t> shape;
  std::vector<float> values;
};

std::unique_ptr<Head> MustMake(const ModelSpec& spec, std::vector<TensorInfo> outputs) {
  auto head = MakeHead(spec, outputs);
  EXPECT_TRUE(head.ok()) << head.status();
  return head.ok() ? *std::move(head) : nullptr;
}

RawResult Raw(std::span<const TensorView> outputs, int entry, const ImageToTensor& mapping) {
  return {outputs, entry, mapping};
}

std::vector<Detection> MustDecode(const Head& head, std::vector<TensorView> outputs,
                                  float min_confidence, int entry = 0,
                                  const ImageToTensor& mapping = {}) {
  std::vector<Detection> found;
  const absl::Status status = head.Decode(Raw(outputs, entry, mapping), min_confidence, &found);
  EXPECT_TRUE(status.ok()) << status;
  return found;
}

TEST(SparseGolden, Yolox) {
  const nlohmann::json golden = golden::Load("yolox_nano_416_sparse.json");
  Owned out(golden["output_shape"].get<std::vector<int64_t>>());
  const auto head = MustMake(Spec("yolox", "raw_grid", 416, 416), {out.info()});
  for (const auto& c : golden["cases"]) {
    std::ranges::fill(out.values, 0.0f);
    for (const auto& row : c["rows"]) {
      float* to = out.values.data() + row["row"].get<size_t>() * 85;
      for (size_t k = 0; k < 5; ++k) to[k] = row["box_obj"][k];
      for (const auto& cls : row["classes"]) to[5 + cls[0].get<size_t>()] = cls[1];
    }
    const float ratio = c["ratio"];
    auto found =
        MustDecode(*head, {out.view()}, golden["score_threshold"], 0, {ratio, ratio, 0, 0});
    found = golden::SuppressionRule::Of("yolox").Apply(found, golden["nms_iou"], c["width"],
                                                       c["height"]);
    golden::ExpectSame(found, golden::Expected(c["class_agnostic"]));
  }
}

TEST(SparseGolden, Fastestdet) {
  const nlohmann::json golden = golden::Load("fastestdet_352_sparse.json");
  Owned out(golden["output_shape"].get<std::vector<int64_t>>());
  const size_t cells = out.shape[2] * out.shape[3];
  const auto head = MustMake(Spec("fastestdet", "grid", 352, 352), {out.info()});
  for (const auto& c : golden["cases"]) {
    std::ranges::fill(out.values, 0.0f);
    for (const auto& cell : c["cells"]) {
      float* to = out.values.data() + cell["cell"].get<size_t>();
      for (size_t k = 0; k < 5; ++k) to[k * cells] = cell["obj_reg"][k];
      for (const auto& cls : cell["classes"]) to[(5 + cls[0].get<size_t>()) * cells] = cls[1];
    }
    const ImageToTensor mapping = {352 / c["width"].get<float>(), 352 / c["height"].get<float>(), 0,
                                   0};
    auto found = MustDecode(*head, {out.view()}, golden["score_threshold"], 0, mapping);
    found = golden::SuppressionRule::Of("fastestdet")
                .Apply(found, golden["nms_iou"], c["width"], c["height"]);
    golden::ExpectSame(found, golden::Expected(c["detections"]));
  }
}

class UltrafaceSparseGolden : public testing::TestWithParam<const char*> {};

TEST_P(UltrafaceSparseGolden, SameBoxes) {
  const nlohmann::json golden = golden::Load(GetParam());
  Owned scores(golden["scores_shape"].get<std::vector<int64_t>>());
  Owned boxes(golden["boxes_shape"].get<std::vector<int64_t>>());
  const float w = golden["input_wh"][0], h = golden["input_wh"][1];
  const bool decoded = golden["boxes_decoded_by_model"];
  const auto head = MustMake(Spec("ultraface", decoded ? "decoded" : "raw_deltas", w, h),
                             {scores.info("scores"), boxes.info("boxes")});
  for (const auto& c : golden["cases"]) {
    for (size_t i = 0; i < scores.values.size(); ++i) scores.values[i] = i % 2 == 0;
    std::ranges::fill(boxes.values, 0.0f);
    for (const auto& row : c["rows"]) {
      const size_t r = row["row"];
      for (size_t k = 0; k < 2; ++k) scores.values[2 * r + k] = row["scores"][k];
      for (size_t k = 0; k < 4; ++k) boxes.values[4 * r + k] = row["box"][k];
    }
    const ImageToTensor mapping = {w / c["width"].get<float>(), h / c["height"].get<float>(), 0, 0};
    auto found =
        MustDecode(*head, {scores.view(), boxes.view()}, golden["score_threshold"], 0, mapping);
    found = golden::SuppressionRule::Of("ultraface")
                .Apply(found, golden["nms_iou"], c["width"], c["height"]);
    golden::ExpectSame(found, golden::Expected(c["detections"]));
  }
}
INSTANTIATE_TEST_SUITE_P(All, UltrafaceSparseGolden,
                         testing::Values("ultraface_rfb_320_sparse.json",
                                         "ultraface_slim_320_sparse.json",
                                         "ultraface_rfb_640_sparse.json"));

TEST(Yolox, EveryEntryOfABatchIsItsOwn) {
  Owned out({3, 21, 6});  // 32x32: 16 + 4 + 1 cells, one class
  const auto head = MustMake(Spec("yolox", "raw_grid", 32, 32), {out.info()});
  for (int entry = 0; entry < 3; ++entry) {
    float* row = out.values.data() + (entry * 21 + 5 + entry) * 6;  // cells (1,1) (2,1) (3,1)
    row[4] = 0.9f;
    row[5] = 0.8f;
  }
  for (int entry = 0; entry < 3; ++entry) {
    const auto found = MustDecode(*head, {out.view()}, 0.5f, entry);
    ASSERT_EQ(found.size(), 1u);
    EXPECT_FLOAT_EQ(found[0].box_px.center().x, 8.0f * (1 + entry));
    EXPECT_FLOAT_EQ(found[0].box_px.width(), 8);
    EXPECT_FLOAT_EQ(found[0].confidence, 0.72f);
  }
  std::vector<Detection> none;
  EXPECT_FALSE(head->Decode(Raw(std::vector{out.view()}, 3, {}), 0.5f, &none).ok());
}

TEST(Yolox, ReadsOtherInputSizesClassCountsAndP6) {
  for (const auto& [width, height, levels] :
       {std::array{640, 640, 3}, {416, 256, 3}, {1280, 1280, 4}}) {
    int64_t rows = 0;
    for (int level = 0; level < levels; ++level)
      rows += (width / (8 << level)) * (height / (8 << level));
    for (const int64_t classes : {1, 3, 80, 365}) {
      const TensorInfo info = {"o", DataType::kFloat32, {-1, rows, 5 + classes}};
      EXPECT_EQ(MustMake(Spec("yolox", "raw_grid", width, height), {info})->classes(), classes);
    }
  }
}

TEST(Yolox, GarbageRowsAreLeftOut) {
  Owned out({1, 21, 7});
  const auto head = MustMake(Spec("yolox", "raw_grid", 32, 32), {out.info()});
  const auto row = [&](size_t r) { return out.values.data() + r * 7; };
  for (size_t r = 0; r < 6; ++r) {
    row(r)[4] = 0.9f;
    row(r)[6] = 0.9f;
  }
  row(0)[0] = kNan;
  row(1)[2] = kInf;
  row(2)[3] = 1000;  // exp overflows
  row(3)[4] = kNan;
  row(4)[5] = kNan;  // the other class still counts
  const auto found = MustDecode(*head, {out.view()}, 0.5f);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].class_id, 1);
}

TEST(AnyHead, WhatCannotBeProbabilitiesIsAnErrorAndNotSilence) {
  Owned yolox({1, 21, 6}), fastest({1, 6, 2, 2}), scores({1, 4420, 2}), boxes({1, 4420, 4});
  const auto x = MustMake(Spec("yolox", "raw_grid", 32, 32), {yolox.info()});
  const auto f = MustMake(Spec("fastestdet", "grid", 32, 32), {fastest.info()});
  const auto u =
      MustMake(Spec("ultraface", "raw_deltas", 320, 240), {scores.info("s"), boxes.info("b")});
  const auto all_fail = [&](const char* word) {
    std::vector<Detection> found;
    for (const absl::Status& status :
         {x->Decode(Raw(std::vector{yolox.view()}, 0, {}), 0.5f, &found),
          f->Decode(Raw(std::vector{fastest.view()}, 0, {}), 0.5f, &found),
          u->Decode(Raw(std::vector{scores.view(), boxes.view()}, 0, {}), 0.5f, &found)}) {
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
      EXPECT_THAT(std::string(MessageOf(status)), HasSubstr(word));
    }
  };
  for (Owned* t : {&yolox, &fastest, &scores}) std::ranges::fill(t->values, kNan);
  all_fail("NaN");
  for (Owned* t : {&yolox, &fastest, &scores}) std::ranges::fill(t->values, 3.0f);
  all_fail("sigmoid");
}

TEST(AnyHead, ShapesThatDoNotFitAreRefusedWithTheShapesSeen) {
  const auto refused = [](const ModelSpec& spec, std::vector<TensorInfo> outputs,
                          const char* word) {
    const auto head = MakeHead(spec, outputs);
    ASSERT_FALSE(head.ok());
    EXPECT_EQ(head.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(MessageOf(head.status())), HasSubstr(word));
  };
  const TensorInfo v5 = {"output0", DataType::kFloat32, {1, 25200, 85}};
  refused(Spec("yolox", "raw_grid", 640, 640), {v5}, "output0 float32[1,25200,85]");
  refused(Spec("yolox", "raw_grid", 640, 640), {v5}, "8400");
  refused(Spec("yolox", "rawgrid", 640, 640), {v5}, "unknown layout");
  refused(Spec("yolxo", "raw_grid", 640, 640), {v5}, "did you mean \"yolox\"");
  refused(Spec("yolox", "raw_grid", 640, 640), {v5, v5}, "`outputs`");
  refused(Spec("yolox", "decoded", 0, 640), {v5}, "0x640");
  refused(Spec("yolox", "decoded", 1'000'000, 640), {v5}, "1000000x640");
  refused(Spec("fastestdet", "grid", 352, 352), {v5}, "25200");
  refused(Spec("ultraface", "decoded", 320, 240), {v5}, "scores");
  refused(Spec("ultraface", "raw_deltas", 320, 240),
          {{"s", DataType::kFloat32, {1, 17640, 2}}, {"b", DataType::kFloat32, {1, 17640, 4}}},
          "4420");
  refused(Spec("yolox", "raw_grid", 640, 640), {{"o", DataType::kFloat16, {1, 8400, 85}}},
          "float16");
  ModelSpec labels = Spec("yolox", "raw_grid", 640, 640);
  labels.labels = std::make_shared<LabelSet>(LabelSet{{"a", "b"}});
  refused(labels, {{"o", DataType::kFloat32, {1, 8400, 85}}}, "2 labels");
  ModelSpec named = Spec("yolox", "raw_grid", 640, 640);
  named.output_names = {"nope"};
  refused(named, {v5}, "no output \"nope\"");
}

TEST(AnyHead, OutputsThatBreakTheirPromiseAreErrors) {
  Owned right({1, 21, 6}), wrong({1, 20, 6}), flat({126});
  const auto head = MustMake(Spec("yolox", "raw_grid", 32, 32), {right.info()});
  std::vector<Detection> found;
  EXPECT_FALSE(head->Decode(Raw(std::vector{wrong.view()}, 0, {}), 0.5f, &found).ok());
  EXPECT_FALSE(head->Decode(Raw(std::vector{flat.view()}, 0, {}), 0.5f, &found).ok());
  EXPECT_FALSE(head->Decode({}, 0.5f, &found).ok());
  const auto open =
      MustMake(Spec("yolox", "decoded", 32, 32), {{"o", DataType::kFloat32, {-1, -1, 6}}});
  EXPECT_FALSE(open->Decode(Raw(std::vector{flat.view()}, 0, {}), 0.5f, &found).ok());
  EXPECT_FALSE(open->Decode({}, 0.5f, &found).ok());
  EXPECT_TRUE(open->Decode(Raw(std::vector{wrong.view()}, 0, {}), 0.5f, &found).ok());
}

TEST(AnyHead, AnyBitsGiveUsableBoxesOrAnError) {
  Owned yolox({1, 21, 8}), fastest({1, 8, 4, 4}), scores({1, 708, 2}), boxes({1, 708, 4});
  const auto x = MustMake(Spec("yolox", "raw_grid", 32, 32), {yolox.info()});
  const auto f = MustMake(Spec("fastestdet", "", 64, 64), {fastest.info()});
  const auto u =
      MustMake(Spec("ultraface", "raw_deltas", 128, 96), {scores.info("s"), boxes.info("b")});
  std::mt19937 rng(5);
  size_t usable = 0;
  for (int round = 0; round < 3000; ++round) {
    for (Owned* t : {&yolox, &fastest, &scores, &boxes}) {
      for (float& v : t->values) {
        // Mostly numbers near 0..1, so that some rows pass.
        const uint32_t bits = static_cast<uint32_t>(rng());
        v = bits % 16 != 0 ? (bits >> 8) * (1.0f / (1 << 24)) : std::bit_cast<float>(bits);
      }
    }
    std::vector<Detection> found;
    const ImageToTensor mapping = {0.5f, 0.25f, 3, 0};
    (void)x->Decode(Raw(std::vector{yolox.view()}, 0, mapping), 0.25f, &found);
    (void)f->Decode(Raw(std::vector{fastest.view()}, 0, mapping), 0.25f, &found);
    (void)u->Decode(Raw(std::vector{scores.view(), boxes.view()}, 0, mapping), 0.25f, &found);
    for (const Detection& d : found) {
      ASSERT_GT(d.confidence, 0.25f);
      ASSERT_LE(d.confidence, 1.0f);
      ASSERT_TRUE(std::isfinite(d.box_px.width()) && std::isfinite(d.box_px.height()));
      ASSERT_GT(d.box_px.width(), 0);
      ASSERT_LT(d.class_id, 3);
    }
    usable += found.size();
  }
  EXPECT_GT(usable, 1000u);
}

TEST(Ultraface, OutputsAreFoundInEitherOrder) {
  Owned scores({1, 4420, 2}), boxes({1, 4420, 4});
  scores.values[1] = 0.9f;
  const auto head =
      MustMake(Spec("ultraface", "raw_deltas", 320, 240), {boxes.info("b"), scores.info("s")});
  const auto found = MustDecode(*head, {boxes.view(), scores.view()}, 0.5f);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_NEAR(found[0].box_px.width(), 10, 1e-3);  // the first prior, not moved
  EXPECT_NEAR(found[0].box_px.center().x, 4, 1e-3);
}

TEST(Ultraface, PriorsOfTheKnownInputSizes) {
  EXPECT_EQ(UltrafacePriors(320, 240).size(), 4420u);
  EXPECT_EQ(UltrafacePriors(640, 480).size(), 17640u);
  EXPECT_EQ(UltrafacePriors(128, 96).size(), 16u * 12 * 3 + 8 * 6 * 2 + 4 * 3 * 2 + 2 * 2 * 3);
  for (const UltrafacePrior& p : UltrafacePriors(160, 120)) {
    EXPECT_LE(p.w, 1);  // 256 px of 160
    EXPECT_GT(p.w, 0);
  }
}

TEST(Fastestdet, OtherSizesAndClasses) {
  Owned out({2, 5 + 2, 3, 5});  // 80x48, second entry
  const auto head = MustMake(Spec("fastestdet", "grid", 80, 48), {out.info()});
  const size_t cells = 15, entry = 7 * cells, cell = 1 * 5 + 3;
  out.values[entry + cell] = 0.9f;
  out.values[entry + 6 * cells + cell] = 0.5f;
  EXPECT_TRUE(MustDecode(*head, {out.view()}, 0.3f, 0).empty());
  const auto found = MustDecode(*head, {out.view()}, 0.3f, 1);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].class_id, 1);
  EXPECT_NEAR(found[0].confidence, std::pow(0.9, 0.6) * std::pow(0.5, 0.4), 1e-5);
  EXPECT_NEAR(found[0].box_px.center().x, 3 * 16, 1e-3);
  EXPECT_NEAR(found[0].box_px.center().y, 16, 1e-3);
  EXPECT_NEAR(found[0].box_px.width(), 40, 1e-3);
}

// Every family has an example, and every example a head that says no nonsense of any numbers.
TEST(EveryHead, GivesUsableResultsOrAnErrorForAnyNumbers) {
  std::mt19937 random(5);
  const auto number = [&]() -> float {
    switch (random() % 12) {
      case 0:
        return kNan;
      case 1:
        return random() % 2 == 0 ? kInf : -kInf;
      case 2:
        return std::ldexp(1.0f, static_cast<int>(random() % 250) - 125);
      case 3:
        return -1e30f;
      default:
        return static_cast<float>(random() % 1000) / 1000.0f;
    }
  };
  std::set<std::string> families;
  for (const FamilyExample& example : EveryFamily()) {
    families.insert(example.family);
    const ModelSpec spec = example.spec();
    const auto head = MakeHead(spec, example.outputs);
    ASSERT_TRUE(head.ok()) << head.status();
    int usable = 0;
    for (int round = 0; round < 40; ++round) {
      std::vector<std::vector<float>> floats;
      std::vector<std::vector<int64_t>> integers;
      for (const TensorInfo& info : example.outputs) {
        size_t count = 1;
        for (const int64_t d : info.shape) count *= static_cast<size_t>(d);
        auto& f = floats.emplace_back(count);
        auto& n = integers.emplace_back(count);
        // Wild numbers in some rounds, tame ones in the others.
        for (float& v : f) v = round % 4 == 0 ? number() : static_cast<float>(random() % 999) / 999;
        for (int64_t& v : n) v = static_cast<int64_t>(random() % 5) - (round % 4 == 0);
      }
      std::vector<TensorView> views;
      for (size_t i = 0; i < example.outputs.size(); ++i) {
        const TensorInfo& info = example.outputs[i];
        const bool whole = info.dtype == DataType::kInt64;
        views.push_back({info.dtype, info.shape,
                         whole ? static_cast<const void*>(integers[i].data()) : floats[i].data()});
      }
      const std::vector<float> input(size_t{3} * spec.input.width * spec.input.height, 0.5f);
      const RawResult raw = {views, 0, {0.5f, 0.25f, 3, 0}, 100, 200, input.data()};
      Detections found;
      if (!(*head)->Decode(raw, 0.25f, &found.items).ok()) continue;
      NonMaxSuppressor suppressor;
      (*head)->Suppress(raw, spec.nms, 0.25f, &suppressor, &found.items);
      ClipToPicture(100, 200, &found.items);
      if (!(*head)->Complete(raw, &found).ok()) continue;
      EXPECT_EQ(WhatIsWrong(found, 0.25f, (*head)->classes()), "")
          << example.family << " " << example.layout;
      ++usable;
    }
    // Without statistics (anomaly_golden_test.cc has some) there is nothing to compare with.
    EXPECT_EQ(usable > 0, example.family != "padim") << example.family << " " << example.layout;
    // Outputs that are not what was declared are refused, not read.
    Detections found;
    const bool refused =
        !(*head)->Decode({}, 0.25f, &found.items).ok() || !(*head)->Complete({}, &found).ok();
    EXPECT_TRUE(refused);
  }
  for (const ModelFamily* family : Families()) {
    EXPECT_TRUE(families.contains(std::string(family->name()))) << family->name();
  }
}

}  // namespace
}  // namespace sightline
