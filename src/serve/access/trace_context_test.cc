#include "serve/access/trace_context.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace sightline::serve {
namespace {

constexpr const char* kTrace = "0af7651916cd43dd8448eb211c80319c";
constexpr const char* kSpan = "b7ad6b7169203331";

std::string Header(const std::string& version, const std::string& trace, const std::string& span,
                   const std::string& flags) {
  return version + "-" + trace + "-" + span + "-" + flags;
}

TEST(TraceContext, AParentIsRead) {
  const auto parent = ParseTraceparent(Header("00", kTrace, kSpan, "01"));
  ASSERT_TRUE(parent);
  EXPECT_EQ(parent->trace_id, kTrace);
  EXPECT_EQ(parent->span_id, kSpan);
  EXPECT_TRUE(parent->sampled);
  EXPECT_FALSE(ParseTraceparent(Header("00", kTrace, kSpan, "00"))->sampled);
  EXPECT_FALSE(ParseTraceparent(Header("00", kTrace, kSpan, "fe"))->sampled);
  EXPECT_TRUE(ParseTraceparent(Header("00", kTrace, kSpan, "ff"))->sampled);
}

TEST(TraceContext, LaterVersionsAreReadByTheirFirstFields) {
  EXPECT_TRUE(ParseTraceparent(Header("cc", kTrace, kSpan, "01")));
  EXPECT_TRUE(ParseTraceparent(Header("cc", kTrace, kSpan, "01-what-will-be")));
  EXPECT_FALSE(ParseTraceparent(Header("cc", kTrace, kSpan, "01.")));
  EXPECT_FALSE(ParseTraceparent(Header("00", kTrace, kSpan, "01-more")));
}

TEST(TraceContext, WhatIsNoneIsNone) {
  const std::string good = Header("00", kTrace, kSpan, "01");
  EXPECT_FALSE(ParseTraceparent(""));
  EXPECT_FALSE(ParseTraceparent(Header("ff", kTrace, kSpan, "01")));
  EXPECT_FALSE(ParseTraceparent(Header("00", std::string(32, '0'), kSpan, "01")));
  EXPECT_FALSE(ParseTraceparent(Header("00", kTrace, std::string(16, '0'), "01")));
  EXPECT_FALSE(ParseTraceparent(Header("00", "0AF7651916CD43DD8448EB211C80319C", kSpan, "01")));
  for (size_t i = 0; i < good.size(); ++i) {
    EXPECT_FALSE(ParseTraceparent(good.substr(0, i))) << i;
    std::string odd = good;
    odd[i] = 'x';
    EXPECT_FALSE(ParseTraceparent(odd)) << i;
  }
}

TEST(TraceContext, WhatIsWrittenIsRead) {
  const std::string trace = NewTraceId();
  const std::string span = NewSpanId();
  for (const bool sampled : {false, true}) {
    const auto parent = ParseTraceparent(TraceparentText(trace, span, sampled));
    ASSERT_TRUE(parent);
    EXPECT_EQ(parent->trace_id, trace);
    EXPECT_EQ(parent->span_id, span);
    EXPECT_EQ(parent->sampled, sampled);
  }
}

TEST(TraceContext, StatesAreLists) {
  EXPECT_TRUE(IsTracestate("rojo=00f067aa0ba902b7"));
  EXPECT_TRUE(IsTracestate("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"));
  EXPECT_TRUE(IsTracestate("rojo=1 , \t congo=2,"));
  EXPECT_TRUE(IsTracestate("1tenant@sys=x"));
  EXPECT_FALSE(IsTracestate(""));
  EXPECT_FALSE(IsTracestate(","));
  EXPECT_FALSE(IsTracestate("rojo"));
  EXPECT_FALSE(IsTracestate("Rojo=1"));
  EXPECT_FALSE(IsTracestate("1rojo=1"));
  EXPECT_FALSE(IsTracestate("a=1,a=2"));
  EXPECT_FALSE(IsTracestate("a=b=c"));
  EXPECT_FALSE(IsTracestate("a=\x01"));
  EXPECT_FALSE(IsTracestate("a@1b=c"));
  EXPECT_FALSE(IsTracestate("a=" + std::string(257, 'x')));
  std::string many = "k0=v";
  for (int i = 1; i < 33; ++i) many += ",k" + std::to_string(i) + "=v";
  EXPECT_FALSE(IsTracestate(many));
  EXPECT_TRUE(IsTracestate(many.substr(0, many.rfind(','))));
}

TEST(TraceContext, IdsAreOthersEachTime) {
  std::set<std::string> ids;
  for (int i = 0; i < 1000; ++i) {
    ids.insert(NewTraceId());
    ids.insert(NewSpanId());
  }
  EXPECT_EQ(ids.size(), 2000u);
  EXPECT_EQ(NewTraceId().size(), 32u);
}

TEST(TraceContext, AShareIsSampled) {
  int sampled = 0;
  for (int i = 0; i < 20'000; ++i) sampled += IsInSample(NewTraceId(), 0.25) ? 1 : 0;
  EXPECT_NEAR(sampled, 5000, 500);  // eight standard deviations
  EXPECT_TRUE(IsInSample(kTrace, 1));
  EXPECT_FALSE(IsInSample(kTrace, 0));
  const std::string low = std::string(18, 'f') + "00000000000001";
  const std::string high = std::string(18, '0') + "ffffffffffffff";
  EXPECT_TRUE(IsInSample(low, 0.001));
  EXPECT_FALSE(IsInSample(high, 0.999));
}

TEST(TraceContext, RequestIdsAreSane) {
  EXPECT_TRUE(IsRequestId("a-B_9.x"));
  EXPECT_FALSE(IsRequestId(""));
  EXPECT_FALSE(IsRequestId("a b"));
  EXPECT_FALSE(IsRequestId("a\"b"));
  EXPECT_FALSE(IsRequestId("a\n"));
  EXPECT_FALSE(IsRequestId(std::string(129, 'a')));
}

}  // namespace
}  // namespace sightline::serve
