#include "serve/pictures/picture_routes.h"

#include <atomic>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "serve/http/query_keys.h"
#include "serve/http/route_document.h"
#include "serve/pictures/picture_json.h"
#include "serve/pictures/picture_task.h"
#include "serve/pictures/picture_upload.h"
#include "serve/request_context.h"
#include "serve/rest/body_threads.h"
#include "serve/rest/rest_routes.h"
#include "store/jsonl_format.h"

namespace sightline::serve {
namespace {

constexpr int kUnsupportedType = 415;
// Larger forms and JSON are read on threads of their own, as those of the v2 routes. Chosen.
constexpr size_t kLargeBytes = 32 * 1024;
constexpr size_t kMostLargeWaiting = 256;

HttpResponse JsonAnswer(std::string body) {
  return {.status = 200, .content_type = "application/json", .body = std::move(body)};
}

HttpResponse Refusal(const absl::Status& status) {
  if (absl::IsUnimplemented(status)) return ErrorResponse(kUnsupportedType, MessageOf(status));
  return ErrorAnswer(status);
}

HttpResponse OneAnswer(absl::StatusOr<PictureAnswer>&& result, DrawnAs drawn) {
  if (!result.ok()) return ErrorAnswer(result.status());
  HttpResponse response;
  if (drawn == DrawnAs::kNone) {
    response = JsonAnswer(PictureJson(*result));
  } else {
    response.content_type = drawn == DrawnAs::kPng ? "image/png" : "image/jpeg";
    response.body = std::move(result->drawn);
  }
  response.headers.emplace_back("Server-Timing", TimingText(result->times));
  if (result->cached != CacheHit::kNone) {
    response.headers.emplace_back("Sightline-Cache", CacheText(*result));
  }
  return response;
}

// The answers to several pictures of one request; the last one to come writes.
struct PictureList {
  std::string model;
  std::vector<std::string> names;
  std::vector<absl::StatusOr<PictureAnswer>> results;
  std::vector<int> statuses;  // of HTTP, of those that failed
  std::atomic<size_t> left{0};
};

HttpResponse ListAnswer(PictureList& list) {
  std::string json = "{\"model\":";
  AppendJsonString(list.model, json);
  json += ",\"results\":[";
  const absl::StatusOr<PictureAnswer>* first_error = nullptr;
  bool any = false;
  for (size_t i = 0; i < list.results.size(); ++i) {
    const absl::StatusOr<PictureAnswer>& result = list.results[i];
    json += i == 0 ? "{" : ",{";
    if (!list.names[i].empty()) {
      json += "\"name\":";
      AppendJsonString(list.names[i], json);
      json += ",";
    }
    if (result.ok()) {
      any = true;
      AppendPictureMembers(*result, json);
    } else {
      if (first_error == nullptr) first_error = &result;
      AppendErrorMembers(result.status(), Refusal(result.status()).status, json);
    }
    json += "}";
  }
  json += "]";
  if (any) return JsonAnswer(json + "}");
  HttpResponse response = Refusal(first_error->status());
  json += ",\"error\":";
  AppendJsonString(MessageOf(first_error->status()), json);
  response.body = json + "}";
  return response;
}

class PictureRoutes {
 public:
  PictureRoutes(PictureService& pictures, std::shared_ptr<BodyThreads> threads)
      : pictures_(pictures), threads_(std::move(threads)) {}
  ~PictureRoutes() { threads_->Stop(); }  // their work is of this object

  void Answer(PictureTask task, HttpRequest&& http, const HttpReply& reply) {
    if (http.body.size() <= kLargeBytes || !IsFormOrJson(http)) {
      return AnswerHere(task, std::move(http), reply);
    }
    const auto kept = std::make_shared<HttpRequest>(std::move(http));
    const bool posted = threads_->Post([this, task, kept, reply](JsonReader&) {
      try {
        AnswerHere(task, std::move(*kept), reply);
      } catch (const std::bad_alloc&) {
        reply(ErrorAnswer(ResourceExhausted("no memory for the request; try again later")));
      }
    });
    if (posted) return;
    reply(ErrorAnswer(Unavailable("too many large requests at once; try again later")));
  }

 private:
  void AnswerHere(PictureTask task, HttpRequest&& http, const HttpReply& reply) {
    const DrawnAs drawn = DrawnAsOf(http.Header("accept"));
    absl::StatusOr<PictureUpload> upload = ReadUpload(http);
    if (!upload.ok()) return reply(Refusal(upload.status()));
    PictureRequest request;
    request.model = http.Parameter("model");
    request.version = http.Parameter("version");
    request.backing = upload->backing;
    request.task = task;
    request.options = std::move(upload->options);
    request.drawn = drawn;
    request.priority = upload->priority;
    request.timeout_us = upload->timeout_us;
    if (http.context != nullptr) request.source = http.context->source;
    request.context = std::move(http.context);
    request.gone = [reply] { return reply.left(); };
    if (upload->is_list) return AnswerList(std::move(request), *upload, reply);
    request.bytes = upload->pictures[0].bytes;
    if (PictureTypeOf(request.bytes).empty()) return reply(Refusal(WrongType()));
    pictures_.Answer(std::move(request), [reply, drawn](absl::StatusOr<PictureAnswer>&& result) {
      reply(OneAnswer(std::move(result), drawn));
    });
  }

  static absl::Status WrongType() {
    return Unimplemented("no picture by its first bytes: {}", kTakenTypes);
  }

