// Graphs of models as the pool opens them, of models that are functions of the picture's first pixel.
#include "pipeline/graph/model_graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "pipeline/config/parse.h"
#include "pipeline/detection_job.h"
#include "pipeline/model_pool.h"

namespace sightline {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// A picture of one colour with squares of others: pixel (x, y) of square i has the value `values[i]`.
struct Square {
  int x, y, side;
  uint8_t value;
};
Frame PictureOf(uint8_t background, const std::vector<Square>& squares, uint32_t camera = 0) {
  constexpr int kSide = 100;
  auto bytes = std::make_shared<std::vector<uint8_t>>(kSide * kSide, background);
  for (const Square& square : squares) {
    for (int y = square.y; y < square.y + square.side; ++y) {
      std::fill_n(bytes->begin() + y * kSide + square.x, square.side, square.value);
    }
  }
  auto info = std::make_shared<CameraInfo>();
  info->index = camera;
  Frame frame;
  frame.meta.camera = info;
  frame.meta.width = frame.meta.height = kSide;
  frame.image = {.format = PixelFormat::kGray8,
                 .width = kSide,
                 .height = kSide,
                 .planes = {bytes->data()},
                 .strides = {kSide}};
  frame.pixels = bytes;
  return frame;
}

using Look = std::function<absl::Status(const Frame&, Detections*)>;

struct FakeModel {
  std::vector<std::string> labels;
  Look look;
  int max_batch = 1;
  bool stateful = false;
  uint64_t identity = 1;
};

// What the fakes have done.
struct Seen {
  Mutex mutex;
  std::map<std::string, std::vector<size_t>> batches GUARDED_BY(mutex);
};

class FakeDetector final : public Detector {
 public:
  FakeDetector(const std::string& name, const FakeModel& model, Seen& seen)
      : look_(model.look), seen_(seen) {
    info_.name = info_.describe = name;
    info_.labels = std::make_shared<const LabelSet>(LabelSet{model.labels});
    info_.max_batch = model.max_batch;
    info_.stateful = model.stateful;
    info_.identity.low = model.identity;
  }
  const DetectorInfo& info() const override { return info_; }
  void Detect(std::span<DetectJob> jobs) override {
    {
      MutexLock lock(seen_.mutex);
      seen_.batches[info_.name].push_back(jobs.size());
    }
    for (DetectJob& job : jobs) {
      job.result->ClearResults();
      job.status = look_(*job.frame, job.result);
    }
  }

 private:
  const Look look_;
  Seen& seen_;
  DetectorInfo info_;
};

class ModelGraphTest : public testing::Test {
 protected:
  // The models of this configuration, opened by the pool; `cameras` is added.
  absl::StatusOr<std::shared_ptr<Model>> Open(const std::string& models,
                                              const std::string& name = "graph") {
    const std::string text =
        "models:\n" + models + "cameras: [{id: a, source: a.mp4, model: " + name + "}]\n";
    const ParsedConfig parsed = ParseConfig(text, "graph.yaml");
    if (!parsed.config) return InvalidArgument("{}", parsed.ErrorText());
    return pool_.Get(parsed.config->models[parsed.config->cameras[0].model_index]);
  }

  // What the graph's first detector makes of the pictures.
  struct Result {
    Detections found;
    absl::Status status;
  };
  static std::vector<Result> Run(const Model& model, const std::vector<Frame>& frames) {
    class Job final : public DetectionJob {
     public:
      void Done(const absl::Status& its_status) override {
        status = its_status;
        MutexLock lock(mutex);
        done = true;
        changed.NotifyAll();
      }
      absl::Status status;
      Mutex mutex;
      CondVar changed;
      bool done GUARDED_BY(mutex) = false;
    };
    std::vector<std::unique_ptr<Job>> jobs;
    for (const Frame& frame : frames) {
      jobs.push_back(std::make_unique<Job>());
      jobs.back()->frame = frame;
      jobs.back()->source = frame.meta.camera->index;
      EXPECT_TRUE(model.batcher->Submit(jobs.back().get()).ok());
    }
    std::vector<Result> results;
    for (const auto& job : jobs) {
      MutexLock lock(job->mutex);
      while (!job->done) job->changed.Wait(job->mutex);
      Result& result = results.emplace_back();
      result.status = job->status;
      result.found.labels = job->detections.labels;
      result.found.SwapResults(job->detections);
    }
    return results;
  }

  static uint8_t FirstPixel(const Frame& frame) { return frame.image.planes[0][0]; }

