// `outputs` of model.yaml: heads read what is named there and nothing else.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "detect/every_family.h"
#include "detect/golden_results.h"
#include "detect/heads/head.h"

namespace sightline {
namespace {

using testing::HasSubstr;

// The outputs of an example, filled with numbers that look like scores and small boxes.
struct FilledOutputs {
  FilledOutputs(std::vector<TensorInfo> of, uint32_t seed) : infos(std::move(of)) {
    std::mt19937 random(seed);
    for (const TensorInfo& info : infos) {
      size_t count = 1;
      for (const int64_t d : info.shape) count *= static_cast<size_t>(d);
      auto& f = floats.emplace_back(count);
      auto& n = integers.emplace_back(count);
      for (float& v : f) v = static_cast<float>(random() % 999) / 999;
      for (int64_t& v : n) v = static_cast<int64_t>(random() % 5);
    }
  }
  TensorView view(size_t i) const {
    const bool whole = infos[i].dtype == DataType::kInt64;
    return {infos[i].dtype, infos[i].shape,
            whole ? static_cast<const void*>(integers[i].data()) : floats[i].data()};
  }
  std::vector<TensorInfo> infos;
  std::vector<std::vector<float>> floats;
  std::vector<std::vector<int64_t>> integers;
};

// What a head makes of outputs, in words.
std::string Everything(const Head& head, const std::vector<TensorView>& outputs) {
  const RawResult raw = {outputs, 0, {0.5f, 0.25f, 3, 0}, 100, 200};
  Detections found;
  absl::Status status = head.Decode(raw, 0.1f, &found.items);
  if (status.ok()) status = head.Complete(raw, &found);
  if (!status.ok()) return std::string(MessageOf(status));
  std::string text;
  for (const Detection& d : found.items) text += golden::Text(d) + "\n";
  for (const Keypoint& k : found.keypoints) text += fmt::format("{} {},", k.at_px.x, k.at_px.y);
  for (const InstanceMask& m : found.masks) text += fmt::format("mask {},", m.runs.size());
  for (const ClassScore& c : found.classes) text += fmt::format("{} {},", c.class_id, c.confidence);
  for (const float v : found.embedding) text += fmt::format("{},", v);
  for (const uint16_t id : found.class_map.class_ids) text += fmt::format("{},", id);
  return text;
}

// A file may have outputs that belong to nothing: `outputs` in model.yaml says which are meant.
TEST(EveryHead, ReadsTheNamedOutputsAmongOthersThatLookTheSame) {
  for (const FamilyExample& example : EveryFamily()) {
    const std::string what = example.family + " " + example.layout;
    const FilledOutputs meant(example.outputs, 11);
    std::vector<TensorInfo> strange = example.outputs;
    for (TensorInfo& info : strange) info.name = "other_" + info.name;
    const FilledOutputs others(strange, 12);
    std::vector<TensorView> alone;
    for (size_t i = 0; i < meant.infos.size(); ++i) alone.push_back(meant.view(i));
    ModelSpec spec = example.spec();
    spec.confidence_threshold = 0.01f;
    auto head = MakeHead(spec, meant.infos);
    ASSERT_TRUE(head.ok()) << head.status();
    const std::string expected = Everything(**head, alone);
    ASSERT_FALSE(expected.empty()) << what;

    // One of the others before each that is meant.
    std::vector<TensorInfo> infos;
    std::vector<TensorView> both;
    for (size_t i = 0; i < meant.infos.size(); ++i) {
      infos.insert(infos.end(), {others.infos[i], meant.infos[i]});
      both.insert(both.end(), {others.view(i), meant.view(i)});
      spec.output_names.push_back(meant.infos[i].name);
    }
    head = MakeHead(spec, infos);
    EXPECT_TRUE(head.ok()) << what << ": " << head.status();
    if (!head.ok()) continue;
    EXPECT_EQ(Everything(**head, both), expected) << what;

    spec.output_names[0] = "nowhere";
    EXPECT_THAT(MakeHead(spec, infos).status().message(), HasSubstr("nowhere")) << what;
    spec.output_names.assign(2, meant.infos[0].name);
    EXPECT_FALSE(MakeHead(spec, infos).ok()) << what;
  }
}

// What shapes leave open, the order in model.yaml decides.
TEST(EveryHead, TheOrderOfNamedOutputsCounts) {
  for (const FamilyExample& example : EveryFamily()) {
    if (example.family != "yunet") continue;
    const FilledOutputs meant(example.outputs, 11);
    std::vector<TensorView> views;
    std::vector<TensorInfo> renamed = meant.infos;
    ModelSpec spec = example.spec();
    for (size_t i = 0; i < renamed.size(); ++i) {
      renamed[i].name = fmt::format("o{}", i);
      spec.output_names.push_back(renamed[i].name);
      views.push_back(meant.view(i));
    }
    const auto named = MakeHead(example.spec(), meant.infos);
    const auto numbered = MakeHead(spec, renamed);
    ASSERT_TRUE(named.ok() && numbered.ok()) << named.status() << numbered.status();
    EXPECT_EQ(Everything(**numbered, views), Everything(**named, views));
    std::swap(spec.output_names[0], spec.output_names[1]);
    EXPECT_FALSE(MakeHead(spec, renamed).ok()) << "cells of another stride";
  }
  // NanoDet with 32 classes: scores and distributions look alike, scores are those named first.
  const std::vector<TensorInfo> infos = {
      {"d8", DataType::kFloat32, {1, 64, 32}},  {"c8", DataType::kFloat32, {1, 64, 32}},
      {"d16", DataType::kFloat32, {1, 16, 32}}, {"c16", DataType::kFloat32, {1, 16, 32}},
      {"d32", DataType::kFloat32, {1, 4, 32}},  {"c32", DataType::kFloat32, {1, 4, 32}}};
  FilledOutputs outputs(infos, 3);
  for (size_t i = 1; i < infos.size(); i += 2) std::ranges::fill(outputs.floats[i], 0.0f);
  outputs.floats[1][5 * 32 + 7] = 0.75f;  // class 7 in cell 5
  std::vector<TensorView> views;
  for (size_t i = 0; i < infos.size(); ++i) views.push_back(outputs.view(i));
  ModelSpec spec;
  spec.family = "nanodet";
  spec.layout = "distributions";
  spec.input.width = spec.input.height = 64;
  spec.output_names = {"c8", "d8", "c16", "d16", "c32", "d32"};
  const auto head = MakeHead(spec, infos);
  ASSERT_TRUE(head.ok()) << head.status();
  std::vector<Detection> found;
  ASSERT_TRUE((*head)->Decode({views, 0, {}}, 0.5f, &found).ok());
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].class_id, 7);
  EXPECT_FLOAT_EQ(found[0].confidence, 0.75f);
}

}  // namespace
}  // namespace sightline
