// What the batcher makes of a device whose calls take 2 ms and 0.1 ms a job, one call at a time: really
// waiting, as for an accelerator. Prints its command line and, for closed loops of 1 to 64 clients and
// for independent arrivals, the throughput beside the ideal one, the latency, and what the batcher costs
// a request with a device that takes no time.
//
//   build/bin/batcher_bench [SECONDS]     by default 2 for each line
//
// Ideal: of a closed loop, batches of all clients (at most 32), without a pause between them; of
// independent arrivals, all of them. Gain: throughput by that of calls of one job each, 1 / 2.1 ms.
#include <pthread.h>
#include <sys/prctl.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/time.h"
#include "infer/batcher.h"

namespace sightline {
namespace {

constexpr int64_t kCallUs = 2000;
constexpr int64_t kJobUs = 100;
constexpr int kMaxBatch = 32;
constexpr int64_t kMaxDelayUs = 5000;

int64_t NowUs() { return Clock::Real().NowMonotonicUs(); }

void SleepUntil(int64_t at_us) {
  std::this_thread::sleep_until(
      std::chrono::steady_clock::time_point(std::chrono::microseconds(at_us)));
}

class Accelerator final : public BatchRunner {
 public:
  Accelerator(int64_t call_us, int64_t job_us) : call_us_(call_us), job_us_(job_us) {}
  int max_batch() const override { return kMaxBatch; }
  void Run(std::span<BatchJob* const> batch, std::span<absl::Status>) override {
    const int64_t begin_us = NowUs();
    if (call_us_ + job_us_ == 0) return;
    prctl(PR_SET_TIMERSLACK, 1000);  // ns; the device's time, and not that of the system's timers
    SleepUntil(begin_us + call_us_ + job_us_ * static_cast<int64_t>(batch.size()));
  }

 private:
  const int64_t call_us_;
  const int64_t job_us_;
};

std::unique_ptr<Batcher> Start(int64_t call_us, int64_t job_us, int64_t max_delay_us) {
  std::vector<std::unique_ptr<BatchRunner>> runners;
  runners.push_back(std::make_unique<Accelerator>(call_us, job_us));
  auto batcher = Batcher::Create({.name = "bench",
                                  .queue_capacity = 256,
                                  .max_batch = kMaxBatch,
                                  .max_delay_us = max_delay_us},
                                 std::move(runners));
  SL_CHECK(batcher.ok(), "{}", MessageOf(batcher.status()));
  return *std::move(batcher);
}

class Request final : public BatchJob {
 public:
  void Done(const absl::Status&) override {
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
    }
    wake_.notify_one();
  }
  void Wait() {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return done_; });
    done_ = false;
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool done_ = false;
};

struct Latencies {
  std::vector<int64_t> us;
  int64_t At(double part) {
    if (us.empty()) return 0;
    std::sort(us.begin(), us.end());
    return us[static_cast<size_t>(part * static_cast<double>(us.size() - 1))];
  }
};

void PrintHead() {
  std::printf("%-22s %9s %8s %7s %7s %8s %8s %7s %8s %8s\n", "", "jobs/s", "ideal", "share", "gain",
              "p50 ms", "p99 ms", "batch", "waited", "in vain");
}

void Print(const char* what, int n, double per_s, double ideal_per_s, Latencies& latencies,
           const Batcher& batcher) {
  const BatcherCounts counts = batcher.Counts();
  uint64_t batches = 0;
  for (const uint64_t bucket : counts.batch_size.buckets) batches += bucket;
  std::printf("%-14s %7d %9.0f %8.0f %6.1f%% %6.2fx %8.2f %8.2f %7.1f %8llu %8llu\n", what, n,
              per_s, ideal_per_s, 100 * per_s / ideal_per_s, per_s * 1e-6 * (kCallUs + kJobUs),
              static_cast<double>(latencies.At(0.5)) * 1e-3,
              static_cast<double>(latencies.At(0.99)) * 1e-3,
              static_cast<double>(counts.batch_size.sum) / static_cast<double>(batches),
              static_cast<unsigned long long>(counts.waited),
              static_cast<unsigned long long>(counts.in_vain));
}

struct Answered {
  Latencies latencies;  // of all clients
  int64_t took_us = 0;  // the whole
};

// Clients that send their next request when they have the answer to the last.
Answered AskInTurn(Batcher& batcher, int clients, double seconds) {
  std::atomic<bool> stop{false};
  std::vector<Latencies> latencies(static_cast<size_t>(clients));
  std::vector<std::thread> threads;
  const int64_t begin_us = NowUs();
  for (int c = 0; c < clients; ++c) {
    threads.emplace_back([&, c] {
      Request request;
      request.source = static_cast<uint32_t>(c);
      while (!stop.load(std::memory_order_relaxed)) {
        const int64_t sent_us = NowUs();
        if (!batcher.Submit(&request).ok()) return;
        request.Wait();
        latencies[static_cast<size_t>(c)].us.push_back(NowUs() - sent_us);
      }
    });
  }
  SleepUntil(begin_us + static_cast<int64_t>(seconds * 1e6));
  stop = true;
  for (std::thread& thread : threads) thread.join();
  Answered answered{.latencies = {}, .took_us = NowUs() - begin_us};
  std::vector<int64_t>& all = answered.latencies.us;
  for (const Latencies& one : latencies) all.insert(all.end(), one.us.begin(), one.us.end());
  return answered;
}

