#include "serve/rest/rest_routes.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/json_text.h"
#include "serve/inference/admission.h"
#include "serve/inference/byte_room.h"
#include "serve/rest/body_coding.h"
#include "serve/rest/body_threads.h"
#include "serve/rest/infer_json.h"
#include "serve/rest/model_json.h"
#include "serve/rest/rest_documents.h"

namespace sightline::serve {
namespace {

constexpr std::string_view kJsonType = "application/json";
constexpr std::string_view kBinaryType = "application/octet-stream";
constexpr const char* kHeaderLength = "Inference-Header-Content-Length";
constexpr size_t kControlBytes = 64 * 1024;  // of requests that are no inference
constexpr size_t kLeastPacked = 1024;        // smaller answers are not worth it
// More JSON than that, and what is packed, is read and written on threads of its own. Chosen: some 0.1 ms.
constexpr size_t kLargeBytes = 32 * 1024;
constexpr size_t kMostLargeWaiting = 256;  // chosen

HttpResponse Json(std::string body) {
  return {.status = 200, .content_type = std::string(kJsonType), .body = std::move(body)};
}

HttpResponse Nothing() { return Json(""); }

int HttpStatusOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 200;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
      return 400;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kOutOfRange:
      return 413;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kAlreadyExists:
      return 409;
    case absl::StatusCode::kUnimplemented:
      return 501;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kCancelled:
      return 503;
    default:
      return 500;
  }
}

// What a caller must be allowed to do for a route.
RouteRole RoleOf(std::string_view method, std::string_view path) {
  const bool is_get = method == "GET";
  if (path.starts_with("/v2/health/")) return RouteRole::kHealth;
  if (path.ends_with("/infer")) return RouteRole::kInfer;
  if (path.ends_with("/load") || path.ends_with("/unload")) return RouteRole::kControl;
  if (path.find("sharedmemory") != std::string_view::npos) return RouteRole::kAdmin;
  if (is_get || path == "/v2/repository/index") return RouteRole::kViewer;
  if (path.ends_with("/trace/setting") || path == "/v2/logging") return RouteRole::kControl;
  return RouteRole::kAdmin;
}

// What keeps the tensors of a body that was unpacked.
struct UnpackedBody {
  std::shared_ptr<const ByteRoom::Taken> room;
  std::shared_ptr<const void> tensors;
};

HttpResponse PackedAnswer(HttpResponse response, BodyCoding coding) {
  if (coding == BodyCoding::kIdentity) return response;
  std::string whole = std::move(response.body);
  for (const std::string& part : response.more_body) whole += part;
  response.more_body.clear();
  if (whole.size() >= kLeastPacked) {
    whole = Pack(coding, whole);
    response.headers.emplace_back("Content-Encoding", std::string(ToString(coding)));
  }
  response.body = std::move(whole);
  return response;
}

HttpResponse InferAnswer(absl::StatusOr<InferResponse>&& result, const BinaryChoice& choice,
                         BodyCoding coding) {
  if (!result.ok()) return ErrorAnswer(result.status());
  auto written = WriteInferResponse(*std::move(result), choice);
  if (!written.ok()) return ErrorAnswer(written.status());
  HttpResponse response = Json(std::move(written->json));
  if (written->has_binary) {
    response.content_type = kBinaryType;
    response.headers.emplace_back(kHeaderLength, std::to_string(response.body.size()));
    response.more_body = std::move(written->binary);
  }
  return PackedAnswer(std::move(response), coding);
}

absl::StatusOr<std::optional<size_t>> HeaderLengthOf(const HttpRequest& request) {
  const std::string_view text = request.Header("inference-header-content-length");
  if (text.empty()) return std::optional<size_t>();
  size_t length = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), length);
  if (error != std::errc() || stop != text.data() + text.size()) {
    return InvalidArgument("{} is no whole number", kHeaderLength);
  }
  return std::optional<size_t>(length);
}

// Whether it takes long to write.
bool IsLarge(const absl::StatusOr<InferResponse>& result, const BinaryChoice& choice,
             BodyCoding coding) {
  if (!result.ok()) return false;
  const bool all_binary = choice.by_default && choice.outputs.empty();
  if (all_binary && coding == BodyCoding::kIdentity) return false;
  size_t bytes = 0;
  for (const InferOutput& output : result->outputs) bytes += output.bytes.size();
  return bytes > kLargeBytes;
}

