// A backend for the tests of serving: y = 2 x over rows of two numbers, as slow and as faulty as it is
// told.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "infer/backend.h"

namespace sightline::serve {

// What its sessions do; shared by all of them.
struct TestModelState {
  static constexpr float kPoison = 666;    // an input that makes the run fail
  static constexpr float kNoMemory = 667;  // an input for whose run there is no memory

  void Close() { Set(true); }
  void Open() { Set(false); }
  void WaitUntilOpen() {
    std::unique_lock lock(mutex);
    ++inside;
    changed.notify_all();
    changed.wait(lock, [this] { return !closed; });
    --inside;
  }
  // The same for sessions that are being opened.
  void CloseDoor() {
    const std::lock_guard lock(mutex);
    door_closed = true;
  }
  void OpenDoor() {
    const std::lock_guard lock(mutex);
    door_closed = false;
    changed.notify_all();
  }
  void WaitAtDoor() {
    std::unique_lock lock(mutex);
    ++at_door;
    changed.notify_all();
    changed.wait(lock, [this] { return !door_closed; });
    --at_door;
  }
  void WaitForOpening() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return at_door > 0; });
  }
  // Until so many runs are held at the gate.
  void WaitForRuns(int runs) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return inside >= runs; });
  }

  std::mutex mutex;
  std::condition_variable changed;
  bool closed = false;
  bool door_closed = false;
  int at_door = 0;
  int inside = 0;
  float factor = 2;
  bool strings = false;         // x is of strings, of which y has the lengths
  bool rows_mixed = false;      // y holds the sum of all rows instead
  bool lends = false;           // x may lie in the caller's memory
  size_t lent_rows = 0;         // of all runs whose x did
  std::vector<size_t> rows;     // of each run
  std::vector<int> opened_for;  // the largest batch of each session

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
      : state_(std::move(state)),
        factor_(state_->factor),
        inputs_({{"x", state_->strings ? DataType::kString : DataType::kFloat32, {-1, 2}}}) {}
  std::span<const TensorInfo> inputs() const override { return inputs_; }
  std::span<const TensorInfo> outputs() const override { return outputs_; }
  absl::StatusOr<void*> InputBuffer(size_t, std::span<const int64_t> shape) override {
    lent_ = nullptr;
    x_.resize(static_cast<size_t>(shape[0]) * 2);
    return static_cast<void*>(x_.data());
  }
  absl::StatusOr<bool> LendInput(size_t, std::span<const int64_t> shape,
                                 const void* memory) override {
    if (!state_->lends) return false;
    lent_ = static_cast<const char*>(memory);
    x_.assign(static_cast<size_t>(shape[0]) * 2, 0);
    return true;
  }
  absl::StatusOr<std::span<std::string>> InputStrings(size_t,
                                                      std::span<const int64_t> shape) override {
    texts_.resize(static_cast<size_t>(shape[0]) * 2);
    return std::span<std::string>(texts_);
  }
  absl::StatusOr<std::span<const TensorView>> Run() override {
    state_->WaitUntilOpen();
    if (state_->strings) {
      x_.clear();
      for (const std::string& text : texts_) x_.push_back(static_cast<float>(text.size()));
    }
    // Not before: it is to hold until then.
    if (lent_ != nullptr) std::memcpy(x_.data(), lent_, x_.size() * sizeof(float));
    {
      const std::lock_guard lock(state_->mutex);
      state_->rows.push_back(x_.size() / 2);
      if (std::exchange(lent_, nullptr) != nullptr) state_->lent_rows += x_.size() / 2;
    }
    y_.clear();
    for (const float x : x_) {
      if (x == TestModelState::kPoison) return Internal("poison");
      if (x == TestModelState::kNoMemory) throw std::bad_alloc();
      y_.push_back(factor_ * x);
    }
    if (state_->rows_mixed) {
      const float sum = std::accumulate(y_.begin(), y_.end(), 0.0f);
      std::fill(y_.begin(), y_.end(), sum);
    }
    view_.shape = {static_cast<int64_t>(x_.size() / 2), 2};
    view_.data = y_.data();
    return std::span<const TensorView>(&view_, 1);
  }

 private:
  const std::shared_ptr<TestModelState> state_;
  const float factor_;
  const std::vector<TensorInfo> inputs_;
  const std::vector<TensorInfo> outputs_ = {{"y", DataType::kFloat32, {-1, 2}}};
  std::vector<std::string> texts_;
  std::vector<float> x_, y_;
  const char* lent_ = nullptr;
  TensorView view_;
};

class TestBackend final : public InferenceBackend {
 public:
  explicit TestBackend(std::shared_ptr<TestModelState> state) : state_(std::move(state)) {}
  std::string_view name() const override { return "test"; }
  std::string version() const override { return "1"; }
  std::vector<std::string> providers() const override { return {"cpu"}; }
  absl::StatusOr<std::unique_ptr<InferenceSession>> Open(const SessionOptions& options) override {
    if (fails_) return InvalidArgument("this model is broken");
    state_->WaitAtDoor();
    state_->opened_for.push_back(options.max_batch);
    return std::make_unique<TestSession>(state_);
  }
  void FailFromNowOn() { fails_ = true; }

 private:
  const std::shared_ptr<TestModelState> state_;
  bool fails_ = false;
};

}  // namespace sightline::serve
