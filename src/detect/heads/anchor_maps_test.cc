#include "detect/heads/anchor_maps.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <random>

#include "detect/family.h"
#include "detect/recognise.h"

namespace sightline {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kAnchors = 3, kClasses = 4, kNumbers = 5 + kClasses;

// Numbers of a map of 64 / stride cells a side, in the order anchor, number, row, column.
std::vector<float> Numbers(int stride, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 2);
  const int side = 64 / stride;
  std::vector<float> numbers(static_cast<size_t>(kAnchors) * kNumbers * side * side);
  for (float& v : numbers) v = normal(random);
  return numbers;
}

struct Map {
  std::vector<int64_t> shape;
  std::vector<float> values;
};

enum class Order { kChannelsFirst, kChannelsLast, kAnchorsFirst, kAnchorsLast, kNumbersFirst };

Map InOrder(Order order, int stride) {
  const std::vector<float> from = Numbers(stride, 7u + static_cast<uint32_t>(stride));
  const int64_t side = 64 / stride, cells = side * side;
  Map map{{}, std::vector<float>(from.size())};
  switch (order) {
    case Order::kChannelsFirst:
      map.shape = {1, kAnchors * kNumbers, side, side};
      break;
    case Order::kChannelsLast:
      map.shape = {1, side, side, kAnchors * kNumbers};
      break;
    case Order::kAnchorsFirst:
      map.shape = {1, kAnchors, side, side, kNumbers};
      break;
    case Order::kAnchorsLast:
      map.shape = {1, side, side, kAnchors, kNumbers};
      break;
    case Order::kNumbersFirst:
      map.shape = {1, kAnchors, kNumbers, side, side};
      break;
  }
  for (int64_t a = 0; a < kAnchors; ++a) {
    for (int64_t k = 0; k < kNumbers; ++k) {
      for (int64_t cell = 0; cell < cells; ++cell) {
        const int64_t at = order == Order::kAnchorsFirst ? (a * cells + cell) * kNumbers + k
                           : order == Order::kChannelsLast || order == Order::kAnchorsLast
                               ? (cell * kAnchors + a) * kNumbers + k
                               : (a * kNumbers + k) * cells + cell;
        map.values[at] = from[(a * kNumbers + k) * cells + cell];
      }
    }
  }
  return map;
}

ModelSpec SpecOf(const std::string& family, const std::string& layout) {
  ModelSpec spec = *FamilyDefaults(family, 64, 64);
  spec.name = "m";
  spec.layout = layout;
  spec.classes = kClasses;
  return spec;
}

std::vector<Detection> DecodeAs(const ModelSpec& spec, std::span<const Map> maps,
                                bool declared_open = false) {
  std::vector<TensorInfo> infos;
  std::vector<TensorView> views;
  for (const Map& map : maps) {
    infos.push_back({"o" + std::to_string(infos.size()), DataType::kFloat32, map.shape});
    if (declared_open) infos.back().shape.assign(map.shape.size(), -1);
    views.push_back({DataType::kFloat32, map.shape, map.values.data()});
  }
  const auto head = MakeHead(spec, infos);
  EXPECT_TRUE(head.ok()) << head.status();
  std::vector<Detection> found;
  if (!head.ok()) return found;
  EXPECT_EQ((*head)->classes(), kClasses);
  RawResult raw;
  raw.outputs = views;
  raw.picture_width = raw.picture_height = 64;
  const absl::Status status = (*head)->Decode(raw, 0.6f, &found);
  EXPECT_TRUE(status.ok()) << status;
  return found;
}

void ExpectEqual(const std::vector<Detection>& a, const std::vector<Detection>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].class_id, b[i].class_id);
    EXPECT_EQ(a[i].confidence, b[i].confidence);
    EXPECT_EQ(a[i].box_px.x1, b[i].box_px.x1);
    EXPECT_EQ(a[i].box_px.y2, b[i].box_px.y2);
  }
}

