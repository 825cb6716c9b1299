// The load over gRPC: ModelInfer with messages that are written once. The library wakes up by the
// millisecond: in open phases look at the times from sending.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "serve_load/load_run.h"

namespace sightline::load {
namespace {

constexpr int64_t kLastAnswersNs =
    5'000'000'000;  // how long the last answers are waited for; chosen

struct Call {
  std::unique_ptr<grpc::ClientContext> context;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> reader;
  grpc::ByteBuffer answer;
  grpc::Status status;
  int64_t arrival_ns = 0, sent_ns = 0;
  bool under_way = false;
};

class GrpcLoad {
 public:
  GrpcLoad(const LoadOptions& options, LoadRun& run) : options_(options), run_(run) {
    for (const std::string& body : options.bodies) {
      const grpc::Slice slice(body);
      bodies_.emplace_back(&slice, 1);
    }
    for (size_t i = 0; i < std::max<size_t>(1, options.channels); ++i) {
      grpc::ChannelArguments arguments;
      arguments.SetInt("grpc.channel_number", static_cast<int>(i));  // else they share a connection
      arguments.SetMaxReceiveMessageSize(-1);
      channels_.push_back(grpc::CreateCustomChannel(options.host + ":" + options.port,
                                                    grpc::InsecureChannelCredentials(), arguments));
      stubs_.push_back(std::make_unique<grpc::GenericStub>(channels_.back()));
    }
    calls_.resize(options.connections);
    for (Call& call : calls_) free_.push_back(&call);
  }

  ~GrpcLoad() {
    for (Call& call : calls_) {
      if (call.under_way) call.context->TryCancel();
    }
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }

  std::string Run() {
    for (const auto& channel : channels_) {
      if (!channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(5))) {
        return options_.host + ":" + options_.port + ": no gRPC server answers";
      }
      run_.Connected();
    }
    run_.Begin();
    while (true) {
      const int64_t now = NowNs();
      run_.Tell(now);
      if (now < run_.EndNs()) Send(now);
      if (now >= run_.EndNs() && free_.size() == calls_.size()) break;
      if (now >= run_.EndNs() + kLastAnswersNs) break;
      int64_t next = now < run_.EndNs() ? run_.NextEventNs() : run_.EndNs() + kLastAnswersNs;
      if (run_.NextArrivalNs()) next = std::min(next, *run_.NextArrivalNs());
      Wait(next);
    }
    for (const Call& call : calls_) {
      if (call.under_way) run_.NotAnswered(call.arrival_ns, LoadRun::Kind::kUnanswered);
    }
    for (const int64_t arrival_ns : waiting_) {
      run_.NotAnswered(arrival_ns, LoadRun::Kind::kGivenUp);
    }
    return "";
  }

 private:
  void Send(int64_t now) {
    const auto patience = static_cast<int64_t>(options_.patience_s * 1e9);
    while (run_.NextArrivalNs() && *run_.NextArrivalNs() <= now) {
      waiting_.push_back(*run_.NextArrivalNs());
      run_.TakeArrival();
    }
    while (!waiting_.empty() && waiting_.front() + patience < now) {
      run_.NotAnswered(waiting_.front(), LoadRun::Kind::kGivenUp);
      waiting_.pop_front();
    }
    while (!waiting_.empty() && !free_.empty()) {
      Begin(waiting_.front());
      waiting_.pop_front();
    }
    while (run_.Closed(now) && !free_.empty()) Begin(now);
  }

  void Begin(int64_t arrival_ns) {
    Call& call = *free_.back();
    free_.pop_back();
    call.arrival_ns = arrival_ns;
    call.sent_ns = NowNs();
    call.under_way = true;
    call.context = std::make_unique<grpc::ClientContext>();
    if (!options_.key.empty()) call.context->AddMetadata("authorization", "Bearer " + options_.key);
    call.reader = stubs_[next_ % stubs_.size()]->PrepareUnaryCall(
        call.context.get(), "/inference.GRPCInferenceService/ModelInfer",
        bodies_[next_ % bodies_.size()], &queue_);
    ++next_;
    call.reader->StartCall();
    call.reader->Finish(&call.answer, &call.status, &call);
  }

  // Until something was answered, or the time has come.
  void Wait(int64_t until_ns) {
    void* tag = nullptr;
    bool ok = false;
    const auto wait = std::chrono::nanoseconds(std::max<int64_t>(0, until_ns - NowNs()));
    const auto until = std::chrono::system_clock::now() +
                       std::chrono::duration_cast<std::chrono::system_clock::duration>(wait);
    if (queue_.AsyncNext(&tag, &ok, until) != grpc::CompletionQueue::GOT_EVENT) return;
    Call& call = *static_cast<Call*>(tag);
    const grpc::StatusCode code = call.status.error_code();
    const bool refused =
        code == grpc::StatusCode::UNAVAILABLE || code == grpc::StatusCode::RESOURCE_EXHAUSTED;
    const auto kind = call.status.ok() ? LoadRun::Kind::kAccepted
                      : refused        ? LoadRun::Kind::kRefused
                                       : LoadRun::Kind::kFailed;
    run_.Answered(call.arrival_ns, call.sent_ns, NowNs(), kind, code, call.answer.Length(), true);
    call.answer.Clear();
    call.reader.reset();
    call.context.reset();
    call.under_way = false;
    free_.push_back(&call);
  }

  const LoadOptions& options_;
  LoadRun& run_;
  grpc::CompletionQueue queue_;
  std::vector<grpc::ByteBuffer> bodies_;
  std::vector<std::shared_ptr<grpc::Channel>> channels_;
  std::vector<std::unique_ptr<grpc::GenericStub>> stubs_;
  std::vector<Call> calls_;
  std::vector<Call*> free_;
  std::deque<int64_t> waiting_;
  size_t next_ = 0;
};

}  // namespace

std::string RunGrpc(const LoadOptions& options, LoadRun& run) {
  return GrpcLoad(options, run).Run();
}

}  // namespace sightline::load
