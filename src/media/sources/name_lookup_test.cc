#include "media/sources/name_lookup.h"

#include <gtest/gtest.h>
#include <netdb.h>

#include <atomic>
#include <semaphore>
#include <thread>
#include <vector>

#include "media/sources/test_live.h"

namespace sightline::test {
namespace {

bool Never() { return false; }

// Name servers that answer nobody until they are let.
struct SilentServers {
  std::counting_semaphore<1000> may_answer{0};
  std::atomic<int> asked{0};
  NameLookup names{[this](const std::string&) {
    ++asked;
    may_answer.acquire();
    return EAI_AGAIN;
  }};
  // Waits for the threads that were left behind, which use this.
  void LetAnswer() {
    may_answer.release(100);  // more than ever ask
    for (const char* host : {"camera.example", "other.example"}) names.Find(host, &Never);
  }
};

TEST(NameLookup, GivesTheAnswer) {
  NameLookup names([](const std::string& host) { return host == "good" ? 0 : EAI_NONAME; });
  EXPECT_EQ(names.Find("good", &Never), 0);
  EXPECT_EQ(names.Find("bad", &Never), EAI_NONAME);
}

TEST(NameLookup, DoesNotAskForAddresses) {
  NameLookup names([](const std::string&) { return EAI_FAIL; });
  for (const char* address : {"10.0.0.1", "::1", "fe80::1%lo"}) {
    EXPECT_EQ(names.Find(address, &Never), 0) << address;
  }
}

TEST(NameLookup, NobodyWaitsForServersThatAreSilent) {
  SilentServers servers;
  int polls = 0;
  EXPECT_EQ(servers.names.Find("camera.example", [&] { return ++polls > 2; }), std::nullopt);
  // Asked again meanwhile: the same question, not another thread.
  EXPECT_EQ(servers.names.Find("camera.example", [&] { return ++polls > 4; }), std::nullopt);
  EXPECT_EQ(servers.names.Find("other.example", [&] { return ++polls > 6; }), std::nullopt);
  EXPECT_LE(servers.asked, 2);
  servers.LetAnswer();
}

TEST(NameLookup, CancelEndsConnectingWithSilentServers) {
  for (const char* url : {"rtsp://camera.example/live", "rtsps://camera.example/live",
                          "http://camera.example/video", "rtmp://camera.example/live"}) {
    SilentServers servers;
    LiveOptions options;
    options.names = &servers.names;
    Live live(url, options);
    absl::Status status;
    std::thread connecting([&] { status = live.stream->Connect(); });
    while (servers.asked == 0) std::this_thread::yield();
    live.stream->Cancel();
    connecting.join();
    EXPECT_TRUE(absl::IsCancelled(status)) << url << ": " << status;
    servers.LetAnswer();
  }
}

TEST(NameLookup, AnUnknownNameIsUnavailable) {
  NameLookup names([](const std::string&) { return EAI_NONAME; });
  LiveOptions options;
  options.names = &names;
  Live live("rtsp://camera.example/live", options);
  EXPECT_TRUE(absl::IsUnavailable(live.Connect())) << live.status;
  EXPECT_NE(MessageOf(live.status).find("no host of that name"), std::string_view::npos);
}

}  // namespace
}  // namespace sightline::test
