#include "serve/http/openapi.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/json_text.h"

namespace sightline::serve {
namespace {

using Json = nlohmann::ordered_json;

// A text in JSON, read; remembers the first mistake.
class Schemas {
 public:
  Json Read(const std::string& text) {
    if (text.empty()) return Json::object();
    Json json = Json::parse(text, nullptr, false);
    if (!json.is_discarded()) return json;
    if (status_.ok()) status_ = InvalidArgument("a route's schema is no JSON: {}", text);
    return Json::object();
  }
  const absl::Status& status() const { return status_; }

 private:
  absl::Status status_;
};

Json ContentsJson(const std::vector<RouteDocument::Content>& contents, Schemas& schemas) {
  Json json = Json::object();
  for (const RouteDocument::Content& content : contents) {
    Json& one = json[content.type] = Json::object();
    if (!content.schema.empty()) one["schema"] = schemas.Read(content.schema);
  }
  return json;
}

Json ParameterJson(const RouteDocument::Parameter& parameter, const char* in, Schemas& schemas) {
  Json json = {{"name", parameter.name}, {"in", in}};
  if (!parameter.summary.empty()) json["description"] = parameter.summary;
  if (in == std::string_view("path")) json["required"] = true;
  json["schema"] =
      parameter.schema.empty() ? Json{{"type", "string"}} : schemas.Read(parameter.schema);
  return json;
}

// The pattern as OpenAPI writes it, "/*" as a parameter "rest", and its parameters.
std::string PathOf(const std::string& pattern, std::vector<std::string>& names) {
  std::string path = pattern;
  if (path.ends_with("/*")) path.replace(path.size() - 1, 1, "{rest}");
  for (size_t at = path.find('{'); at != std::string::npos; at = path.find('{', at + 1)) {
    names.push_back(path.substr(at + 1, path.find('}', at) - at - 1));
  }
  return path;
}

// "post_v1_detect_model": one of its own for every route.
std::string OperationIdOf(const Router::Listed& route) {
  std::string id;
  for (const char c : route.method) id += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  for (const char c : route.pattern) {
    const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (good || c == '/') id += good ? c : '_';
    if (c == '*') id += "rest";
  }
  return id;
}

Json OperationJson(const Router::Listed& route, const std::vector<std::string>& path_names,
                   Schemas& schemas) {
  static const RouteDocument kNothing;
  const RouteDocument& document =
      route.options.document != nullptr ? *route.options.document : kNothing;
  Json json = {{"operationId", OperationIdOf(route)}};
  if (!document.summary.empty()) json["summary"] = document.summary;
  if (!document.tag.empty()) json["tags"] = {document.tag};
  Json parameters = Json::array();
  for (const std::string& name : path_names) {
    RouteDocument::Parameter parameter{.name = name, .summary = "", .schema = ""};
    for (const auto& known : document.path) {
      if (known.name == name) parameter = known;
    }
    parameters.push_back(ParameterJson(parameter, "path", schemas));
  }
  for (const RouteDocument::Parameter& parameter : document.parameters) {
    parameters.push_back(
        ParameterJson(parameter, parameter.in_header ? "header" : "query", schemas));
  }
  if (!parameters.empty()) json["parameters"] = std::move(parameters);
  if (!document.bodies.empty()) {
    json["requestBody"] = {{"required", document.body_required},
                           {"content", ContentsJson(document.bodies, schemas)}};
  }
  Json& answers = json["responses"] = Json::object();
  for (const RouteDocument::Answer& answer : document.answers) {
    Json& one = answers[std::to_string(answer.status)] = {{"description", answer.summary}};
    if (!answer.contents.empty()) one["content"] = ContentsJson(answer.contents, schemas);
  }
  if (answers.empty()) answers["default"] = {{"description", "The answer"}};
  return json;
}

}  // namespace

absl::StatusOr<std::string> OpenApiJson(const OpenApiInfo& info,
                                        std::span<const Router::Listed> routes) {
  Schemas schemas;
  Json document = {{"openapi", "3.1.0"},
                   {"info", {{"title", info.title}, {"version", info.version}}}};
  if (!info.summary.empty()) document["info"]["summary"] = info.summary;
  Json& paths = document["paths"] = Json::object();
  for (const Router::Listed& route : routes) {
    std::vector<std::string> names;
    const std::string path = PathOf(route.pattern, names);
    std::string method = route.method;
    for (char& c : method) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    paths[path][method] = OperationJson(route, names, schemas);
  }
  document["components"]["schemas"] = schemas.Read(info.schemas);
  SL_RETURN_IF_ERROR(schemas.status());
  return JsonText(document, 1);
}

absl::Status AddOpenApiRoute(const OpenApiInfo& info, HttpServer& server) {
  const auto text = std::make_shared<std::string>();
  RouteOptions options;
  options.role = RouteRole::kViewer;
  options.document = std::make_shared<const RouteDocument>(RouteDocument{
      .summary = "This document",
      .tag = "server",
      .answers = {{200, "OpenAPI 3.1", {{"application/json", R"({"type":"object"})"}}}}});
  SL_RETURN_IF_ERROR(server.Route(
      "GET", "/openapi.json",
      [text](const HttpRequest&) {
        return HttpResponse{.status = 200, .content_type = "application/json", .body = *text};
      },
      options));
  SL_ASSIGN_OR_RETURN(*text, OpenApiJson(info, server.routes()));
  return absl::OkStatus();
}

}  // namespace sightline::serve
