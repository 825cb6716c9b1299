#include "infer/model_tuning.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sightline {
namespace {

using ::testing::HasSubstr;

ModelTuning Example() {
  ModelTuning tuning;
  tuning.model_sha256 = std::string(64, 'a');
  tuning.machine = {.cpu = "Brand \"X\" \\ 9000", .cores = 2};
  tuning.versions = {{"onnxruntime", "1.31.1"}, {"openvino", "2026.4.1"}};
  tuning.backend = "openvino";
  tuning.threads = 2;
  tuning.instances = 3;
  tuning.batch = 4;
  tuning.cpu_ms = 12.5;
  tuning.pictures_per_s = 140;
  return tuning;
}

TEST(ModelTuning, IsReadBackAsItWasWritten) {
  const ModelTuning written = Example();
  const auto read = ParseModelTuning(FormatModelTuning(written), "tune.yaml");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->model_sha256, written.model_sha256);
  EXPECT_EQ(read->machine, written.machine);
  EXPECT_EQ(read->versions, written.versions);
  EXPECT_EQ(read->backend, "openvino");
  EXPECT_EQ(read->threads, 2);
  EXPECT_EQ(read->instances, 3);
  EXPECT_EQ(read->batch, 4);
  EXPECT_EQ(read->cpu_ms, 12.5);
  EXPECT_EQ(read->pictures_per_s, 140);
  ModelTuning bare = Example();
  bare.versions.clear();
  EXPECT_TRUE(ParseModelTuning(FormatModelTuning(bare), "tune.yaml").ok());
}

TEST(ModelTuning, WhatIsWrongIsSaidWithItsPlace) {
  const std::string good = FormatModelTuning(Example());
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return std::string(ParseModelTuning(text, "tune.yaml").status().message());
  };
  EXPECT_THAT(with("threads: 2", "threads: 0"), HasSubstr("tune.yaml:12:12: `threads` is a whole"));
  EXPECT_THAT(with("threads: 2", "thread: 2"), HasSubstr("`thread` is not known"));
  EXPECT_THAT(with("threads: 2", "batch: 2"), HasSubstr("`batch` is repeated"));
  EXPECT_THAT(with("format: 1", "format: 2"), HasSubstr("`format: 1`"));
  EXPECT_THAT(with("cpu_ms: 12.5", "cpu_ms: .nan"), HasSubstr("`cpu_ms`"));
  EXPECT_THAT(with("backend: openvino\n", "backend: \"\"\n"), HasSubstr("`backend`"));
  for (const char* text : {"", "[", "- 1", "{", "format: [1]", "\x01", "a: &a [*a]"}) {
    EXPECT_FALSE(ParseModelTuning(text, "tune.yaml").ok()) << text;
  }
  EXPECT_EQ(ParseModelTuning(std::string(70'000, ' '), "tune.yaml").status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReadModelTuning("/nowhere/tune.yaml").status().code(), absl::StatusCode::kNotFound);
}

TEST(ModelTuning, HoldsForItsModelAndMachineAlone) {
  const ModelTuning tuning = Example();
  EXPECT_EQ(WhyTuningDoesNotHold(tuning, tuning.model_sha256, tuning.machine), "");
  EXPECT_THAT(WhyTuningDoesNotHold(tuning, std::string(64, 'b'), tuning.machine),
              HasSubstr("another model file"));
  MachineInfo other = tuning.machine;
  other.cores = 8;
  EXPECT_THAT(WhyTuningDoesNotHold(tuning, tuning.model_sha256, other), HasSubstr("2 cores"));
  other = tuning.machine;
  other.cpu = "Y";
  EXPECT_THAT(WhyTuningDoesNotHold(tuning, tuning.model_sha256, other), HasSubstr("processor"));
  EXPECT_GE(ThisMachine().cores, 1);
  EXPECT_NE(ThisMachine().cpu, "");
}

}  // namespace
}  // namespace sightline
