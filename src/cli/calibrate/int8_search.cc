#include "cli/calibrate/int8_search.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <utility>

namespace sightline::cli {
namespace {

constexpr double kWorst = std::numeric_limits<double>::infinity();

class Search {
 public:
  explicit Search(const Int8SearchInput& input) : input_(input) {}

  absl::StatusOr<Int8SearchResult> Run() {
    SL_RETURN_IF_ERROR(ChooseMethod());
    SL_ASSIGN_OR_RETURN(const Int8Loss all_in_int8, Judge({}));
    if (!all_in_int8.within) {
      SL_RETURN_IF_ERROR(RankLayers());
      SL_RETURN_IF_ERROR(Bisect(&Int8Loss::within));
      const bool found = best_ && best_->second.within;
      if (!found && !all_in_int8.nearly) SL_RETURN_IF_ERROR(Bisect(&Int8Loss::nearly));
    }
    if (!best_) {
      return FailedPrecondition("no INT8 model of this model can be made: {}", last_reason_);
    }
    result_.choice = best_->first;
    result_.loss = best_->second;
    return std::move(result_);
  }

 private:
  void Say(const std::string& words) const {
    if (input_.say) input_.say(words);
  }

  // Whether an error is about that model alone.
  bool IsOfModel(const absl::Status& status) {
    const bool model = status.code() == absl::StatusCode::kInternal ||
                       status.code() == absl::StatusCode::kInvalidArgument;
    if (model) last_reason_ = MessageOf(status);
    return model;
  }

  absl::StatusOr<double> Rough(const Int8Choice& choice) {
    absl::StatusOr<double> change = input_.rough(choice);
    if (!change.ok() && IsOfModel(change.status())) return kWorst;
    return change;
  }

  std::set<std::string> Suspects() const {
    std::set<std::string> names;
    for (const Int8Layer& layer : input_.layers) {
      if (layer.suspect()) names.insert(layer.name);
    }
    // Of a model that has no other layers, something must be left to compare methods by.
    if (names.size() == input_.layers.size()) names.clear();
    return names;
  }

  absl::Status ChooseMethod() {
    result_.choice.weight_bits = input_.weight_bits;
    double best = kWorst;
    for (const std::string& method : input_.methods) {
      if (input_.methods.size() == 1) {
        method_ = method;
        return absl::OkStatus();
      }
      Say(fmt::format("calibrating by {}", method));
      SL_ASSIGN_OR_RETURN(const double change, Rough({method, Suspects(), input_.weight_bits}));
      result_.methods.emplace_back(method, change);
      if (method_.empty() || change < best) {
        best = change;
        method_ = method;
      }
    }
    return absl::OkStatus();
  }

  // Keeps the best: within before nearly before neither; then fewer layers in fp32, or less loss.
  absl::StatusOr<Int8Loss> Judge(const std::set<std::string>& in_fp32) {
    Int8Choice choice{method_, in_fp32, input_.weight_bits};
    Say(fmt::format("judging INT8 with {} of {} layers in fp32", in_fp32.size(),
                    input_.layers.size()));
    const absl::StatusOr<Int8Loss> loss = input_.judge(choice);
    if (!loss.ok() && IsOfModel(loss.status())) return Int8Loss{.decisive = kWorst};
    if (!loss.ok()) return loss.status();
    ++result_.models_judged;
    const auto rank = [](const std::pair<Int8Choice, Int8Loss>& one) {
      const Int8Loss& of = one.second;
      const double fp32 = static_cast<double>(one.first.in_fp32.size());
      return std::pair(of.within   ? 0
                       : of.nearly ? 1
                                   : 2,
                       of.within || of.nearly ? fp32 : of.decisive);
    };
    std::pair<Int8Choice, Int8Loss> one(std::move(choice), *loss);
    if (!best_ || rank(one) < rank(*best_)) best_ = std::move(one);
    return loss;
  }

  absl::Status RankLayers() {
    std::vector<SensitiveLayer>& ranking = result_.ranking;
    for (const Int8Layer& layer : input_.layers) ranking.push_back({.layer = layer});
    // Those that are tried first are tried at all when time is short.
    std::stable_partition(ranking.begin(), ranking.end(),
                          [](const auto& one) { return one.layer.suspect(); });
    std::set<std::string> all;
    for (const Int8Layer& layer : input_.layers) all.insert(layer.name);
    Say("finding out how sensitive each layer is");
    for (size_t i = 0; i < ranking.size(); ++i) {
      if (input_.progress) input_.progress(i, ranking.size());
      if (input_.time_is_up()) {
        result_.ended_by_time = true;
        break;
      }
      std::set<std::string> others = all;
      others.erase(ranking[i].layer.name);
      SL_ASSIGN_OR_RETURN(ranking[i].change, Rough({method_, others, input_.weight_bits}));
      ranking[i].tried = true;
    }
    std::ranges::stable_sort(ranking, [](const SensitiveLayer& a, const SensitiveLayer& b) {
      if (a.tried != b.tried) return a.tried;
      return a.tried && a.change > b.change;
    });
    return absl::OkStatus();
  }

  std::set<std::string> MostSensitive(size_t count) const {
    std::set<std::string> names;
    for (size_t i = 0; i < count; ++i) names.insert(result_.ranking[i].layer.name);
    return names;
  }

  // By how many of the most sensitive layers are in fp32; judged once.
  absl::StatusOr<Int8Loss> LossWith(size_t in_fp32) {
    if (const auto known = losses_.find(in_fp32); known != losses_.end()) return known->second;
    SL_ASSIGN_OR_RETURN(const Int8Loss loss, Judge(MostSensitive(in_fp32)));
    losses_[in_fp32] = loss;
    return loss;
  }

  // With no layer in fp32 the loss is too large, with all of them there is none (and no INT8).
  absl::Status Bisect(bool Int8Loss::*good) {
    size_t too_few = 0;
    size_t enough = result_.ranking.size();
    // Sensitive layers are few, as a rule: the first guess is low.
    size_t guess = std::max<size_t>(1, enough / 8);
    while (enough - too_few > 1) {
      SL_ASSIGN_OR_RETURN(const Int8Loss loss, LossWith(guess));
      (loss.*good ? enough : too_few) = guess;
      guess = (too_few + enough) / 2;
      if (input_.time_is_up() && best_ && best_->second.*good) {
        result_.ended_by_time = true;
        break;
      }
    }
    return absl::OkStatus();
  }

  const Int8SearchInput& input_;
  std::string method_;
  std::string last_reason_ = "none was tried";
  std::optional<std::pair<Int8Choice, Int8Loss>> best_;
  std::map<size_t, Int8Loss> losses_;  // by the number of layers in fp32
  Int8SearchResult result_;
};

}  // namespace

absl::StatusOr<Int8SearchResult> FindInt8(const Int8SearchInput& input) {
  return Search(input).Run();
}

}  // namespace sightline::cli
