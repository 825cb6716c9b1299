#include "detect/recognise.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "detect/family.h"
#include "detect/heads/head.h"
#include "detect/heads/ultraface_priors.h"
#include "detect/known_strangers.h"
#include "detect/model_labels.h"

namespace sightline {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

TensorInfo Info(std::string name, std::vector<int64_t> shape) {
  return {std::move(name), DataType::kFloat32, std::move(shape)};
}

OnnxFileInfo File(TensorInfo input, std::vector<TensorInfo> outputs) {
  OnnxFileInfo file;
  file.path = "some/Model One.onnx";
  file.inputs = {std::move(input)};
  file.outputs = std::move(outputs);
  return file;
}

// A stand-in for a model: what it gives for a picture of width x height, per entry of the batch.
struct FakeModel {
  // Shapes of one entry, without the batch.
  std::vector<std::pair<std::string, std::vector<int64_t>>> outputs;
  // value(output, element, mean of the picture)
  std::function<float(size_t, size_t, float)> value = [](size_t, size_t, float) { return 0.0f; };
  bool batch_leaks = false;  // every entry gives what the first one does

  absl::StatusOr<std::vector<ProbeOutput>> Run(std::span<const int64_t> shape,
                                               std::span<const float> values) const {
    const int64_t batch = shape[0];
    const size_t per_picture = values.size() / batch;
    std::vector<ProbeOutput> result;
    for (size_t o = 0; o < outputs.size(); ++o) {
      ProbeOutput out{Info(outputs[o].first, {batch}), {}};
      size_t elements = 1;
      for (const int64_t d : outputs[o].second) {
        out.info.shape.push_back(d);
        elements *= d;
      }
      for (int64_t entry = 0; entry < batch; ++entry) {
        const size_t from = batch_leaks ? 0 : entry * per_picture;
        double sum = 0;
        for (size_t i = 0; i < per_picture; ++i) sum += values[from + i];
        for (size_t e = 0; e < elements; ++e) {
          out.values.push_back(value(o, e, static_cast<float>(sum / per_picture)));
        }
      }
      result.push_back(std::move(out));
    }
    return result;
  }
  ModelProbe probe() const {
    return [this](auto shape, auto values) { return Run(shape, values); };
  }
};

// Rows as a YOLOX of this size gives them for a picture with nothing in it.
FakeModel Yolox(int width, int height, int classes, bool decoded, int levels = 3) {
  FakeModel model;
  struct Cell {
    int x, y, stride;
  };
  std::vector<Cell> cells;
  for (int level = 0; level < levels; ++level) {
    const int stride = 8 << level;
    for (int y = 0; y < height / stride; ++y) {
      for (int x = 0; x < width / stride; ++x) cells.push_back({x, y, stride});
    }
  }
  model.outputs = {{"whatever", {static_cast<int64_t>(cells.size()), 5 + classes}}};
  model.value = [cells, decoded, classes](size_t, size_t element, float mean) {
    const Cell& cell = cells[element / (5 + classes)];
    const float wobble = std::sin(static_cast<float>(element)) * 0.4f + mean * 1e-3f;
    switch (element % (5 + classes)) {
      case 0:
        return decoded ? (cell.x + 0.5f + wobble) * cell.stride : 0.5f + wobble;
      case 1:
        return decoded ? (cell.y + 0.5f + wobble) * cell.stride : 0.5f + wobble;
      case 2:
      case 3:
        return decoded ? 3.0f * cell.stride : 1.1f;
      default:
        return 0.01f + 0.005f * wobble;
    }
  };
  return model;
}

FakeModel Ultraface(int width, int height, bool decoded) {
  FakeModel model;
  const auto priors = UltrafacePriors(width, height);
  const auto n = static_cast<int64_t>(priors.size());
  model.outputs = {{"b", {n, 4}}, {"s", {n, 2}}};  // not in the usual order
  model.value = [priors, decoded](size_t output, size_t element, float) -> float {
    if (output == 1) return element % 2 == 0 ? 0.97f : 0.03f;
    const UltrafacePrior& p = priors[element / 4];
    if (!decoded) return std::sin(static_cast<float>(element)) * 3;
    const Box b = {p.cx - p.w / 2, p.cy - p.h / 2, p.cx + p.w / 2, p.cy + p.h / 2};
    return std::array{b.x1, b.y1, b.x2, b.y2}[element % 4];
  };
  return model;
}

FakeModel Fastestdet(int width, int height, int classes) {
  FakeModel model;
  const int64_t rows = height / 16, columns = width / 16;
  model.outputs = {{"758", {5 + classes, rows, columns}}};
  model.value = [=](size_t, size_t element, float) -> float {
    const int64_t plane = element / (rows * columns);
    return plane == 0 ? 0.05f : plane < 5 ? -2.0f : 1.0f / classes;
  };
  return model;
}

struct SizeAndClasses {
  int width, height, classes, levels;
};

class RecognisesYolox : public testing::TestWithParam<SizeAndClasses> {};

TEST_P(RecognisesYolox, InBothLayouts) {
  const auto& [width, height, classes, levels] = GetParam();
  for (const bool decoded : {false, true}) {
    const FakeModel model = Yolox(width, height, classes, decoded, levels);
    const auto found = RecogniseModel(
        File(Info("images", {1, 3, height, width}), {Info("output", {1, -1, 5 + classes})}),
        model.probe());
    ASSERT_TRUE(found.ok()) << found.status();
    const ModelSpec& spec = found->spec;
    EXPECT_EQ(spec.family, "yolox");
    EXPECT_EQ(spec.layout, decoded ? "decoded" : "raw_grid");
    EXPECT_EQ(spec.input.width, width);
    EXPECT_EQ(spec.input.height, height);
    EXPECT_EQ(spec.input.resize, ResizeMode::kLetterboxTopLeft);
    EXPECT_EQ(spec.input.channels, ChannelOrder::kBgr);
    EXPECT_EQ(spec.batch, 1);
    EXPECT_EQ(spec.input_name, "images");
    EXPECT_THAT(spec.output_names, ElementsAre("whatever"));
    EXPECT_EQ(spec.labels->names.size(), classes == 80 ? 80u : 0u);
    EXPECT_FALSE(found->warnings.empty());  // the labels are a guess, or missing
    EXPECT_TRUE(
        MakeHead(spec, std::vector{Info("whatever", {1, model.outputs[0].second[0], 5 + classes})})
            .ok());
  }
}
INSTANTIATE_TEST_SUITE_P(
    Sizes, RecognisesYolox,
    testing::Values(SizeAndClasses{416, 416, 80, 3}, SizeAndClasses{640, 640, 80, 3},
                    SizeAndClasses{640, 384, 1, 3}, SizeAndClasses{320, 320, 20, 3},
                    SizeAndClasses{64, 64, 3, 3}, SizeAndClasses{1280, 1280, 80, 4}));

TEST(Recognise, UltrafaceInBothLayoutsAndAnyOrderOfOutputs) {
  for (const auto& [width, height] : {std::pair{320, 240}, {640, 480}, {128, 96}, {480, 360}}) {
    for (const bool decoded : {false, true}) {
      const FakeModel model = Ultraface(width, height, decoded);
      const auto found =
          RecogniseModel(File(Info("input", {1, 3, height, width}), {}), model.probe());
      ASSERT_TRUE(found.ok()) << found.status();
      EXPECT_EQ(found->spec.family, "ultraface");
      EXPECT_EQ(found->spec.layout, decoded ? "decoded" : "raw_deltas");
      EXPECT_THAT(found->spec.output_names, ElementsAre("s", "b"));
      EXPECT_EQ(found->spec.input.mean[1], 127);
      EXPECT_THAT(found->spec.labels->names, ElementsAre("face"));
      EXPECT_THAT(found->warnings, IsEmpty());
    }
  }
}

TEST(Recognise, FastestdetOfOtherSizesAndClasses) {
  for (const auto& [width, height, classes] :
       {std::array{352, 352, 80}, {512, 320, 1}, {160, 160, 7}}) {
    const FakeModel model = Fastestdet(width, height, classes);
    const auto found =
        RecogniseModel(File(Info("input.1", {1, 3, height, width}), {}), model.probe());
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(found->spec.family, "fastestdet");
    EXPECT_FLOAT_EQ(found->spec.input.scale[0], 1 / 255.0f);
  }
}

TEST(Recognise, OpenBatchIsTriedAndNotBelieved) {
  FakeModel model = Yolox(64, 64, 80, false);
  const OnnxFileInfo file = File(Info("images", {-1, 3, 64, 64}), {});
  auto found = RecogniseModel(file, model.probe());
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->spec.batch, 0);
  model.batch_leaks = true;
  found = RecogniseModel(file, model.probe());
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->spec.batch, 1);
  EXPECT_THAT(found->warnings, testing::Contains(HasSubstr("batch")));
}

