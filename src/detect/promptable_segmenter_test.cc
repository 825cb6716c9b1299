// Promptable segmentation against its references: the raw numbers of
// tests/golden/families/sam*.json stand where the two models would.
#include "detect/promptable_segmenter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "detect/family_golden.h"
#include "detect/promptable_models.h"
#include "detect/recognise.h"

namespace sightline {
namespace {

using golden::Golden;
using golden::Raw;
using nlohmann::json;
using testing::HasSubstr;

// A model that answers with given tensors and keeps what it was fed.
struct Scripted {
  std::vector<TensorInfo> inputs;
  std::vector<TensorInfo> outputs;
  std::vector<TensorView> answers;
  std::map<std::string, std::vector<char>> fed;
  std::map<std::string, std::vector<int64_t>> shapes;
};

class ScriptedSession final : public InferenceSession {
 public:
  explicit ScriptedSession(Scripted* model) : model_(model) {}
  std::span<const TensorInfo> inputs() const override { return model_->inputs; }
  std::span<const TensorInfo> outputs() const override { return model_->outputs; }
  absl::StatusOr<void*> InputBuffer(size_t index, std::span<const int64_t> shape) override {
    const TensorInfo& info = model_->inputs[index];
    const int64_t count =
        std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
    std::vector<char>& bytes = model_->fed[info.name];
    bytes.assign(static_cast<size_t>(count) * SizeOf(info.dtype), '\x7f');
    model_->shapes[info.name].assign(shape.begin(), shape.end());
    return static_cast<void*>(bytes.data());
  }
  absl::StatusOr<std::span<const TensorView>> Run() override {
    return std::span<const TensorView>(model_->answers);
  }

