// Heads that are refused: what proxies in front may read differently, and what pages of other sites send.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>

#include "serve/http/http_server.h"
#include "serve/http/request_head_checks_internal.h"
#include "serve/http/test_http_client.h"

namespace sightline::serve {
namespace {

using ::testing::HasSubstr;

class HttpHeadTest : public ::testing::Test {
 protected:
  void SetUp() override {
    HttpServerOptions options;
    options.tcp = ListenAddress{.address = "127.0.0.1", .port = 0};
    auto made = HttpServer::Create(options);
    ASSERT_TRUE(made.ok()) << made.status();
    server_ = *std::move(made);
    const auto add = [&](const char* method) {
      ASSERT_TRUE(server_
                      ->Route(method, "/echo",
                              [this](const HttpRequest& request) {
                                ++handled_;
                                return HttpResponse{.body =
                                                        "echo:" + std::string(request.body.view())};
                              })
                      .ok());
    };
    for (const char* method : {"GET", "POST", "PUT", "DELETE"}) add(method);
    ASSERT_TRUE(server_->Start().ok());
  }
  RawClient Client() {
    RawClient client = RawClient::Tcp(server_->address()->port);
    client.SetPatience(60);
    return client;
  }
  // All that is answered to these bytes, until the server closes.
  std::string All(const std::string& bytes) {
    RawClient client = Client();
    client.Say(bytes);
    client.EndSaying();
    return client.HearAll();
  }
  static std::string Post(const std::string& headers, const std::string& body) {
    return "POST /echo HTTP/1.1\r\nHost: h:1\r\n" + headers + "\r\n" + body;
  }

