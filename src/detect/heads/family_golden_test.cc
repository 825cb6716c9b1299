// Every family against its own reference: what tests/golden/families holds was made by the
// reference implementations (tools/golden). For each file: it is recognised from shapes, values and
// metadata; pictures are prepared as the reference does; and its raw outputs give the reference's
// results, at batch 1 and 4.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "detect/family.h"
#include "detect/family_golden.h"
#include "detect/recognise.h"
#include "vision/preprocess.h"

namespace sightline {
namespace {

using golden::Bits;
using golden::ExpectedBits;
using golden::Folder;
using golden::Golden;
using golden::IsUnbatched;
using golden::Raw;
using golden::RawOf;
using nlohmann::json;

// Compared by tests of their own, since they are more than one file.
const std::set<std::string> kElsewhere = {"autoencoder", "padim", "sam", "sam_boxes"};

struct Expected {
  const char* file;    // tests/golden/families/NAME.json and NAME.f32
  const char* family;  // what it must be recognised as
  const char* layout;
  // Whether the file cannot say it: then the refusal must name the family, and it is described.
  bool must_be_told = false;
  // How pictures are prepared, where no file of the kind shows it and the family's usual way is
  // another: kBilinearAntialias instead of kBilinear, or what a model.yaml cannot say at all.
  enum class Preparation : uint8_t { kUsual, kAntialias, kOther } preparation = Preparation::kUsual;
};

// A file without an entry here, and an entry without a file, fail.
const Expected kExpected[] = {
    {"classify_logits", "classifier", "logits", true},
    {"classify_multilabel", "classifier", "multilabel", true},
    {"classify_multilabel_logits", "classifier", "multilabel_logits", true},
    {"classify_softmax", "classifier", "probabilities"},
    {"classify_vit", "classifier", "logits", true, Expected::Preparation::kOther},
    {"clip_image", "clip_image", "vector"},
    {"clip_text", "embedding", "vector", true, Expected::Preparation::kOther},
    {"damoyolo", "damo_yolo", "boxes_scores"},
    {"detr", "detr", "softmax", true},
    {"dinov2", "dinov2", "vector", true},
    {"d_fine", "rtdetr_logits", "sigmoid", true},
    {"deeplabv3", "segmenter", "argmax", false, Expected::Preparation::kAntialias},
    {"fasterrcnn", "torchvision", "boxes"},
    {"hrnet", "pose_heatmaps", "quarter_offset", true, Expected::Preparation::kOther},
    {"maskrcnn", "torchvision", "masks"},
    {"nanodet", "nanodet", "distributions", false, Expected::Preparation::kOther},
    {"nanodet_plus", "nanodet_plus", "distributions", false, Expected::Preparation::kOther},
    {"openpose", "openpose", "body_18"},
    {"osnet", "reid", "vector", true},
    {"picodet", "picodet", "distributions"},
    {"retinaface", "retinaface", "deltas"},
    {"retinanet", "torchvision", "boxes"},
    {"rf_detr", "rf_detr", "sigmoid"},
    {"rtdetr", "rtdetr_logits", "sigmoid", true},
    {"rtdetr_deploy", "rtdetr", "deployed"},
    {"rtdetr_class_rows", "rtdetr", "class_rows"},
    {"rtdetr_rows", "rtdetr", "rows"},
    {"scrfd", "scrfd", "boxes"},
    {"scrfd_kps", "scrfd", "landmarks"},
    {"ssd", "torchvision", "boxes"},
    {"unet", "segmenter", "argmax"},
    {"unet_binary_logits", "segmenter", "binary_logits"},
    {"unet_binary_sigmoid", "segmenter", "binary_probabilities"},
    {"vitpose", "pose_heatmaps", "dark_udp", false, Expected::Preparation::kOther},
    {"yolo11", "yolov8", "columns"},
    {"yolo26", "yolo_end2end", "boxes"},
    {"yolo26_obb", "yolo_end2end", "rotated"},
    {"yolo26_pose", "yolo_end2end", "xy_confidence"},
    {"yolo26_pose_xy", "yolo_end2end", "xy"},
    {"yolo26_seg", "yolo_end2end", "masks"},
    {"yolo_fastestv2", "yolo_fastestv2", "activated"},
    {"yolo_fastestv2_maps", "yolo_fastestv2", "maps"},
    {"yolo_nas", "yolo_nas", "boxes_scores"},
    {"yolov10", "yolo_end2end", "boxes"},
    {"yolov12", "yolov8", "columns"},
    {"yolov3_maps", "yolov3", "maps"},
    {"yolov3_tiny_maps", "yolov3", "maps"},
    {"yolov3_zoo", "yolov3", "selected"},
    {"yolov4", "yolov4", "boxes_scores"},
    {"yolov4_maps", "yolov4", "maps"},
    {"yolov4_tiny_maps", "yolov4", "maps"},
    {"yolov4_zoo", "yolov4", "maps_scored"},
    {"yolov5", "yolov5", "decoded"},
    {"yolov5_seg", "yolov5_seg", "decoded"},
    {"yolov6", "yolov6", "decoded"},
    {"yolov7", "yolov5", "decoded"},
    {"yolov8", "yolov8", "columns"},
    {"yolov8_cls", "classifier", "probabilities"},
    {"yolov8_nms", "yolo_end2end", "boxes"},
    {"yolov8_obb", "yolov8_obb", "columns"},
    {"yolov8_pose", "yolov8_pose", "xy_confidence"},
    {"yolov8_pose_xy", "yolov8_pose", "xy"},
    {"yolov8_seg", "yolov8_seg", "columns"},
    {"yolov9", "yolov8", "columns"},
    {"yunet", "yunet", "strides"},
};

// What holds the raw outputs that a trial run shows.
const json& FirstRun(const Golden& golden, const json& c) {
  return IsUnbatched(golden) ? c.at("entries").at(0) : c;
}

// Our confidences end at 1, OpenPose's scores at 2.
json ResultsOf(const Golden& golden, const json& entry) {
  json results = entry.at("results");
  if (golden.about.at("family") != "openpose") return results;
  for (json& r : results) r["score"] = r["score"].get<double>() / 2;
  return results;
}

// What people write into a model.yaml when a file cannot say what it is.
ModelSpec Described(const Golden& golden, const json& c, const Expected& expected) {
  auto spec = FamilyDefaults(expected.family, c.at("input_wh")[0], c.at("input_wh")[1]);
  EXPECT_TRUE(spec.ok()) << spec.status();
  spec->layout = expected.layout;
  for (const Raw& raw : RawOf(golden, FirstRun(golden, c))) {
    // Boxes come first where a family has them.
    auto& names = spec->output_names;
    names.insert(raw.info.shape.back() == 4 ? names.begin() : names.end(), raw.info.name);
  }
  for (const json& size : golden.about.value("told_anchors_px", json::array())) {
    spec->anchors.push_back(size);
  }
  return *spec;
}

// The recognition of a file of that kind whose input is as large as the case's.
absl::StatusOr<Recognition> Recognise(const Golden& golden, const json& c) {
  const std::vector<Raw> raw = RawOf(golden, FirstRun(golden, c));
  const bool batched = !IsUnbatched(golden);
  OnnxFileInfo file;
  file.path = "some/model.onnx";
  const int64_t width = c.at("input_wh")[0], height = c.at("input_wh")[1];
  file.inputs = {{golden.about.at("input").at("name"), DataType::kFloat32, {1, 3, height, width}}};
  if (golden.about["input"].at("layout") == "chw")
    file.inputs[0].shape.erase(file.inputs[0].shape.begin());
  for (const json& other : golden.about.value("other_inputs", json::array())) {
    const bool floats = other.value("dtype", "int64") == "float32";
    file.inputs.push_back(
        {other.at("name"), floats ? DataType::kFloat32 : DataType::kInt64, {-1, 2}});
  }
  for (const auto& [key, value] : golden.about.at("metadata").items()) {
    file.metadata[key] = value.get<std::string>();
  }
  const json operators = golden.about.value("operators", json::object());
  for (const auto& [type, count] : operators.items()) file.op_counts[type] = count.get<int>();
  for (const Raw& r : raw) {
    file.outputs.push_back(r.info);
    if (batched) file.outputs.back().shape[0] = 1;
  }
  const ModelProbe probe = [&](auto, auto) -> absl::StatusOr<std::vector<ProbeOutput>> {
    std::vector<ProbeOutput> outputs;
    for (size_t o = 0; o < raw.size(); ++o) {
      const Raw& r = raw[o];
      ProbeOutput out{file.outputs[o], {}};
      const int64_t count = r.per_entry() * (batched ? 1 : r.info.shape[0]);
      if (r.integers.empty()) out.values.assign(r.data, r.data + count);
      outputs.push_back(std::move(out));
    }
    return outputs;
  };
  return RecogniseModel(file, probe);
}

// As recognised, or as described where it must be.
ModelSpec SpecFor(const Golden& golden, const json& c, const Expected& expected) {
  if (expected.must_be_told) return Described(golden, c, expected);
  const auto found = Recognise(golden, c);
  EXPECT_TRUE(found.ok()) << found.status();
  return found.ok() ? found->spec : ModelSpec();
}

// The way that the preprocessor finds for a picture of this size.
ImageToTensor MappingFor(const TensorRecipe& recipe, int width, int height) {
  auto preprocessor = Preprocessor::Create(recipe);
  EXPECT_TRUE(preprocessor.ok()) << preprocessor.status();
  std::vector<uint8_t> pixels(static_cast<size_t>(width) * height * 3, 0);
  ImageView image;
  image.width = width;
  image.height = height;
  image.format = PixelFormat::kRgb24;
  image.planes[0] = pixels.data();
  image.strides[0] = width * 3;
  std::vector<uint8_t> tensor(TensorBytes(recipe));
  ImageToTensor mapping;
  EXPECT_TRUE(preprocessor->Run(image, tensor.data(), &mapping).ok());
  return mapping;
}

// Of a crop about a box, as the references of top-down pose make it: widened to the input's shape,
// then a quarter larger, filling the input.
ImageToTensor CropMapping(const TensorRecipe& recipe, const json& box_xywh) {
  const double x = box_xywh[0], y = box_xywh[1];
  double w = box_xywh[2], h = box_xywh[3];
  const double cx = x + w / 2, cy = y + h / 2;
  const double aspect = static_cast<double>(recipe.width) / recipe.height;
  (w > aspect * h ? h : w) = w > aspect * h ? w / aspect : h * aspect;
  w *= 1.25;
  h *= 1.25;
  const double sx = recipe.width / w, sy = recipe.height / h;
  return {static_cast<float>(sx), static_cast<float>(sy), static_cast<float>(-(cx - w / 2) * sx),
          static_cast<float>(-(cy - h / 2) * sy)};
}

struct Tolerance {
  double px;            // of coordinates
  double score = 1e-3;  // of scores
};

bool SameBox(const Box& a, const json& b, double px) {
  return std::abs(a.x1 - b[0].get<double>()) <= px && std::abs(a.y1 - b[1].get<double>()) <= px &&
         std::abs(a.x2 - b[2].get<double>()) <= px && std::abs(a.y2 - b[3].get<double>()) <= px;
}

bool SameRotated(const RotatedBox& a, const json& b, double px) {
  return std::abs(a.center_px.x - b[0].get<double>()) <= px &&
         std::abs(a.center_px.y - b[1].get<double>()) <= px &&
         std::abs(a.width_px - b[2].get<double>()) <= px &&
         std::abs(a.height_px - b[3].get<double>()) <= px &&
         std::abs(a.angle_rad - b[4].get<double>()) <= 1e-3;
}

// What is beside the box.
void ExpectSameDetails(const Detections& ours, const Detection& d, const json& expected,
                       const Tolerance& tolerance) {
  if (expected.contains("keypoints")) {
    const json& points = expected["keypoints"];
    ASSERT_EQ(static_cast<size_t>(ours.keypoints_per_item), points.size());
    for (size_t k = 0; k < points.size(); ++k) {
      const Keypoint& point = ours.keypoints.at(static_cast<size_t>(d.detail) * points.size() + k);
      EXPECT_NEAR(point.at_px.x, points[k][0].get<double>(), tolerance.px);
      EXPECT_NEAR(point.at_px.y, points[k][1].get<double>(), tolerance.px);
      if (points[k].size() > 2) {
        EXPECT_NEAR(point.confidence, points[k][2].get<double>(), tolerance.score);
      }
    }
  }
  if (expected.contains("mask")) {
    const InstanceMask& mask = ours.masks.at(static_cast<size_t>(d.detail));
    const std::vector<bool> bits = Bits(mask);
    const std::vector<bool> wanted = ExpectedBits(expected["mask"], mask.width, mask.height);
    int64_t different = 0, object = 0;
    for (size_t i = 0; i < bits.size(); ++i) {
      different += bits[i] != wanted[i];
      object += wanted[i];
    }
    EXPECT_GT(object, 0);
    // Cells whose sum is within rounding of 0 may fall on either side.
    EXPECT_LE(different, 1 + object / 1000) << "of " << object;
  }
}

void ExpectSameBoxes(const Detections& ours, const json& results, const Tolerance& tolerance) {
  ASSERT_GE(results.size(), 1u);
  std::vector<bool> used(ours.items.size(), false);
  for (const json& r : results) {
    bool found = false;
    for (size_t i = 0; i < ours.items.size() && !found; ++i) {
      const Detection& d = ours.items[i];
      if (used[i] || d.class_id != r.at("class_id").get<int>() ||
          std::abs(d.confidence - r.at("score").get<double>()) > tolerance.score) {
        continue;
      }
      if (r.contains("rbox")) {
        const auto at = static_cast<size_t>(d.detail);
        found = SameRotated(ours.rotated_boxes.at(at), r["rbox"], tolerance.px);
      } else {
        // Keypoints of a crop have no box of their own.
        found = !r.contains("box_xyxy_px") || SameBox(d.box_px, r["box_xyxy_px"], tolerance.px);
      }
      if (!found) continue;
      used[i] = true;
      ExpectSameDetails(ours, d, r, tolerance);
    }
    EXPECT_TRUE(found) << "missing: " << r.dump().substr(0, 200);
  }
  for (size_t i = 0; i < ours.items.size(); ++i) {
    const Detection& d = ours.items[i];
    EXPECT_TRUE(used[i]) << fmt::format(
        "not in the reference: class {} score {:.4f} box {:.2f},{:.2f},{:.2f},{:.2f}", d.class_id,
        d.confidence, d.box_px.x1, d.box_px.y1, d.box_px.x2, d.box_px.y2);
  }
}

void ExpectSameClasses(const Detections& ours, const json& results, const Tolerance& tolerance) {
  ASSERT_GE(ours.classes.size(), results.size());  // the reference may list the best alone
  for (size_t i = 0; i < results.size(); ++i) {
    EXPECT_EQ(ours.classes[i].class_id, results[i].at("class_id").get<int>());
    EXPECT_NEAR(ours.classes[i].confidence, results[i].at("score").get<double>(), tolerance.score);
  }
}

void ExpectSameMap(const Detections& ours, const json& results) {
  const json& map = results.at(0);
  ASSERT_EQ(ours.class_map.width, map.at("w").get<int>());
  ASSERT_EQ(ours.class_map.height, map.at("h").get<int>());
  std::vector<uint16_t> expected;
  const json& runs = map.at("class_map_rle");  // class, count, class, count, ...
  for (size_t i = 0; i + 1 < runs.size(); i += 2) {
    expected.insert(expected.end(), runs[i + 1].get<size_t>(), runs[i].get<uint16_t>());
  }
  EXPECT_EQ(ours.class_map.class_ids, expected);
}

void ExpectSameVector(const Detections& ours, const json& results) {
  const json& vector = results.at(0).at("vector");
  ASSERT_EQ(ours.embedding.size(), vector.size());
  for (size_t i = 0; i < vector.size(); ++i) {
    EXPECT_NEAR(ours.embedding[i], vector[i].get<double>(), 1e-4);
  }
}

void ExpectSame(const std::string& task, const Detections& ours, const json& results,
                const Tolerance& tolerance) {
  if (task == "classify") return ExpectSameClasses(ours, results, tolerance);
  if (task == "semantic") return ExpectSameMap(ours, results);
  if (task == "embed") return ExpectSameVector(ours, results);
  ExpectSameBoxes(ours, results, tolerance);
}

class FamilyGolden : public testing::TestWithParam<Expected> {};

TEST_P(FamilyGolden, IsRecognisedInEverySize) {
  const Golden golden = Golden::Load(GetParam().file);
  ASSERT_GE(golden.cases().size(), 3u);
  for (const json& c : golden.cases()) {
    if (golden.about["input"].at("layout") == "tokens") GTEST_SKIP() << "text is no picture";
    const auto found = Recognise(golden, c);
    if (GetParam().must_be_told && !found.ok()) {
      EXPECT_NE(found.status().ToString().find(fmt::format("family: {}", GetParam().family)),
                std::string::npos)
          << found.status();
      continue;
    }
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(found->spec.family, GetParam().family) << found->why;
    EXPECT_EQ(found->spec.layout, GetParam().layout) << found->why;
    if (golden.about.contains("labels") && !golden.about["metadata"].empty()) {
      EXPECT_EQ(found->spec.labels->names, golden.about["labels"].get<std::vector<std::string>>());
    }
  }
}

TEST_P(FamilyGolden, PicturesArePreparedAsByTheReference) {
  const Golden golden = Golden::Load(GetParam().file);
  if (!golden.about.contains("interpolation_check")) GTEST_SKIP() << "the file holds no picture";
  const json& check = golden.about["interpolation_check"];
  TensorRecipe recipe = SpecFor(golden, golden.cases()[0], GetParam()).input;
  const auto longer = [](const json& wh) { return std::max(wh[0].get<int>(), wh[1].get<int>()); };
  recipe.crop_from =
      recipe.crop_from * longer(check.at("input_wh")) / longer(golden.cases()[0].at("input_wh"));
  if (GetParam().preparation == Expected::Preparation::kOther) {
    GTEST_SKIP() << "what the reference does has no word in a model.yaml";
  }
  if (GetParam().preparation == Expected::Preparation::kAntialias) {
    recipe.interpolation = Interpolation::kBilinearAntialias;
  }
  recipe.width = check.at("input_wh")[0];
  recipe.height = check.at("input_wh")[1];
  if (check.contains("resize_shorter_to")) recipe.crop_from = check["resize_shorter_to"];
  auto preprocessor = Preprocessor::Create(recipe);
  ASSERT_TRUE(preprocessor.ok()) << preprocessor.status();
  const int width = check.at("width"), height = check.at("height");
  const size_t offset = check.at("pixels")[0], count = check.at("pixels")[1];
  std::vector<uint8_t> pixels(count);
  for (size_t i = 0; i < count; ++i) pixels[i] = static_cast<uint8_t>(golden.raw[offset + i]);
  ImageView image;
  image.width = width;
  image.height = height;
  image.format = PixelFormat::kRgb24;
  image.planes[0] = pixels.data();
  image.strides[0] = width * 3;
  std::vector<float> tensor(TensorBytes(recipe) / sizeof(float));
  ASSERT_TRUE(preprocessor->Run(image, tensor.data(), nullptr).ok());
  const float step = *std::ranges::max_element(recipe.scale);  // one grey level
  for (const json& sample : check.at("samples")) {
    EXPECT_NEAR(tensor.at(sample[0].get<size_t>()), sample[1].get<float>(), 1.01f * step)
        << "at " << sample[0];
  }
}

TEST_P(FamilyGolden, RawOutputsGiveTheReferencesResults) {
  const Golden golden = Golden::Load(GetParam().file);
  size_t compared = 0;
  for (const json& c : golden.cases()) {
    ModelSpec spec = SpecFor(golden, c, GetParam());
    const json& about = golden.about;
    if (about.contains("confidence_threshold") && about["confidence_threshold"].is_number()) {
      spec.confidence_threshold = about["confidence_threshold"];
    }
    if (about.contains("iou_threshold") && about["iou_threshold"].is_number()) {
      spec.nms.iou_threshold = about["iou_threshold"];
    }
    if (about.contains("max_detections") && about["max_detections"].is_number()) {
      spec.nms.max_detections = about["max_detections"];
    }
    if (about.at("task") == "classify") spec.nms.max_detections = 1000;
    const bool unbatched = IsUnbatched(golden);
    std::vector<Raw> raw = RawOf(golden, FirstRun(golden, c));
    std::vector<TensorInfo> infos;
    for (const Raw& r : raw) infos.push_back(r.info);
    const auto head = MakeHead(spec, infos);
    ASSERT_TRUE(head.ok()) << head.status();
    NonMaxSuppressor suppressor;
    for (const int batch : {1, 4}) {
      if (unbatched && batch > 1) continue;
      for (int entry = 0; entry < static_cast<int>(c.at("entries").size()); ++entry) {
        const json& e = c.at("entries").at(entry);
        if (unbatched) raw = RawOf(golden, e);
        std::vector<TensorView> views;
        for (const Raw& r : raw) {
          views.push_back(batch == 1 && !unbatched ? r.Alone(entry) : r.Whole());
        }
        const json size = e.value("source_wh", json::array({64, 48}));  // vectors have no place
        const int width = size[0], height = size[1];
        RawResult result{views, batch == 1 ? 0 : entry, MappingFor(spec.input, width, height),
                         width, height};
        if (e.contains("mapping")) {
          const json& m = e["mapping"];
          const ImageToTensor theirs = {m["scale_x"], m["scale_y"], m["pad_x"], m["pad_y"]};
          // In pixels of the input; what has no word in a model.yaml may lie elsewhere.
          const float most = GetParam().preparation == Expected::Preparation::kOther ? 7 : 1;
          EXPECT_NEAR(result.mapping.pad_x, theirs.pad_x, most);
          EXPECT_NEAR(result.mapping.pad_y, theirs.pad_y, most);
          EXPECT_NEAR(result.mapping.scale_x * width, theirs.scale_x * width, most);
          EXPECT_NEAR(result.mapping.scale_y * height, theirs.scale_y * height, most);
          result.mapping = theirs;
        }
        if (e.contains("box_xywh_px")) result.mapping = CropMapping(spec.input, e["box_xywh_px"]);
        SCOPED_TRACE(fmt::format("input {}x{}, batch {}, entry {}", spec.input.width,
                                 spec.input.height, batch, entry));
        Detections ours;
        ASSERT_TRUE((*head)->Decode(result, spec.confidence_threshold, &ours.items).ok());
        (*head)->Suppress(result, spec.nms, spec.confidence_threshold, &suppressor, &ours.items);
        ASSERT_TRUE((*head)->Complete(result, &ours).ok());
        ExpectSame(about.at("task"), ours, ResultsOf(golden, e), {1e-3 * std::max(width, height)});
        compared += e.at("results").size();
      }
    }
  }
  EXPECT_GE(compared, 8u) << "an empty golden proves nothing";
}

INSTANTIATE_TEST_SUITE_P(All, FamilyGolden, testing::ValuesIn(kExpected),
                         [](const auto& info) { return std::string(info.param.file); });

TEST(FamilyGoldens, EveryFileIsCompared) {
  std::set<std::string> files, compared = kElsewhere;
  for (const auto& entry : std::filesystem::directory_iterator(Folder())) {
    if (entry.path().extension() == ".json") files.insert(entry.path().stem());
  }
  for (const Expected& e : kExpected) compared.insert(e.file);
  EXPECT_EQ(files, compared);
}

}  // namespace
}  // namespace sightline
