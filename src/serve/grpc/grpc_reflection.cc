#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <optional>
#include <set>
#include <vector>

#include "serve/grpc/grpc_reflection_internal.h"

namespace sightline::serve {
namespace {

using ::grpc::reflection::v1alpha::ServerReflectionRequest;
using ::grpc::reflection::v1alpha::ServerReflectionResponse;
namespace protobuf = ::google::protobuf;

constexpr int kMostStreams = 64;  // at once; chosen
constexpr const char* kServices[] = {"grpc.health.v1.Health",
                                     "grpc.reflection.v1alpha.ServerReflection",
                                     "inference.GRPCInferenceService"};

void Refuse(grpc::StatusCode code, const char* message, ServerReflectionResponse& response) {
  response.mutable_error_response()->set_error_code(code);
  response.mutable_error_response()->set_error_message(message);
}

// The file and all that it imports, each once.
void WriteFile(const protobuf::FileDescriptor* file, const char* if_there_is_none,
               ServerReflectionResponse& response) {
  if (file == nullptr) return Refuse(grpc::StatusCode::NOT_FOUND, if_there_is_none, response);
  std::set<const protobuf::FileDescriptor*> seen = {file};
  std::vector<const protobuf::FileDescriptor*> next = {file};
  while (!next.empty()) {
    const protobuf::FileDescriptor* const one = next.back();
    next.pop_back();
    protobuf::FileDescriptorProto proto;
    one->CopyTo(&proto);
    response.mutable_file_descriptor_response()->add_file_descriptor_proto(
        proto.SerializeAsString());
    for (int i = 0; i < one->dependency_count(); ++i) {
      if (seen.insert(one->dependency(i)).second) next.push_back(one->dependency(i));
    }
  }
}

void Answer(const ServerReflectionRequest& request, ServerReflectionResponse& response) {
  const protobuf::DescriptorPool& pool = *protobuf::DescriptorPool::generated_pool();
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  switch (request.message_request_case()) {
    case ServerReflectionRequest::kListServices:
      for (const char* const service : kServices) {
        response.mutable_list_services_response()->add_service()->set_name(service);
      }
      return;
    case ServerReflectionRequest::kFileByFilename:
      return WriteFile(pool.FindFileByName(request.file_by_filename()), "File not found.",
                       response);
    case ServerReflectionRequest::kFileContainingSymbol:
      return WriteFile(pool.FindFileContainingSymbol(request.file_containing_symbol()),
                       "Symbol not found.", response);
    case ServerReflectionRequest::kFileContainingExtension: {
      const auto& asked = request.file_containing_extension();
      const auto* const type = pool.FindMessageTypeByName(asked.containing_type());
      const auto* const field =
          type == nullptr ? nullptr : pool.FindExtensionByNumber(type, asked.extension_number());
      return WriteFile(field == nullptr ? nullptr : field->file(),
                       type == nullptr ? "Type not found." : "Extension not found.", response);
    }
    case ServerReflectionRequest::kAllExtensionNumbersOfType: {
      const std::string& name = request.all_extension_numbers_of_type();
      const auto* const type = pool.FindMessageTypeByName(name);
      if (type == nullptr) {
        return Refuse(grpc::StatusCode::NOT_FOUND, "Type not found.", response);
      }
      auto& numbers = *response.mutable_all_extension_numbers_response();
      numbers.set_base_type_name(name);
      std::vector<const protobuf::FieldDescriptor*> extensions;
      pool.FindAllExtensions(type, &extensions);
      for (const auto* const field : extensions) numbers.add_extension_number(field->number());
      return;
    }
    case ServerReflectionRequest::MESSAGE_REQUEST_NOT_SET:
      return Refuse(grpc::StatusCode::UNIMPLEMENTED, "", response);
  }
}

}  // namespace

// One client: a request is read when the one before it is answered.
class ReflectionStream final : public AsyncCall {
 public:
  explicit ReflectionStream(GrpcReflection& reflection)
      : AsyncCall(*reflection.queues_, *reflection.bound_), reflection_(reflection) {}

  static void AcceptNext(GrpcReflection& reflection) {
    const auto stream = std::make_shared<ReflectionStream>(reflection);
    stream->self_ = stream;
    auto* const queue = reflection.queues_->arrivals();
    reflection.methods_.RequestServerReflectionInfo(&stream->context(), &stream->stream_, queue,
                                                    queue, stream->BeginAccept());
  }

 private:
  void OnAccepted(bool too_many) override {
    AcceptNext(reflection_);
    if (too_many) return End(TooManyCalls());
    number_ = reflection_.streams_.Add([self = std::weak_ptr(self_)] {
      if (const auto stream = self.lock()) {
        stream->End({grpc::StatusCode::UNAVAILABLE, "the server is ending"});
      }
    });
    stream_.Read(&request_, BeginRead());
  }
  void OnReadDone(bool ok) override {
    if (!ok) return End(grpc::Status::OK);
    response_.Clear();
    Answer(request_, response_);
    {
      const MutexLock lock(mutex_);
      if (end_) return;
      writing_ = true;
    }
    stream_.Write(response_, BeginWrite());
  }
  void OnWriteDone(bool ok) override {
    std::optional<grpc::Status> end;
    {
      const MutexLock lock(mutex_);
      writing_ = false;
      if (!ok && !end_) end_ = grpc::Status::CANCELLED;
      end = end_;
    }
    if (end) return stream_.Finish(*end, BeginFinish());
    stream_.Read(&request_, BeginRead());  // also where it is being ended: then it fails
  }
  void OnCancel() override { End(grpc::Status::CANCELLED); }
  void OnDone() override {
    if (number_) reflection_.streams_.Remove(*number_);
    self_.reset();
  }

  // Now, or when what is being written was.
  void End(const grpc::Status& status) {
    {
      const MutexLock lock(mutex_);
      if (end_) return;
      end_ = status;
      if (writing_) return;
    }
    stream_.Finish(status, BeginFinish());
  }

  GrpcReflection& reflection_;
  grpc::ServerAsyncReaderWriter<ServerReflectionResponse, ServerReflectionRequest> stream_{
      &context()};
  ServerReflectionRequest request_;
  ServerReflectionResponse response_;
  std::shared_ptr<ReflectionStream> self_;  // until OnDone()
  std::optional<uint64_t> number_;          // among the open streams
  Mutex mutex_;
  bool writing_ GUARDED_BY(mutex_) = false;
  std::optional<grpc::Status> end_ GUARDED_BY(mutex_);  // once it is to end
};

void GrpcReflection::TakeCalls(CallQueues& queues) {
  queues_ = &queues;
  bound_ = std::make_unique<MethodBound>(kMostStreams);
  ReflectionStream::AcceptNext(*this);
}

}  // namespace sightline::serve
