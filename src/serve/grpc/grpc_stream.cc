#include <deque>
#include <memory>
#include <utility>

#include "base/mutex.h"
#include "serve/grpc/grpc_gate_internal.h"
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
  InferStream(grpc::CallbackServerContext* context, GrpcCalls& calls)
      : context_(context), calls_(calls) {}

  void Begin(std::shared_ptr<InferStream> self) {
    self_ = self;
    number_ = calls_.streams.Add([self = std::weak_ptr(self)] {
      if (const auto stream = self.lock()) stream->End();
    });
    ReadNext();
  }

  void OnReadDone(bool ok) override {
    std::shared_ptr<Slot> slot;
    {
      const MutexLock lock(mutex_);
      slot = std::exchange(reading_, nullptr);
      if (finishing_) return;  // the server is ending, and this one came too late
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

  void OnDone() override {
    calls_.streams.Remove(number_);
    self_.reset();
  }

  // Reads nothing more, and ends when all is answered.
  void End() {
    {
      const MutexLock lock(mutex_);
      ending_ = true;
    }
    GoOn();
  }

 private:
  struct Slot {
    ModelInferRequest request;
    ModelStreamInferResponse response;
    std::shared_ptr<const ByteRoom::Taken> room;
    bool answered = false;
  };

  void ReadNext() {
    Slot* to = nullptr;
    {
      const MutexLock lock(mutex_);
      if (no_more_ || broken_ || ending_ || reading_ != nullptr ||
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
    const auto call = std::make_shared<GrpcCall>(calls_.gate, GrpcCall::kModelStreamInfer);
    const auto answer = [self = self_, slot, wants_final,
                         call](absl::StatusOr<InferResponse>&& result) {
      auto& response = *slot->response.mutable_infer_response();
      const absl::Status status = result.status();
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
      if (call->is_recorded()) {
        call->Ended(GrpcStatusOf(status).error_code(), slot->request.ByteSizeLong(),
                    response.ByteSizeLong());
      }
      {
        const MutexLock lock(self->mutex_);
        slot->answered = true;
      }
      self->GoOn();
    };
    const auto refusal = call->Enter(*context_, slot->request.model_name(), RouteRole::kInfer,
                                     /*is_unary=*/false);
    if (refusal) {
      return answer(absl::Status(static_cast<absl::StatusCode>(refusal->error_code()),
                                 refusal->error_message()));
    }
    auto room = TakeRoomFor(slot->request, *calls_.room);
    if (!room.ok()) return answer(room.status());
    slot->room = *std::move(room);
    auto read = ReadRequest(slot->request, calls_.service.shared_memory());
    if (!read.ok()) return answer(read.status());
    call->Mark(*read);
    read->gone = [this] { return context_->IsCancelled(); };  // `answer` holds the stream
    calls_.service.Infer(*std::move(read), answer);
  }

  // Whatever can be done next: write, read, or end.
  void GoOn() {
    const ModelStreamInferResponse* to_write = nullptr;
    bool finish = false;
    grpc::Status status;
    {
      const MutexLock lock(mutex_);
      while (broken_ && !slots_.empty() && slots_.front()->answered) slots_.pop_front();
      if (!broken_ && writing_ == nullptr && !slots_.empty() && slots_.front()->answered) {
        writing_ = std::move(slots_.front());
        slots_.pop_front();
        to_write = &writing_->response;
      }
      // A read that is under way ends with the stream.
      const bool over = ending_ || ((no_more_ || broken_) && reading_ == nullptr);
      finish = over && writing_ == nullptr && slots_.empty() && !finishing_;
      finishing_ |= finish;
      if (finish && ending_ && !no_more_ && !broken_) {
        status = {grpc::StatusCode::UNAVAILABLE, "the server is ending"};
      }
    }
    if (to_write != nullptr) StartWrite(to_write);
    if (finish) return Finish(status);
    ReadNext();
  }

  grpc::CallbackServerContext* const context_;  // until OnDone()
  GrpcCalls& calls_;
  uint64_t number_ = 0;  // among the open streams
  std::shared_ptr<InferStream> self_;
  Mutex mutex_;
  std::shared_ptr<Slot> reading_ GUARDED_BY(mutex_);
  std::shared_ptr<Slot> writing_ GUARDED_BY(mutex_);
  std::deque<std::shared_ptr<Slot>> slots_ GUARDED_BY(mutex_);  // in the order of the requests
  bool no_more_ GUARDED_BY(mutex_) = false;                     // the client has said all
  bool broken_ GUARDED_BY(mutex_) = false;                      // nobody listens any more
  bool ending_ GUARDED_BY(mutex_) = false;                      // the server is
  bool finishing_ GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerBidiReactor<ModelInferRequest, ModelStreamInferResponse>* NewInferStream(
    grpc::CallbackServerContext* context, GrpcCalls& calls) {
  auto stream = std::make_shared<InferStream>(context, calls);
  InferStream* const raw = stream.get();
  raw->Begin(std::move(stream));
  return raw;
}

}  // namespace sightline::serve