 private:
  Scripted* const model_;
};

class TwoFiles final : public InferenceBackend {
 public:
  std::string_view name() const override { return "scripted"; }
  std::string version() const override { return "1"; }
  std::vector<std::string> providers() const override { return {"cpu"}; }
  absl::StatusOr<std::unique_ptr<InferenceSession>> Open(const SessionOptions& options) override {
    return std::make_unique<ScriptedSession>(options.model_file == "encoder.onnx" ? &encoder
                                                                                  : &decoder);
  }
  Scripted encoder;
  Scripted decoder;
};

constexpr DataType kFloat = DataType::kFloat32;

// The files as exported, but for their weights.
OnnxFileInfo EncoderFile(const Golden& golden, const json& c) {
  OnnxFileInfo file;
  file.path = "encoder.onnx";
  file.inputs = {
      {golden.about["input"]["name"], kFloat, {-1, 3, c["input_wh"][1], c["input_wh"][0]}}};
  file.outputs = {{"image_embeddings", kFloat, {-1, 24, -1, -1}}};
  if (golden.about["family"] == "sam") {
    file.outputs.push_back({"image_positional_embeddings", kFloat, {-1, 24, -1, -1}});
  }
  return file;
}

OnnxFileInfo DecoderFile(const Golden& golden) {
  OnnxFileInfo file;
  file.path = "decoder.onnx";
  if (golden.about["family"] == "sam") {
    file.inputs = {{"input_points", kFloat, {-1, 1, -1, 2}},
                   {"input_labels", DataType::kInt64, {-1, 1, -1}},
                   {"image_embeddings", kFloat, {-1, 24, -1, -1}},
                   {"image_positional_embeddings", kFloat, {-1, 24, -1, -1}}};
    file.outputs = {{"iou_scores", kFloat, {-1, 1, 3}}, {"pred_masks", kFloat, {-1, 1, 3, -1, -1}}};
  } else {
    file.inputs = {{"image_embeddings", kFloat, {1, 24, -1, -1}},
                   {"point_coords", kFloat, {1, -1, 2}},
                   {"point_labels", kFloat, {1, -1}},
                   {"mask_input", kFloat, {1, 1, -1, -1}},
                   {"has_mask_input", kFloat, {1}},
                   {"orig_im_size", kFloat, {2}}};
    file.outputs = {{"masks", kFloat, {-1, -1, -1, -1}},
                    {"iou_predictions", kFloat, {-1, 4}},
                    {"low_res_masks", kFloat, {-1, 4, -1, -1}}};
  }
  return file;
}

struct Picture {
  Picture(int width, int height) : pixels(size_t{3} * width * height, 90) {
    view.format = PixelFormat::kRgb24;
    view.width = width;
    view.height = height;
    view.planes[0] = pixels.data();
    view.strides[0] = 3 * width;
  }
  std::vector<uint8_t> pixels;
  ImageView view;
};

Prompt PromptOf(const json& entry) {
  Prompt prompt;
  if (entry.contains("point_px")) {
    prompt.points.push_back({{entry["point_px"][0], entry["point_px"][1]}, true});
    return prompt;
  }
  for (size_t i = 0; i < entry["points_px"].size(); ++i) {
    const json& p = entry["points_px"][i];
    prompt.points.push_back({{p[0], p[1]}, entry["labels"][i] == 1});
  }
  const json& box = entry["box_px"];
  if (!box.is_null()) prompt.box_px = Box{box[0], box[1], box[2], box[3]};
  return prompt;
}

std::vector<float> Floats(const Scripted& model, const std::string& name) {
  const std::vector<char>& bytes = model.fed.at(name);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

// What a case of a golden file is with one entry as the models' answer.
struct GoldenModels {
  GoldenModels(const Golden& golden, const json& c) : raw_(golden::RawOf(golden, c)) {
    const OnnxFileInfo encoder = EncoderFile(golden, c), decoder = DecoderFile(golden);
    auto described = DescribePromptable(encoder, decoder);
    EXPECT_TRUE(described.ok()) << described.status();
    if (described.ok()) spec = *described;
    files.encoder.inputs = encoder.inputs;
    files.encoder.outputs = encoder.outputs;
    files.decoder.inputs = decoder.inputs;
    files.decoder.outputs = decoder.outputs;
    if (c.contains("image_positional_embeddings")) {
      const json& p = c["image_positional_embeddings"];
      positions_ = {kFloat, p["shape"].get<std::vector<int64_t>>(),
                    golden.raw.data() + p["offset"].get<size_t>()};
    }
  }

  void Answer(int entry) {
    files.encoder.answers = {raw_[0].Alone(entry)};
    if (positions_.data != nullptr) files.encoder.answers.push_back(positions_);
    files.decoder.answers = {raw_[1].Alone(entry), raw_[2].Alone(entry)};
    // Meta's decoder gives its own enlarged masks first.
    if (positions_.data == nullptr) {
      files.decoder.answers.insert(files.decoder.answers.begin(), TensorView{});
    }
  }

  std::unique_ptr<PromptableSegmenter> Open() {
    auto segmenter = PromptableSegmenter::Open(spec, files, {});
    EXPECT_TRUE(segmenter.ok()) << segmenter.status();
    return segmenter.ok() ? *std::move(segmenter) : nullptr;
  }

  ModelSpec spec;
  TwoFiles files;

 private:
  const std::vector<Raw> raw_;
  TensorView positions_;
};

class PromptableGolden : public testing::TestWithParam<const char*> {};

TEST_P(PromptableGolden, MasksAreThoseOfTheReference) {
  const Golden golden = Golden::Load(GetParam());
  ASSERT_GE(golden.cases().size(), 3u);
  size_t compared = 0;
  for (const json& c : golden.cases()) {
    GoldenModels models(golden, c);
    for (size_t e = 0; e < c["entries"].size(); ++e) {
      const json& entry = c["entries"][e];
      SCOPED_TRACE(fmt::format("input {}, entry {}", c["input_wh"].dump(), e));
      models.spec.nms.max_detections = static_cast<int>(entry["results"].size());
      const auto segmenter = models.Open();
      ASSERT_NE(segmenter, nullptr);
      models.Answer(static_cast<int>(e));
      const Picture picture(entry["source_wh"][0], entry["source_wh"][1]);
      const absl::Status looked = segmenter->LookAt(picture.view);
      ASSERT_TRUE(looked.ok()) << looked;
      Detections found;
      const absl::Status segmented = segmenter->Segment(PromptOf(entry), &found);
      ASSERT_TRUE(segmented.ok()) << segmented;
      int64_t different = 0;
      size_t at = 0;
      for (const json& r : entry["results"]) {
        const std::vector<bool> wanted =
            golden::ExpectedBits(r["mask"], picture.view.width, picture.view.height);
        if (std::ranges::count(wanted, true) == 0) continue;  // no object
        ASSERT_LT(at, found.items.size());
        const Detection& item = found.items[at++];
        EXPECT_NEAR(item.confidence, r["score"].get<double>(), 1e-5);
        const std::vector<bool> bits = golden::Bits(found.masks.at(item.detail));
        for (size_t i = 0; i < bits.size(); ++i) different += bits[i] != wanted[i];
        // The box is the smallest about the object.
        Box box = {1e9, 1e9, -1, -1};
        for (int i = 0; i < static_cast<int>(bits.size()); ++i) {
          if (!bits[i]) continue;
          const auto x = static_cast<float>(i % picture.view.width);
          const auto y = static_cast<float>(i / picture.view.width);
          box = {std::min(box.x1, x), std::min(box.y1, y), std::max(box.x2, x + 1),
                 std::max(box.y2, y + 1)};
        }
        EXPECT_EQ(item.box_px, box);
        ++compared;
      }
      EXPECT_EQ(at, found.items.size());
      EXPECT_LE(different, entry["unsure_pixels"].get<int64_t>());
    }
  }
  EXPECT_GE(compared, 12u);
}

TEST_P(PromptableGolden, TheDecoderIsFedAsByTheReference) {
  const Golden golden = Golden::Load(GetParam());
  for (const json& c : golden.cases()) {
    GoldenModels models(golden, c);
    const auto segmenter = models.Open();
    ASSERT_NE(segmenter, nullptr);
    for (size_t e = 0; e < c["entries"].size(); ++e) {
      const json& entry = c["entries"][e];
      models.Answer(static_cast<int>(e));
      const Picture picture(entry["source_wh"][0], entry["source_wh"][1]);
      ASSERT_TRUE(segmenter->LookAt(picture.view).ok());
      Detections found;
      ASSERT_TRUE(segmenter->Segment(PromptOf(entry), &found).ok());
      const Scripted& decoder = models.files.decoder;
      const bool clicks = entry.contains("input_point");
      const std::vector<float> points = Floats(decoder, clicks ? "input_points" : "point_coords");
      const auto wanted = entry[clicks ? "input_point" : "point_coords"].get<std::vector<double>>();
      ASSERT_EQ(points.size(), wanted.size());
      for (size_t i = 0; i < points.size(); ++i) EXPECT_NEAR(points[i], wanted[i], 2e-3);
      if (!clicks) {
        const std::vector<float> labels = Floats(decoder, "point_labels");
        EXPECT_EQ(labels, entry["point_labels"].get<std::vector<float>>());
        EXPECT_EQ(Floats(decoder, "has_mask_input"), std::vector<float>{0});
      } else {
        int64_t label = 0;
        ASSERT_EQ(decoder.fed.at("input_labels").size(), sizeof label);
        std::memcpy(&label, decoder.fed.at("input_labels").data(), sizeof label);
        EXPECT_EQ(label, 1);
      }
      const TensorView& embedding = models.files.encoder.answers[0];
      EXPECT_EQ(Floats(decoder, "image_embeddings"),
                std::vector<float>(embedding.f32(), embedding.f32() + embedding.elements()));
    }
  }
}

TEST_P(PromptableGolden, PicturesArePreparedAsByTheReference) {
  const Golden golden = Golden::Load(GetParam());
  const json& check = golden.about["interpolation_check"];
  json c = golden.cases()[0];
  c["input_wh"] = check["input_wh"];
  GoldenModels models(golden, c);
  const auto segmenter = models.Open();
  ASSERT_NE(segmenter, nullptr);
  models.Answer(0);
  Picture picture(check["width"], check["height"]);
  const size_t offset = check["pixels"][0];
  for (size_t i = 0; i < picture.pixels.size(); ++i) {
    picture.pixels[i] = static_cast<uint8_t>(golden.raw[offset + i]);
  }
  ASSERT_TRUE(segmenter->LookAt(picture.view).ok());
  const std::vector<float> tensor = Floats(models.files.encoder, golden.about["input"]["name"]);
  int zeros = 0;
  for (const json& sample : check["samples"]) {
    const double value = sample[1];
    EXPECT_NEAR(tensor.at(sample[0].get<size_t>()), value, value == 0 ? 0 : 1.01 / 57)
        << "at " << sample[0];
    zeros += value == 0;
  }
  EXPECT_GT(zeros, 5) << "the padding was not among the samples";
}

INSTANTIATE_TEST_SUITE_P(All, PromptableGolden, testing::Values("sam", "sam_boxes"),
                         [](const auto& info) { return std::string(info.param); });

class Promptable : public testing::Test {
 protected:
  Promptable() : golden_(Golden::Load("sam")), models_(golden_, golden_.cases()[0]) {
    models_.Answer(0);
  }
  absl::Status Ask(const Prompt& prompt) {
    const auto segmenter = models_.Open();
    if (segmenter == nullptr) return Internal("not opened");
    const Picture picture(40, 30);
    SL_RETURN_IF_ERROR(segmenter->LookAt(picture.view));
    return segmenter->Segment(prompt, &found_);
  }
  const Golden golden_;
  GoldenModels models_;
  Detections found_;
};

const Prompt kMiddle = {.points = {{{20, 15}, true}}, .box_px = {}};

TEST_F(Promptable, APromptMustSayAPlaceInThePicture) {
  EXPECT_TRUE(Ask(kMiddle).ok());
  EXPECT_THAT(std::string(Ask({}).message()), HasSubstr("at least one point"));
  EXPECT_THAT(std::string(Ask({.points = {{{41, 15}, true}}, .box_px = {}}).message()),
              HasSubstr("outside of the picture"));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(Ask({.points = {{{nan, 15}, true}}, .box_px = {}}).ok());
  EXPECT_FALSE(Ask({.points = {}, .box_px = Box{5, 5, 5, 9}}).ok());
  EXPECT_FALSE(Ask({.points = {}, .box_px = Box{5, 5, nan, 9}}).ok());
  EXPECT_THAT(std::string(Ask({.points = {}, .box_px = Box{5, 5, 9, 9}}).message()),
              HasSubstr("no boxes"));
  const auto segmenter = models_.Open();
  EXPECT_EQ(segmenter->Segment(kMiddle, &found_).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(Promptable, WhatIsNoMaskIsRefused) {
  TensorView& scores = models_.files.decoder.answers[0];
  TensorView& masks = models_.files.decoder.answers[1];
  const TensorView good_scores = scores, good_masks = masks;
  masks.shape[2] = 2;  // of three scores
  EXPECT_EQ(Ask(kMiddle).code(), absl::StatusCode::kDataLoss);
  masks = good_masks;
  masks.shape = {1, 0, 0};
  EXPECT_EQ(Ask(kMiddle).code(), absl::StatusCode::kDataLoss);
  masks = good_masks;
  masks.dtype = DataType::kFloat16;
  EXPECT_EQ(Ask(kMiddle).code(), absl::StatusCode::kDataLoss);
  masks = good_masks;
  const std::vector<float> nan(3, std::numeric_limits<float>::quiet_NaN());
  scores.data = nan.data();
  EXPECT_EQ(Ask(kMiddle).code(), absl::StatusCode::kDataLoss);
  scores = good_scores;
  models_.files.decoder.answers.pop_back();
  EXPECT_EQ(Ask(kMiddle).code(), absl::StatusCode::kDataLoss);
  models_.files.decoder.answers.push_back(good_masks);
  models_.files.encoder.answers[0].shape = {1, 24};
  EXPECT_EQ(Ask(kMiddle).code(), absl::StatusCode::kDataLoss);
}

TEST_F(Promptable, AMaskWithoutAPixelIsNoObject) {
  const TensorView& masks = models_.files.decoder.answers[1];
  const std::vector<float> below(static_cast<size_t>(masks.elements()), -1.0f);
  models_.files.decoder.answers[1].data = below.data();
  EXPECT_TRUE(Ask(kMiddle).ok());
  EXPECT_TRUE(found_.items.empty());
}

TEST_F(Promptable, OtherFilesAreRefusedWithWhatWasSeen) {
  models_.files.decoder.inputs[0].name = "clicks";
  auto opened = PromptableSegmenter::Open(models_.spec, models_.files, {});
  EXPECT_THAT(std::string(opened.status().message()), HasSubstr("clicks"));
  models_.files.decoder.inputs[0].name = "input_points";
  models_.files.decoder.inputs[0].shape = {1, 2};
  EXPECT_FALSE(PromptableSegmenter::Open(models_.spec, models_.files, {}).ok());
  models_.files.decoder.inputs[0].shape = {-1, 1, -1, 2};
  models_.files.decoder.inputs.push_back({"input_boxes", kFloat, {-1, -1, 4}});
  EXPECT_FALSE(PromptableSegmenter::Open(models_.spec, models_.files, {}).ok());
  models_.files.decoder.inputs.pop_back();
  models_.spec.layout = "other";
  EXPECT_FALSE(PromptableSegmenter::Open(models_.spec, models_.files, {}).ok());
}

TEST_F(Promptable, EachFileAloneSaysWhatIsMissing) {
  const ModelProbe never = [](auto, auto) -> absl::StatusOr<std::vector<ProbeOutput>> {
    return Internal("nothing is to be run");
  };
  const json& c = golden_.cases()[0];
  EXPECT_THAT(std::string(RecogniseModel(EncoderFile(golden_, c), never).status().message()),
              HasSubstr("--with DECODER.onnx"));
  EXPECT_THAT(std::string(RecogniseModel(DecoderFile(golden_), never).status().message()),
              HasSubstr("ENCODER.onnx --with"));
  EXPECT_FALSE(DescribePromptable(DecoderFile(golden_), EncoderFile(golden_, c)).ok());
  EXPECT_FALSE(DescribePromptable(DecoderFile(golden_), DecoderFile(golden_)).ok());
}

TEST_F(Promptable, ADetectorAsksTheSameOfEveryPicture) {
  EXPECT_THAT(
      std::string(
          MakePromptedDetectorFactory(models_.spec, models_.files, {}, {}).status().message()),
      HasSubstr("--point"));
  auto factory = MakePromptedDetectorFactory(models_.spec, models_.files, {}, {kMiddle, kMiddle});
  ASSERT_TRUE(factory.ok()) << factory.status();
  auto detector = (*factory)();
  ASSERT_TRUE(detector.ok()) << detector.status();
  const Picture picture(40, 30), small(10, 10);
  Frame frames[2];
  frames[0].image = picture.view;
  frames[1].image = small.view;  // the prompts lie outside of it
  Detections results[2];
  DetectJob jobs[2] = {{.frame = &frames[0], .result = &results[0], .status = {}},
                       {.frame = &frames[1], .result = &results[1], .status = {}}};
  for (DetectJob& job : jobs) (*detector)->Detect({&job, 1});
  EXPECT_TRUE(jobs[0].status.ok()) << jobs[0].status;
  EXPECT_EQ(results[0].items.size(), 2u);
  EXPECT_FALSE(jobs[1].status.ok());
  auto other = MakePromptedDetectorFactory(models_.spec, models_.files, {},
                                           {{.points = {{{21, 15}, true}}, .box_px = {}}});
  ASSERT_TRUE(other.ok());
  EXPECT_FALSE((*(*other)())->info().identity == (*detector)->info().identity);
}

}  // namespace
}  // namespace sightline
