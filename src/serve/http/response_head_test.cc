#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/http/response_head_internal.h"

namespace sightline::serve {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(ResponseHead, WhatTheHandlerSaysGoesFirst) {
  HttpResponse response{.status = 201, .content_type = "a/b"};
  EXPECT_THAT(ResponseHead(response, 5, true), HasSubstr("\r\nCache-Control: no-store\r\n"));
  response.headers = {{"cache-control", "max-age=5"}, {"X-A", "old"}, {"x-a", "new"}};
  const std::string head = ResponseHead(response, 5, true);
  EXPECT_THAT(head, StartsWith("HTTP/1.1 201 Created\r\n"));
  EXPECT_THAT(head, HasSubstr("\r\nContent-Type: a/b\r\n"));
  EXPECT_THAT(head, HasSubstr("\r\ncache-control: max-age=5\r\n"));
  EXPECT_THAT(head, Not(HasSubstr("no-store")));
  EXPECT_THAT(head, HasSubstr("\r\nx-a: new\r\n"));
  EXPECT_THAT(head, Not(HasSubstr("old")));
  EXPECT_THAT(head, EndsWith("\r\nContent-Length: 5\r\n\r\n"));
  EXPECT_THAT(head, Not(HasSubstr("Connection")));
}

TEST(ResponseHead, HandlersCannotMakeItAnotherMessage) {
  const HttpResponse response{.headers = {{"Content-Length", "7"},
                                          {"transfer-encoding", "chunked"},
                                          {"Connection", "upgrade"},
                                          {"X: Y", "1"},
                                          {"X-B", "1\r\nX-Cee: 2"}}};
  const std::string head = ResponseHead(response, 5, false);
  EXPECT_THAT(head, HasSubstr("\r\nContent-Length: 5\r\n"));
  EXPECT_THAT(head, HasSubstr("\r\nConnection: close\r\n"));
  for (const char* text : {"Content-Length: 7", "chunked", "upgrade", "X: Y", "X-Cee"}) {
    EXPECT_THAT(head, Not(HasSubstr(text)));
  }
}

TEST(ResponseHead, LengthsStandWhereThereIsABody) {
  EXPECT_THAT(ResponseHead({.status = 204}, 0, true), Not(HasSubstr("Content-Length")));
  EXPECT_THAT(ResponseHead({}, std::nullopt, false), Not(HasSubstr("Content-Length")));
  EXPECT_THAT(ResponseHead({.status = 99}, 0, true), StartsWith("HTTP/1.1 500 "));
}

}  // namespace
}  // namespace sightline::serve
