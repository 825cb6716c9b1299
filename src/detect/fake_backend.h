// For tests: an inference backend whose "model" is a function from the input to the outputs.
#pragma once

#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "infer/backend.h"

namespace sightline {

struct FakeModelRun {
  std::span<const int64_t> input_shape;
  const float* input;
  std::vector<std::vector<float>>* outputs;  // sized already
};

struct FakeBackendOptions {
  std::vector<TensorInfo> inputs;
  std::vector<TensorInfo> outputs;  // a first dimension of -1 becomes the input's
  std::function<absl::Status(const FakeModelRun&)> run = [](const FakeModelRun&) {
    return absl::OkStatus();
  };
};

class FakeSession final : public InferenceSession {
 public:
  explicit FakeSession(const FakeBackendOptions& options) : options_(options) {
    values_.resize(options.outputs.size());
    for (const TensorInfo& o : options.outputs) views_.push_back({o.dtype, o.shape, nullptr});
  }
  std::span<const TensorInfo> inputs() const override { return options_.inputs; }
  std::span<const TensorInfo> outputs() const override { return options_.outputs; }
  absl::StatusOr<void*> InputBuffer(size_t, std::span<const int64_t> shape) override {
    const std::vector<int64_t>& declared = options_.inputs[0].shape;
    for (size_t i = 0; i < shape.size(); ++i) {
      if (declared[i] != -1 && declared[i] != shape[i]) return InvalidArgument("wrong shape");
    }
    shape_.assign(shape.begin(), shape.end());
    const size_t elements =
        std::accumulate(shape.begin(), shape.end(), size_t{1}, std::multiplies<>());
    if (input_.size() < elements) input_.resize(elements, -1.0f);
    return static_cast<void*>(input_.data());
  }
  absl::StatusOr<std::span<const TensorView>> Run() override {
    for (size_t i = 0; i < views_.size(); ++i) {
      views_[i].shape = options_.outputs[i].shape;
      if (views_[i].shape[0] == -1) views_[i].shape[0] = shape_[0];
      values_[i].resize(views_[i].elements());
      views_[i].data = values_[i].data();
    }
    SL_RETURN_IF_ERROR(options_.run({shape_, input_.data(), &values_}));
    return std::span<const TensorView>(views_);
  }

 private:
  const FakeBackendOptions options_;
  std::vector<int64_t> shape_;
  std::vector<float> input_;
  std::vector<std::vector<float>> values_;
  std::vector<TensorView> views_;
};

class FakeBackend final : public InferenceBackend {
 public:
  explicit FakeBackend(FakeBackendOptions options) : options_(std::move(options)) {}
  std::string_view name() const override { return "fake"; }
  std::string version() const override { return "1"; }
  std::vector<std::string> providers() const override { return {"cpu"}; }
  absl::StatusOr<std::unique_ptr<InferenceSession>> Open(const SessionOptions& options) override {
    last = options;
    return std::make_unique<FakeSession>(options_);
  }
  SessionOptions last;

 private:
  const FakeBackendOptions options_;
};

}  // namespace sightline