TEST(Recognise, FixedBatchAndLayoutAndNamesAreTakenFromTheFile) {
  const FakeModel model = Yolox(64, 32, 2, true);
  OnnxFileInfo file = File(Info("in", {4, 32, 64, 3}), {});
  file.metadata["names"] = "{0: 'cat', 1: \"dog's\"}";
  const auto found = RecogniseModel(file, model.probe());
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->spec.batch, 4);
  EXPECT_EQ(found->spec.input.layout, TensorLayout::kNhwc);
  EXPECT_THAT(found->spec.labels->names, ElementsAre("cat", "dog's"));
  EXPECT_THAT(found->warnings, IsEmpty());
  EXPECT_THAT(found->why, HasSubstr("layout decoded"));
}

TEST(Recognise, OpenInputSizeIsAssumedAndSaid) {
  const FakeModel model = Yolox(640, 640, 80, false);
  const auto found = RecogniseModel(File(Info("images", {-1, 3, -1, -1}), {}), model.probe());
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->spec.input.width, 640);
  EXPECT_THAT(found->warnings, testing::Contains(HasSubstr("640x640")));
}

// Everything that is refused, with the words that must be in the answer.
struct Refused {
  const char* name;
  int width, height;
  std::vector<std::pair<std::string, std::vector<int64_t>>> outputs;
  const char* words;
};

