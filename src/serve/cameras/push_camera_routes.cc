#include "serve/cameras/push_camera_routes.h"

#include <charconv>
#include <utility>

#include "base/time.h"
#include "serve/http/query_keys.h"
#include "serve/http/route_document.h"
#include "serve/rest/rest_routes.h"

namespace sightline::serve {
namespace {

// Of those that are not taken: too many of what this caller asks for are the caller's own matter, unlike a
// model's queue that is full.
HttpResponse Refusal(const absl::Status& status) {
  HttpResponse response = ErrorAnswer(status);
  if (absl::IsResourceExhausted(status)) response.status = 429;
  return response;
}

absl::StatusOr<bool> FlagOf(const HttpRequest& request, const char* name, bool otherwise) {
  const std::optional<std::string> value = request.QueryValue(name);
  if (!value) return otherwise;
  if (*value != "true" && *value != "false") {
    return InvalidArgument("{} is \"true\" or \"false\"", name);
  }
  return *value == "true";
}

absl::StatusOr<std::optional<float>> ConfidenceOf(const HttpRequest& request) {
  const std::optional<std::string> value = request.QueryValue("confidence");
  if (!value) return std::optional<float>();
  float number = 0;
  const char* const end = value->data() + value->size();
  const auto [stop, error] = std::from_chars(value->data(), end, number);
  if (error != std::errc() || stop != end || !(number >= 0 && number <= 1)) {
    return InvalidArgument("confidence is a number from 0 to 1");
  }
  return std::optional<float>(number);
}

absl::StatusOr<PushedFrame> FrameOf(HttpRequest&& request) {
  PushedFrame frame;
  frame.picture.model = request.QueryValue("model").value_or("");
  frame.picture.version = request.QueryValue("version").value_or("");
  if (frame.picture.model.empty()) {
    return InvalidArgument("which model? .../frames?model=NAME");
  }
  if (request.context != nullptr && !request.context->MayUse(frame.picture.model)) {
    return absl::PermissionDeniedError("this key may not use that model");
  }
  if (request.body.empty()) return InvalidArgument("the body is to be a JPEG, PNG or WebP file");
  SL_ASSIGN_OR_RETURN(frame.track, FlagOf(request, "track", true));
  SL_ASSIGN_OR_RETURN(frame.picture.options.confidence, ConfidenceOf(request));
  frame.capture_utc_us = Clock::Real().NowUtcUs();
  if (const std::string_view time = request.Header("x-capture-time"); !time.empty()) {
    const absl::StatusOr<int64_t> captured = ParseUtc(time);
    SL_RETURN_IF_ERROR(WithContext(captured.status(), "X-Capture-Time"));
    frame.capture_utc_us = *captured;
  }
  const auto body = std::make_shared<const RequestBody>(std::move(request.body));
  frame.picture.bytes = *body;
  frame.picture.backing = body;
  if (request.context != nullptr) frame.picture.source = request.context->source;
  frame.picture.context = std::move(request.context);
  return frame;
}

void Push(PushCameras& cameras, HttpRequest&& request, const HttpReply& reply) {
  const std::string camera(request.Parameter("id"));
  const absl::StatusOr<bool> wait = FlagOf(request, "wait", false);
  if (!wait.ok()) return reply(Refusal(wait.status()));
  absl::StatusOr<PushedFrame> frame = FrameOf(std::move(request));
  if (!frame.ok()) return reply(Refusal(frame.status()));
  PushCameras::Done done;
  if (*wait) {
    done = [reply](const absl::StatusOr<std::shared_ptr<const FeedMessage>>& result) {
      if (!result.ok()) return reply(ErrorAnswer(result.status()));
      reply({.content_type = "application/json", .body = (*result)->data + "\n"});
    };
  }
  const absl::StatusOr<uint64_t> sequence =
      cameras.Push(camera, *std::move(frame), std::move(done));
  if (!sequence.ok()) return reply(Refusal(sequence.status()));
  if (*wait) return;
  reply({.status = 202,
         .content_type = "application/json",
         .body = fmt::format("{{\"sequence\":{}}}\n", *sequence)});
}

const char kErrorSchema[] = R"({"$ref":"#/components/schemas/Error"})";

RouteDocument FramesDocument() {
  RouteDocument document;
  document.summary = "A frame of a camera that pushes its pictures";
  document.tag = "cameras";
  document.path = {{"id", "The camera, by any name", ""}};
  document.parameters = {
      {"model", "The model that looks at it", R"({"type":"string"})"},
      {"version", "One of its versions", R"({"type":"string"})"},
      {"confidence", "The least that is answered", R"({"type":"number","minimum":0,"maximum":1})"},
      {"track", "Whether objects are followed", R"({"type":"boolean","default":true})"},
      {"wait", "Whether the results are the answer", R"({"type":"boolean","default":false})"},
      {"X-Capture-Time", "When it was taken, UTC", R"({"type":"string","format":"date-time"})",
       /*in_header=*/true}};
  document.bodies = {{"image/jpeg", ""}, {"image/png", ""}, {"image/webp", ""}};
  document.body_required = true;
  document.answers = {
      {200, "The results, with wait=true", {{"application/json", R"({"type":"object"})"}}},
      {202, "Taken; its number among the camera's", {{"application/json", R"({"type":"object"})"}}},
      {400, "No picture, or parameters that make no sense", {{"application/json", kErrorSchema}}},
      {404, "No such model or version", {{"application/json", kErrorSchema}}},
      {429, "Too many cameras, or frames of this one", {{"application/json", kErrorSchema}}},
      {503, "Not loaded, or all frames hold too much", {{"application/json", kErrorSchema}}}};
  return document;
}

RouteDocument ResultsDocument() {
  RouteDocument document;
  document.summary = "The results of a camera, as they come: events, or over a WebSocket";
  document.tag = "cameras";
  document.path = {{"id", "The camera", ""}};
  document.answers = {{200, "Server-sent events", {{"text/event-stream", ""}}},
                      {101, "The same over a WebSocket"},
                      {400, "Parameters that make no sense", {{"application/json", kErrorSchema}}},
                      {429, "Too many listen", {{"application/json", kErrorSchema}}}};
  return document;
}

}  // namespace

absl::Status AddPushCameraRoutes(PushCameras& cameras, const PushCameraRouteOptions& options,
                                 HttpServer& server) {
  RouteOptions frames;
  frames.role = RouteRole::kInfer;
  const auto frames_document = std::make_shared<const RouteDocument>(FramesDocument());
  frames.document = frames_document;
  frames.model_in_query = true;
  frames.max_body_bytes = options.max_picture_bytes;
  SL_RETURN_IF_ERROR(server.RouteAsync(
      "POST", "/v1/cameras/{id}/frames",
      [&cameras, frames_document](HttpRequest&& request, const HttpReply& reply) {
        const absl::Status known = CheckQueryKeys(request, *frames_document);
        if (!known.ok()) return reply(ErrorAnswer(known));
        Push(cameras, std::move(request), reply);
      },
      frames));
  RouteOptions results;
  results.role = RouteRole::kInfer;
  const auto results_document = std::make_shared<const RouteDocument>(ResultsDocument());
  results.document = results_document;
  return server.RouteFeed(
      "/v1/cameras/{id}/results",
      [&cameras, results_document](
          const HttpRequest& request,
          const std::shared_ptr<HttpFeed>& feed) -> std::optional<HttpResponse> {
        const absl::Status known = CheckQueryKeys(request, *results_document);
        if (!known.ok()) return ErrorAnswer(known);
        const ModelNames models = request.context == nullptr ? nullptr : request.context->models;
        const absl::Status status = cameras.Listen(request.Parameter("id"), feed, models);
        if (status.ok()) return std::nullopt;
        return Refusal(status);
      },
      results);
}

}  // namespace sightline::serve