  std::map<std::string, FakeModel> fakes_;
  Seen seen_;
  ModelPool pool_{[this](const ModelConfig& config) -> absl::StatusOr<DetectorFactory> {
                    const auto fake = fakes_.find(config.reference);
                    if (fake == fakes_.end()) return NotFound("no model {}", config.reference);
                    return DetectorFactory(
                        [this, name = fake->first,
                         model = fake->second]() -> absl::StatusOr<std::unique_ptr<Detector>> {
                          return std::make_unique<FakeDetector>(name, model, seen_);
                        });
                  },
                  1, Clock::Real()};
};

// Finds the two squares of the tests' pictures, a car and a person.
absl::Status FindSquares(const Frame&, Detections* found) {
  found->items = {{.box_px = {10, 10, 30, 30}, .confidence = 0.9f, .class_id = 1},
                  {.box_px = {50, 60, 90, 100}, .confidence = 0.7f, .class_id = 0}};
  return absl::OkStatus();
}
// Says which value the picture begins with, and marks its middle.
absl::Status NameColour(const Frame& frame, Detections* found) {
  found->classes = {{.class_id = frame.image.planes[0][0] == 200 ? 1 : 0, .confidence = 0.8f}};
  found->keypoints_per_item = 1;
  found->keypoints = {{{frame.image.width / 2.0f, frame.image.height / 2.0f}, 1}};
  return absl::OkStatus();
}
const std::vector<Square> kSquares = {{10, 10, 20, 200}, {50, 60, 40, 100}};

TEST_F(ModelGraphTest, CropsShowEachObjectToTheModel) {
  fakes_["boxes"] = {.labels = {"person", "car"}, .look = FindSquares};
  fakes_["colours"] = {.labels = {"grey", "white"}, .look = NameColour, .max_batch = 4};
  const auto graph = Open(R"(  - {name: colours, package: colours, batch: {max: 4}}
  - name: graph
    package: boxes
    crops:
      - {name: colour, model: colours}
)");
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto results = Run(**graph, {PictureOf(0, kSquares)});
  const Detections& found = results[0].found;
  ASSERT_TRUE(results[0].status.ok());
  ASSERT_THAT(found.items, SizeIs(2));
  ASSERT_THAT(found.stages, SizeIs(2));
  for (const StageResult& stage : found.stages) {
    EXPECT_EQ(*stage.stage, "colour");
    const Box& box = found.items[stage.item].box_px;
    EXPECT_EQ(stage.result.labels->NameOf(stage.result.classes[0].class_id),
              stage.item == 0 ? "white" : "grey");
    // The middle of the crop, where it lies in the picture.
    EXPECT_EQ(stage.result.keypoints[0].at_px.x, (box.x1 + box.x2) / 2);
    EXPECT_EQ(stage.result.keypoints[0].at_px.y, (box.y1 + box.y2) / 2);
  }
  EXPECT_EQ((*graph)->graph->metrics->crops[0].asked.value(), 2u);
  EXPECT_THAT((*graph)->info.describe, HasSubstr("colour by colours on crops of all objects"));
}

TEST_F(ModelGraphTest, CropsOfWhichClassesHowManyAndHowLarge) {
  fakes_["boxes"] = {.labels = {"person", "car"}, .look = FindSquares};
  fakes_["colours"] = {.labels = {"grey", "white"}, .look = NameColour};
  const auto graph = Open(R"(  - name: graph
    package: boxes
    crops:
      - {name: cars, model: colours, classes: [car]}
      - {name: one, model: colours, most: 1}
      - {name: large, model: colours, min_side: 21}
)");
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto results = Run(**graph, {PictureOf(0, kSquares)});
  std::vector<std::string> said;
  for (const StageResult& stage : results[0].found.stages) {
    said.push_back(*stage.stage + std::to_string(stage.item));
  }
  EXPECT_THAT(said, ElementsAre("cars0", "one0", "large1"));
  const auto& metrics = (*graph)->graph->metrics->crops;
  EXPECT_EQ(metrics[0].left_out.value(), 0u);  // another class is not left out
  EXPECT_EQ(metrics[1].left_out.value(), 1u);
  EXPECT_EQ(metrics[2].left_out.value(), 1u);
}

// Two-stage screening: what the second model does not confirm is taken out, and what was said of the
// rest stays with its object.
TEST_F(ModelGraphTest, OnlyConfirmedObjectsAreKept) {
  fakes_["boxes"] = {.labels = {"person", "car"}, .look = FindSquares};
  fakes_["colours"] = {.labels = {"grey", "white"}, .look = NameColour};
  const auto graph = Open(R"(  - name: graph
    package: boxes
    crops:
      - {name: first, model: colours}
      - {name: sure, model: colours, keep_above: 0.5, keep_classes: [grey]}
)");
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto results = Run(**graph, {PictureOf(0, kSquares)});
  const Detections& found = results[0].found;
  ASSERT_THAT(found.items, SizeIs(1));
  EXPECT_EQ(found.labels->NameOf(found.items[0].class_id), "person");
  ASSERT_THAT(found.stages, SizeIs(2));
  for (const StageResult& stage : found.stages) {
    EXPECT_EQ(stage.item, 0);
    EXPECT_EQ(stage.result.classes[0].class_id, 0);
  }
  EXPECT_EQ((*graph)->graph->metrics->crops[1].not_kept.value(), 1u);
}

TEST_F(ModelGraphTest, AFallbackIsAskedOnlyWhereTheFirstIsNotSure) {
  // As sure as the picture is bright.
  fakes_["fast"] = {
      .labels = {"person"}, .look = [](const Frame& frame, Detections* found) {
        found->items = {
            {.box_px = {0, 0, 10, 10}, .confidence = FirstPixel(frame) / 100.0f, .class_id = 0}};
        return absl::OkStatus();
      }};
  fakes_["large"] = {.labels = {"dog", "person"}, .look = [](const Frame&, Detections* found) {
                       found->items = {
                           {.box_px = {1, 1, 11, 11}, .confidence = 0.99f, .class_id = 1},
                           {.box_px = {2, 2, 12, 12}, .confidence = 0.98f, .class_id = 0}};
                       return absl::OkStatus();
                     }};
  const auto graph = Open(R"(  - name: graph
    package: fast
    fallback:
      - {model: large, from: 0.2, below: 0.6}
)");
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto results =
      Run(**graph, {PictureOf(10, {}), PictureOf(20, {}), PictureOf(59, {}), PictureOf(60, {})});
  const auto names = [](const Result& result) {
    std::vector<std::string> all;
    for (const Detection& item : result.found.items) {
      all.push_back(result.found.labels->NameOf(item.class_id));
    }
    return all;
  };
  EXPECT_THAT(names(results[0]), ElementsAre("person"));
  EXPECT_THAT(names(results[1]), ElementsAre("person", "dog"));
  EXPECT_THAT(names(results[2]), ElementsAre("person", "dog"));
  EXPECT_THAT(names(results[3]), ElementsAre("person"));
  EXPECT_EQ((*graph)->graph->metrics->fallbacks[0].asked.value(), 2u);
}

// A part that fails costs what it would have added, and is counted; no frame and no object.
TEST_F(ModelGraphTest, PartsThatFailAreCountedAndNothingIsLost) {
  fakes_["boxes"] = {.labels = {"person", "car"}, .look = FindSquares};
  fakes_["broken"] = {.labels = {"person"}, .look = [](const Frame&, Detections*) {
                        return Unavailable("the endpoint is away");
                      }};
  const auto graph = Open(R"(  - name: graph
    package: boxes
    fallback: [{model: broken, from: 0, below: 1}]
    crops: [{name: check, model: broken, keep_above: 0.5}]
)");
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto results = Run(**graph, {PictureOf(0, kSquares)});
  ASSERT_TRUE(results[0].status.ok());
  EXPECT_THAT(results[0].found.items, SizeIs(2));
  EXPECT_THAT(results[0].found.stages, IsEmpty());
  const GraphMetrics& metrics = *(*graph)->graph->metrics;
  EXPECT_EQ(metrics.fallbacks[0].failed.value(), 1u);
  EXPECT_EQ(metrics.crops[0].failed.value(), 2u);
  EXPECT_EQ(metrics.crops[0].not_kept.value(), 0u);
}

// ImageNet has two cranes: what the first model says keeps its ids and names.
TEST_F(ModelGraphTest, RepeatedClassNamesStayWhatTheyAre) {
  fakes_["boxes"] = {.labels = {"crane", "car", "crane", "dog"},
                     .look = [](const Frame& frame, Detections* found) {
                       found->items = {{.box_px = {10, 10, 30, 30},
                                        .confidence = FirstPixel(frame) > 0 ? 0.3f : 0.9f,
                                        .class_id = 3}};
                       return absl::OkStatus();
                     }};
  fakes_["large"] = {
      .labels = {"cat", "dog"}, .look = [](const Frame&, Detections* found) {
        for (const int32_t id : {0, 1, 7}) {
          found->items.push_back(
              {.box_px = {10, 10, 30, 30}, .confidence = 0.9f - 0.1f * id / 7, .class_id = id});
        }
        return absl::OkStatus();
      }};
  const auto graph = Open("  - {name: graph, package: boxes, fallback: [{model: large}]}\n");
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto results = Run(**graph, {PictureOf(0, {}), PictureOf(1, {})});
  EXPECT_EQ(results[0].found.labels->NameOf(results[0].found.items[0].class_id), "dog");
  std::vector<std::string> names;
  for (const Detection& item : results[1].found.items) {
    names.push_back(results[1].found.labels->NameOf(item.class_id));
  }
  EXPECT_THAT(names, ElementsAre("cat", "dog", "class -1")) << "an id without a name gets none";
}

// An anomaly has no confidence: nothing is taken out or asked because of it, and that is counted.
TEST_F(ModelGraphTest, WhatHasNoConfidenceDecidesNothing) {
  fakes_["boxes"] = {.labels = {"person", "car"}, .look = FindSquares};
  fakes_["odd"] = {.labels = {}, .look = [](const Frame&, Detections* found) {
                     found->anomaly.width = found->anomaly.height = 1;
                     found->anomaly.values = {7};
                     return absl::OkStatus();
                   }};
  const auto graph = Open(R"(  - name: graph
    package: boxes
    crops: [{name: check, model: odd, keep_above: 0.5}]
)");
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_THAT(Run(**graph, {PictureOf(0, kSquares)})[0].found.items, SizeIs(2));
  EXPECT_EQ((*graph)->graph->metrics->crops[0].failed.value(), 2u);

  const auto first = Open("  - {name: graph, package: odd, fallback: [{model: odd, from: 0}]}\n");
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(Run(**first, {PictureOf(0, {})})[0].found.anomaly.width, 1);
  EXPECT_EQ((*first)->graph->metrics->fallbacks[0].asked.value(), 0u);

  const auto fused = Open("  - {name: graph, ensemble: [odd, odder]}\n");
  EXPECT_FALSE(fused.ok());  // there is no such model
  fakes_["odder"] = fakes_["odd"];
  const auto both = Open("  - {name: graph, ensemble: [odd, odder]}\n");
  ASSERT_TRUE(both.ok()) << both.status();
  EXPECT_THAT(Run(**both, {PictureOf(0, {})})[0].status.ToString(), HasSubstr("gives no boxes"));
}

TEST_F(ModelGraphTest, AnEnsembleFusesBoxesOfOneClassByName) {
  const auto at = [](float x, int32_t class_id) {
    return [x, class_id](const Frame&, Detections* found) {
      found->items = {{.box_px = {x, 10, x + 20, 30}, .confidence = 0.8f, .class_id = class_id}};
      return absl::OkStatus();
    };
  };
  fakes_["one"] = {.labels = {"person", "car"}, .look = at(10, 1)};
  fakes_["two"] = {.labels = {"car", "person"}, .look = at(12, 0)};
  const auto graph = Open(R"(  - {name: graph, ensemble: [one, two]}
)");
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto results = Run(**graph, {PictureOf(0, {})});
  ASSERT_TRUE(results[0].status.ok());
  const Detections& found = results[0].found;
  ASSERT_THAT(found.items, SizeIs(1));
  EXPECT_EQ(found.labels->NameOf(found.items[0].class_id), "car");
  EXPECT_FLOAT_EQ(found.items[0].box_px.x1, 11);
  EXPECT_FLOAT_EQ(found.items[0].confidence, 0.8f);
}

TEST_F(ModelGraphTest, AnEnsembleWithoutOneOfItsMembersFailsTheFrame) {
  fakes_["one"] = {.labels = {"car"}, .look = FindSquares};
  fakes_["two"] = {.labels = {"car"}, .look = [](const Frame& frame, Detections*) {
                     return FirstPixel(frame) > 0 ? Internal("two is broken") : absl::OkStatus();
                   }};
  const auto graph = Open("  - {name: graph, ensemble: [one, two]}\n");
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto results = Run(**graph, {PictureOf(1, {}), PictureOf(0, {})});
  EXPECT_THAT(results[0].status.ToString(), HasSubstr("two is broken"));
  EXPECT_TRUE(results[1].status.ok());
}

// Crops of the frames of several cameras go through their model together.
TEST_F(ModelGraphTest, CropsOfSeveralCamerasShareBatches) {
  fakes_["boxes"] = {.labels = {"person", "car"}, .look = FindSquares, .max_batch = 2};
  fakes_["colours"] = {.labels = {"grey", "white"}, .look = NameColour, .max_batch = 4};
  const auto graph = Open(
      R"(  - {name: colours, package: colours, batch: {max: 4, max_delay: 10s, adaptive: false}}
  - name: graph
    package: boxes
    batch: {max: 2, max_delay: 10s, adaptive: false}
    crops: [{name: colour, model: colours}]
)");
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto results = Run(**graph, {PictureOf(0, kSquares, 0), PictureOf(0, kSquares, 1)});
  for (const Result& result : results) EXPECT_THAT(result.found.stages, SizeIs(2));
  MutexLock lock(seen_.mutex);
  EXPECT_THAT(seen_.batches["boxes"], ElementsAre(2));
  EXPECT_THAT(seen_.batches["colours"], ElementsAre(4));
}

// Parts are models like others: a camera and two graphs share one, and a graph may be part of a graph.
TEST_F(ModelGraphTest, GraphsShareModelsAndStack) {
  fakes_["boxes"] = {.labels = {"person", "car"}, .look = FindSquares};
  fakes_["colours"] = {.labels = {"grey", "white"}, .look = NameColour};
  const std::string models =
      R"(  - {name: base, package: boxes, crops: [{name: colour, model: colours}]}
  - {name: graph, ensemble: [base, boxes], crops: [{name: again, model: colours}]}
)";
  const auto graph = Open(models);
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto results = Run(**graph, {PictureOf(0, kSquares)});
  ASSERT_TRUE(results[0].status.ok()) << results[0].status;
  EXPECT_THAT(results[0].found.items, SizeIs(2));
  EXPECT_THAT(results[0].found.stages, SizeIs(2));
  const auto base = Open(models, "base");
  ASSERT_TRUE(base.ok());
  EXPECT_EQ((*graph)->graph->ensemble[0].model, *base);
  EXPECT_EQ((*graph)->graph->crops[0].model, (*base)->graph->crops[0].model);
}