class RefusesByName : public testing::TestWithParam<Refused> {};

TEST_P(RefusesByName, WithTheShapesSeen) {
  const Refused& p = GetParam();
  FakeModel model;
  model.outputs = p.outputs;
  model.value = [](size_t, size_t element, float) { return static_cast<float>(element % 7); };
  const auto found =
      RecogniseModel(File(Info("images", {1, 3, p.height, p.width}), {}), model.probe());
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.status().code(), absl::StatusCode::kInvalidArgument);
  const std::string message(MessageOf(found.status()));
  EXPECT_THAT(message, HasSubstr(p.words));
  EXPECT_THAT(message, HasSubstr("some/Model One.onnx"));
  std::vector<int64_t> shape = p.outputs[0].second;
  shape.insert(shape.begin(), 1);
  EXPECT_THAT(message, HasSubstr(ToString(Info(p.outputs[0].first, shape))));
}
INSTANTIATE_TEST_SUITE_P(
    Families, RefusesByName,
    testing::Values(
        Refused{"v5", 640, 640, {{"output0", {25200, 85}}}, "YOLOv5 or YOLOv7"},
        Refused{"v5_1class", 416, 416, {{"output", {10647, 6}}}, "YOLOv5 or YOLOv7"},
        Refused{"v8", 640, 640, {{"output0", {84, 8400}}}, "YOLOv8"},
        Refused{"v8_seg", 640, 640, {{"o", {116, 8400}}, {"p", {32, 160, 160}}}, "YOLOv8-seg"},
        Refused{"v10", 640, 640, {{"output0", {300, 6}}}, "YOLOv10"},
        Refused{"detr", 640, 640, {{"logits", {300, 80}}, {"boxes", {300, 4}}}, "DETR"},
        Refused{"damo", 640, 640, {{"s", {8400, 80}}, {"b", {8400, 4}}}, "DAMO-YOLO"},
        Refused{"v5_maps",
                640,
                640,
                {{"a", {3, 80, 80, 85}}, {"b", {3, 40, 40, 85}}, {"c", {3, 20, 20, 85}}},
                "YOLOv5"},
        Refused{"v4", 416, 416, {{"a", {255, 52, 52}}, {"b", {255, 26, 26}}}, "YOLOv3"},
        Refused{"nanodet",
                416,
                416,
                {{"a", {2704, 80}},
                 {"b", {676, 80}},
                 {"c", {169, 80}},
                 {"d", {2704, 32}},
                 {"e", {676, 32}},
                 {"f", {169, 32}}},
                "NanoDet"},
        Refused{"picodet",
                320,
                320,
                {{"a", {1600, 80}},
                 {"b", {400, 80}},
                 {"c", {100, 80}},
                 {"d", {25, 80}},
                 {"e", {1600, 32}},
                 {"f", {400, 32}},
                 {"g", {100, 32}},
                 {"h", {25, 32}}},
                "PicoDet"},
        Refused{"nanodet_plus", 416, 416, {{"output", {3598, 112}}}, "NanoDet-Plus"},
        Refused{"nanodet_plus_320", 320, 320, {{"output", {2125, 112}}}, "NanoDet-Plus"},
        Refused{"yunet",
                320,
                320,
                {{"cls_8", {1600, 1}},
                 {"cls_16", {400, 1}},
                 {"cls_32", {100, 1}},
                 {"obj_8", {1600, 1}},
                 {"obj_16", {400, 1}},
                 {"obj_32", {100, 1}},
                 {"bbox_8", {1600, 4}},
                 {"bbox_16", {400, 4}},
                 {"bbox_32", {100, 4}},
                 {"kps_8", {1600, 10}},
                 {"kps_16", {400, 10}},
                 {"kps_32", {100, 10}}},
                "YuNet"},
        Refused{"retinaface",
                640,
                640,
                {{"b", {16800, 4}}, {"c", {16800, 2}}, {"l", {16800, 10}}},
                "RetinaFace"},
        Refused{"ssd_300", 300, 300, {{"s", {3000, 2}}, {"b", {3000, 4}}}, "SSD"},
        Refused{"embedding", 224, 224, {{"features", {512}}}, "family: embedding"},
        Refused{"yolov2", 416, 416, {{"grid", {125, 13, 13}}}, "YOLOv2"},
        Refused{"yolox_logits", 64, 64, {{"o", {84, 85}}}, "sigmoid"},
        Refused{"fastestdet_like", 352, 352, {{"o", {85, 22, 22}}}, "FastestDet's grid"}),
    [](const auto& info) { return info.param.name; });

