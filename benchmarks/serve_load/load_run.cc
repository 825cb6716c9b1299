#include "serve_load/load_run.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace sightline::load {
namespace {

using Json = nlohmann::ordered_json;

int64_t Ns(double seconds) { return static_cast<int64_t>(seconds * 1e9); }

double Rounded(double value) { return std::round(value * 1e4) / 1e4; }

Json JsonOf(const LatencyHistogram& times) {
  return {{"count", times.count()},
          {"p50_ms", Rounded(times.QuantileMs(0.5))},
          {"p90_ms", Rounded(times.QuantileMs(0.9))},
          {"p99_ms", Rounded(times.QuantileMs(0.99))},
          {"p999_ms", Rounded(times.QuantileMs(0.999))},
          {"max_ms", Rounded(times.MaxMs())}};
}

double Quantile(std::vector<float> values, double part) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(part * static_cast<double>(values.size() - 1))];
}

}  // namespace

int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

double CpuSeconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

LoadRun::LoadRun(const LoadOptions& options)
    : options_(options), results_(options.phases.size()), dice_(options.seed) {}

void LoadRun::Begin() {
  int64_t at = NowNs();
  begins_ = {at};
  for (const Phase& phase : options_.phases) begins_.push_back(at += Ns(phase.seconds));
  if (options_.interval_s > 0) {
    const double seconds = static_cast<double>(at - begins_[0]) * 1e-9;
    timeline_.resize(static_cast<size_t>(seconds / options_.interval_s) + 1);
  }
  Advance();
  Tell(begins_[0]);
}

void LoadRun::TakeArrival() { Advance(); }

void LoadRun::Advance() {
  while (arriving_ < options_.phases.size()) {
    const Phase& phase = options_.phases[arriving_];
    if (phase.rate > 0) {
      within_s_ += options_.poisson ? std::exponential_distribution<double>(phase.rate)(dice_)
                                    : 1 / phase.rate;
      if (within_s_ < phase.seconds) {
        next_ = begins_[arriving_] + Ns(within_s_);
        return;
      }
    }
    ++arriving_;
    within_s_ = 0;
  }
  next_.reset();
}

size_t LoadRun::PhaseAt(int64_t ns) const {
  const auto after = std::upper_bound(begins_.begin(), begins_.end(), ns);
  const auto index = static_cast<size_t>(std::max<ptrdiff_t>(1, after - begins_.begin())) - 1;
  return std::min(index, results_.size() - 1);
}

bool LoadRun::Closed(int64_t now_ns) const {
  return now_ns < EndNs() && options_.phases[PhaseAt(now_ns)].rate <= 0;
}

int64_t LoadRun::NextEventNs() const { return begins_[std::min(told_, begins_.size() - 1)]; }

void LoadRun::Tell(int64_t now_ns) {
  for (; told_ < begins_.size() && begins_[told_] <= now_ns; ++told_) {
    const double cpu_s = CpuSeconds();
    if (told_ > 0) results_[told_ - 1].cpu_s = cpu_s - cpu_at_;
    cpu_at_ = cpu_s;
    const Json event = {{"event", told_ < results_.size() ? "begins" : "over"},
                        {"phase", told_ < results_.size() ? options_.phases[told_].name : ""}};
    std::printf("%s\n", event.dump().c_str());
    std::fflush(stdout);
  }
}

void LoadRun::Answered(int64_t arrival_ns, int64_t sent_ns, int64_t now_ns, Kind kind, int status,
                       size_t bytes, bool polite) {
  Result& result = results_[PhaseAt(arrival_ns)];
  ++result.statuses[status];
  result.bytes += bytes;
  const int64_t took_ns = now_ns - sent_ns;
  if (kind == Kind::kAccepted) {
    result.accepted.Add(now_ns - arrival_ns);
    result.accepted_service.Add(took_ns);
  } else if (kind == Kind::kRefused) {
    result.refused_service.Add(took_ns);
    if (!polite) ++result.impolite;
  } else {
    ++result.failed;
  }
  if (timeline_.empty()) return;
  const auto index =
      static_cast<size_t>(static_cast<double>(now_ns - begins_[0]) * 1e-9 / options_.interval_s);
  if (index >= timeline_.size()) return;
  const float ms = static_cast<float>(took_ns) * 1e-6F;
  if (kind == Kind::kAccepted) {
    timeline_[index].accepted_ms.push_back(ms);
  } else if (kind == Kind::kRefused) {
    timeline_[index].refused_ms.push_back(ms);
  } else {
    ++timeline_[index].failed;
  }
}

void LoadRun::NotAnswered(int64_t arrival_ns, Kind kind) {
  Result& result = results_[PhaseAt(arrival_ns)];
  ++(kind == Kind::kGivenUp ? result.given_up : result.unanswered);
}

std::string LoadRun::Report() const {
  Json phases = load::Json::array();
  for (size_t i = 0; i < results_.size(); ++i) {
    const Phase& phase = options_.phases[i];
    const Result& result = results_[i];
    Json statuses = load::Json::object();
    for (const auto& [status, count] : result.statuses) statuses[std::to_string(status)] = count;
    phases.push_back(
        {{"name", phase.name},
         {"rate", phase.rate},
         {"seconds", phase.seconds},
         {"accepted_per_s", Rounded(static_cast<double>(result.accepted.count()) / phase.seconds)},
         {"accepted", JsonOf(result.accepted)},
         {"accepted_from_sending", JsonOf(result.accepted_service)},
         {"refused_from_sending", JsonOf(result.refused_service)},
         {"refused_without_retry_after", result.impolite},
         {"statuses", statuses},
         {"failed", result.failed},
         {"given_up", result.given_up},
         {"unanswered", result.unanswered},
         {"answer_bytes", result.bytes},
         {"client_cpu_s", Rounded(result.cpu_s)}});
  }
  Json timeline = load::Json::array();
  for (size_t i = 0; i < timeline_.size(); ++i) {
    const Interval& interval = timeline_[i];
    timeline.push_back({{"at_s", Rounded(static_cast<double>(i) * options_.interval_s)},
                        {"accepted", interval.accepted_ms.size()},
                        {"p50_ms", Rounded(Quantile(interval.accepted_ms, 0.5))},
                        {"p99_ms", Rounded(Quantile(interval.accepted_ms, 0.99))},
                        {"refused", interval.refused_ms.size()},
                        {"refused_p99_ms", Rounded(Quantile(interval.refused_ms, 0.99))},
                        {"failed", interval.failed}});
  }
  return Json{{"phases", phases}, {"connects", connects_}, {"timeline", timeline}}.dump();
}

}  // namespace sightline::load
