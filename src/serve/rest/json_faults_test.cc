#include "serve/rest/json_faults.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sightline::serve {
namespace {

using ::testing::HasSubstr;

TEST(LikelyJsonFault, IsNamed) {
  EXPECT_THAT(LikelyJsonFault("\xEF\xBB\xBF{}"), HasSubstr("byte order mark"));
  EXPECT_THAT(LikelyJsonFault(R"({"data":[1,NaN]})"), HasSubstr("NaN is no JSON"));
  EXPECT_THAT(LikelyJsonFault(R"({"data":[-Infinity]})"), HasSubstr("Infinity is no JSON"));
  EXPECT_THAT(LikelyJsonFault("{'a':1}"), HasSubstr("double quotes"));
  EXPECT_THAT(LikelyJsonFault(R"({"a":True})"), HasSubstr("True is Python"));
}

TEST(LikelyJsonFault, IsNotLookedForInStrings) {
  for (const char* text : {"", "{", R"({"NaN":"NaN 'x' \" None"})", R"({"a":"\\"} x)", "\"NaN",
                           "\"\\", R"([true, false, null, 1e5])", "Nano"}) {
    EXPECT_EQ(LikelyJsonFault(text), "") << text;
  }
  EXPECT_THAT(LikelyJsonFault(R"({"a\\":NaN})"), HasSubstr("NaN"));
}

}  // namespace
}  // namespace sightline::serve
