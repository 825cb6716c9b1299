#include "cli/calibrate/int8_search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

namespace sightline::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A model whose layers each cost something in INT8, and a limit for the sum.
class Model {
 public:
  explicit Model(std::map<std::string, double> costs, double limit)
      : costs_(std::move(costs)), limit_(limit) {
    for (const auto& [name, cost] : costs_) {
      input.layers.push_back({name, "Conv", name.starts_with("d") ? "depthwise" : "plain"});
    }
    input.methods = {"minmax"};
    input.rough = [this](const Int8Choice& choice) -> absl::StatusOr<double> {
      ++rough_calls;
      return Cost(choice);
    };
    input.judge = [this](const Int8Choice& choice) -> absl::StatusOr<Int8Loss> {
      ++judge_calls;
      const double cost = Cost(choice);
      return Int8Loss{.decisive = cost + uncertain,
                      .within = cost + uncertain <= limit_,
                      .nearly = cost <= limit_ / 2};
    };
    input.time_is_up = [] { return false; };
  }

  double Cost(const Int8Choice& choice) const {
    double cost = method_costs.contains(choice.method) ? method_costs.at(choice.method) : 0;
    for (const auto& [name, of] : costs_) {
      if (!choice.in_fp32.contains(name)) cost += of;
    }
    return cost;
  }

  Int8SearchInput input;
  int rough_calls = 0;
  int judge_calls = 0;
  double uncertain = 0;
  std::map<std::string, double> method_costs;

 private:
  const std::map<std::string, double> costs_;
  const double limit_;
};

TEST(Int8Search, AllLayersWhenThatIsGoodEnough) {
  Model model({{"a", 0.001}, {"b", 0.002}}, 0.005);
  const auto found = FindInt8(model.input);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_TRUE(found->choice.in_fp32.empty());
  EXPECT_TRUE(found->loss.within);
  EXPECT_EQ(model.judge_calls, 1);
  EXPECT_EQ(model.rough_calls, 0) << "nothing to rank";
}

TEST(Int8Search, LeavesTheFewestSensitiveLayersInFp32) {
  std::map<std::string, double> costs;
  for (int i = 0; i < 40; ++i) costs["l" + std::to_string(i)] = 0.0001;
  costs["l7"] = 0.3;
  costs["l23"] = 0.2;
  costs["d1"] = 0.1;
  Model model(costs, 0.0045);
  const auto found = FindInt8(model.input);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_THAT(found->choice.in_fp32, ElementsAre("d1", "l23", "l7"));
  EXPECT_TRUE(found->loss.within);
  EXPECT_EQ(found->ranking[0].layer.name, "l7");
  EXPECT_EQ(found->ranking[1].layer.name, "l23");
  EXPECT_LT(model.judge_calls, 12) << "bisection";
}

TEST(Int8Search, TakesTheMethodThatChangesLeast) {
  Model model({{"a", 0.001}, {"b", 0.002}}, 1);
  model.input.methods = {"minmax", "entropy", "percentile"};
  model.method_costs = {{"minmax", 0.5}, {"entropy", 0.2}, {"percentile", 0.3}};
  const auto found = FindInt8(model.input);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->choice.method, "entropy");
  EXPECT_EQ(found->methods.size(), 3u);
}

TEST(Int8Search, WhereNothingIsWithinTheEstimateDecides) {
  Model model({{"a", 0.4}, {"b", 0.1}, {"c", 0.01}, {"e", 0.001}}, 0.05);
  model.uncertain = 1;  // few pictures
  const auto found = FindInt8(model.input);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_FALSE(found->loss.within);
  EXPECT_TRUE(found->loss.nearly);
  EXPECT_THAT(found->choice.in_fp32, ElementsAre("a", "b"));
}

TEST(Int8Search, WhereNothingHelpsTheLeastLossIsTaken) {
  Model model({{"a", 2}, {"b", 1}, {"c", 3}}, 0.5);
  const auto found = FindInt8(model.input);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_FALSE(found->loss.within);
  EXPECT_THAT(found->choice.in_fp32, ElementsAre("a", "c"));
}

TEST(Int8Search, TheUsualSuspectsAreTriedFirstWhenTimeIsShort) {
  std::map<std::string, double> costs;
  for (int i = 0; i < 10; ++i) costs["a" + std::to_string(i)] = 0;
  costs["d1"] = 0.2;
  costs["d2"] = 0.3;
  Model model(costs, 0.1);
  model.input.time_is_up = [&model] { return model.rough_calls >= 2; };
  const auto found = FindInt8(model.input);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_TRUE(found->ended_by_time);
  EXPECT_EQ(found->ranking[0].layer.name, "d2");
  EXPECT_EQ(found->ranking[1].layer.name, "d1");
  EXPECT_FALSE(found->ranking[2].tried);
  EXPECT_TRUE(found->loss.within);
}

TEST(Int8Search, ALayerThatCannotBeInt8StaysInFp32) {
  Model model({{"a", 0.001}, {"b", 0.001}, {"c", 0.001}, {"odd", 0}}, 0.01);
  const auto refuse = [](const Int8Choice& choice) {
    return choice.in_fp32.contains("odd") ? absl::OkStatus() : Internal("no kernel for odd");
  };
  const auto rough = model.input.rough;
  model.input.rough = [&](const Int8Choice& choice) -> absl::StatusOr<double> {
    SL_RETURN_IF_ERROR(refuse(choice));
    return rough(choice);
  };
  const auto judge = model.input.judge;
  model.input.judge = [&](const Int8Choice& choice) -> absl::StatusOr<Int8Loss> {
    SL_RETURN_IF_ERROR(refuse(choice));
    return judge(choice);
  };
  const auto found = FindInt8(model.input);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_THAT(found->choice.in_fp32, ElementsAre("odd"));
}

TEST(Int8Search, WhenNoModelCanBeMadeTheReasonIsGiven) {
  Model model({{"a", 1}, {"b", 1}}, 0.1);
  model.input.rough = [](const Int8Choice&) -> absl::StatusOr<double> {
    return Internal("the exporter was odd");
  };
  model.input.judge = [](const Int8Choice&) -> absl::StatusOr<Int8Loss> {
    return Internal("the exporter was odd");
  };
  const absl::Status status = FindInt8(model.input).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("the exporter was odd"));
}

TEST(Int8Search, OtherErrorsEndIt) {
  Model model({{"a", 1}, {"b", 1}}, 0.1);
  model.input.judge = [](const Int8Choice&) -> absl::StatusOr<Int8Loss> {
    return Unavailable("quantize.py was killed");
  };
  EXPECT_EQ(FindInt8(model.input).status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace sightline::cli