class RestRoutes {
 public:
  RestRoutes(InferenceService& service, const RestOptions& options,
             std::shared_ptr<BodyThreads> threads)
      : service_(service),
        options_(options),
        room_(ByteRoom::Make(options.max_unpacked_bytes)),
        threads_(std::move(threads)) {}
  ~RestRoutes() { threads_->Stop(); }  // their work is of this object

  void Infer(HttpRequest&& http, const HttpReply& reply) {
    const auto header_bytes = HeaderLengthOf(http);
    const size_t json_bytes =
        header_bytes.ok() ? header_bytes->value_or(http.body.size()) : http.body.size();
    if (json_bytes <= kLargeBytes && http.Header("content-encoding").empty()) {
      return Infer(http, reader_, reply);
    }
    const auto kept = std::make_shared<HttpRequest>(std::move(http));
    if (threads_->Post([this, kept, reply](JsonReader& reader) { Infer(*kept, reader, reply); })) {
      return;
    }
    reply(ErrorAnswer(Unavailable("too many large requests at once; try again later")));
  }

  HttpResponse Metadata() const {
    return Json(JsonText(nlohmann::ordered_json{{"name", InferenceService::kName},
                                                {"version", service_.version()},
                                                {"extensions", service_.Extensions()}}));
  }

  HttpResponse Ready() const {
    if (service_.Ready()) return Json(R"({"ready":true})");  // which KServe's client reads
    return ErrorResponse(400,
                         "not ready: models are being loaded or have failed, or the server is "
                         "ending; POST /v2/repository/index tells");
  }

  HttpResponse ModelMetadata(const HttpRequest& request) const {
    const auto model = Find(request);
    if (!model.ok()) return ErrorAnswer(model.status());
    const auto versions = service_.repository().Versions(request.Parameter("model"));
    if (!versions.ok()) return ErrorAnswer(versions.status());
    return Json(MetadataJson(**model, *versions));
  }
  HttpResponse ModelReady(const HttpRequest& request) const {
    const auto model = Find(request);
    if (model.ok()) return Json(R"({"ready":true})");
    return ErrorResponse(400, MessageOf(model.status()));
  }
  HttpResponse ModelConfig(const HttpRequest& request) const {
    const auto model = Find(request);
    return model.ok() ? Json(ConfigJson(**model)) : ErrorAnswer(model.status());
  }
  HttpResponse ModelStatistics(const HttpRequest& request) const {
    const auto models =
        service_.repository().Select(request.Parameter("model"), request.Parameter("version"));
    return models.ok() ? Json(StatisticsJson(*models)) : ErrorAnswer(models.status());
  }

  HttpResponse Index(const HttpRequest& request) const {
    const auto ready_only = ReadIndexJson(request.body);
    if (!ready_only.ok()) return ErrorAnswer(ready_only.status());
    return Json(IndexJson(service_.repository().Index(*ready_only)));
  }
  void Load(HttpRequest&& request, const HttpReply& reply) {
    const auto parameters = ReadLoadJson(request.body);
    if (!parameters.ok()) return reply(ErrorAnswer(parameters.status()));
    if (!parameters->empty()) {
      return reply(ErrorAnswer(InferenceService::RefuseLoadParameter(parameters->front())));
    }
    service_.repository().Load(std::string(request.Parameter("model")), AnswerTo(reply));
  }
  void Unload(HttpRequest&& request, const HttpReply& reply) {
    const auto parameters = ReadLoadJson(request.body);
    if (!parameters.ok()) return reply(ErrorAnswer(parameters.status()));
    service_.repository().Unload(std::string(request.Parameter("model")), AnswerTo(reply));
  }

