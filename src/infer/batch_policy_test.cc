// The policy against simulated devices and clients, in simulated time: the same every time.
#include "infer/batch_policy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <queue>
#include <random>
#include <vector>

namespace sightline {
namespace {

// A call takes call_us + job_us for each of its jobs, on each of `devices`.
struct World {
  int64_t call_us = 2000;
  int64_t job_us = 100;
  size_t devices = 1;
  size_t most = 32;
  int64_t max_delay_us = 20'000;
  std::vector<int> preferred = {};
};

struct Outcome {
  size_t done = 0;
  double mean_latency_us = 0;
  size_t batches = 0;
  size_t in_vain = 0;
  int64_t idle_us = 0;  // of devices, while jobs waited
  std::vector<size_t> sizes;
  double PerMs(int64_t duration_us) const {
    return 1000.0 * static_cast<double>(done) / static_cast<double>(duration_us);
  }
};

// Jobs arrive at the times that `next` gives: of job number i, when it was done (-1: the first time);
// below 0: never again.
class Simulation {
 public:
  using Next = std::function<int64_t(size_t client, int64_t done_us)>;

  Simulation(const World& world, size_t clients, Next next)
      : world_(world),
        next_(std::move(next)),
        policy_({.max_batch = static_cast<int>(world.most),
                 .preferred_sizes = world.preferred,
                 .max_delay_us = world.max_delay_us}),
        devices_(world.devices) {
    for (size_t client = 0; client < clients; ++client) Await(client, -1);
  }

  Outcome Run(int64_t duration_us) {
    while (!events_.empty() && events_.top().at_us < duration_us) {
      const Event event = events_.top();
      events_.pop();
      now_us_ = event.at_us;
      if (event.client >= 0) {
        waiting_.push_back({static_cast<size_t>(event.client), now_us_});
        policy_.OnArrival(now_us_, waiting_.size());
      } else if (event.device >= 0) {
        End(devices_[static_cast<size_t>(event.device)]);
      }
      Dispatch();
    }
    outcome_.mean_latency_us /= std::max<double>(1, static_cast<double>(outcome_.done));
    return outcome_;
  }

  const BatchPolicy& policy() const { return policy_; }

 private:
  struct Job {
    size_t client = 0;
    int64_t added_us = 0;
  };
  struct Device {
    std::vector<Job> jobs;  // empty: free
    int64_t began_us = 0;
  };
  struct Event {
    int64_t at_us = 0;
    int client = -1;
    int device = -1;
    bool operator<(const Event& other) const { return at_us > other.at_us; }
  };

  void Await(size_t client, int64_t done_us) {
    const int64_t at_us = next_(client, done_us);
    if (at_us >= 0) events_.push({at_us, static_cast<int>(client), -1});
  }

  // The runner's thread tells one client after the other.
  void End(Device& device) {
    policy_.OnEnd(now_us_, device.jobs.size(), now_us_ - device.began_us);
    for (size_t i = 0; i < device.jobs.size(); ++i) {
      outcome_.mean_latency_us += static_cast<double>(now_us_ - device.jobs[i].added_us);
      Await(device.jobs[i].client, now_us_ + 3 * static_cast<int64_t>(i));
    }
    outcome_.done += device.jobs.size();
    device.jobs.clear();
  }

  void Dispatch() {
    while (!waiting_.empty()) {
      const auto free = static_cast<size_t>(std::count_if(
          devices_.begin(), devices_.end(), [](const Device& d) { return d.jobs.empty(); }));
      const auto device = std::find_if(devices_.begin(), devices_.end(),
                                       [](const Device& d) { return d.jobs.empty(); });
      if (device == devices_.end()) return;
      const auto decision = policy_.Decide({.now_us = now_us_,
                                            .waiting = waiting_.size(),
                                            .oldest_us = waiting_.front().added_us,
                                            .most = world_.most,
                                            .free_runners = free});
      outcome_.in_vain += decision.in_vain ? 1 : 0;
      if (decision.take == 0) {
        ASSERT_GT(decision.until_us, now_us_);
        ASSERT_LE(decision.until_us, waiting_.front().added_us + world_.max_delay_us);
        events_.push({decision.until_us, -1, -1});
        return;
      }
      ASSERT_LE(decision.take, std::min(world_.most, waiting_.size()));
      const auto end = waiting_.begin() + static_cast<std::ptrdiff_t>(decision.take);
      device->jobs.assign(waiting_.begin(), end);
      waiting_.erase(waiting_.begin(), end);
      device->began_us = now_us_;
      policy_.OnBegin(decision.take, waiting_.size());
      ++outcome_.batches;
      outcome_.sizes.push_back(decision.take);
      const int64_t took_us =
          world_.call_us + world_.job_us * static_cast<int64_t>(device->jobs.size());
      events_.push({now_us_ + took_us, -1, static_cast<int>(device - devices_.begin())});
    }
  }

