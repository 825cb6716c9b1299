#include "cli/calibrate/observed_backend.h"

#include <utility>

namespace sightline::cli {
namespace {

class ObservedSession final : public InferenceSession {
 public:
  ObservedSession(std::unique_ptr<InferenceSession> session, const InputObserver& observer)
      : session_(std::move(session)), observer_(observer) {
    given_.assign(session_->inputs().begin(), session_->inputs().end());
    bytes_.resize(given_.size());
  }

  std::span<const TensorInfo> inputs() const override { return session_->inputs(); }
  std::span<const TensorInfo> outputs() const override { return session_->outputs(); }

  absl::StatusOr<void*> InputBuffer(size_t index, std::span<const int64_t> shape) override {
    SL_ASSIGN_OR_RETURN(void* const data, session_->InputBuffer(index, shape));
    size_t size = SizeOf(given_[index].dtype);
    for (const int64_t side : shape) size *= static_cast<size_t>(side);
    given_[index].shape.assign(shape.begin(), shape.end());
    bytes_[index] = {static_cast<const uint8_t*>(data), size};
    return data;
  }

  absl::StatusOr<std::span<const TensorView>> Run() override {
    SL_RETURN_IF_ERROR(observer_(given_, bytes_));
    return session_->Run();
  }

 private:
  const std::unique_ptr<InferenceSession> session_;
  const InputObserver& observer_;
  std::vector<TensorInfo> given_;
  std::vector<std::span<const uint8_t>> bytes_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<InferenceSession>> ObservedBackend::Open(
    const SessionOptions& options) {
  SL_ASSIGN_OR_RETURN(std::unique_ptr<InferenceSession> session, backend_.Open(options));
  return std::make_unique<ObservedSession>(std::move(session), observer_);
}

}  // namespace sightline::cli
