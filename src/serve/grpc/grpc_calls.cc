#include <chrono>
#include <string>

#include "base/check.h"
#include "base/thread.h"
#include "base/time.h"
#include "serve/grpc/grpc_calls_internal.h"

namespace sightline::serve {
namespace {

// How long an answer may wait to be read; as over HTTP.
constexpr int64_t kLongestWriteUs = 30'000'000;
// How soon calls that are over are forgotten where nothing else happens; chosen.
constexpr std::chrono::milliseconds kLookAtEndings(100);
constexpr std::chrono::seconds kLookAtReaders(5);

}  // namespace

absl::Status CallQueues::Start(int threads) {
  for (int i = 0; i < threads; ++i) {
    SL_ASSIGN_OR_RETURN(threads_.emplace_back(),
                        StartThread("grpc-" + std::to_string(i), [this] { Work(); }));
  }
  return absl::OkStatus();
}

void CallQueues::Stop() {
  {
    const MutexLock lock(mutex_);
    if (std::exchange(stopped_, true)) return;
    while (calls_ > 0) none_left_.Wait(mutex_);
  }
  arrivals_->Shutdown();
  endings_.Shutdown();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
  // A queue must be empty when it goes. Without threads nobody else has looked.
  void* tag = nullptr;
  bool ok = false;
  while (arrivals_->Next(&tag, &ok)) static_cast<AsyncCall::Tag*>(tag)->Come(ok);
  while (endings_.Next(&tag, &ok)) static_cast<AsyncCall::Tag*>(tag)->Come(ok);
}

void CallQueues::Work() {
  auto look_at_readers = std::chrono::steady_clock::now() + kLookAtReaders;
  while (true) {
    void* tag = nullptr;
    bool ok = false;
    const bool soon = unary_calls_.load(std::memory_order_relaxed) > 0;
    const auto until = std::chrono::system_clock::now() +
                       (soon ? std::chrono::system_clock::duration(kLookAtEndings)
                             : std::chrono::system_clock::duration(kLookAtReaders));
    const auto next = arrivals_->AsyncNext(&tag, &ok, until);
    if (next == grpc::CompletionQueue::SHUTDOWN) return;
    if (next == grpc::CompletionQueue::GOT_EVENT) static_cast<AsyncCall::Tag*>(tag)->Come(ok);
    if (soon) TakeEndings();
    const auto now = std::chrono::steady_clock::now();
    if (now < look_at_readers) continue;
    look_at_readers = now + kLookAtReaders;
    CancelSlowReaders(Clock::Real().NowMonotonicUs());
  }
}

void CallQueues::TakeEndings() {
  void* tag = nullptr;
  bool ok = false;
  while (endings_.AsyncNext(&tag, &ok, gpr_time_0(GPR_CLOCK_MONOTONIC)) ==
         grpc::CompletionQueue::GOT_EVENT) {
    static_cast<AsyncCall::Tag*>(tag)->Come(ok);
  }
}

void CallQueues::Entered() {
  const MutexLock lock(mutex_);
  ++calls_;
}

void CallQueues::Left() {
  const MutexLock lock(mutex_);
  if (--calls_ == 0) none_left_.NotifyAll();
}

void CallQueues::WriteBegan(AsyncCall& call) {
  const int64_t now_us = Clock::Real().NowMonotonicUs();
  const MutexLock lock(mutex_);
  if (call.writes_++ > 0) return;
  call.writes_since_us_ = now_us;
  call.writer_before_ = last_writer_;
  call.writer_after_ = nullptr;
  (last_writer_ == nullptr ? first_writer_ : last_writer_->writer_after_) = &call;
  last_writer_ = &call;
}

void CallQueues::WriteEnded(AsyncCall& call) {
  const MutexLock lock(mutex_);
  if (--call.writes_ > 0) return;
  (call.writer_before_ == nullptr ? first_writer_ : call.writer_before_->writer_after_) =
      call.writer_after_;
  (call.writer_after_ == nullptr ? last_writer_ : call.writer_after_->writer_before_) =
      call.writer_before_;
}

void CallQueues::CancelSlowReaders(int64_t now_us) {
  const MutexLock lock(mutex_);
  for (AsyncCall* call = first_writer_; call != nullptr; call = call->writer_after_) {
    if (now_us - call->writes_since_us_ < kLongestWriteUs) return;
    call->context_.TryCancel();  // tells of it by the queues alone
  }
}

AsyncCall::AsyncCall(CallQueues& queues, MethodBound& bound, bool is_unary)
    : present_(queues), queues_(queues), bound_(bound), is_unary_(is_unary) {}

AsyncCall::Tag* AsyncCall::BeginAccept() {
  context_.AsyncNotifyWhenDone(&done_);
  under_way_.store(1, std::memory_order_relaxed);
  return &accept_;
}

AsyncCall::Tag* AsyncCall::BeginRead() {
  under_way_.fetch_add(1, std::memory_order_relaxed);
  return &read_;
}

AsyncCall::Tag* AsyncCall::BeginWrite() {
  under_way_.fetch_add(1, std::memory_order_relaxed);
  queues_.WriteBegan(*this);
  return &write_;
}

AsyncCall::Tag* AsyncCall::BeginFinish() {
  queues_.WriteBegan(*this);  // under way since the call was accepted
  return &finish_;
}

void AsyncCall::Come(Tag::Kind kind, bool ok) {
  switch (kind) {
    case Tag::Kind::kAccept:
      if (!ok) break;  // the server is ending and nobody came: nothing else was begun
      accepted_ = true;
      under_way_.fetch_add(2, std::memory_order_relaxed);  // that it is finished, and done
      if (is_unary_) queues_.unary_calls_.fetch_add(1, std::memory_order_relaxed);
      OnAccepted(!bound_.Enter());
      break;
    case Tag::Kind::kRead:
      OnReadDone(ok);
      break;
    case Tag::Kind::kWrite:
      queues_.WriteEnded(*this);
      OnWriteDone(ok);
      break;
    case Tag::Kind::kFinish:
      queues_.WriteEnded(*this);
      break;
    case Tag::Kind::kDone:
      if (!context_.IsCancelled()) break;
      cancelled_.store(true, std::memory_order_release);
      OnCancel();
      break;
  }
  if (under_way_.fetch_sub(1, std::memory_order_acq_rel) > 1) return;
  if (accepted_) {
    bound_.Leave();
    if (is_unary_) queues_.unary_calls_.fetch_sub(1, std::memory_order_relaxed);
  }
  OnDone();
}

}  // namespace sightline::serve