  const World world_;
  const Next next_;
  BatchPolicy policy_;
  std::vector<Device> devices_;
  std::priority_queue<Event> events_;
  std::deque<Job> waiting_;
  int64_t now_us_ = 0;
  Outcome outcome_;
};

constexpr int64_t kDurationUs = 20'000'000;

// Clients that send again as soon as they have their answer: some us for a thread to wake up, and now
// and then a scheduler that is late.
Simulation::Next AtOnce(std::mt19937& random) {
  return [&random](size_t, int64_t done_us) -> int64_t {
    const auto wake_us = static_cast<int64_t>(5 + random() % 20);
    const int64_t hiccup_us = random() % 200 == 0 ? static_cast<int64_t>(random() % 2000) : 0;
    return std::max<int64_t>(0, done_us) + wake_us + hiccup_us;
  };
}

TEST(BatchPolicy, ClosedLoopsGainWhatThereIsToGain) {
  for (const size_t clients : {1, 2, 3, 8, 16, 32, 40, 64, 200}) {
    std::mt19937 random(7);
    const World world;
    const Outcome outcome = Simulation(world, clients, AtOnce(random)).Run(kDurationUs);
    const auto batch = static_cast<double>(std::min(clients, world.most));
    const double ideal = 1000 * batch / (2000 + 100 * batch);
    EXPECT_GE(outcome.PerMs(kDurationUs), 0.93 * ideal) << clients;
    EXPECT_LE(outcome.in_vain, outcome.batches / 4) << clients;
  }
}

TEST(BatchPolicy, SeveralDevicesAreAllKeptBusy) {
  for (const size_t clients : {2, 8, 32, 64, 128}) {
    std::mt19937 random(7);
    const World world{.devices = 2};
    const Outcome outcome = Simulation(world, clients, AtOnce(random)).Run(kDurationUs);
    const double batch = static_cast<double>(std::min(clients / 2, world.most));
    const double ideal = 2 * 1000 * batch / (2000 + 100 * batch);
    EXPECT_GE(outcome.PerMs(kDurationUs), 0.9 * ideal) << clients;
  }
}

// What a processor does with most models: a batch of n takes n times as long.
TEST(BatchPolicy, NobodyWaitsWhereBatchesGainNothing) {
  std::mt19937 random(7);
  const World world{.call_us = 0, .job_us = 10'000};
  const Outcome outcome = Simulation(world, 8, AtOnce(random)).Run(kDurationUs);
  EXPECT_GE(outcome.PerMs(kDurationUs), 0.995 * 0.1);
  EXPECT_LE(outcome.in_vain, 2u);
}

Simulation::Next Poisson(std::mt19937& random, double per_second) {
  return [&random, per_second, last_us = 0.0](size_t, int64_t) mutable -> int64_t {
    last_us += std::exponential_distribution<double>(per_second)(random) * 1e6;
    return static_cast<int64_t>(last_us);
  };
}

// Independent arrivals: waiting may cost next to nothing, at any load.
TEST(BatchPolicy, IndependentArrivalsAreNotHeldBack) {
  for (const double per_second : {10.0, 100.0, 300.0, 1000.0, 3000.0, 6000.0}) {
    std::mt19937 one(7), other(7);
    const auto jobs = static_cast<size_t>(per_second * 20);
    const auto run = [&](std::mt19937& random, int64_t max_delay_us) {
      const World world{.max_delay_us = max_delay_us};
      // So many jobs, none of which comes back.
      return Simulation(world, jobs,
                        [next = Poisson(random, per_second)](size_t client, int64_t done_us) {
                          return done_us < 0 ? next(client, done_us) : -1;
                        })
          .Run(kDurationUs);
    };
    const Outcome at_once = run(one, 0), adaptive = run(other, 20'000);
    EXPECT_LE(adaptive.mean_latency_us, 1.03 * at_once.mean_latency_us) << per_second;
    EXPECT_GE(static_cast<double>(adaptive.done), 0.99 * static_cast<double>(at_once.done));
  }
}

// Clients that think: what waiting wins or loses against never waiting.
TEST(BatchPolicy, ClientsThatThinkLoseNothing) {
  for (const int64_t think_us : {500, 2000, 5000, 20'000, 100'000}) {
    const auto run = [&](int64_t max_delay_us) {
      std::mt19937 random(7);
      return Simulation(World{.max_delay_us = max_delay_us}, 16,
                        [&](size_t, int64_t done_us) {
                          return std::max<int64_t>(0, done_us) +
                                 static_cast<int64_t>(random() % (2 * think_us));
                        })
          .Run(kDurationUs);
    };
    const Outcome at_once = run(0), adaptive = run(20'000);
    EXPECT_GE(static_cast<double>(adaptive.done), 0.98 * static_cast<double>(at_once.done))
        << think_us;
    EXPECT_LE(adaptive.mean_latency_us, 1.05 * at_once.mean_latency_us) << think_us;
  }
}

// 28 of 32 clients go: the others find it out within a few batches.
TEST(BatchPolicy, WhoHasGoneIsNotExpectedForLong) {
  std::mt19937 random(7);
  const auto at_once = AtOnce(random);
  const Outcome outcome =
      Simulation(World{}, 32, [&](size_t client, int64_t done_us) -> int64_t {
        return client >= 4 && done_us > 1'000'000 ? -1 : at_once(client, done_us);
      }).Run(kDurationUs);
  EXPECT_GE(outcome.done, static_cast<size_t>(0.93 * 19'000'000 * 4 / 2400));
}

TEST(BatchPolicy, NoJobWaitsLongerThanItMay) {
  std::mt19937 random(7);
  Simulation simulation(World{.max_delay_us = 40}, 32, AtOnce(random));
  simulation.Run(kDurationUs);  // looks at every decision
}

TEST(BatchPolicy, PreferredSizesAreTakenWhereThereAreEnough) {
  std::mt19937 random(7);
  const World world{.most = 32, .preferred = {16, 4, 8}};
  const Outcome outcome = Simulation(world, 24, AtOnce(random)).Run(kDurationUs);
  std::vector<size_t> count(33);
  for (const size_t size : outcome.sizes) ++count[size];
  EXPECT_EQ(count[32] + count[24], 0u);
  EXPECT_GE(count[4] + count[8] + count[16], outcome.batches * 9 / 10);
  const Outcome few = Simulation(world, 3, AtOnce(random)).Run(kDurationUs);
  EXPECT_GE(few.PerMs(kDurationUs), 0.93 * 3000 / 2300) << "too few for the smallest";
}

TEST(BatchPolicy, AFixedDelayIsSatOut) {
  BatchPolicy policy({.max_batch = 8, .max_delay_us = 5000, .adaptive_delay = false});
  policy.OnArrival(100, 1);
  auto decision = policy.Decide({.now_us = 100, .waiting = 1, .oldest_us = 100, .most = 8});
  EXPECT_EQ(decision.take, 0u);
  EXPECT_EQ(decision.until_us, 5100);
  EXPECT_EQ(decision.wake_at, 8u);
  decision = policy.Decide({.now_us = 5100, .waiting = 3, .oldest_us = 100, .most = 8});
  EXPECT_EQ(decision.take, 3u);
  decision = policy.Decide({.now_us = 200, .waiting = 9, .oldest_us = 100, .most = 8});
  EXPECT_EQ(decision.take, 8u);
  decision = policy.Decide(
      {.now_us = 200, .waiting = 3, .oldest_us = 100, .next_deadline_us = 2000, .most = 8});
  EXPECT_LT(decision.until_us, 2000) << "it is begun in time";
}

TEST(BatchPolicy, LearnsWhatACallCosts) {
  for (const auto& [call_us, job_us] : {std::pair<int64_t, int64_t>{2000, 100}, {0, 5000}}) {
    std::mt19937 random(7);
    Simulation simulation(World{.call_us = call_us, .job_us = job_us}, 8, AtOnce(random));
    simulation.Run(kDurationUs);
    EXPECT_NEAR(static_cast<double>(simulation.policy().call_cost_us()),
                static_cast<double>(call_us), 100);
  }
}

}  // namespace
}  // namespace sightline
