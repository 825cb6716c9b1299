// Calls by the asynchronous interface of the gRPC library: the queues that tell of them, the threads that wait at these,
// and the objects that calls are. Internal to serve/grpc.
//
// Why not the library's callbacks, and no synchronous service either: each brings threads that all take turns at waiting
// for the sockets, and every request makes them hand that on to each other. Here whoever waits also reads, and
// hands the request to the model; the model's thread writes the answer.
//
// Threads: those of CallQueues, and whoever answers.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"

namespace sightline::serve {

class AsyncCall;

// Two queues of completions. At one, `arrivals`, the threads wait: new calls, and what streams have read and written.
// That a unary call is over or its client has left says the other, `endings`, for which nobody is woken: it is looked at
// after whatever arrives, and ten times a second while there are calls.
class CallQueues {
 public:
  // Of a server that is about to be built.
  explicit CallQueues(grpc::ServerBuilder& builder) : arrivals_(builder.AddCompletionQueue()) {}
  ~CallQueues() { Stop(); }

  // ResourceExhausted when the system gives too few threads; then Stop().
  absl::Status Start(int threads);
  // Once the server was shut down: waits until every call is over, and for the threads. Idempotent.
  void Stop() EXCLUDES(mutex_);

  grpc::ServerCompletionQueue* arrivals() { return arrivals_.get(); }
  grpc::CompletionQueue* endings() { return &endings_; }

 private:
  friend class AsyncCall;

  void Work();
  void TakeEndings();
  void Entered() EXCLUDES(mutex_);
  void Left() EXCLUDES(mutex_);
  // The client is to take an answer from now on; or it has.
  void WriteBegan(AsyncCall& call) EXCLUDES(mutex_);
  void WriteEnded(AsyncCall& call) EXCLUDES(mutex_);
  void CancelSlowReaders(int64_t now_us) EXCLUDES(mutex_);

  const std::unique_ptr<grpc::ServerCompletionQueue> arrivals_;
  grpc::CompletionQueue endings_;
  std::vector<std::thread> threads_;
  std::atomic<int> unary_calls_{0};  // that were accepted and are not over
  Mutex mutex_;
  CondVar none_left_;
  int calls_ GUARDED_BY(mutex_) = 0;  // those that wait for a client, too
  bool stopped_ GUARDED_BY(mutex_) = false;
  // Calls that write, since longest first.
  AsyncCall* first_writer_ GUARDED_BY(mutex_) = nullptr;
  AsyncCall* last_writer_ GUARDED_BY(mutex_) = nullptr;
};

// How many calls of one method are in work at once. Those that are refused count until they have been told.
class MethodBound {
 public:
  explicit MethodBound(int most) : most_(most) {}
  // Whether it is not one too many.
  bool Enter() { return in_work_.fetch_add(1, std::memory_order_relaxed) < most_; }
  void Leave() { in_work_.fetch_sub(1, std::memory_order_relaxed); }

 private:
  const int most_;
  std::atomic<int> in_work_{0};
};

// One call, from waiting for a client to its end: when all that it has begun is over, BeginFinish() among it, or when no
// client came until the server ended. Reads are one at a time, and so are writes.
class AsyncCall {
 public:
  AsyncCall(const AsyncCall&) = delete;
  AsyncCall& operator=(const AsyncCall&) = delete;

  grpc::ServerContext& context() { return context_; }
  // Whether the client is known to have left or its deadline to have passed: of a unary call within a tenth of a second.
  // Any thread.
  bool IsCancelled() const { return cancelled_.load(std::memory_order_acquire); }

  // Of the library's queues, by the name of what is over.
  class Tag {
   public:
    enum class Kind { kAccept, kRead, kWrite, kFinish, kDone };
    Tag(AsyncCall* call, Kind kind) : call_(call), kind_(kind) {}
    void Come(bool ok) { call_->Come(kind_, ok); }

   private:
    AsyncCall* const call_;
    const Kind kind_;
  };

 protected:
  // is_unary: its end is told by `endings`.
  AsyncCall(CallQueues& queues, MethodBound& bound, bool is_unary = false);
  virtual ~AsyncCall() = default;