void ClosedLoop(int clients, double seconds, int64_t max_delay_us) {
  const auto batcher = Start(kCallUs, kJobUs, max_delay_us);
  Answered answered = AskInTurn(*batcher, clients, seconds);
  const double batch = std::min(clients, kMaxBatch);
  const double ideal = 1e6 * batch / (static_cast<double>(kCallUs) + kJobUs * batch);
  const auto done = static_cast<double>(answered.latencies.us.size());
  Print(max_delay_us > 0 ? "closed loop" : "  no delay", clients,
        done / (static_cast<double>(answered.took_us) * 1e-6), ideal, answered.latencies, *batcher);
}

// Requests that come when they come, as a Poisson process; each answer is noted by the runner's thread.
void OpenLoop(int per_s, double seconds, int64_t max_delay_us) {
  class Noted final : public BatchJob {
   public:
    void Done(const absl::Status&) override { took_us = NowUs() - sent_us; }
    int64_t sent_us = 0;
    std::atomic<int64_t> took_us{0};
  };
  const auto batcher = Start(kCallUs, kJobUs, max_delay_us);
  std::mt19937 random(7);
  std::exponential_distribution<double> gap_s(per_s);
  std::deque<Noted> requests;
  const int64_t begin_us = NowUs();
  prctl(PR_SET_TIMERSLACK, 1000);
  for (double at_s = gap_s(random); at_s < seconds; at_s += gap_s(random)) {
    const int64_t due_us = begin_us + static_cast<int64_t>(at_s * 1e6);
    if (due_us > NowUs()) SleepUntil(due_us);
    Noted& request = requests.emplace_back();
    request.source = static_cast<uint32_t>(random() % 64);
    request.sent_us = due_us;
    if (!batcher->Submit(&request).ok()) return;
  }
  batcher->Stop(/*discard=*/false);
  const double took_s = static_cast<double>(NowUs() - begin_us) * 1e-6;
  Latencies latencies;
  for (const Noted& request : requests) latencies.us.push_back(request.took_us);
  Print(max_delay_us > 0 ? "independent" : "  no delay", per_s,
        static_cast<double>(requests.size()) / took_s,
        static_cast<double>(requests.size()) / seconds, latencies, *batcher);
}

// What a request costs where the device takes no time: CPU of all threads and wall time of each.
void Overhead(int clients, double seconds) {
  const auto batcher = Start(0, 0, kMaxDelayUs);
  const double cpu_s = ProcessCpuSeconds();
  Answered answered = AskInTurn(*batcher, clients, seconds);
  const auto wall_us = static_cast<double>(answered.took_us);
  Latencies& all = answered.latencies;
  const auto done = static_cast<double>(all.us.size());
  std::printf(
      "%7d clients  %8.2f us CPU a request, two changes of threads in it  %8.2f us wall a "
      "request  %6lld us p50  %6lld us p99 there and back\n",
      clients, (ProcessCpuSeconds() - cpu_s) * 1e6 / done, wall_us / done,
      static_cast<long long>(all.At(0.5)), static_cast<long long>(all.At(0.99)));
}

// The same without waking anybody: one thread hands in, one runs, nobody waits for an answer.
void OneWay(double seconds) {
  class Counted final : public BatchJob {
   public:
    void Done(const absl::Status&) override { free.store(true, std::memory_order_release); }
    std::atomic<bool> free{true};
  };
  const auto batcher = Start(0, 0, kMaxDelayUs);
  std::vector<Counted> requests(128);
  const double cpu_s = ProcessCpuSeconds(), mine_s = ThreadCpuSeconds();
  const int64_t begin_us = NowUs();
  const int64_t end_us = begin_us + static_cast<int64_t>(seconds * 1e6);
  uint64_t done = 0;
  for (; (done & 63) != 0 || NowUs() < end_us; ++done) {
    Counted& request = requests[done % requests.size()];
    while (!request.free.load(std::memory_order_acquire)) std::this_thread::yield();
    request.free.store(false, std::memory_order_relaxed);
    request.source = static_cast<uint32_t>(done % 16);
    if (!batcher->Submit(&request).ok()) return;
  }
  batcher->Stop(/*discard=*/false);
  const double per = 1e6 / static_cast<double>(done);
  std::printf(
      "%15s  %8.2f us CPU a request, of it %.2f us of who submits  %8.2f us wall a request\n",
      "one way", (ProcessCpuSeconds() - cpu_s) * per, (ThreadCpuSeconds() - mine_s) * per,
      static_cast<double>(NowUs() - begin_us) / static_cast<double>(done));
}

int Main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::atof(argv[1]) : 2;
  std::printf("$ %s %g\n", argv[0], seconds);
  std::printf(
      "a device of %.1f ms a call and %.1f ms a job, one call at a time; batches of at most %d, "
      "delay at most %.0f ms\n",
      kCallUs * 1e-3, kJobUs * 1e-3, kMaxBatch, kMaxDelayUs * 1e-3);
  PrintHead();
  for (const int clients : {1, 2, 8, 32, 64}) {
    ClosedLoop(clients, seconds, kMaxDelayUs);
    ClosedLoop(clients, seconds, 0);
  }
  for (const int per_s : {50, 400, 2000, 5000}) {
    OpenLoop(per_s, seconds, kMaxDelayUs);
    OpenLoop(per_s, seconds, 0);
  }
  std::printf("a device that takes no time\n");
  for (const int clients : {1, 8, 32, 64}) Overhead(clients, seconds);
  OneWay(seconds);
  return 0;
}

}  // namespace
}  // namespace sightline

int main(int argc, char** argv) { return sightline::Main(argc, argv); }
