#include "serve/grpc/grpc_health_internal.h"

#include <optional>
#include <utility>

namespace sightline::serve {
namespace {

constexpr int kMostChecks = 256;   // at once; chosen
constexpr int kMostWatches = 256;  // chosen

}  // namespace

// One who watches: is told the state, and again when it has changed since.
class HealthWatch final : public AsyncCall {
 public:
  using Request = GrpcHealth::Request;
  using Response = GrpcHealth::Response;

  explicit HealthWatch(GrpcHealth& health)
      : AsyncCall(*health.queues_, *health.watch_bound_), health_(health) {}

  static void AcceptNext(GrpcHealth& health) {
    const auto watch = std::make_shared<HealthWatch>(health);
    watch->self_ = watch;
    auto* const queue = health.queues_->arrivals();
    health.methods_.RequestWatch(&watch->context(), &watch->request_, &watch->writer_, queue, queue,
                                 watch->BeginAccept());
  }

  // What there is to tell by now, one thing at a time.
  void GoOn() {
    bool finish = false;
    {
      const MutexLock lock(mutex_);
      if (writing_ || finished_) return;
      bool ending = false;
      const Response::ServingStatus status = health_.StatusOf(request_.service(), ending);
      finish = broken_ || (told_ == status && ending);
      if (!finish && told_ == status) return;
      finished_ = finish;
      writing_ = !finish;
      told_ = status;
      response_.set_status(status);
    }
    if (!finish) return writer_.Write(response_, BeginWrite());
    writer_.Finish({grpc::StatusCode::UNAVAILABLE, "the server is ending"}, BeginFinish());
  }

 private:
  void OnAccepted(bool too_many) override {
    AcceptNext(health_);
    if (too_many) {
      {
        const MutexLock lock(mutex_);
        finished_ = true;
      }
      return writer_.Finish(TooManyCalls(), BeginFinish());
    }
    {
      const MutexLock lock(health_.mutex_);
      health_.watches_.insert(self_);
    }
    GoOn();
  }
  void OnWriteDone(bool ok) override {
    {
      const MutexLock lock(mutex_);
      writing_ = false;
      broken_ |= !ok;
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
    {
      const MutexLock lock(health_.mutex_);
      health_.watches_.erase(self_);
    }
    self_.reset();
  }

  GrpcHealth& health_;
  Request request_;
  Response response_;  // while it is written
  grpc::ServerAsyncWriter<Response> writer_{&context()};
  std::shared_ptr<HealthWatch> self_;  // until OnDone()
  Mutex mutex_;
  std::optional<Response::ServingStatus> told_ GUARDED_BY(mutex_);
  bool writing_ GUARDED_BY(mutex_) = false;
  bool broken_ GUARDED_BY(mutex_) = false;  // nobody listens any more
  bool finished_ GUARDED_BY(mutex_) = false;
};

void GrpcHealth::TakeCalls(CallQueues& queues) {
  queues_ = &queues;
  check_ = std::make_unique<CheckCall::Method>(
      queues, kMostChecks, [this](auto... places) { methods_.RequestCheck(places...); },
      [this](CheckCall& call, bool too_many) {
        too_many ? call.Finish(TooManyCalls()) : Check(call);
      });
  CheckCall::AcceptNext(*check_);
  watch_bound_ = std::make_unique<MethodBound>(kMostWatches);
  HealthWatch::AcceptNext(*this);
}

void GrpcHealth::Check(CheckCall& call) {
  bool ending = false;
  const Response::ServingStatus status = StatusOf(call.request().service(), ending);
  if (status == Response::SERVICE_UNKNOWN) {
    return call.Finish({grpc::StatusCode::NOT_FOUND, "service name unknown"});
  }
  call.response().set_status(status);
  call.Finish(grpc::Status::OK);
}

GrpcHealth::Response::ServingStatus GrpcHealth::StatusOf(const std::string& service, bool& ending) {
  const MutexLock lock(mutex_);
  ending = ending_;
  if (!service.empty()) return Response::SERVICE_UNKNOWN;
  return serving_ ? Response::SERVING : Response::NOT_SERVING;
}

void GrpcHealth::SetServing(bool serving) {
  std::set<std::shared_ptr<HealthWatch>> watches;
  {
    const MutexLock lock(mutex_);
    serving_ = serving;
    watches = watches_;
  }
  for (const auto& watch : watches) watch->GoOn();
}

void GrpcHealth::EndWatches() {
  std::set<std::shared_ptr<HealthWatch>> watches;
  {
    const MutexLock lock(mutex_);
    ending_ = true;
    watches = watches_;
  }
  for (const auto& watch : watches) watch->GoOn();
}

}  // namespace sightline::serve
