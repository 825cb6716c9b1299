#include <deque>
#include <memory>
#include <utility>

#include "base/mutex.h"
#include "serve/grpc/grpc_messages_internal.h"
#include "serve/grpc/grpc_server.h"
#include "serve/grpc/grpc_service_internal.h"

namespace sightline::serve {
namespace {

using ::inference::ModelInferRequest;
using ::inference::ModelStreamInferResponse;

// One stream: reads on while fewer than kMostInStream requests are under way, and writes the answers in
// the order of the requests, one at a time.
//
// Lives until OnDone(), which comes after Finish(), which comes when everything was answered. Every
// request under way holds it, too.
class InferStream final
    : public grpc::ServerBidiReactor<ModelInferRequest, ModelStreamInferResponse> {
 public:
  explicit InferStream(InferenceService& service) : service_(service) {}

  void Begin(std::shared_ptr<InferStream> self) {
    self_ = std::move(self);
    ReadNext();
  }

  void OnReadDone(bool ok) override {
    std::shared_ptr<Slot> slot;
    {
      const MutexLock lock(mutex_);
      slot = std::exchange(reading_, nullptr);
      if (ok) {
        slots_.push_back(slot);
      } else {
        no_more_ = true;
      }
    }
    if (ok) Ask(slot);
    GoOn();
  }

  void OnWriteDone(bool ok) override {
    {
      const MutexLock lock(mutex_);
      writing_ = nullptr;
      if (!ok) broken_ = true;
    }
    GoOn();
  }

  void OnCancel() override {
    {
      const MutexLock lock(mutex_);
      broken_ = true;
    }
    GoOn();
  }

  void OnDone() override { self_.reset(); }

 private:
  struct Slot {
    ModelInferRequest request;
    ModelStreamInferResponse response;
    bool answered = false;
  };

  void ReadNext() {
    Slot* to = nullptr;
    {
      const MutexLock lock(mutex_);
      if (no_more_ || broken_ || reading_ != nullptr ||
          slots_.size() >= GrpcServer::kMostInStream) {
        return;
      }
      reading_ = std::make_shared<Slot>();
      to = reading_.get();
    }
    StartRead(&to->request);
  }

  void Ask(const std::shared_ptr<Slot>& slot) {
    const auto at = slot->request.parameters().find("triton_enable_empty_final_response");
    const bool wants_final = at != slot->request.parameters().end() && at->second.bool_param();
    const auto answer = [self = self_, slot, wants_final](absl::StatusOr<InferResponse>&& result) {
      auto& response = *slot->response.mutable_infer_response();
      if (result.ok()) {
        WriteResponse(*std::move(result), response);
      } else {
        slot->response.set_error_message(std::string(MessageOf(result.status())));
        response.set_id(slot->request.id());
        response.set_model_name(slot->request.model_name());
      }
      // Each request has one answer, which is the last one.
      if (wants_final) {
        (*response.mutable_parameters())["triton_final_response"].set_bool_param(true);
      }
      {
        const MutexLock lock(self->mutex_);
        slot->answered = true;
      }
      self->GoOn();
    };
    auto read = ReadRequest(slot->request, service_.shared_memory());
    if (!read.ok()) return answer(read.status());
    service_.Infer(*std::move(read), answer);
  }

  // Whatever can be done next: write, read, or end.
  void GoOn() {
    const ModelStreamInferResponse* to_write = nullptr;
    bool finish = false;
    {
      const MutexLock lock(mutex_);
      while (broken_ && !slots_.empty() && slots_.front()->answered) slots_.pop_front();
      if (!broken_ && writing_ == nullptr && !slots_.empty() && slots_.front()->answered) {
        writing_ = std::move(slots_.front());
        slots_.pop_front();
        to_write = &writing_->response;
      }
      finish = (no_more_ || broken_) && reading_ == nullptr && writing_ == nullptr &&
               slots_.empty() && !finishing_;
      finishing_ |= finish;
    }
    if (to_write != nullptr) StartWrite(to_write);
    if (finish) return Finish(grpc::Status::OK);
    ReadNext();
  }

  InferenceService& service_;
  std::shared_ptr<InferStream> self_;
  Mutex mutex_;
  std::shared_ptr<Slot> reading_ GUARDED_BY(mutex_);
  std::shared_ptr<Slot> writing_ GUARDED_BY(mutex_);
  std::deque<std::shared_ptr<Slot>> slots_ GUARDED_BY(mutex_);  // in the order of the requests
  bool no_more_ GUARDED_BY(mutex_) = false;                     // the client has said all
  bool broken_ GUARDED_BY(mutex_) = false;                      // nobody listens any more
  bool finishing_ GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerBidiReactor<ModelInferRequest, ModelStreamInferResponse>* NewInferStream(
    InferenceService& service) {
  auto stream = std::make_shared<InferStream>(service);
  InferStream* const raw = stream.get();
  raw->Begin(std::move(stream));
  return raw;
}

}  // namespace sightline::serve
