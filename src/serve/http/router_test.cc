#include "serve/http/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sightline::serve {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

HttpHandler Says(std::string body) {
  return [body](const HttpRequest&) { return HttpResponse{.body = body}; };
}
std::string AnswerOf(const Router::Found& found) {
  return found.handler != nullptr ? (*found.handler)({}).body
                                  : std::to_string(found.refusal.status);
}

class RouterTest : public ::testing::Test {
 protected:
  RouterTest() {
    EXPECT_TRUE(router_.Add("GET", "/ui/*", Says("ui")).ok());
    EXPECT_TRUE(router_.Add("GET", "/cameras/{id}", Says("one")).ok());
    EXPECT_TRUE(router_.Add("GET", "/cameras/all", Says("all")).ok());
    EXPECT_TRUE(
        router_
            .Add("POST", "/cameras/{id}/retry", Says("retry"), {.reach = RouteReach::kUnixSocket})
            .ok());
    EXPECT_TRUE(router_.Add("GET", "/", Says("root")).ok());
  }
  std::string Ask(std::string_view method, std::string_view path, bool from_unix_socket = false) {
    return AnswerOf(router_.Find(method, path, from_unix_socket));
  }
  Router router_;
};

TEST_F(RouterTest, PathsMeetTheMostExactRoute) {
  EXPECT_EQ(Ask("GET", "/"), "root");
  EXPECT_EQ(Ask("GET", "/cameras/all"), "all");
  EXPECT_EQ(Ask("GET", "/cameras/door"), "one");
  EXPECT_EQ(Ask("HEAD", "/cameras/door"), "one");
  EXPECT_EQ(Ask("GET", "/ui/a/b"), "ui");
  EXPECT_EQ(Ask("GET", "/ui/"), "ui");
  EXPECT_EQ(Ask("GET", "/ui"), "ui");
  EXPECT_EQ(Ask("GET", "/cameras/"), "404");
  EXPECT_EQ(Ask("GET", "/cameras/a/b"), "404");
  EXPECT_EQ(Ask("GET", "/Cameras/all"), "404");
  EXPECT_EQ(Ask("GET", "cameras"), "400");
  EXPECT_EQ(Ask("GET", ""), "400");
}

TEST_F(RouterTest, ParametersComeWithoutEscapes) {
  EXPECT_THAT(router_.Find("GET", "/cameras/front%20door", false).parameters,
              ElementsAre(Pair("id", "front door")));
  // An escaped slash is a part of the name.
  EXPECT_THAT(router_.Find("GET", "/cameras/a%2Fb", false).parameters,
              ElementsAre(Pair("id", "a/b")));
  EXPECT_EQ(Ask("GET", "/cameras/%zz"), "400");
  EXPECT_EQ(Ask("GET", "/cameras/%4"), "400");
}

TEST_F(RouterTest, ControlStandsOnTheUnixSocketAlone) {
  EXPECT_EQ(Ask("POST", "/cameras/door/retry", true), "retry");
  // Not even its name is told elsewhere.
  EXPECT_EQ(Ask("POST", "/cameras/door/retry", false), "404");
  EXPECT_EQ(Ask("GET", "/cameras/door/retry", false), "404");
}

TEST_F(RouterTest, OtherMethodsAreToldWhichOnesThereAre) {
  const Router::Found found = router_.Find("DELETE", "/cameras/door", false);
  EXPECT_EQ(found.refusal.status, 405);
  EXPECT_THAT(found.refusal.headers, ElementsAre(Pair("Allow", "GET, HEAD")));
  EXPECT_THAT(found.parameters, IsEmpty());
}

TEST_F(RouterTest, RoutesThatAreNoneAreRefused) {
  EXPECT_FALSE(router_.Add("GET", "metrics", Says("")).ok());
  EXPECT_FALSE(router_.Add("GET", "/a/*/b", Says("")).ok());
  EXPECT_FALSE(router_.Add("HEAD", "/a", Says("")).ok());
  EXPECT_FALSE(router_.Add("GET", "/cameras/{name}", Says("")).ok());  // the same as {id}
}

TEST(RequestTest, QueriesAreRead) {
  HttpRequest request;
  request.query = "a=1&b=x%26y+z&flag&a=2&=empty";
  EXPECT_EQ(request.QueryValue("a"), "1");
  EXPECT_EQ(request.QueryValue("b"), "x&y z");
  EXPECT_EQ(request.QueryValue("flag"), "");
  EXPECT_EQ(request.QueryValue("c"), std::nullopt);
}

}  // namespace
}  // namespace sightline::serve
