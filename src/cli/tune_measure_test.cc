#include "cli/tune_measure.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "detect/fake_backend.h"

namespace sightline::cli {
namespace {

using ::testing::HasSubstr;

FakeBackendOptions SmallYolox() {
  FakeBackendOptions options;
  options.inputs = {{"images", DataType::kFloat32, {-1, 3, 64, 64}}};
  options.outputs = {{"output", DataType::kFloat32, {-1, 84, 6}}};
  return options;
}

ModelSpec SmallSpec() {
  ModelSpec spec;
  spec.name = "small";
  spec.sha256 = "0";
  spec.family = "yolox";
  spec.layout = "raw_grid";
  spec.input.width = spec.input.height = 64;
  spec.input_name = "images";
  spec.output_names = {"output"};
  spec.batch = 0;
  return spec;
}

TuneResult Result(InferenceBackend* backend, int instances, std::vector<double> cpu_ms,
                  double per_s) {
  TuneResult result;
  result.candidate = {backend, 1, instances, 1};
  result.per_s.assign(cpu_ms.size(), per_s);
  result.cpu_ms = std::move(cpu_ms);
  return result;
}

TEST(TuneCandidates, FillTheCoresInEveryWayThatMakesSense) {
  FakeBackend backend(SmallYolox());
  const auto has = [&](const std::vector<TuneCandidate>& all, int threads, int instances,
                       int batch) {
    return std::ranges::count_if(all, [&](const TuneCandidate& c) {
             return c.threads == threads && c.instances == instances && c.batch == batch;
           }) == 1;
  };
  const auto two = TuneCandidates(SmallSpec(), {&backend}, 2);
  EXPECT_EQ(two.size(), 3u * 4u);
  EXPECT_TRUE(has(two, 1, 1, 1) && has(two, 1, 2, 8) && has(two, 2, 1, 4));
  ModelSpec fixed = SmallSpec();
  fixed.batch = 1;
  EXPECT_EQ(TuneCandidates(fixed, {&backend, &backend}, 1).size(), 2u);
  for (const TuneCandidate& c : TuneCandidates(fixed, {&backend}, 12)) {
    EXPECT_LE(c.threads * c.instances, 12) << ToString(c);
  }
  EXPECT_TRUE(has(TuneCandidates(fixed, {&backend}, 12), 12, 1, 1));
  EXPECT_TRUE(has(TuneCandidates(fixed, {&backend}, 12), 1, 12, 1));
}

TEST(ChooseCandidate, TakesTheFastestOfThoseThatCostAboutTheLeast) {
  FakeBackend backend(SmallYolox());
  std::vector<TuneResult> results = {
      Result(&backend, 1, {10, 10, 10}, 100), Result(&backend, 2, {10.4, 10.4, 30}, 190),
      Result(&backend, 3, {10.8, 10.8, 10.8}, 300), Result(&backend, 4, {9.95, 9.95, 9.95}, 90)};
  auto chosen = ChooseCandidate(results);
  ASSERT_TRUE(chosen.ok());
  EXPECT_EQ(*chosen,
            1u);  // by its median, not its mean; the third costs 8.5 % more than the least
  results[1].given_up = true;
  EXPECT_EQ(*ChooseCandidate(results), 0u);
  results[3].status = Internal("broken");
  results[0].cpu_ms.clear();
  chosen = ChooseCandidate(results);
  ASSERT_TRUE(chosen.ok()) << chosen.status();
  EXPECT_EQ(*chosen, 2u);
  for (TuneResult& result : results) result.status = Internal("no such device");
  chosen = ChooseCandidate(results);
  EXPECT_EQ(chosen.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(chosen.status().message()), HasSubstr("no such device"));
}

TEST(MeasureCandidates, MeasuresEachAndSaysWhatCannotRun) {
  FakeBackend good(SmallYolox());
  FakeBackendOptions failing = SmallYolox();
  failing.run = [](const FakeModelRun&) { return Internal("out of luck"); };
  FakeBackend bad(failing);
  const std::vector<TuneCandidate> candidates = {
      {&good, 1, 1, 1}, {&bad, 1, 2, 1}, {&good, 1, 2, 2}};
  const auto results =
      MeasureCandidates(SmallSpec(), candidates, {.seconds = 0.001, .exhaustive = true});
  ASSERT_TRUE(results.ok()) << results.status();
  ASSERT_EQ(results->size(), 3u);
  EXPECT_THAT(std::string((*results)[1].status.message()), HasSubstr("out of luck"));
  for (const size_t i : {0, 2}) {
    EXPECT_TRUE((*results)[i].status.ok()) << (*results)[i].status;
    EXPECT_GE((*results)[i].cpu_ms.size(), 1u);
    EXPECT_GT((*results)[i].median_per_s(), 0);
  }
  const auto stopped = MeasureCandidates(SmallSpec(), candidates, {.stop = [] { return true; }});
  EXPECT_EQ(stopped.status().code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace sightline::cli