  HttpResponse SharedMemoryStatus(const HttpRequest& request) const {
    const auto regions = service_.shared_memory().Status(std::string(request.Parameter("region")));
    return regions.ok() ? Json(SharedMemoryJson(*regions)) : ErrorAnswer(regions.status());
  }
  HttpResponse SharedMemoryRegister(const HttpRequest& request) {
    const auto wish = ReadSharedMemoryJson(request.body);
    if (!wish.ok()) return ErrorAnswer(wish.status());
    return Done(service_.shared_memory().Register(std::string(request.Parameter("region")),
                                                  wish->key, wish->offset, wish->bytes));
  }
  HttpResponse SharedMemoryUnregister(const HttpRequest& request) {
    const std::string region(request.Parameter("region"));
    if (!region.empty()) return Done(service_.shared_memory().Unregister(region));
    service_.shared_memory().UnregisterAll();
    return Nothing();
  }

  HttpResponse Trace(const HttpRequest& request) {
    const std::string model(request.Parameter("model"));
    if (!model.empty()) {
      const auto known = service_.repository().Find(model, "");
      if (!known.ok()) return ErrorAnswer(known.status());
    }
    if (request.method == "GET") return Json(TraceJson(service_.settings().Trace(model)));
    const auto changes = ReadTraceJson(request.body);
    if (!changes.ok()) return ErrorAnswer(changes.status());
    const auto settings = service_.settings().ChangeTrace(model, *changes);
    return settings.ok() ? Json(TraceJson(*settings)) : ErrorAnswer(settings.status());
  }
  HttpResponse Logging(const HttpRequest& request) {
    if (request.method == "GET") return Json(LoggingJson(service_.settings().Logging()));
    const auto changes = ReadLoggingJson(request.body);
    if (!changes.ok()) return ErrorAnswer(changes.status());
    const auto settings = service_.settings().ChangeLogging(*changes);
    return settings.ok() ? Json(LoggingJson(*settings)) : ErrorAnswer(settings.status());
  }

 private:
  static HttpResponse Done(const absl::Status& status) {
    return status.ok() ? Nothing() : ErrorAnswer(status);
  }
  static ModelRepository::LoadDone AnswerTo(const HttpReply& reply) {
    return [reply](const absl::Status& status) { reply(Done(status)); };
  }

  absl::StatusOr<std::shared_ptr<ServedModel>> Find(const HttpRequest& request) const {
    return service_.repository().Find(request.Parameter("model"), request.Parameter("version"));
  }

  // Takes the request's body.
  void Infer(HttpRequest& http, JsonReader& reader, const HttpReply& reply) {
    absl::StatusOr<RestInferRequest> read = Read(http, reader);
    if (!read.ok()) return reply(ErrorAnswer(read.status()));
    if (http.context != nullptr) read->request.source = http.context->source;
    read->request.context = std::move(http.context);
    read->request.gone = [reply] { return reply.left(); };
    BinaryChoice choice{read->binary_by_default, std::move(read->binary)};
    const BodyCoding coding = ChooseCoding(http.Header("accept-encoding"));
    // The answer may come after these routes have gone.
    service_.Infer(std::move(read->request),
                   [reply, coding, choice = std::move(choice),
                    threads = std::weak_ptr(threads_)](absl::StatusOr<InferResponse>&& result) {
                     WriteAnswer(std::move(result), choice, coding, threads.lock(), reply);
                   });
  }

  static void WriteAnswer(absl::StatusOr<InferResponse>&& result, const BinaryChoice& choice,
                          BodyCoding coding, const std::shared_ptr<BodyThreads>& threads,
                          const HttpReply& reply) {
    if (threads == nullptr || !IsLarge(result, choice, coding)) {
      return reply(InferAnswer(std::move(result), choice, coding));
    }
    const auto kept = std::make_shared<absl::StatusOr<InferResponse>>(std::move(result));
    const bool posted = threads->Post([kept, choice, coding, reply](JsonReader&) {
      reply(InferAnswer(std::move(*kept), choice, coding));
    });
    // Here where there is no room: it was accepted.
    if (!posted) reply(InferAnswer(std::move(*kept), choice, coding));
  }