TEST(Recognise, KnowsYolov6ByItsObjectness) {
  FakeModel model = Yolox(64, 64, 80, true);
  const auto plain = model.value;
  model.value = [plain](size_t o, size_t e, float m) {
    return e % 85 == 4 ? 1.0f : plain(o, e, m);
  };
  const auto found = RecogniseModel(File(Info("images", {1, 3, 64, 64}), {}), model.probe());
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->spec.family, "yolov6");
}

TEST(Recognise, RefusesBoxesAsFractionsAndNan) {
  FakeModel model = Yolox(256, 256, 80, true);
  const auto plain = model.value;
  model.value = [plain](size_t o, size_t e, float m) {
    return e % 85 < 4 ? plain(o, e, m) / 256 : plain(o, e, m);
  };
  auto found = RecogniseModel(File(Info("images", {1, 3, 256, 256}), {}), model.probe());
  ASSERT_FALSE(found.ok());
  EXPECT_THAT(std::string(MessageOf(found.status())), HasSubstr("fractions"));
  model.value = [](size_t, size_t, float) { return std::nanf(""); };
  found = RecogniseModel(File(Info("images", {1, 3, 256, 256}), {}), model.probe());
  ASSERT_FALSE(found.ok());
  EXPECT_THAT(std::string(MessageOf(found.status())), HasSubstr("NaN"));
}

