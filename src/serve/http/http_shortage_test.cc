// A server whose machine runs out of memory or of descriptors comes back by itself. Replaces operator
// new of this whole test program.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <thread>
#include <vector>

#include "base/test_until.h"
#include "serve/http/http_server.h"
#include "serve/http/test_http_client.h"

namespace {
// Of this thread: so many allocations succeed, the next fails; negative: all succeed.
thread_local int until_failure = -1;

void* Allocate(size_t size) {
  if (until_failure >= 0 && until_failure-- == 0) throw std::bad_alloc();
  void* memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
}  // namespace

void* operator new(size_t size) { return Allocate(size); }
void* operator new[](size_t size) { return Allocate(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }

namespace sightline::serve {
namespace {

constexpr int kPatienceS = 30;

std::unique_ptr<HttpServer> StartedServer() {
  auto server = HttpServer::Create({.tcp = ListenAddress{.address = "127.0.0.1", .port = 0}});
  EXPECT_TRUE(server.ok()) << server.status();
  const auto hello = [](const HttpRequest&) { return HttpResponse{.body = "hello"}; };
  EXPECT_TRUE((*server)->Route("GET", "/hello", hello).ok());
  // Fails an allocation of the server's thread some time later.
  const auto fail = [](const HttpRequest& request) {
    until_failure = std::atoi(std::string(request.Parameter("n")).c_str());
    return HttpResponse{.body = "it will"};
  };
  EXPECT_TRUE((*server)->Route("GET", "/fail/{n}", fail).ok());
  EXPECT_TRUE((*server)->Start().ok());
  return *std::move(server);
}

TEST(HttpShortage, AnyAllocationMayFail) {
  const std::unique_ptr<HttpServer> server = StartedServer();
  const uint16_t port = server->address()->port;
  for (int n = 0; n < 150; ++n) {
    SCOPED_TRACE(n);
    RawClient::Tcp(port).Get("/fail/" + std::to_string(n));
    // Connections on the way may be lost, but not the server.
    int status = 0;
    for (int attempt = 0; attempt < 20 && status != 200; ++attempt) {
      RawClient client = RawClient::Tcp(port);
      client.SetPatience(kPatienceS);
      status = StatusOf(client.Get("/hello"));
    }
    ASSERT_EQ(status, 200);
  }
  server->Stop();
}

TEST(HttpShortage, DescriptorsThatAreFreeAgainAreUsed) {
  const std::unique_ptr<HttpServer> server = StartedServer();
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit few = before;
  few.rlim_cur = std::min<rlim_t>(before.rlim_cur, 64);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  std::vector<int> taken;
  for (int fd = open("/dev/null", O_RDONLY); fd >= 0; fd = open("/dev/null", O_RDONLY)) {
    taken.push_back(fd);
  }
  ASSERT_FALSE(taken.empty());
  close(taken.back());  // for the client; none is left for the server
  taken.pop_back();
  RawClient client = RawClient::Tcp(server->address()->port);
  client.SetPatience(kPatienceS);
  ASSERT_TRUE(client.connected());
  ASSERT_TRUE(client.Say("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n"));
  EXPECT_TRUE(Until([&] { return server->stats().failed >= 2; }));
  EXPECT_EQ(server->stats().accepted, 0u);
  for (const int fd : taken) close(fd);
  EXPECT_EQ(StatusOf(client.HearAnswer()), 200);
  setrlimit(RLIMIT_NOFILE, &before);
  server->Stop();
}

}  // namespace
}  // namespace sightline::serve