  absl::StatusOr<RestInferRequest> Read(HttpRequest& http, JsonReader& reader) {
    SL_ASSIGN_OR_RETURN(const std::optional<size_t> header_bytes, HeaderLengthOf(http));
    SL_ASSIGN_OR_RETURN(const BodyCoding coding,
                        ReadContentEncoding(http.Header("content-encoding")));
    std::shared_ptr<const ByteRoom::Taken> taken;
    if (coding != BodyCoding::kIdentity) {
      SL_ASSIGN_OR_RETURN(std::string body, Unpack(http.body, options_.max_request_bytes));
      taken = room_->Take(body.size());
      if (taken == nullptr) {
        return Unavailable("too many packed requests at once; try again later");
      }
      http.body = std::move(body);
    }
    SL_ASSIGN_OR_RETURN(
        RestInferRequest read,
        reader.ReadInferRequest(std::move(http.body), header_bytes, service_.shared_memory()));
    read.request.model = http.Parameter("model");
    read.request.version = http.Parameter("version");
    if (taken != nullptr) {
      read.request.backing = std::make_shared<const UnpackedBody>(
          UnpackedBody{std::move(taken), std::move(read.request.backing)});
    }
    return read;
  }

  InferenceService& service_;
  const RestOptions options_;
  const std::shared_ptr<ByteRoom> room_;  // of bodies that were unpacked
  JsonReader reader_;                     // of the server's thread
  const std::shared_ptr<BodyThreads> threads_;
};

// Remembers the first error of many routes.
class RouteList {
 public:
  using Document = std::shared_ptr<const RouteDocument>;

  RouteList(HttpServer& server, const std::shared_ptr<RestRoutes>& routes)
      : server_(server), routes_(routes) {}

  template <typename Handler>
  void Add(std::string_view method, std::string_view path, Document document, Handler handler) {
    if (!status_.ok()) return;
    RouteOptions options = method == "GET" ? RouteOptions() : Control();
    options.role = RoleOf(method, path);
    options.document = std::move(document);
    status_ = server_.Route(
        method, path,
        [routes = routes_, handler](const HttpRequest& r) { return handler(*routes, r); }, options);
  }
  template <typename Handler>
  void AddAsync(std::string_view path, size_t most_bytes, Document document, Handler handler,
                std::string_view aligned_by = {}) {
    if (!status_.ok()) return;
    RouteOptions options;
    options.aligned_by = aligned_by;
    options.document = std::move(document);
    options.max_body_bytes = most_bytes;
    options.role = RoleOf("POST", path);
    status_ = server_.RouteAsync(
        "POST", path,
        [routes = routes_, handler](HttpRequest&& request, const HttpReply& reply) {
          handler(*routes, std::move(request), reply);
        },
        options);
  }
  const absl::Status& status() const { return status_; }

 private:
  static RouteOptions Control() {
    RouteOptions options;
    options.max_body_bytes = kControlBytes;
    return options;
  }
  HttpServer& server_;
  const std::shared_ptr<RestRoutes> routes_;
  absl::Status status_;
};

}  // namespace

