#include "infer/batch_policy.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace sightline {
namespace {

// Chosen by simulation (batch_policy_test.cc) and on two cores (benchmarks/batcher_bench.cc).
constexpr double kGapStep = 0.125;   // of the median's estimate, up or down for each gap
constexpr double kSizeShare = 0.25;  // of a new measurement in the mean of its size
constexpr double kBurst = 0.125;     // of a call's cost: arrivals closer than that belong together
constexpr double kSilentGaps = 16;   // so many usual gaps without an arrival: they do not come
// How late a thread may be that wants to come: a scheduler's hiccup.
constexpr double kHiccupUs = 100;
constexpr int64_t kBeforeDeadlineUs = 500;  // so long before a job's deadline it is begun

}  // namespace

void BatchPolicy::Configure(const BatcherOptions& options) {
  max_delay_us_ = std::max<int64_t>(0, options.max_delay_us);
  adaptive_ = options.adaptive_delay;
  preferred_count_ = std::min(options.preferred_sizes.size(), preferred_.size());
  std::copy_n(options.preferred_sizes.begin(), preferred_count_, preferred_.begin());
  std::sort(preferred_.begin(), preferred_.begin() + static_cast<std::ptrdiff_t>(preferred_count_));
}

void BatchPolicy::OnArrival(int64_t now_us, size_t waiting) {
  if (last_event_us_ != INT64_MIN) {
    const auto gap_us = static_cast<double>(std::max<int64_t>(1, now_us - last_event_us_));
    // The median and not the mean: between two bursts there may be any time.
    if (gap_us_ <= 0) {
      gap_us_ = gap_us;
    } else {
      gap_us_ *= gap_us > gap_us_ ? 1 + kGapStep : 1 - kGapStep;
    }
  }
  last_event_us_ = now_us;
  peak_ = std::max(peak_, running_ + waiting);
}

void BatchPolicy::OnBegin(size_t jobs, size_t waiting) {
  running_ += jobs;
  peak_before_ = peak_;
  peak_ = running_ + waiting;
}

void BatchPolicy::OnEnd(int64_t now_us, size_t jobs, int64_t took_us) {
  running_ -= std::min(running_, jobs);
  last_event_us_ = now_us;
  if (jobs == 0) return;
  Sizes& sizes = sizes_[std::min<size_t>(std::bit_width(jobs - 1), sizes_.size() - 1)];
  const double share = sizes.seen ? kSizeShare : 1;
  sizes.jobs += share * (static_cast<double>(jobs) - sizes.jobs);
  sizes.took_us += share * (static_cast<double>(took_us) - sizes.took_us);
  sizes.seen = true;
  FitCallCost();
}

// A straight line through the mean of each size. As long as there is one size alone, its whole time
// may be the call's: waiting once will tell.
void BatchPolicy::FitCallCost() {
  double n = 0, x = 0, y = 0, xx = 0, xy = 0, least_us = INFINITY;
  for (const Sizes& sizes : sizes_) {
    if (!sizes.seen) continue;
    n += 1;
    x += sizes.jobs;
    y += sizes.took_us;
    xx += sizes.jobs * sizes.jobs;
    xy += sizes.jobs * sizes.took_us;
    least_us = std::min(least_us, sizes.took_us);
  }
  const double spread = n * xx - x * x;
  const double slope = spread > 0 ? std::max(0.0, (n * xy - x * y) / spread) : 0;
  call_cost_us_ = std::clamp((y - slope * x) / n, 0.0, least_us);
}

int64_t BatchPolicy::call_cost_us() const { return static_cast<int64_t>(call_cost_us_); }

// `jobs` itself without preferred sizes, or below the smallest of them.
size_t BatchPolicy::LargestPreferred(size_t jobs) const {
  size_t best = jobs;
  for (size_t i = 0; i < preferred_count_ && static_cast<size_t>(preferred_[i]) <= jobs; ++i) {
    best = static_cast<size_t>(preferred_[i]);
  }
  return best;
}

BatchPolicy::Decision BatchPolicy::Decide(const Look& look) {
  const size_t waiting = look.waiting;
  const size_t free_runners = std::max<size_t>(1, look.free_runners);
  const auto share_of = [&](size_t jobs) { return (jobs + free_runners - 1) / free_runners; };
  const auto take = [&](size_t jobs) {
    Decision decision;
    decision.take = LargestPreferred(std::min(jobs, look.most));
    return decision;
  };
  const size_t full = LargestPreferred(look.most);
  // The share of a batch that is full anyway may be the rest.
  if (waiting >= full * free_runners || max_delay_us_ == 0) return take(share_of(waiting));

  int64_t until_us = look.oldest_us + max_delay_us_;
  if (look.next_deadline_us != INT64_MAX) {
    until_us = std::min(until_us, look.next_deadline_us - kBeforeDeadlineUs);
  }
  if (!adaptive_) {
    if (waiting >= full || look.now_us >= until_us) return take(waiting);
    return {.take = 0, .until_us = until_us, .wake_at = full, .in_vain = false};
  }

  const size_t present = running_ + waiting;
  const size_t missing = expected() > present ? expected() - present : 0;
  const size_t target = LargestPreferred(std::min(share_of(waiting + missing), full));
  const size_t now = share_of(waiting);
  if (target <= now || waiting >= target) return take(std::max(now, std::min(target, waiting)));

  const auto there = static_cast<double>(waiting);
  const auto wanted = static_cast<double>(target - waiting);
  // Half of what would just pay, so that it is worth the risk; and only for those that come one after
  // the other: arrivals that are independent of each other can wait for no one.
  const bool in_bursts = gap_us_ > 0 && gap_us_ <= call_cost_us_ * kBurst;
  if (!in_bursts || gap_us_ * there > call_cost_us_ / 2) return take(now);
  const double silence_us =
      std::min({call_cost_us_ * wanted / there, call_cost_us_, kSilentGaps * gap_us_ + kHiccupUs});
  until_us = std::min(until_us, last_event_us_ + static_cast<int64_t>(silence_us));
  if (look.now_us < until_us) {
    return {.take = 0, .until_us = until_us, .wake_at = target, .in_vain = false};
  }
  peak_ = peak_before_ = present;
  Decision decision = take(now);
  decision.in_vain = true;
  return decision;
}

}  // namespace sightline