  // What is begun with the tag is given to the library at once.
  Tag* BeginAccept();
  Tag* BeginRead();
  Tag* BeginWrite();
  Tag* BeginFinish();  // once
  CallQueues& queues() { return queues_; }

  // There is a client. Asks for the next one, too. With `too_many` the call is to be refused.
  virtual void OnAccepted(bool too_many) = 0;
  virtual void OnReadDone(bool /*ok*/) {}
  virtual void OnWriteDone(bool /*ok*/) {}
  virtual void OnCancel() {}
  virtual void OnDone() = 0;  // it is over, and to be deleted

 private:
  friend class CallQueues;

  // The queues wait for it as long as there is anything of the call.
  class Present {
   public:
    explicit Present(CallQueues& queues) : queues_(queues) { queues.Entered(); }
    Present(const Present&) = delete;
    Present& operator=(const Present&) = delete;
    ~Present() { queues_.Left(); }

   private:
    CallQueues& queues_;
  };

  void Come(Tag::Kind kind, bool ok);

  const Present present_;  // the first one, and so the last to go
  CallQueues& queues_;
  MethodBound& bound_;
  grpc::ServerContext context_;
  Tag accept_{this, Tag::Kind::kAccept}, read_{this, Tag::Kind::kRead},
      write_{this, Tag::Kind::kWrite}, finish_{this, Tag::Kind::kFinish},
      done_{this, Tag::Kind::kDone};
  std::atomic<int> under_way_{0};
  std::atomic<bool> cancelled_{false};
  const bool is_unary_;
  bool accepted_ = false;
  // Of CallQueues, under its lock.
  int writes_ = 0;
  int64_t writes_since_us_ = 0;
  AsyncCall* writer_before_ = nullptr;
  AsyncCall* writer_after_ = nullptr;
};

// What is said to calls beyond the bound of their method.
inline grpc::Status TooManyCalls() {
  return {grpc::StatusCode::UNAVAILABLE, "too many calls of this method at once; try again later"};
}

// One request, one answer.
template <typename Request, typename Response>
class UnaryCall final : public AsyncCall {
 public:
  using Writer = grpc::ServerAsyncResponseWriter<Response>;
  // Asks the library for the next call.
  using Accept = std::function<void(grpc::ServerContext*, Request*, Writer*, grpc::CompletionQueue*,
                                    grpc::ServerCompletionQueue*, void*)>;
  // Finish()es the call, once, on whatever thread; with `too_many` by refusing it.
  using Handle = std::function<void(UnaryCall&, bool too_many)>;
  struct Method {
    Method(CallQueues& its_queues, int most, Accept its_accept, Handle its_handle)
        : queues(its_queues),
          bound(most),
          accept(std::move(its_accept)),
          handle(std::move(its_handle)) {}
    CallQueues& queues;
    MethodBound bound;
    const Accept accept;
    const Handle handle;
  };

  // Waits for a client. `method` outlives all calls.
  static void AcceptNext(Method& method) {
    auto* const call = new UnaryCall(method);
    method.accept(&call->context(), &call->request_, &call->writer_, method.queues.endings(),
                  method.queues.arrivals(), call->BeginAccept());
  }

  const Request& request() const { return request_; }
  Response& response() { return response_; }
  // Kept until the answer was written.
  void Keep(std::shared_ptr<const void> kept) { kept_.push_back(std::move(kept)); }
  // Nothing of the call is used afterwards.
  void Finish(const grpc::Status& status) { writer_.Finish(response_, status, BeginFinish()); }

 private:
  explicit UnaryCall(Method& method)
      : AsyncCall(method.queues, method.bound, /*is_unary=*/true), method_(method) {}

  void OnAccepted(bool too_many) override {
    method_.handle(*this, too_many);  // first: the model works meanwhile
    AcceptNext(method_);
  }
  void OnDone() override { delete this; }

  Method& method_;
  Request request_;
  Response response_;
  Writer writer_{&context()};
  std::vector<std::shared_ptr<const void>> kept_;
};

}  // namespace sightline::serve
