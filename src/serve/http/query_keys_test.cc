#include "serve/http/query_keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace sightline::serve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

HttpRequest Asked(const std::string& query) {
  HttpRequest request;
  request.query = query;
  return request;
}

TEST(QueryKeys, AreThoseOfTheQuery) {
  EXPECT_THAT(Asked("a=1&b&c%20d=x=y&a=2").QueryKeys(), ElementsAre("a", "b", "c d", "a"));
  EXPECT_THAT(Asked("").QueryKeys(), ElementsAre());
  EXPECT_THAT(Asked("&&a&").QueryKeys(), ElementsAre("a"));
  EXPECT_THAT(Asked("=1").QueryKeys(), ElementsAre(""));
}

TEST(QueryKeys, AMistypedOneIsNamedWithTheOneThatWasMeant) {
  RouteDocument document;
  document.parameters = {{"confidence", "", ""}, {"max", "", ""}, {"X-Capture-Time", "", "", true}};
  EXPECT_TRUE(CheckQueryKeys(Asked(""), document).ok());
  EXPECT_TRUE(CheckQueryKeys(Asked("max=1&confidence=0.5"), document).ok());
  const auto told = [&](const std::string& query) {
    const absl::Status status = CheckQueryKeys(Asked(query), document);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << query;
    return std::string(status.message());
  };
  EXPECT_THAT(told("max=1&confidense=0.5"), HasSubstr("\"confidense\""));
  EXPECT_THAT(told("max=1&confidense=0.5"), HasSubstr("did you mean \"confidence\"?"));
  EXPECT_THAT(told("nothing=like"), HasSubstr("there are confidence, max"));
  EXPECT_THAT(told("X-Capture-Time=1"), HasSubstr("X-Capture-Time"));
  EXPECT_THAT(told("Max=1"), HasSubstr("did you mean \"max\"?"));
  EXPECT_TRUE(absl::IsInvalidArgument(CheckQueryKeys(Asked("a"), RouteDocument())));
}

}  // namespace
}  // namespace sightline::serve