HttpResponse ErrorAnswer(const absl::Status& status) {
  HttpResponse answer = ErrorResponse(HttpStatusOf(status), MessageOf(status));
  if (answer.status == 503) {
    const int64_t after_s = (RetryAfterUsOf(status) + 999'999) / 1'000'000;
    answer.headers.emplace_back("Retry-After", std::to_string(std::max<int64_t>(1, after_s)));
  }
  return answer;
}

absl::Status AddRestRoutes(InferenceService& service, const RestOptions& options,
                           HttpServer& server) {
  using Request = const HttpRequest&;
  SL_ASSIGN_OR_RETURN(std::shared_ptr<BodyThreads> threads,
                      BodyThreads::Start(options.body_threads, kMostLargeWaiting));
  RouteList list(server, std::make_shared<RestRoutes>(service, options, std::move(threads)));
  list.Add("GET", "/v2", RestDocument("The server and its extensions", "Server"),
           [](RestRoutes& r, Request) { return r.Metadata(); });
  list.Add("GET", "/v2/", RestDocument("The server and its extensions", "Server"),
           [](RestRoutes& r, Request) { return r.Metadata(); });
  list.Add("GET", "/v2/health/live", RestDocument("Whether the server answers", ""),
           [](RestRoutes&, Request) { return Json(R"({"live":true})"); });
  list.Add("GET", "/v2/health/ready", RestDocument("Whether every model is ready", ""),
           [](RestRoutes& r, Request) { return r.Ready(); });
  list.Add("GET", "/v2/models/stats", RestDocument("Statistics of all models", "Object"),
           [](RestRoutes& r, Request q) { return r.ModelStatistics(q); });
  for (const std::string model : {"/v2/models/{model}", "/v2/models/{model}/versions/{version}"}) {
    list.Add("GET", model, RestDocument("A model's inputs, outputs and versions", "Model"),
             [](RestRoutes& r, Request q) { return r.ModelMetadata(q); });
    list.Add("GET", model + "/ready", RestDocument("Whether a model is ready", ""),
             [](RestRoutes& r, Request q) { return r.ModelReady(q); });
    list.Add("GET", model + "/config", RestDocument("A model's configuration", "Object"),
             [](RestRoutes& r, Request q) { return r.ModelConfig(q); });
    list.Add("GET", model + "/stats", RestDocument("A model's statistics", "Object"),
             [](RestRoutes& r, Request q) { return r.ModelStatistics(q); });
    list.AddAsync(
        model + "/infer", options.max_request_bytes,
        RestDocument("Tensors in, tensors out", "InferResponse", RestBody::kInfer, "InferRequest"),
        [](RestRoutes& r, HttpRequest&& q, const HttpReply& reply) {
          r.Infer(std::move(q), reply);
        },
        "inference-header-content-length");
  }
  list.Add("POST", "/v2/repository/index",
           RestDocument("The models that there are", "List", RestBody::kJson),
           [](RestRoutes& r, Request q) { return r.Index(q); });
  list.AddAsync(
      "/v2/repository/models/{model}/load", kControlBytes,
      RestDocument("Loads a model, or its newer version", "", RestBody::kJson),
      [](RestRoutes& r, HttpRequest&& q, const HttpReply& reply) { r.Load(std::move(q), reply); });
  list.AddAsync("/v2/repository/models/{model}/unload", kControlBytes,
                RestDocument("Unloads a model", "", RestBody::kJson),
                [](RestRoutes& r, HttpRequest&& q, const HttpReply& reply) {
                  r.Unload(std::move(q), reply);
                });
  for (const std::string region : {"", "/region/{region}"}) {
    const std::string path = "/v2/systemsharedmemory" + region;
    list.Add("GET", path + "/status", RestDocument("Registered shared memory", "List"),
             [](RestRoutes& r, Request q) { return r.SharedMemoryStatus(q); });
    list.Add("POST", path + "/unregister",
             RestDocument("Forgets shared memory", "", RestBody::kJson),
             [](RestRoutes& r, Request q) { return r.SharedMemoryUnregister(q); });
  }
  for (const std::string region : {"", "/region/{region}"}) {
    const std::string path = "/v2/cudasharedmemory" + region;
    list.Add("GET", path + "/status", RestDocument("There is no CUDA shared memory", "List"),
             [](RestRoutes&, Request) { return Json("[]"); });
    list.Add("POST", path + "/unregister",
             RestDocument("There is no CUDA shared memory", "", RestBody::kJson),
             [](RestRoutes&, Request) { return Nothing(); });
  }
  list.Add("POST", "/v2/cudasharedmemory/region/{region}/register",
           RestDocument("There is no CUDA shared memory: 501", "", RestBody::kJson),
           [](RestRoutes&, Request) {
             return ErrorAnswer(Unimplemented("{}", InferenceService::kNoCudaSharedMemory));
           });
  list.Add("POST", "/v2/systemsharedmemory/region/{region}/register",
           RestDocument("Registers shared memory", "", RestBody::kJson),
           [](RestRoutes& r, Request q) { return r.SharedMemoryRegister(q); });
  for (const std::string_view method : {"GET", "POST"}) {
    const RestBody body = method == "POST" ? RestBody::kJson : RestBody::kNone;
    list.Add(method, "/v2/trace/setting", RestDocument("Settings of traces", "Object", body),
             [](RestRoutes& r, Request q) { return r.Trace(q); });
    list.Add(method, "/v2/models/{model}/trace/setting",
             RestDocument("Settings of a model's traces", "Object", body),
             [](RestRoutes& r, Request q) { return r.Trace(q); });
    list.Add(method, "/v2/logging", RestDocument("Settings of the log", "Object", body),
             [](RestRoutes& r, Request q) { return r.Logging(q); });
  }
  return list.status();
}

}  // namespace sightline::serve
