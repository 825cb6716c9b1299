// A backend for the tests of serving: y = 2 x over rows of two numbers, as slow and as faulty as it is
// told.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "infer/backend.h"

namespace sightline::serve {

// What its sessions do; shared by all of them.
struct TestModelState {
  static constexpr float kPoison = 666;  // an input that makes the run fail

  void Close() { Set(true); }
  void Open() { Set(false); }
  void WaitUntilOpen() {
    std::unique_lock lock(mutex);
    ++inside;
    changed.notify_all();
    changed.wait(lock, [this] { return !closed; });
    --inside;
  }
  // Until so many runs are held at the gate.
  void WaitForRuns(int runs) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return inside >= runs; });
  }

  std::mutex mutex;
  std::condition_variable changed;
  bool closed = false;
  int inside = 0;
  float factor = 2;
  std::vector<size_t> rows;  // of each run

 private:
  void Set(bool value) {
    const std::lock_guard lock(mutex);
    closed = value;
    changed.notify_all();
  }
};

class TestSession final : public InferenceSession {
 public:
  explicit TestSession(std::shared_ptr<TestModelState> state)
      : state_(std::move(state)), factor_(state_->factor) {}
  std::span<const TensorInfo> inputs() const override { return inputs_; }
  std::span<const TensorInfo> outputs() const override { return outputs_; }
  absl::StatusOr<void*> InputBuffer(size_t, std::span<const int64_t> shape) override {
    x_.resize(static_cast<size_t>(shape[0]) * 2);
    return static_cast<void*>(x_.data());
  }
  absl::StatusOr<std::span<const TensorView>> Run() override {
    state_->WaitUntilOpen();
    {
      const std::lock_guard lock(state_->mutex);
      state_->rows.push_back(x_.size() / 2);
    }
    y_.clear();
    for (const float x : x_) {
      if (x == TestModelState::kPoison) return Internal("poison");
      y_.push_back(factor_ * x);
    }
    view_.shape = {static_cast<int64_t>(x_.size() / 2), 2};
    view_.data = y_.data();
    return std::span<const TensorView>(&view_, 1);
  }

 private:
  const std::shared_ptr<TestModelState> state_;
  const float factor_;
  const std::vector<TensorInfo> inputs_ = {{"x", DataType::kFloat32, {-1, 2}}};
  const std::vector<TensorInfo> outputs_ = {{"y", DataType::kFloat32, {-1, 2}}};
  std::vector<float> x_, y_;
  TensorView view_;
};

class TestBackend final : public InferenceBackend {
 public:
  explicit TestBackend(std::shared_ptr<TestModelState> state) : state_(std::move(state)) {}
  std::string_view name() const override { return "test"; }
  std::string version() const override { return "1"; }
  std::vector<std::string> providers() const override { return {"cpu"}; }
  absl::StatusOr<std::unique_ptr<InferenceSession>> Open(const SessionOptions&) override {
    if (fails_) return InvalidArgument("this model is broken");
    return std::make_unique<TestSession>(state_);
  }
  void FailFromNowOn() { fails_ = true; }

 private:
  const std::shared_ptr<TestModelState> state_;
  bool fails_ = false;
};

}  // namespace sightline::serve
