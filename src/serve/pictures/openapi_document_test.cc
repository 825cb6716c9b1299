// The OpenAPI document of all routes that `sightline serve` has.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "serve/http/openapi.h"
#include "serve/pictures/picture_routes.h"
#include "serve/pictures/test_detector.h"
#include "serve/rest/rest_documents.h"
#include "serve/rest/rest_routes.h"

namespace sightline::serve {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

// All "$ref"s in it.
void CollectReferences(const json& value, std::set<std::string>& to) {
  if (value.is_object() && value.contains("$ref")) to.insert(value["$ref"].get<std::string>());
  if (value.is_structured()) {
    for (const json& one : value) CollectReferences(one, to);
  }
}

class OpenApiDocumentTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(world_.Start().ok());
    auto server = HttpServer::Create({.tcp = ListenAddress{.address = "127.0.0.1", .port = 0}});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    ASSERT_TRUE(AddRestRoutes(*world_.service, {}, *server_).ok());
    ASSERT_TRUE(AddPictureRoutes(*world_.pictures, {}, *server_).ok());
  }
  test::PictureWorld world_{::testing::UnitTest::GetInstance()->current_test_info()->name()};
  std::unique_ptr<HttpServer> server_;
  const OpenApiInfo info_{"Sightline", "1.0", "", ServingSchemas()};
};

TEST_F(OpenApiDocumentTest, EveryRouteIsInItWithAllThatBelongsToIt) {
  const absl::Status added = AddOpenApiRoute(info_, *server_);
  ASSERT_TRUE(added.ok()) << added;
  const auto text = OpenApiJson(info_, server_->routes());
  ASSERT_TRUE(text.ok()) << text.status();
  const json document = json::parse(*text);
  EXPECT_EQ(document["openapi"], "3.1.0");
  std::set<std::string> ids;
  size_t routes = 0;
  for (const Router::Listed& route : server_->routes()) {
    SCOPED_TRACE(route.method + " " + route.pattern);
    ++routes;
    std::string method = route.method;
    for (char& c : method) c = static_cast<char>(std::tolower(c));
    ASSERT_TRUE(document["paths"].contains(route.pattern));
    ASSERT_TRUE(document["paths"][route.pattern].contains(method));
    const json& operation = document["paths"][route.pattern][method];
    EXPECT_TRUE(operation.contains("summary"));
    EXPECT_TRUE(operation["responses"].contains("200"));
    EXPECT_TRUE(ids.insert(operation["operationId"]).second) << operation["operationId"];
    // Every parameter of the path, once and required.
    std::multiset<std::string> wanted, declared;
    const std::regex name("\\{([^}]+)\\}");
    for (std::sregex_iterator at(route.pattern.begin(), route.pattern.end(), name), end; at != end;
         ++at) {
      wanted.insert((*at)[1]);
    }
    for (const json& parameter : operation.value("parameters", json::array())) {
      if (parameter["in"] != "path") continue;
      EXPECT_EQ(parameter["required"], true);
      declared.insert(parameter["name"].get<std::string>());
    }
    EXPECT_EQ(declared, wanted);
    EXPECT_EQ(operation.contains("requestBody"),
              route.options.document != nullptr && !route.options.document->bodies.empty());
  }
  EXPECT_GT(routes, 30u);
  std::set<std::string> references;
  CollectReferences(document, references);
  EXPECT_GT(references.size(), 5u);
  for (const std::string& reference : references) {
    constexpr std::string_view kPlace = "#/components/schemas/";
    ASSERT_TRUE(reference.starts_with(kPlace)) << reference;
    EXPECT_TRUE(document["components"]["schemas"].contains(reference.substr(kPlace.size())))
        << reference;
  }
}

TEST_F(OpenApiDocumentTest, AWrongSchemaIsNoticedWhenItIsRegistered) {
  RouteOptions options;
  options.document = std::make_shared<const RouteDocument>(
      RouteDocument{.summary = "wrong", .tag = "", .bodies = {{"application/json", "{"}}});
  const auto nothing = [](const HttpRequest&) { return HttpResponse(); };
  ASSERT_TRUE(server_->Route("POST", "/wrong", nothing, options).ok());
  const absl::Status added = AddOpenApiRoute(info_, *server_);
  EXPECT_TRUE(absl::IsInvalidArgument(added));
  EXPECT_THAT(std::string(added.message()), HasSubstr("no JSON"));
}

}  // namespace
}  // namespace sightline::serve