TEST(AnchorMaps, MeanTheSameInEveryOrder) {
  const ModelSpec spec = SpecOf("yolov4", "maps");
  const auto all = [](Order order) {
    return std::array<Map, 3>{InOrder(order, 8), InOrder(order, 16), InOrder(order, 32)};
  };
  const std::vector<Detection> found = DecodeAs(spec, all(Order::kChannelsFirst));
  EXPECT_GE(found.size(), 10u);
  for (const Order order :
       {Order::kChannelsLast, Order::kAnchorsFirst, Order::kAnchorsLast, Order::kNumbersFirst}) {
    SCOPED_TRACE(static_cast<int>(order));
    ExpectEqual(DecodeAs(spec, all(order)), found);
    ExpectEqual(DecodeAs(spec, all(order), /*declared_open=*/true), found);
  }
  const std::array<Map, 3> falling = {InOrder(Order::kAnchorsLast, 32),
                                      InOrder(Order::kAnchorsLast, 16),
                                      InOrder(Order::kAnchorsLast, 8)};
  ExpectEqual(DecodeAs(spec, falling), found);
}

// The formula of ultralytics/yolov5 models/yolo.py, worked out by hand for one anchor.
TEST(AnchorMaps, SquareLawIsYolov5s) {
  std::array<Map, 3> maps = {InOrder(Order::kAnchorsFirst, 8), InOrder(Order::kAnchorsFirst, 16),
                             InOrder(Order::kAnchorsFirst, 32)};
  for (Map& map : maps) std::fill(map.values.begin(), map.values.end(), -9.0f);
  // Stride 16, anchor 1 (62 x 45), row 1, column 2: all sigmoids 0.5 but those of the scores.
  float* const at = maps[1].values.data() + (1 * 16 + 1 * 4 + 2) * kNumbers;
  const std::array<float, kNumbers> one = {0, 0, 0, 0, 4, -9, 3, -9, -9};
  std::ranges::copy(one, at);
  for (const std::string layout : {"maps", "maps_activated"}) {
    if (layout == "maps_activated") {
      for (Map& map : maps) {
        for (float& v : map.values) v = 1 / (1 + std::exp(-v));
      }
    }
    const std::vector<Detection> found = DecodeAs(SpecOf("yolov5", layout), maps);
    ASSERT_EQ(found.size(), 1u) << layout;
    EXPECT_EQ(found[0].class_id, 1);
    EXPECT_NEAR(found[0].confidence, 0.982014 * 0.952574, 1e-5);
    EXPECT_NEAR(found[0].box_px.x1, 2.5 * 16 - 31, 1e-4);
    EXPECT_NEAR(found[0].box_px.y1, 1.5 * 16 - 22.5, 1e-4);
    EXPECT_NEAR(found[0].box_px.x2, 2.5 * 16 + 31, 1e-4);
    EXPECT_NEAR(found[0].box_px.y2, 1.5 * 16 + 22.5, 1e-4);
  }
}

TEST(AnchorMaps, WhatDoesNotFitIsRefusedWithTheKey) {
  const std::vector<TensorInfo> outputs = {{"a", DataType::kFloat32, {1, 27, 8, 8}},
                                           {"b", DataType::kFloat32, {1, 27, 4, 4}},
                                           {"c", DataType::kFloat32, {1, 27, 2, 2}}};
  ModelSpec spec = SpecOf("yolov3", "maps");
  EXPECT_TRUE(MakeHead(spec, outputs).ok());
  spec.anchors = {10, 10, 20, 20};
  EXPECT_THAT(MakeHead(spec, outputs).status().ToString(), HasSubstr("`anchors`"));
  spec.anchors.clear();
  spec.scale_xy = {1, 1};
  EXPECT_THAT(MakeHead(spec, outputs).status().ToString(), HasSubstr("`scale_xy`"));
  spec.scale_xy.clear();
  // One anchor a cell makes 27 numbers of an anchor.
  spec.anchors.assign(6, 20);
  const auto one = MakeHead(spec, outputs);
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_EQ((*one)->classes(), 22);
  spec.anchors.assign(42, 20);
  spec.classes = 0;
  EXPECT_THAT(MakeHead(spec, outputs).status().ToString(), HasSubstr("`classes`"));
  // Four maps have no anchors unless they are given.
  std::vector<TensorInfo> four = outputs;
  four.push_back({"d", DataType::kFloat32, {1, 27, 1, 1}});
  EXPECT_THAT(MakeHead(SpecOf("yolov4", "maps"), four).status().ToString(), HasSubstr("`anchors`"));
  // What is decoded needs none.
  EXPECT_TRUE(MakeHead(SpecOf("yolov4", "maps_decoded"), four).ok());
}

