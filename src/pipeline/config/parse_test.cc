#include "pipeline/config/parse.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "pipeline/config/validate.h"

namespace sightline {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kLeast[] =
    "cameras:\n"
    "  - id: door\n"
    "    source: door.mp4\n"
    "    model: people\n";

ParseOptions WithSecret() {
  ParseOptions options;
  options.environment = [](const std::string& name) -> std::optional<std::string> {
    if (name == "YARD_PASSWORD") return "s3cr/t";
    return std::nullopt;
  };
  return options;
}

Config Good(const std::string& text, const ParseOptions& options = {}) {
  const ParsedConfig parsed = ParseConfig(text, "/etc/sightline/f.yaml", options);
  EXPECT_EQ(parsed.ErrorText(), "");
  return parsed.config.value_or(Config());
}

std::string Errors(const std::string& text, const ParseOptions& options = {}) {
  return ParseConfig(text, "f.yaml", options).ErrorText();
}

TEST(ParseConfig, FourLinesAreEnough) {
  const Config config = Good(kLeast);
  ASSERT_EQ(config.cameras.size(), 1u);
  const CameraConfig& camera = config.cameras[0];
  EXPECT_EQ(camera.id, "door");
  EXPECT_EQ(camera.source.Reveal(), "/etc/sightline/door.mp4");
  EXPECT_EQ(camera.source.shown(), "/etc/sightline/door.mp4");
  EXPECT_FALSE(camera.source_is_url);
  EXPECT_EQ(camera.selection.every_nth, 1);
  EXPECT_FALSE(camera.motion.has_value());
  EXPECT_EQ(camera.source_at, (ConfigLocation{3, 13}));
  ASSERT_EQ(config.models.size(), 1u);
  EXPECT_EQ(config.models[0].origin, ModelOrigin::kBuiltin);
  EXPECT_EQ(config.models[0].reference, "people");
  EXPECT_EQ(config.outputs.dir, "/etc/sightline/out");
  EXPECT_TRUE(config.outputs.sqlite.enabled);
}

// Every key of the file, so that one bound to the wrong member shows.
TEST(ParseConfig, PutsEveryKeyWhereItBelongs) {
  const std::string path = SIGHTLINE_SOURCE_DIR "/tests/data/config/good/shop.yaml";
  const std::string folder = std::filesystem::path(path).parent_path().string();
  const ParsedConfig parsed = ReadConfig(path, WithSecret());
  ASSERT_TRUE(parsed.config.has_value()) << parsed.ErrorText();
  const Config& config = *parsed.config;

  ASSERT_EQ(config.models.size(), 2u);
  const ModelConfig& model = config.models[0];
  EXPECT_EQ(model.name, "fast_people");
  EXPECT_EQ(model.origin, ModelOrigin::kFile);
  EXPECT_EQ(model.reference, folder + "/models/yolox_nano.onnx");
  EXPECT_EQ(model.confidence, 0.3f);
  EXPECT_THAT(model.labels, ElementsAre("person", "car"));
  EXPECT_EQ(model.nms.kind, NmsSettings::Kind::kSoftGaussian);
  EXPECT_EQ(model.nms.iou, 0.5f);
  EXPECT_EQ(model.nms.sigma, 0.4f);
  EXPECT_EQ(model.nms.class_aware, false);
  EXPECT_EQ(model.nms.max_detections, 100);
  EXPECT_EQ(model.max_batch, 4);
  EXPECT_THAT(model.preferred_batches, ElementsAre(2, 4));
  EXPECT_EQ(model.max_batch_delay_us, 7000);
  EXPECT_FALSE(model.adaptive_batch_delay);
  EXPECT_THAT(model.devices, ElementsAre("cpu:0"));
  EXPECT_EQ(model.instances, 2);
  EXPECT_EQ(model.threads, 1);
  EXPECT_THAT(model.providers, ElementsAre("cpu"));

  EXPECT_EQ(config.tracker.track_thresh, 0.45f);
  EXPECT_EQ(config.tracker.max_lost_us, 1'500'000);

  ASSERT_EQ(config.cameras.size(), 2u);
  const CameraConfig& camera = config.cameras[0];
  EXPECT_EQ(camera.model_index, 0u);
  EXPECT_EQ(camera.start_utc_us, 1769857200000000);  // 2026-01-31T11:00:00Z
  EXPECT_EQ(camera.selection.every_nth, 2);
  EXPECT_EQ(camera.selection.target_fps, 7.5);
  ASSERT_TRUE(camera.motion.has_value());
  EXPECT_EQ(camera.motion->changed_area, 0.1f);
  EXPECT_EQ(camera.motion->hold_us, 500'000);
  EXPECT_EQ(camera.coordinates, Coordinates::kFraction);
  EXPECT_EQ(camera.decode_threads, 2);
  EXPECT_EQ(camera.priority, 3);
  ASSERT_EQ(camera.zones.size(), 1u);
  EXPECT_EQ(camera.zones[0].name, "Till");
  EXPECT_THAT(camera.zones[0].polygon, ElementsAre(PointF{0.1f, 0.5f}, PointF{0.4f, 0.5f},
                                                   PointF{0.4f, 1}, PointF{0.1f, 1}));
  EXPECT_EQ(camera.zones[0].anchor, BoxAnchor::kCenter);
  EXPECT_THAT(camera.zones[0].classes, ElementsAre("person"));
  EXPECT_EQ(camera.zones[0].margin, 0.02f);
  EXPECT_EQ(camera.zones[0].enter_frames, 2);
  EXPECT_EQ(camera.zones[0].exit_frames, 5);
  ASSERT_EQ(camera.lines.size(), 1u);
  EXPECT_EQ(camera.lines[0].from, (PointF{0.2f, 0.5f}));
  EXPECT_EQ(camera.lines[0].to, (PointF{0.8f, 0.5f}));
  EXPECT_EQ(camera.lines[0].forward, "in");
  EXPECT_EQ(camera.lines[0].backward, "out");
  EXPECT_EQ(camera.tracker.track_buffer, 60);
  EXPECT_EQ(camera.tracker.track_thresh, 0.45f) << "the file's tracker lies beneath";

  const CameraConfig& yard = config.cameras[1];
  EXPECT_TRUE(yard.source_is_url);
  EXPECT_EQ(yard.source.Reveal(), "rtsp://admin:s3cr%2Ft@10.0.0.7:554/stream1");
  EXPECT_EQ(yard.source.shown(), "rtsp://admin:***@10.0.0.7:554/stream1");
  EXPECT_EQ(config.models[yard.model_index].reference, "people");

  EXPECT_EQ(config.outputs.dir, folder + "/results");
  EXPECT_EQ(config.outputs.sqlite.path, "shop.db");
  EXPECT_FALSE(config.outputs.jsonl.enabled);
  EXPECT_EQ(config.outputs.video.crf, 28);
  EXPECT_FALSE(config.outputs.report.enabled);
  EXPECT_EQ(config.limits.threads, 2);
  EXPECT_EQ(config.limits.frames_in_flight, 8);
  EXPECT_EQ(config.limits.max_frames, 1000u);
  EXPECT_EQ(config.limits.duration_us, 600'000'000);
}

TEST(ParseConfig, ChoicesNameTheEnumTheyStandFor) {
  const auto anchor = [](const std::string& name) {
    return Good(std::string(kLeast) +
                "    coordinates: pixels\n    zones: [{name: z, polygon: [[0, 0], [9, "
                "0], [9, 9]], anchor: " +
                name + "}]\n")
        .cameras[0]
        .zones[0]
        .anchor;
  };
  EXPECT_EQ(anchor("bottom_center"), BoxAnchor::kBottomCenter);
  EXPECT_EQ(anchor("center"), BoxAnchor::kCenter);
  EXPECT_EQ(anchor("top_center"), BoxAnchor::kTopCenter);
  EXPECT_EQ(anchor("bottom_left"), BoxAnchor::kBottomLeft);
  EXPECT_EQ(anchor("bottom_right"), BoxAnchor::kBottomRight);
  EXPECT_EQ(anchor("top_left"), BoxAnchor::kTopLeft);
  EXPECT_EQ(anchor("top_right"), BoxAnchor::kTopRight);

  const auto coordinates = [](const std::string& name) {
    return Good(std::string(kLeast) + "    coordinates: " + name + "\n").cameras[0].coordinates;
  };
  EXPECT_EQ(coordinates("fraction"), Coordinates::kFraction);
  EXPECT_EQ(coordinates("pixels"), Coordinates::kPixels);

  const auto tracker = [](const std::string& name) {
    return Good(std::string(kLeast) + "tracker: {type: " + name + "}\n").cameras[0].tracker.kind;
  };
  EXPECT_EQ(tracker("bytetrack"), TrackerType::kByteTrack);
  EXPECT_EQ(tracker("none"), TrackerType::kNone);

  const auto nms = [](const std::string& name) {
    return Good("models: [{name: people, builtin: people, nms: {kind: " + name + "}}]\n" + kLeast)
        .models[0]
        .nms.kind;
  };
  EXPECT_EQ(nms("hard"), NmsSettings::Kind::kHard);
  EXPECT_EQ(nms("soft_linear"), NmsSettings::Kind::kSoftLinear);
  EXPECT_EQ(nms("soft_gaussian"), NmsSettings::Kind::kSoftGaussian);
}

TEST(ParseConfig, TakesTheTrackerWhereverItStands) {
  const Config config = Good(std::string(kLeast) + "    tracker: {match_thresh: 0.7}\n" +
                             "tracker: {track_thresh: 0.6}\n");
  EXPECT_EQ(config.cameras[0].tracker.track_thresh, 0.6f);
  EXPECT_EQ(config.cameras[0].tracker.match_thresh, 0.7f);
  EXPECT_EQ(config.tracker.match_thresh, 0.8f);
}

TEST(ParseConfig, CamerasShareWhatTheyNameDirectly) {
  const Config config = Good(
      "models: [{name: mine, file: m.onnx}]\n"
      "cameras:\n"
      "  - {id: a, source: a, model: ./m.onnx}\n"
      "  - {id: b, source: b, model: m.onnx}\n"
      "  - {id: c, source: c, model: mine}\n"
      "  - {id: d, source: d, model: yolox_nano}\n");
  ASSERT_EQ(config.models.size(), 3u);
  EXPECT_EQ(config.cameras[0].model_index, config.cameras[1].model_index);
  EXPECT_EQ(config.cameras[2].model_index, 0u);
  EXPECT_EQ(config.models[config.cameras[3].model_index].origin, ModelOrigin::kPackage);
  EXPECT_EQ(config.models[config.cameras[0].model_index].reference, "/etc/sightline/m.onnx");
}

TEST(ParseConfig, LooksForFilesOnlyWhenAsked) {
  EXPECT_EQ(Errors(kLeast), "");
  ParseOptions options;
  options.check_files = true;
  EXPECT_THAT(Errors(kLeast, options),
              HasSubstr("f.yaml:3:13: cameras[0].source: camera \"door\": no such file or folder"));
  EXPECT_THAT(Errors("cameras: [{id: a, source: 'nothing/*.jpg', model: no/such.onnx}]", options),
              testing::AllOf(HasSubstr("no file matches"), HasSubstr("no model file")));
}

TEST(ParseConfig, SaysWhichPackagesAreKnown) {
  ParseOptions options;
  options.known_packages = {"yolox_nano"};
  EXPECT_THAT(Errors("cameras: [{id: a, source: a, model: yolox_nanu}]", options),
              HasSubstr("did you mean \"yolox_nano\"?"));
  EXPECT_THAT(Errors("models: [{name: m, package: yolo_nano}]\n" + std::string(kLeast), options),
              HasSubstr("1:10: model \"m\": no package \"yolo_nano\" is there (did you mean "
                        "\"yolox_nano\"?)"));
}

TEST(ParseConfig, ChecksClassesAgainstTheModelsLabels) {
  EXPECT_THAT(Errors("models: [{name: m, file: m.onnx, labels: [person, car]}]\n"
                     "cameras: [{id: a, source: a, model: m, coordinates: pixels,\n"
                     "  lines: [{name: l, from: [0, 0], to: [9, 9], classes: [car, persn]}]}]"),
              HasSubstr("f.yaml:3:62: cameras[0].lines[0].classes[1]: the model \"m\" has no class "
                        "\"persn\"; did you mean \"person\"?"));
  EXPECT_THAT(Errors("models: [{name: m, file: m.onnx, labels: [person, car],\n"
                     "  crops: [{name: c, model: a, classes: [car, persn]}]}]\n"
                     "cameras: [{id: a, source: a, model: m}]"),
              HasSubstr("f.yaml:2:46: models[0].crops[0].classes[1]: the model \"m\" has no class "
                        "\"persn\"; did you mean \"person\"?"));
}

TEST(ParseConfig, RefusesWhatCannotGoTogether) {
  EXPECT_THAT(Errors(std::string(kLeast) + "outputs: {jsonl: {path: ./sightline.db}}\n"),
              HasSubstr("5:25: outputs.jsonl.path: database and JSON lines would both be"));
  EXPECT_THAT(Errors(std::string(kLeast) + "tracker: {max_lost: 1s, reference_quirks: true}\n"),
              HasSubstr("5:21: tracker.max_lost: the reference counts frames"));
  EXPECT_THAT(Errors(std::string(kLeast) + "    coordinates: pixels\n"
                                           "    lines: [{name: l, from: [0, 0], to: [9, 9]}]\n"
                                           "    tracker: {type: none}\n"),
              HasSubstr("cameras[0]: has zones or lines, which need tracks"));
}

TEST(ParseConfig, WarnsOfLikelyMistakes) {
  const auto warning = [](const std::string& text) {
    return ParseConfig(text, "f.yaml").WarningText();
  };
  EXPECT_EQ(warning(kLeast), "");
  EXPECT_THAT(warning("models: [{name: m, file: m.onnx}]\n" + std::string(kLeast)),
              HasSubstr("no camera uses the model \"m\""));
  EXPECT_THAT(warning("cameras: [{id: a, source: 'rstp://h/x', model: people}]"),
              HasSubstr("did you mean rtsp://?"));
  EXPECT_THAT(warning(std::string(kLeast) + "    coordinates: pixels\n"
                                            "    lines: [{name: l, from: [0, 0], to: [0.5, 1]}]\n"),
              HasSubstr("are these \"coordinates: fraction\"?"));
}

TEST(ParseConfig, ReportsTwentyErrorsAndCountsTheRest) {
  std::string text = kLeast;
  for (int i = 0; i < 50; ++i) text += "key" + std::to_string(i) + ": 1\n";
  const ParsedConfig parsed = ParseConfig(text, "f.yaml");
  EXPECT_EQ(parsed.errors.size(), 20u);
  EXPECT_EQ(parsed.errors_left_out, 30u);
  EXPECT_THAT(parsed.ErrorText(), testing::EndsWith("f.yaml: and 30 more"));
}

TEST(ParseConfig, TakesTextsAndNumbersAsTheyAreMeant) {
  const Config config = Good(
      "cameras:\n"
      "  - {id: 007, source: no, model: people, decode_threads: +2}\n"
      "  - {id: \"1.0\", source: 'it''s', model: people, select: {target_fps: 1e1}}\n");
  EXPECT_EQ(config.cameras[0].id, "007");
  EXPECT_EQ(config.cameras[0].source.Reveal(), "/etc/sightline/no");
  EXPECT_EQ(config.cameras[0].decode_threads, 2);
  EXPECT_EQ(config.cameras[1].id, "1.0");
  EXPECT_EQ(config.cameras[1].selection.target_fps, 10);
  for (const char* number : {"08", "0x10", "1_000", "1,5", "4 ", "--1", "+-1", "1e", "٣"}) {
    EXPECT_NE(Errors("cameras: [{id: a, source: a, model: people, decode_threads: \"" +
                     std::string(number) + "\"}]"),
              "")
        << number;
  }
}

TEST(ParseConfig, EscapesWhatATerminalWouldObey) {
  const std::string errors = Errors("\"\\x1b]0;owned\\a\": 1\n");
  EXPECT_EQ(errors.find('\x1b'), std::string::npos);
  EXPECT_THAT(errors, HasSubstr("\\x1b]0;owned\\x07"));
}

TEST(ReadConfig, SaysWhyAFileCannotBeRead) {
  EXPECT_THAT(ReadConfig("/nonexistent/f.yaml").ErrorText(),
              HasSubstr("/nonexistent/f.yaml: cannot be opened: No such file or directory"));
  EXPECT_THAT(ReadConfig("/").ErrorText(), HasSubstr("is a folder"));
  EXPECT_THAT(ReadConfig("/dev/zero").ErrorText(), HasSubstr("more than 1048576 bytes"));
  EXPECT_EQ(LoadConfig("/nonexistent/f.yaml").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ParseConfig, BoundsWhatAHostileFileCosts) {
  const ParsedConfig big = ParseConfig(std::string(kMaxConfigBytes + 1, ' '), "f.yaml");
  EXPECT_THAT(big.ErrorText(), HasSubstr("more than"));
  std::string list = "a: [";
  while (list.size() < 500'000) list += "x,";
  EXPECT_THAT(Errors(list + "]"), HasSubstr("more than 50000 values"));
  for (const std::string piece :
       {"[", "{", "- ", "? ", "a: [", "&a ", "!", "'", "\"", "|", "%", "*"}) {
    std::string text;
    while (text.size() < 100'000) text += piece;
    EXPECT_NE(Errors(text), "") << piece;
  }
}

TEST(FindPolygonFault, TakesSimplePolygonsOnly) {
  EXPECT_FALSE(config::FindPolygonFault({{0, 0}, {1, 0}, {1, 1}}));
  EXPECT_FALSE(config::FindPolygonFault({{0, 0}, {0.5, 0}, {1, 0}, {1, 1}}));  // straight corner
  EXPECT_FALSE(config::FindPolygonFault({{0, 0}, {4, 0}, {4, 4}, {2, 1}, {0, 4}}));  // concave
  EXPECT_TRUE(config::FindPolygonFault({{0, 0}, {1, 1}, {1, 0}, {0, 1}}));
  EXPECT_TRUE(config::FindPolygonFault({{0, 0}, {1, 0}, {2, 0}}));
  EXPECT_TRUE(config::FindPolygonFault({{0, 0}, {1, 0}, {1, 0}, {1, 1}}));
  EXPECT_TRUE(config::FindPolygonFault({{0, 0}, {4, 0}, {4, 4}, {2, 0}, {0, 4}}));  // touches
}

TEST(IdentityOf, ChangesWithWhatChangesResultsAndNothingElse) {
  const std::string camera =
      "cameras:\n"
      "  - {id: ID, source: SOURCE, model: m, decode_threads: THREADS, select: {every_nth: NTH},\n"
      "     coordinates: fraction, tracker: {match_thresh: MATCH},\n"
      "     lines: [{name: l, from: [0, 0], to: [1, 1], directions: {forward: FORWARD}}]}\n"
      "models: [{name: m, builtin: people, confidence: CONF, batch: {max: BATCH}}]\n";
  const auto identity = [&](const std::vector<std::pair<std::string, std::string>>& changes) {
    std::string text = camera;
    std::vector<std::pair<std::string, std::string>> values = changes;
    for (const auto& fallback :
         std::vector<std::pair<std::string, std::string>>{{"ID", "a"},
                                                          {"SOURCE", "a.mp4"},
                                                          {"THREADS", "1"},
                                                          {"NTH", "1"},
                                                          {"MATCH", "0.8"},
                                                          {"FORWARD", "in"},
                                                          {"CONF", "0.25"},
                                                          {"BATCH", "1"}}) {
      values.push_back(fallback);
    }
    for (const auto& [name, value] : values) {
      if (const size_t at = text.find(name); at != std::string::npos) {
        text.replace(at, name.size(), value);
      }
    }
    const Config config = Good(text);
    return IdentityOf(config, config.cameras[0]);
  };
  const ConfigIdentity base = identity({});
  EXPECT_EQ(identity({{"ID", "b"}, {"SOURCE", "b.mp4"}, {"THREADS", "4"}, {"BATCH", "8"}}), base);

  const auto differs = [&](const ConfigIdentity& other) {
    return std::vector<bool>{other.selection != base.selection, other.model != base.model,
                             other.tracker != base.tracker, other.rules != base.rules};
  };
  EXPECT_THAT(differs(identity({{"NTH", "2"}})), ElementsAre(true, false, false, false));
  EXPECT_THAT(differs(identity({{"CONF", "0.26"}})), ElementsAre(false, true, false, false));
  EXPECT_THAT(differs(identity({{"MATCH", "0.7"}})), ElementsAre(false, false, true, false));
  EXPECT_THAT(differs(identity({{"FORWARD", "inn"}})), ElementsAre(false, false, false, true));
}

// --- graphs of models ------------------------------------------------------------------------

std::string GraphText(const std::string& models) {
  return "models:\n" + models + "cameras: [{id: a, source: a.mp4, model: graph}]\n";
}

TEST(ParseConfig, GraphsOfModelsAreResolved) {
  const Config config = Good(GraphText(R"(  - {name: fast, builtin: people, confidence: 0.2}
  - {name: both, ensemble: [fast, large.onnx], fusion_iou: 0.6}
  - name: graph
    package: yolox
    fallback: [{model: both, from: 0.1, below: 0.4}]
    crops: [{name: colour, model: car_colour, classes: [car], margin: 0.1, keep_above: 0.7}]
)"));
  const ModelConfig& graph = config.models[config.cameras[0].model_index];
  EXPECT_EQ(graph.origin, ModelOrigin::kPackage);
  ASSERT_EQ(graph.parts.size(), 2u);
  const ModelConfig& both = *graph.parts.at("both");
  EXPECT_EQ(both.origin, ModelOrigin::kEnsemble);
  EXPECT_EQ(both.fusion_iou, 0.6f);
  EXPECT_EQ(both.parts.at("fast")->confidence, 0.2f);
  EXPECT_EQ(both.parts.at("large.onnx")->reference, "/etc/sightline/large.onnx");
  EXPECT_EQ(graph.parts.at("car_colour")->origin, ModelOrigin::kPackage);
  EXPECT_EQ(graph.crops[0].keep_above, 0.7f);
  EXPECT_EQ(ParseConfig(GraphText("  - {name: graph, ensemble: [people, motion]}\n"), "f.yaml")
                .WarningText(),
            "");
}

TEST(ParseConfig, SecretsOfVisionLanguageModelsStayOutOfTheFile) {
  const auto errors = [](const std::string& keys) {
    return Errors(
        GraphText("  - {name: graph, labels: [a], vision_language: {model: m, " + keys + "}}\n"),
        WithSecret());
  };
  const std::string good = "endpoint: \"https://h/v1\"";
  EXPECT_EQ(errors(good + ", key: \"${env:YARD_PASSWORD}\""), "");
  EXPECT_THAT(errors(good + ", key: sk-1"), HasSubstr("a secret does not belong into this file"));
  EXPECT_THAT(errors(good + ", key: \"sk-1${env:YARD_PASSWORD}\""),
              HasSubstr("a secret does not belong into this file"));
  for (const char* odd : {"https://u:p@h/v1", "https://h/v1?key=x"}) {
    const std::string said = errors(fmt::format("endpoint: \"{}\"", odd));
    EXPECT_THAT(said, HasSubstr("without user, password and query"));
    EXPECT_EQ(said.find("key=x"), std::string::npos);
  }
  EXPECT_THAT(errors("endpoint: \"ftp://h\""), HasSubstr("begins with http://"));
}

TEST(ParseConfig, BoxesOfVisionLanguageModels) {
  const auto parsed = [](const std::string& keys) {
    return ParseConfig(
        GraphText("  - {name: graph, labels: [a], vision_language: {model: m, endpoint: "
                  "\"https://h/v1\", answer: boxes" +
                  keys + "}}\n"),
        "f.yaml");
  };
  const auto plain = parsed("");
  ASSERT_TRUE(plain.config) << plain.ErrorText();
  EXPECT_EQ(plain.config->models[0].vision_language->box_unit,
            VisionLanguageConfig::BoxUnit::kThousandths);
  EXPECT_TRUE(plain.locations.contains("models[0].vision_language.answer"));
  const auto other = parsed(", box_unit: pixels, max_boxes: 7");
  ASSERT_TRUE(other.config) << other.ErrorText();
  EXPECT_EQ(other.config->models[0].vision_language->box_unit,
            VisionLanguageConfig::BoxUnit::kPixels);
  EXPECT_EQ(other.config->models[0].vision_language->max_boxes, 7);
  EXPECT_THAT(parsed(", max_boxes: 0").ErrorText(), HasSubstr("max_boxes"));
  EXPECT_THAT(parsed(", box_unit: pixel").ErrorText(), HasSubstr("did you mean"));
}

TEST(ParseConfig, GraphsThatCannotBeAreRefused) {
  EXPECT_EQ(Errors(GraphText("  - {name: graph, package: a, ensemble: [a, b]}\n")),
            "f.yaml:2:5: models[0] has more than one of builtin, package, file, ensemble, "
            "vision_language; exactly one is needed");
  EXPECT_EQ(
      Errors(GraphText(R"(  - {name: graph, package: a, crops: [{name: x, model: two}]}
  - {name: two, package: b, fallback: [{model: graph}]}
)")),
      "f.yaml:3:40: model \"two\": its part \"graph\" needs \"two\" in turn: models cannot go "
      "round in a circle");
  EXPECT_EQ(
      Errors(GraphText("  - {name: graph, ensemble: [graph, people]}\n")),
      "f.yaml:2:5: model \"graph\": its part \"graph\" needs itself in turn: models cannot go "
      "round in a circle");
  EXPECT_THAT(
      Errors(GraphText("  - {name: graph, package: a, fallback: [{model: a, from: 0.5, below: "
                       "0.5}]}\n")),
      HasSubstr("models[0].fallback[0].from: 0.5 is not below `below`, 0.5"));
  EXPECT_THAT(Errors(GraphText("  - {name: graph, package: a, crops: [{name: x, model: a}, {name: "
                               "x, model: b}]}\n")),
              HasSubstr("two crops of the model have the name \"x\""));
  EXPECT_THAT(Errors(GraphText("  - {name: graph, ensemble: [a, b, a]}\n")),
              HasSubstr("models[0].ensemble[2]: \"a\" is there already"));
  EXPECT_THAT(Errors(GraphText("  - {name: graph, ensemble: [a, b], confidence: 0.9}\n")),
              HasSubstr("models[0].confidence: it has no meaning with `ensemble`"));
  EXPECT_THAT(Errors(GraphText("  - {name: graph, package: a, fusion_iou: 0.9}\n")),
              HasSubstr("models[0].fusion_iou: it has no meaning without `ensemble`"));
  EXPECT_THAT(
      Errors(GraphText("  - {name: graph, package: a, crops: [{name: x, model: motion}]}\n")),
      HasSubstr("motion remembers the pictures of one camera"));
  // Each level doubles what the next one needs: 2 to the power of 30 models in few lines.
  std::string doubling;
  for (int i = 0; i < 30; ++i) {
    for (const char* side : {"a", "b"}) {
      doubling += fmt::format("  - {{name: {}{}, ensemble: [a{}, b{}]}}\n", side, i, i + 1, i + 1);
    }
  }
  EXPECT_THAT(Errors(GraphText(doubling + "  - {name: graph, ensemble: [a0, b0]}\n")),
              HasSubstr("models; 200 are the most"));
  ParseOptions known;
  known.known_packages = {"yolox"};
  EXPECT_THAT(Errors(GraphText("  - {name: graph, package: yolox, crops: [{name: x, model: "
                               "yolx}]}\n"),
                     known),
              HasSubstr("no model \"yolx\"; did you mean \"yolox\"?"));
  EXPECT_THAT(Errors(GraphText("  - {name: graph, package: a, crops: [{name: x, model: a, "
                               "keep_classes: [b]}]}\n")),
              HasSubstr("keep_above"));
}

}  // namespace
}  // namespace sightline