TEST_F(ModelGraphTest, WhatAPartSaysChangesTheIds) {
  fakes_["boxes"] = {.labels = {"person", "car"}, .look = FindSquares};
  fakes_["colours"] = {.labels = {"grey", "white"}, .look = NameColour, .identity = 5};
  const auto identity = [&](const std::string& crops) {
    const auto graph = Open("  - {name: graph, package: boxes, crops: [" + crops + "]}\n");
    EXPECT_TRUE(graph.ok()) << graph.status();
    return (*graph)->info.identity;
  };
  const Hash128 first = identity("{name: colour, model: colours}");
  EXPECT_EQ(first, identity("{name: colour, model: colours}"));
  EXPECT_NE(first, identity("{name: colour, model: colours, margin: 0.1}"));
  EXPECT_NE(first, identity("{name: colour, model: boxes}"));
}

// `apply` begins a camera anew when a part of its model changes, however deep it lies.
TEST(SameModel, LooksIntoTheParts) {
  const auto graph = [](const std::string& confidence) {
    const ParsedConfig parsed =
        ParseConfig("models:\n  - {name: base, package: boxes, confidence: " + confidence +
                        "}\n  - {name: both, ensemble: [base, people]}\n"
                        "  - {name: graph, package: a, crops: [{name: x, model: both}]}\n"
                        "cameras: [{id: a, source: a.mp4, model: graph}]\n",
                    "graph.yaml");
    EXPECT_EQ(parsed.ErrorText(), "");
    return parsed.config->models[parsed.config->cameras[0].model_index];
  };
  EXPECT_TRUE(SameModel(graph("0.5"), graph("0.5")));
  EXPECT_FALSE(SameModel(graph("0.5"), graph("0.6")));
}

TEST_F(ModelGraphTest, RefusesWhatCannotBeAPart) {
  fakes_["boxes"] = {.labels = {"person", "car"}, .look = FindSquares};
  fakes_["moving"] = {.labels = {"moving"}, .look = FindSquares, .stateful = true};
  fakes_["nameless"] = {.labels = {}, .look = FindSquares};
  const auto refusal = [&](const std::string& models) { return Open(models).status().ToString(); };
  EXPECT_THAT(refusal("  - {name: graph, package: boxes, crops: [{name: a, model: moving}]}\n"),
              HasSubstr("remembers the pictures of one camera"));
  EXPECT_THAT(refusal("  - {name: graph, ensemble: [boxes, nameless]}\n"),
              HasSubstr("model nameless has no class names"));
  EXPECT_THAT(refusal("  - {name: graph, package: boxes, crops: [{name: a, model: boxes, classes: "
                      "[cat]}]}\n"),
              HasSubstr("no class \"cat\"; did you mean \"car\"?"));
}

}  // namespace
}  // namespace sightline