// A file with these maps and operators.
absl::StatusOr<Recognition> Recognised(Order order, std::map<std::string, int> operators,
                                       bool activated = false, bool tiny = false) {
  OnnxFileInfo file;
  file.path = "some/model.onnx";
  file.inputs = {{"images", DataType::kFloat32, {1, 3, 64, 64}}};
  file.op_counts = std::move(operators);
  std::vector<ProbeOutput> outputs;
  for (const int stride : {32, 16, 8}) {
    if (tiny && stride == 8) continue;
    Map map = InOrder(order, stride);
    for (float& v : map.values) v = activated ? 1 / (1 + std::exp(-v)) : v;
    outputs.push_back(
        {{"o" + std::to_string(stride), DataType::kFloat32, map.shape}, std::move(map.values)});
  }
  return RecogniseModel(file, [&](auto, auto) { return outputs; });
}

TEST(AnchorMaps, OperatorsTellTheVersion) {
  const auto family = [](const absl::StatusOr<Recognition>& found) {
    EXPECT_TRUE(found.ok()) << found.status();
    return found.ok() ? found->spec.family + " " + found->spec.layout : "";
  };
  const Order darknet = Order::kChannelsFirst, torch = Order::kAnchorsFirst;
  EXPECT_EQ(family(Recognised(darknet, {{"LeakyRelu", 72}})), "yolov3 maps");
  const auto v4 = Recognised(Order::kAnchorsLast, {{"Softplus", 72}, {"MaxPool", 3}});
  EXPECT_EQ(family(v4), "yolov4 maps");
  EXPECT_THAT(v4->spec.anchors, ElementsAreArray(anchor_maps::WiderCocoAnchors()));
  EXPECT_EQ(family(Recognised(darknet, {{"MaxPool", 6}}, false, true)), "yolov3 maps");
  EXPECT_EQ(family(Recognised(darknet, {{"MaxPool", 3}}, false, true)), "yolov4 maps");
  EXPECT_EQ(family(Recognised(torch, {{"Sigmoid", 57}, {"MaxPool", 3}})), "yolov5 maps");
  EXPECT_EQ(family(Recognised(darknet, {{"Sigmoid", 60}, {"MaxPool", 3}}, true)),
            "yolov5 maps_activated");
  const auto v7 = Recognised(torch, {{"Sigmoid", 90}, {"MaxPool", 8}});
  EXPECT_EQ(family(v7), "yolov5 maps");
  EXPECT_THAT(v7->spec.anchors, ElementsAreArray(anchor_maps::WiderCocoAnchors()));
}

TEST(AnchorMaps, WhatNothingTellsIsRefusedWithTheLinesToWrite) {
  EXPECT_THAT(Recognised(Order::kChannelsFirst, {}).status().ToString(),
              AllOf(HasSubstr("`family: yolov3` and `layout: maps`"),
                    HasSubstr("`family: yolov4` and `layout: maps`")));
  // YOLOv3-SPP, or YOLOv4 without Mish.
  EXPECT_THAT(
      Recognised(Order::kChannelsLast, {{"LeakyRelu", 75}, {"MaxPool", 3}}).status().ToString(),
      AllOf(HasSubstr("`family: yolov3`"), HasSubstr("`family: yolov4`")));
  EXPECT_THAT(Recognised(Order::kAnchorsFirst, {}).status().ToString(),
              AllOf(HasSubstr("`family: yolov5` and `layout: maps`"),
                    HasSubstr("`anchors: [12, 16, 19, 36"), Not(HasSubstr("`family: yolov4`"))));
}

// 64 numbers of a box's distributions and 80 classes make 144 channels, three anchors' too.
TEST(AnchorMaps, MapsOfYolov8AreNotMistaken) {
  OnnxFileInfo file;
  file.path = "some/model.onnx";
  file.inputs = {{"images", DataType::kFloat32, {1, 3, 64, 64}}};
  file.op_counts = {{"LeakyRelu", 3}};
  std::vector<ProbeOutput> outputs;
  for (const int64_t side : {8, 4, 2}) {
    outputs.push_back({{"o" + std::to_string(side), DataType::kFloat32, {1, 144, side, side}},
                       std::vector<float>(static_cast<size_t>(144 * side * side), -3.0f)});
  }
  const auto found = RecogniseModel(file, [&](auto, auto) { return outputs; });
  ASSERT_FALSE(found.ok());
  EXPECT_THAT(found.status().ToString(), HasSubstr("80 classes as YOLOv8"));
}

}  // namespace
}  // namespace sightline
