// What the tests of the batcher have in common: jobs that count, runners that remember, and a batcher
// that is held up until its test lets it go.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/check.h"
#include "infer/batcher.h"

namespace sightline::batcher_test {

// Counts how often Done() was called and with what.
class TestJob : public BatchJob {
 public:
  explicit TestJob(uint32_t from = 0, int number = 0) : number(number) { source = from; }
  void Done(const absl::Status& status) override {
    code = status.code();
    ++done;
  }
  std::atomic<int> done{0};
  std::atomic<absl::StatusCode> code{absl::StatusCode::kUnknown};
  int number;
};

// Opens once; threads wait for it.
class Gate {
 public:
  void Open() {
    std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void Wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

struct Seen {
  std::mutex mutex;
  std::vector<std::vector<std::pair<uint32_t, int>>> batches;  // source, number
};

class RecordingRunner : public BatchRunner {
 public:
  RecordingRunner(int max_batch, Seen* seen, Gate* started = nullptr, Gate* go = nullptr)
      : max_batch_(max_batch), seen_(seen), started_(started), go_(go) {}
  int max_batch() const override { return max_batch_; }
  void Run(std::span<BatchJob* const> batch, std::span<absl::Status>) override {
    if (started_ != nullptr) started_->Open();
    if (go_ != nullptr) go_->Wait();
    {
      std::lock_guard lock(seen_->mutex);
      auto& record = seen_->batches.emplace_back();
      for (BatchJob* job : batch) {
        record.emplace_back(job->source, static_cast<TestJob*>(job)->number);
      }
    }
  }

 private:
  const int max_batch_;
  Seen* const seen_;
  Gate* const started_;
  Gate* const go_;
};

inline std::vector<std::unique_ptr<BatchRunner>> One(std::unique_ptr<BatchRunner> runner) {
  std::vector<std::unique_ptr<BatchRunner>> runners;
  runners.push_back(std::move(runner));
  return runners;
}

inline std::unique_ptr<Batcher> Started(const BatcherOptions& options,
                                        std::vector<std::unique_ptr<BatchRunner>> runners) {
  auto batcher = Batcher::Create(options, std::move(runners));
  SL_CHECK(batcher.ok(), "{}", MessageOf(batcher.status()));
  return *std::move(batcher);
}

// A batcher whose only runner is held up on a first job, so that a test decides what waits behind.
class HeldBatcher {
 public:
  explicit HeldBatcher(BatcherOptions options) {
    batcher = Started(options, One(std::make_unique<RecordingRunner>(64, &seen, &started_, &go_)));
    EXPECT_TRUE(batcher->Submit(&first_).ok());
    started_.Wait();
  }
  ~HeldBatcher() {
    go_.Open();
    batcher.reset();
  }
  void Submit(uint32_t source, int number, int priority = 0) {
    jobs_.emplace_back(source, number).priority = priority;
    ASSERT_TRUE(batcher->TrySubmit(&jobs_.back()).ok());
  }
  void LetGo() { go_.Open(); }
  // The batches behind the first.
  std::vector<std::vector<std::pair<uint32_t, int>>> Finish() {
    go_.Open();
    batcher->Stop(/*discard=*/false);
    for (const TestJob& job : jobs_) EXPECT_EQ(job.done, 1);
    return {seen.batches.begin() + 1, seen.batches.end()};
  }
  Seen seen;
  std::unique_ptr<Batcher> batcher;

 private:
  Gate started_;
  Gate go_;
  TestJob first_{1000, -1};
  std::deque<TestJob> jobs_;
};

using P = std::pair<uint32_t, int>;  // source, number

}  // namespace sightline::batcher_test