  std::atomic<int> handled_{0};
  std::unique_ptr<HttpServer> server_;
};

const char kHidden[] = "GET /echo HTTP/1.1\r\nHost: h:1\r\n\r\n";

TEST_F(HttpHeadTest, NoBodyIsTakenForTheNextRequest) {
  const std::string sized = "Content-Length: " + std::to_string(sizeof(kHidden) - 1) + "\r\n";
  const struct {
    std::string headers;
    int status;
  } kCases[] = {
      {"Transfer-Encoding: gzip\r\n", 501},
      {"Transfer-Encoding: identity\r\n", 501},
      {"Transfer-Encoding: chunked, identity\r\n", 501},
      {"Transfer-Encoding: gzip, chunked\r\n", 501},
      {"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", 501},
      {"Transfer-Encoding: xchunked\r\n", 501},
      {"Transfer-Encoding: \"chunked\"\r\n", 501},
      {"Transfer-Encoding:\r\n", 501},
      {"Transfer-Encoding: xchunked\r\n" + sized, 400},
      {sized + "Transfer-Encoding: xchunked\r\n", 400},
      {"Transfer-Encoding: chunked\r\n" + sized, 400},
      {sized + "Transfer-Encoding: chunked\r\n", 400},
      {"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400},
      {"Transfer-Encoding:\r\n chunked\r\n", 400},
      {"Transfer-Encoding: gzip,\r\n\tchunked\r\n", 400},
      {"Content-Length: 1\r\n 0\r\n", 400},
      {"Content-Length:\r\n\t" + sized.substr(16), 400},
  };
  for (const auto& test : kCases) {
    const std::string answers = All(Post(test.headers, kHidden));
    EXPECT_EQ(StatusOf(answers), test.status) << test.headers << answers;
    EXPECT_THAT(answers, HasSubstr("Connection: close\r\n")) << test.headers;
    EXPECT_EQ(answers.find("HTTP/1.1 ", 1), std::string::npos) << test.headers << answers;
  }
  EXPECT_EQ(handled_, 0);
}

TEST_F(HttpHeadTest, OldRequestsHaveNoTransferEncoding) {
  const std::string answer =
      All("POST /echo HTTP/1.0\r\nHost: h:1\r\nTransfer-Encoding: chunked\r\n\r\n"
          "1\r\na\r\n0\r\n\r\n");
  EXPECT_EQ(StatusOf(answer), 400) << answer;
  EXPECT_EQ(handled_, 0);
}

TEST_F(HttpHeadTest, ChunkedIsKnownInEveryCase) {
  for (const char* name : {"chunked", "Chunked", "CHUNKED", " chunked\t "}) {
    EXPECT_EQ(BodyOf(Client().Ask(
                  Post("Transfer-Encoding:" + std::string(name) + "\r\n", "1\r\na\r\n0\r\n\r\n"))),
              "echo:a")
        << name;
  }
}

TEST_F(HttpHeadTest, AFoldedHeaderIsSeenByteByByte) {
  RawClient client = Client();
  for (const char c : Post("X: a\r\n b\r\nContent-Length: 0\r\n", "")) {
    if (!client.Say({&c, 1})) break;
  }
  EXPECT_EQ(StatusOf(client.HearAnswer()), 400);
  // Blanks behind the head are the body's.
  EXPECT_EQ(BodyOf(Client().Ask(Post("Content-Length: 4\r\n", " \r\n "))), "echo: \r\n ");
}

TEST_F(HttpHeadTest, LongChunkExtensionsAndTrailersAreRefused) {
  const std::string chunked = "Transfer-Encoding: chunked\r\n";
  const std::string more(200'000, 'x');
  for (const std::string& body :
       {"1;" + more + "\r\na\r\n0\r\n\r\n", "1\r\na\r\n0;" + more + "\r\n\r\n",
        "1\r\na\r\n0\r\nX: " + more + "\r\n\r\n"}) {
    const std::string answer = All(Post(chunked, body));
    EXPECT_EQ(StatusOf(answer), 431) << body.substr(0, 20) << "\n" << answer;
    EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
  }
  EXPECT_EQ(handled_, 0);
  EXPECT_EQ(BodyOf(Client().Ask(
                Post(chunked, "1;" + std::string(1000, 'x') + "\r\na\r\n0\r\nX: y\r\n\r\n"))),
            "echo:a");
}

TEST_F(HttpHeadTest, PagesOfOtherSitesChangeNothing) {
  const auto ask = [&](const std::string& method, const std::string& headers) {
    return StatusOf(Client().Ask(method + " /echo HTTP/1.1\r\nHost: h:1\r\n" + headers +
                                 "Content-Length: 0\r\n\r\n"));
  };
  for (const char* method : {"POST", "PUT", "DELETE"}) {
    for (const char* origin : {"http://elsewhere", "null", "http://h", "http://h:2", "https://h:10",
                               "http://h:1.elsewhere", "http://xh:1", "http://elsewhere/h:1"}) {
      EXPECT_EQ(ask(method, "Origin: " + std::string(origin) + "\r\n"), 403)
          << method << " " << origin;
    }
  }
  EXPECT_EQ(handled_, 0);
  for (const char* method : {"POST", "PUT", "DELETE"}) {
    EXPECT_EQ(ask(method, ""), 200) << method;
    EXPECT_EQ(ask(method, "Origin: http://h:1\r\n"), 200) << method;
    EXPECT_EQ(ask(method, "Origin: https://H:1\r\n"), 200) << method;
  }
  EXPECT_EQ(handled_, 9);
  // What only asks is answered; the page's browser keeps the answer from it.
  EXPECT_EQ(ask("GET", "Origin: http://elsewhere\r\n"), 200);
  EXPECT_EQ(ask("OPTIONS", "Origin: http://elsewhere\r\n"), 405);
  RawClient head = Client();
  ASSERT_TRUE(head.Say("HEAD /echo HTTP/1.1\r\nHost: h:1\r\nOrigin: http://elsewhere\r\n\r\n"));
  EXPECT_EQ(StatusOf(head.HearAnswer(/*to_head=*/true)), 200);
}

TEST(RequestHeadChecksTest, KeysOfWebSockets) {
  EXPECT_TRUE(IsWebSocketKey("dGhlIHNhbXBsZSBub25jZQ=="));
  EXPECT_TRUE(IsWebSocketKey("+/+/+/+/+/+/+/+/+/+/+w=="));
  for (const char* key :
       {"", "x", "==", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ==x", "dGhlIHNhbXBsZSBub25jZ===", "dGhlIHNhbXBsZSBub25-ZQ==",
        "dGhlIHNhbXBs ZSBub25jZ==", "dGhlIHNhbXBsZSBub25jZQAA", "dGhlIHNhbXBsZSBub25jZQAAAA=="}) {
    EXPECT_FALSE(IsWebSocketKey(key)) << key;
  }
}

}  // namespace
}  // namespace sightline::serve