  void AnswerList(PictureRequest&& common, const PictureUpload& upload, const HttpReply& reply) {
    if (common.drawn != DrawnAs::kNone && upload.pictures.size() > 1) {
      return reply(ErrorAnswer(InvalidArgument(
          "Accept asks for a drawn picture, and {} were sent: send one", upload.pictures.size())));
    }
    if (common.drawn != DrawnAs::kNone) {
      const DrawnAs drawn = common.drawn;
      common.bytes = upload.pictures[0].bytes;
      if (PictureTypeOf(common.bytes).empty()) return reply(Refusal(WrongType()));
      return pictures_.Answer(std::move(common),
                              [reply, drawn](absl::StatusOr<PictureAnswer>&& result) {
                                reply(OneAnswer(std::move(result), drawn));
                              });
    }
    const auto known = pictures_.Identify(common.model, common.version);
    if (!known.ok()) return reply(ErrorAnswer(known.status()));
    if (common.context != nullptr) common.context->Charge(upload.pictures.size() - 1);
    const auto list = std::make_shared<PictureList>();
    list->model = common.model;
    for (const UploadedPicture& picture : upload.pictures) list->names.push_back(picture.name);
    list->results.assign(upload.pictures.size(), WrongType());
    list->left.store(upload.pictures.size());
    for (size_t i = 0; i < upload.pictures.size(); ++i) {
      const auto done = [list, reply, i](absl::StatusOr<PictureAnswer>&& result) {
        list->results[i] = std::move(result);
        if (list->left.fetch_sub(1) == 1) reply(ListAnswer(*list));
      };
      if (PictureTypeOf(upload.pictures[i].bytes).empty()) {
        done(WrongType());
        continue;
      }
      PictureRequest request = common;
      request.is_part = i > 0;
      request.bytes = upload.pictures[i].bytes;
      pictures_.Answer(std::move(request), done);
    }
  }

  PictureService& pictures_;
  const std::shared_ptr<BodyThreads> threads_;
};

// What a route says of itself.
RouteDocument DocumentOf(PictureTask task) {
  const auto error = [](int status, std::string summary) {
    return RouteDocument::Answer{
        status,
        std::move(summary),
        {{"application/json", R"({"$ref":"#/components/schemas/Error"})"}}};
  };
  RouteDocument document;
  document.summary = fmt::format("{}: what the model finds in pictures", ToString(task));
  document.tag = "pictures";
  document.path = {{"model", "A served model", ""}, {"version", "One of its versions", ""}};
  document.parameters = {
      {"confidence", "Least confidence of objects and classes",
       R"({"type":"number","minimum":0,"maximum":1})"},
      {"max", "Objects and classes at most; 0: all", R"({"type":"integer","minimum":0})"},
      {"classes", "Only these: names and numbers with commas between", R"({"type":"string"})"},
      {"priority", "1 is the most urgent; 0: the model's own",
       R"({"type":"integer","minimum":0,"maximum":16})"},
      {"timeout_ms", "Not begun after so long; 0: the model's own",
       R"({"type":"integer","minimum":0})"}};
  document.bodies = {
      {"image/jpeg", ""},
      {"image/png", ""},
      {"image/webp", ""},
      {"application/octet-stream", ""},
      {"multipart/form-data",
       R"({"type":"object","properties":{"file":{"type":"array","items":{"type":"string",
           "contentMediaType":"application/octet-stream"}}},"additionalProperties":true})"},
      {"application/json", R"({"$ref":"#/components/schemas/PictureRequest"})"}};
  document.body_required = true;
  document.answers = {
      {200,
       "What was found: an object for a lone picture, a list for a form or for \"images\"; or the "
       "picture with it drawn, as the Accept header asks",
       {{"application/json",
         R"({"oneOf":[{"$ref":"#/components/schemas/PictureResult"},
                      {"$ref":"#/components/schemas/PictureResults"}]})"},
        {"image/jpeg", ""},
        {"image/png", ""}}},
      error(400, "A damaged or too large picture, a wrong wish, or not the model's task"),
      error(404, "No such model or version"),
      error(413, "The body is too large"),
      error(415, "No picture of a type that is taken"),
      error(500, "The model failed"),
      error(503, "Not loaded, too many wait, or the timeout passed; with Retry-After")};
  return document;
}

}  // namespace

absl::Status AddPictureRoutes(PictureService& pictures, const PictureRouteOptions& options,
                              HttpServer& server) {
  using enum PictureTask;
  SL_ASSIGN_OR_RETURN(std::shared_ptr<BodyThreads> threads,
                      BodyThreads::Start(options.body_threads, kMostLargeWaiting));
  const auto routes = std::make_shared<PictureRoutes>(pictures, std::move(threads));
  for (const PictureTask task : {kDetect, kClassify, kSegment, kPose, kEmbed}) {
    const std::string path = fmt::format("/v1/{}/{{model}}", ToString(task));
    const auto document = std::make_shared<const RouteDocument>(DocumentOf(task));
    for (const std::string& pattern : {path, path + "/versions/{version}"}) {
      RouteOptions route;
      route.max_body_bytes = options.max_request_bytes;
      route.role = RouteRole::kInfer;
      route.document = document;
      SL_RETURN_IF_ERROR(server.RouteAsync(
          "POST", pattern,
          [routes, task, document](HttpRequest&& request, const HttpReply& reply) {
            const absl::Status known = CheckQueryKeys(request, *document);
            if (!known.ok()) return reply(ErrorAnswer(known));
            routes->Answer(task, std::move(request), reply);
          },
          route));
    }
  }
  return absl::OkStatus();
}

}  // namespace sightline::serve