TEST(Recognise, RefusesOutputsOfAnEmptyBatch) {
  using Outputs = std::vector<std::pair<std::string, std::vector<int64_t>>>;
  for (const Outputs& outputs :
       {Outputs{{"a", {24, 80, 80}}, {"b", {24, 40, 40}}, {"c", {24, 20, 20}}},
        Outputs{{"a", {3, 80, 80, 85}}, {"b", {3, 40, 40, 85}}, {"c", {3, 20, 20, 85}}},
        Outputs{{"rows", {25200, 85}}}, Outputs{{"columns", {84, 8400}}},
        Outputs{{"boxes", {300, 4}}, {"scores", {300, 80}}}}) {
    const ModelProbe probe = [&](auto, auto) -> absl::StatusOr<std::vector<ProbeOutput>> {
      std::vector<ProbeOutput> empty;
      for (const auto& [name, shape] : outputs) {
        empty.push_back({Info(name, shape), {}});
        empty.back().info.shape.insert(empty.back().info.shape.begin(), 0);
      }
      return empty;
    };
    const auto found = RecogniseModel(File(Info("images", {1, 3, 640, 640}), {}), probe);
    EXPECT_EQ(found.status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(Recognise, OutputsOfEmptyMapsAreNamed) {
  const ModelProbe probe = [](auto, auto) -> absl::StatusOr<std::vector<ProbeOutput>> {
    return std::vector<ProbeOutput>{{Info("a", {0, 24, 80, 80}), {}},
                                    {Info("b", {0, 24, 40, 40}), {}},
                                    {Info("c", {0, 24, 20, 20}), {}}};
  };
  const auto found = RecogniseModel(File(Info("images", {1, 3, 640, 640}), {}), probe);
  ASSERT_FALSE(found.ok());
  EXPECT_THAT(std::string(MessageOf(found.status())), HasSubstr("is empty for a test picture"));
}

TEST(Recognise, RefusesWhatIsNoPictureOrCannotRun) {
  const FakeModel model = Yolox(64, 64, 80, false);
  const auto message = [&](const OnnxFileInfo& file, const ModelProbe& probe) {
    const auto found = RecogniseModel(file, probe);
    EXPECT_FALSE(found.ok());
    return std::string(MessageOf(found.status()));
  };
  EXPECT_THAT(message(File(Info("tokens", {1, 128}), {}), model.probe()),
              HasSubstr("no colour picture"));
  EXPECT_THAT(message(File(Info("grey", {1, 1, 64, 64}), {}), model.probe()),
              HasSubstr("no colour picture"));
  EXPECT_THAT(message(File(Info("big", {1, 3, 99999, 64}), {}), model.probe()), HasSubstr("8192"));
  OnnxFileInfo two = File(Info("a", {1, 3, 64, 64}), {});
  two.inputs.push_back(Info("b", {1, 2}));
  EXPECT_THAT(message(two, model.probe()), HasSubstr("2 inputs"));
  OnnxFileInfo ids = File(Info("a", {1, 3, 64, 64}), {});
  ids.inputs[0].dtype = DataType::kInt64;
  EXPECT_THAT(message(ids, model.probe()), HasSubstr("element type"));
  const ModelProbe broken = [](auto, auto) -> absl::StatusOr<std::vector<ProbeOutput>> {
    return InvalidArgument("Conv: no kernel");
  };
  EXPECT_THAT(message(File(Info("a", {1, 3, 64, 64}), {}), broken), HasSubstr("Conv: no kernel"));
}

TEST(Labels, AreReadAsPeopleWriteThem) {
  EXPECT_THAT(ParseLabelList("{0: 'person', 1: 'bike'}"), ElementsAre("person", "bike"));
  EXPECT_THAT(ParseLabelList("{\"1\": \"b\", \"0\": \"a\",}"), ElementsAre("a", "b"));
  EXPECT_THAT(ParseLabelList("['a', \"it's\"]"), ElementsAre("a", "it's"));
  EXPECT_THAT(ParseLabelList("a, b c ,d"), ElementsAre("a", "b c", "d"));
  EXPECT_THAT(ParseLabelList("a\nb\r\n"), ElementsAre("a", "b"));
  for (const char* bad :
       {"{0: 'a', 2: 'c'}", "{0: 'a'", "{0 'a'}", "['a' 'b']", "{99999999999999999999: 'a'}", "['a",
        "{0: 1}", "[1, 2]", "", "{}", "[]", "{'x': 'a'}"}) {
    EXPECT_THAT(ParseLabelList(bad), IsEmpty()) << bad;
  }
}

TEST(Labels, OfTheWrongNumberAreNotUsed) {
  const ModelLabels labels = LabelsFor({{"names", "['a', 'b']"}}, "yolox", 3);
  EXPECT_THAT(labels.labels->names, IsEmpty());
  EXPECT_THAT(labels.warning, HasSubstr("gives 2 names"));
  EXPECT_THAT(LabelsFor({}, "yolox", 80).labels->names, SizeIs(80));
  EXPECT_THAT(LabelsFor({}, "yolox", 80).warning, HasSubstr("COCO"));
}

// The table in docs/model_families.md and the program know the same families.
TEST(Families, AreThoseOfTheirPage) {
  std::ifstream page(std::string(SIGHTLINE_SOURCE_DIR) + "/docs/model_families.md");
  std::vector<std::string> described, known;
  for (std::string line; std::getline(page, line);) {
    if (!line.starts_with("| `")) continue;
    described.push_back(line.substr(3, line.find('`', 3) - 3));
  }
  for (const ModelFamily* family : Families()) known.emplace_back(family->name());
  EXPECT_THAT(described, testing::UnorderedElementsAreArray(known));
}

}  // namespace
}  // namespace sightline
