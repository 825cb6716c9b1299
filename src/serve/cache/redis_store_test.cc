// Against a real redis-server; skips loudly where none is installed.
#include "serve/cache/redis_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <string>

#include "base/test_server_program.h"
#include "base/test_until.h"
#include "serve/cache/redis_link_internal.h"
#include "serve/cache/result_cache.h"
#include "serve/http/test_certificates.h"

namespace sightline::serve {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

CacheKey Key(int number) { return CacheKeyHasher().Add(number).Finish(); }
CachedBytes Bytes(std::string text) { return std::make_shared<const std::string>(std::move(text)); }

int FreePort() {
  const int socket_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  int port = 0;
  if (bind(socket_fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
      getsockname(socket_fd, reinterpret_cast<sockaddr*>(&address), &size) == 0) {
    port = ntohs(address.sin_port);
  }
  close(socket_fd);
  return port;
}

class Redis : public sightline::test::ServerProgram {
 public:
  explicit Redis(int port, const std::string& more = "")
      : ServerProgram({"sh", "-c",
                       "command -v redis-server >/dev/null || exit 1; echo PORT $0; "
                       "exec redis-server --port $0 --bind 127.0.0.1 --save '' --appendonly no "
                       "--logfile /dev/null --databases 4 " +
                           more,
                       std::to_string(port)}) {}
};
#define SKIP_WITHOUT_REDIS(server) \
  if (!(server).started()) GTEST_SKIP() << "SKIPPED: no redis-server is installed (./dev setup)"

RedisOptions OptionsFor(int port) {
  RedisOptions options;
  options.url.host = "127.0.0.1";
  options.url.port = port;
  options.timeout_us = 2'000'000;
  options.least_pause_us = options.most_pause_us = 10'000;
  return options;
}

CachedBytes Find(RedisStore& store, const CacheKey& key) {
  std::promise<CachedBytes> found;
  store.Find(key, [&](CachedBytes bytes) { found.set_value(std::move(bytes)); });
  return found.get_future().get();
}

TEST(RedisUrl, SaysWhereAndWho) {
  auto url = ParseRedisUrl("redis://cache.example:7000/3");
  ASSERT_TRUE(url.ok()) << url.status();
  EXPECT_EQ(url->host, "cache.example");
  EXPECT_EQ(url->port, 7000);
  EXPECT_EQ(url->database, 3);
  EXPECT_EQ(url->password, "");
  url = ParseRedisUrl("redis://me:p%40ss%2Fword@[::1]");
  ASSERT_TRUE(url.ok()) << url.status();
  EXPECT_EQ(url->host, "::1");
  EXPECT_EQ(url->port, 6379);
  EXPECT_EQ(url->user, "me");
  EXPECT_EQ(url->password, "p@ss/word");
  EXPECT_THAT(url->Shown(), Not(HasSubstr("word")));
  EXPECT_FALSE(url->tls);
  url = ParseRedisUrl("rediss://:word@cache.example");
  ASSERT_TRUE(url.ok()) << url.status();
  EXPECT_TRUE(url->tls);
  EXPECT_EQ(url->Shown(), "rediss://cache.example:6379/0");
  url = ParseRedisUrl("redis://only-a-password@h");
  EXPECT_EQ(url->user, "");
  EXPECT_EQ(url->password, "only-a-password");
}

TEST(RedisUrl, MistakesAreToldWithoutThePassword) {
  for (const std::string wrong :
       {"http://:hidden-word@h", "redis://", "redis://:hidden-word@", "redis://:hidden-word@h:0",
        "redis://:hidden-word@h:70000", "redis://:hidden-word@h/x", "redis://:hidden-word%4@h",
        "redis://[::1", "rediss://:hidden-word@h:x", "redisss://:hidden-word@h"}) {
    const auto url = ParseRedisUrl(wrong);
    EXPECT_FALSE(url.ok()) << wrong;
    EXPECT_THAT(url.status().ToString(), Not(HasSubstr("hidden-word")));
  }
}

TEST(RedisStore, KeepsFindsErasesAndForgets) {
  Redis server(FreePort());
  SKIP_WITHOUT_REDIS(server);
  const auto client = RedisClient::Create(OptionsFor(server.port()));
  ASSERT_TRUE(client.ok()) << client.status();
  ASSERT_TRUE(Until([&] { return (*client)->connected(); }));
  RedisStore store(*client, 3'600'000'000), brief(*client, 1000);
  EXPECT_EQ(Find(store, Key(1)), nullptr);
  std::string all_bytes;
  for (int i = 0; i < 256; ++i) all_bytes += static_cast<char>(i);
  store.Put(Key(1), Bytes(all_bytes));
  ASSERT_NE(Find(store, Key(1)), nullptr);
  EXPECT_EQ(*Find(store, Key(1)), all_bytes);
  EXPECT_EQ(Find(store, Key(2)), nullptr);
  store.Put(Key(1), Bytes(std::string(3 << 20, 'x')));
  EXPECT_EQ(Find(store, Key(1))->size(), size_t{3} << 20);
  store.Erase(Key(1));
  EXPECT_EQ(Find(store, Key(1)), nullptr);
  brief.Put(Key(3), Bytes("brief"));
  EXPECT_TRUE(Until([&] { return Find(brief, Key(3)) == nullptr; }));
  store.Put(Key(4), Bytes(std::string(9 << 20, 'x')));
  EXPECT_EQ(store.Counts().too_large, 1u);
  EXPECT_EQ(store.Counts().failures, 0u);
  EXPECT_FALSE(store.Counts().is_away);
}

TEST(RedisStore, WithoutAServerEverythingIsAMissAtOnceAndItComesByItself) {
  const int port = FreePort();
  const auto client = RedisClient::Create(OptionsFor(port));
  ASSERT_TRUE(client.ok());
  RedisStore store(*client, 3'600'000'000);
  bool is_answered = false;
  store.Find(Key(1), [&](CachedBytes bytes) { is_answered = bytes == nullptr; });
  EXPECT_TRUE(is_answered) << "on the calling thread, without waiting";
  store.Put(Key(1), Bytes("lost"));
  EXPECT_GE(store.Counts().failures, 2u);
  EXPECT_TRUE(store.Counts().is_away);
  Redis server(port);
  SKIP_WITHOUT_REDIS(server);
  ASSERT_TRUE(Until([&] { return (*client)->connected(); }));
  store.Put(Key(1), Bytes("kept"));
  ASSERT_NE(Find(store, Key(1)), nullptr);
  EXPECT_EQ(*Find(store, Key(1)), "kept");
}

// A server that hangs: the look-up is a miss when its time is over, and later ones at once.
TEST(RedisStore, AHangingServerHoldsNobody) {
  Redis server(FreePort());
  SKIP_WITHOUT_REDIS(server);
  RedisOptions options = OptionsFor(server.port());
  options.timeout_us = 20'000;
  options.connect_timeout_us = 50'000;
  const auto client = RedisClient::Create(options);
  ASSERT_TRUE(client.ok());
  RedisStore store(*client, 3'600'000'000);
  ASSERT_TRUE(Until([&] {
    store.Put(Key(1), Bytes("kept"));
    return Find(store, Key(1)) != nullptr;
  }));
  server.Signal(SIGSTOP);
  const uint64_t failures = store.Counts().failures;
  EXPECT_EQ(Find(store, Key(1)), nullptr);
  EXPECT_GT(store.Counts().failures, failures);
  EXPECT_TRUE(Until([&] { return store.Counts().is_away; }));
  server.Signal(SIGCONT);
  EXPECT_TRUE(Until([&] { return Find(store, Key(1)) != nullptr; }));
}

TEST(RedisStore, WhatIsOnItsWayWhenAllEndsIsAnswered) {
  Redis server(FreePort());
  SKIP_WITHOUT_REDIS(server);
  auto client = RedisClient::Create(OptionsFor(server.port()));
  ASSERT_TRUE(client.ok());
  ASSERT_TRUE(Until([&] { return (*client)->connected(); }));
  server.Signal(SIGSTOP);
  std::atomic<int> answered{0};
  {
    RedisStore store(*client, 3'600'000'000);
    for (int i = 0; i < 100; ++i) store.Find(Key(i), [&](CachedBytes) { ++answered; });
  }
  client = absl::UnavailableError("gone");
  EXPECT_EQ(answered, 100);
}

TEST(RedisStore, QueuesAreBounded) {
  Redis server(FreePort());
  SKIP_WITHOUT_REDIS(server);
  RedisOptions options = OptionsFor(server.port());
  options.max_waiting = 10;
  const auto client = RedisClient::Create(options);
  ASSERT_TRUE(client.ok());
  ASSERT_TRUE(Until([&] { return (*client)->connected(); }));
  server.Signal(SIGSTOP);
  RedisStore store(*client, 3'600'000'000);
  int misses = 0;
  std::atomic<int> later{0};
  for (int i = 0; i < 30; ++i) {
    if (i < 10) {
      store.Find(Key(i), [&](CachedBytes) { ++later; });
    } else {
      store.Find(Key(i), [&](CachedBytes) { ++misses; });
    }
  }
  EXPECT_EQ(misses, 20);
  EXPECT_EQ(store.Counts().dropped, 20u);
  server.Signal(SIGCONT);
  EXPECT_TRUE(Until([&] { return later == 10; }));
}

TEST(RedisStore, PasswordsAndDatabases) {
  Redis server(FreePort(), "--requirepass open-sesame");
  SKIP_WITHOUT_REDIS(server);
  RedisOptions options = OptionsFor(server.port());
  options.url.password = "open-sesame";
  options.url.database = 3;
  const auto client = RedisClient::Create(options);
  ASSERT_TRUE(client.ok());
  ASSERT_TRUE(Until([&] { return (*client)->connected(); }));
  RedisStore store(*client, 3'600'000'000);
  store.Put(Key(1), Bytes("kept"));
  ASSERT_NE(Find(store, Key(1)), nullptr);
  options.url.database = 0;
  const auto other = RedisClient::Create(options);
  ASSERT_TRUE(Until([&] { return (*other)->connected(); }));
  RedisStore other_store(*other, 3'600'000'000);
  EXPECT_EQ(Find(other_store, Key(1)), nullptr) << "another database";
  options.url.password = "wrong";
  testing::internal::CaptureStderr();
  const auto refused = RedisClient::Create(options);
  RedisStore refused_store(*refused, 3'600'000'000);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(Find(refused_store, Key(1)), nullptr);
    EXPECT_EQ(Find(other_store, Key(1)), nullptr);
  }
  EXPECT_FALSE((*refused)->connected());
  EXPECT_THAT(testing::internal::GetCapturedStderr(), Not(HasSubstr("wrong")));
}

// A server that speaks TLS alone, and certificates for it.
class RedisTlsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    made_.MakeAuthority("ca");
    made_.MakeAuthority("other");
    made_.Make("server", "ca");
    made_.Make("client", "ca");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string Options(bool with_clients) const {
    return "--port 0 --tls-port $0 --tls-cert-file " + made_.Pem("server") + " --tls-key-file " +
           made_.Key("server") + " --tls-ca-cert-file " + made_.Pem("ca") + " --tls-auth-clients " +
           (with_clients ? "yes" : "no");
  }
  RedisOptions OptionsOf(int port) const {
    RedisOptions options = OptionsFor(port);
    options.url.tls = true;
    options.tls.ca = made_.Pem("ca");
    return options;
  }
  // Ok once commands may be sent; else why not.
  static absl::Status Connected(const RedisOptions& options) {
    SL_ASSIGN_OR_RETURN(const auto tls, RedisTlsContext(options.tls));
    SL_ASSIGN_OR_RETURN(const auto link, RedisLink::Open(options.url, tls, 1 << 20));
    while (!link->ready()) {
      pollfd file{link->socket(), link->events(), 0};
      if (poll(&file, 1, 30'000) <= 0) return Internal("nothing happens");
      SL_RETURN_IF_ERROR(link->Advance(file.revents));
    }
    return absl::OkStatus();
  }

  const std::string folder_ = ::testing::TempDir() + "redis-tls-" + std::to_string(getpid()) + "-" +
                              ::testing::UnitTest::GetInstance()->current_test_info()->name();
  const TestCertificates made_{folder_};
};

TEST_F(RedisTlsTest, KeepsAndFinds) {
  Redis server(FreePort(), Options(/*with_clients=*/false));
  SKIP_WITHOUT_REDIS(server);
  const auto client = RedisClient::Create(OptionsOf(server.port()));
  ASSERT_TRUE(client.ok()) << client.status();
  ASSERT_TRUE(Until([&] { return (*client)->connected(); }));
  RedisStore store(*client, 3'600'000'000);
  EXPECT_EQ(Find(store, Key(1)), nullptr);
  std::string large;
  for (int i = 0; i < 3 << 20; ++i) large += static_cast<char>(i * 31 >> 3);
  store.Put(Key(1), Bytes(large));
  store.Put(Key(2), Bytes("small"));
  ASSERT_NE(Find(store, Key(1)), nullptr);
  EXPECT_EQ(*Find(store, Key(1)), large);
  EXPECT_EQ(*Find(store, Key(2)), "small");
  EXPECT_EQ(store.Counts().failures, 0u);
  server.Signal(SIGSTOP);
  std::atomic<int> answered{0};
  for (int i = 0; i < 100; ++i) store.Find(Key(i), [&](CachedBytes) { ++answered; });
  server.Signal(SIGCONT);
  EXPECT_TRUE(Until([&] { return answered == 100; }));
}

TEST_F(RedisTlsTest, ServersAreBelievedByTheirCertificatesAlone) {
  Redis server(FreePort(), Options(/*with_clients=*/false) + " --bind 127.0.0.1 127.0.0.2");
  SKIP_WITHOUT_REDIS(server);
  RedisOptions options = OptionsOf(server.port());
  ASSERT_TRUE(Until([&] { return Connected(options).ok(); })) << Connected(options);
  options.url.host = "localhost";
  EXPECT_TRUE(Connected(options).ok());
  options.url.host = "127.0.0.2";
  EXPECT_THAT(Connected(options).ToString(), HasSubstr("IP address mismatch"));
  options.url.host = "127.0.0.1";
  options.tls.ca = made_.Pem("other");
  EXPECT_THAT(Connected(options).ToString(), HasSubstr("certificate is not accepted"));
  options.tls.ca = "";
  EXPECT_THAT(Connected(options).ToString(), HasSubstr("certificate is not accepted"));
  options.tls.ca = folder_ + "/none.pem";
  EXPECT_TRUE(absl::IsInvalidArgument(RedisClient::Create(options).status()));
  EXPECT_THAT(RedisClient::Create(options).status().ToString(), HasSubstr("none.pem"));
}

TEST_F(RedisTlsTest, ClientsShowTheirCertificate) {
  Redis server(FreePort(), Options(/*with_clients=*/true));
  SKIP_WITHOUT_REDIS(server);
  RedisOptions options = OptionsOf(server.port());
  const auto without = RedisClient::Create(options);
  options.tls.certificate = made_.Pem("client");
  options.tls.key = made_.Key("client");
  const auto with = RedisClient::Create(options);
  ASSERT_TRUE(with.ok()) << with.status();
  ASSERT_TRUE(Until([&] { return (*with)->connected(); }));
  EXPECT_FALSE((*without)->connected());
  options.tls.key = made_.Key("server");
  EXPECT_TRUE(absl::IsInvalidArgument(RedisClient::Create(options).status()));
}

TEST_F(RedisTlsTest, AServerWithoutTlsIsAway) {
  Redis server(FreePort());
  SKIP_WITHOUT_REDIS(server);
  const auto plain = RedisClient::Create(OptionsFor(server.port()));
  ASSERT_TRUE(Until([&] { return (*plain)->connected(); }));
  EXPECT_FALSE(Connected(OptionsOf(server.port())).ok());
}

// Two processes, as far as the cache can tell.
TEST(RedisStore, CachesShareValues) {
  Redis server(FreePort());
  SKIP_WITHOUT_REDIS(server);
  const auto one = RedisClient::Create(OptionsFor(server.port()));
  const auto two = RedisClient::Create(OptionsFor(server.port()));
  ASSERT_TRUE(Until([&] { return (*one)->connected() && (*two)->connected(); }));
  ResultCache first(std::make_shared<RedisStore>(*one, 3'600'000'000), {});
  ResultCache second(std::make_shared<RedisStore>(*two, 3'600'000'000), {});
  const auto ask = [](ResultCache& cache) {
    std::promise<absl::StatusOr<CachedAnswer>> got;
    cache.Get(
        Key(1), [](ResultCache::Computed computed) { computed(Bytes("one")); },
        [&](absl::StatusOr<CachedAnswer>&& answer) { got.set_value(std::move(answer)); });
    return *got.get_future().get();
  };
  EXPECT_EQ(ask(first).hit, CacheHit::kNone);
  ASSERT_TRUE(Until([&] { return ask(second).hit == CacheHit::kExact; }));
  EXPECT_EQ(*ask(second).bytes, "one");
}

}  // namespace
}  // namespace sightline::serve
