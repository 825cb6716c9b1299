// rtsps:// against a real server, with certificates made by the openssl program.
#include <gmock/gmock.h>

#include "media/sources/test_live.h"

namespace sightline::test {
namespace {

using ::testing::HasSubstr;

bool Openssl(const std::string& arguments) {
  return std::system(("openssl " + arguments + " >/dev/null 2>&1").c_str()) == 0;
}

// An authority, a server and a client signed by it, and a server of another name.
class LiveTls : public testing::Test {
 protected:
  void SetUp() override {
    if (!Openssl("version")) GTEST_SKIP() << "the openssl program is not installed";
    ASSERT_TRUE(Openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout '" +
                        (dir_ / "ca.key") + "' -out '" + (dir_ / "ca.pem") + "'"));
    MakeSigned("server", "IP:127.0.0.1");
    MakeSigned("other", "DNS:elsewhere.example");
    MakeSigned("client", "DNS:client.example");
  }
  void MakeSigned(const std::string& name, const std::string& subject_alt_name) {
    Write(dir_ / (name + ".ext"), Chars("subjectAltName=" + subject_alt_name + "\n"));
    ASSERT_TRUE(Openssl("req -newkey rsa:2048 -nodes -subj /CN=" + name + " -keyout '" +
                        (dir_ / (name + ".key")) + "' -out '" + (dir_ / (name + ".csr")) + "'"));
    ASSERT_TRUE(Openssl("x509 -req -days 2 -in '" + (dir_ / (name + ".csr")) + "' -CA '" +
                        (dir_ / "ca.pem") + "' -CAkey '" + (dir_ / "ca.key") +
                        "' -CAcreateserial -extfile '" + (dir_ / (name + ".ext")) + "' -out '" +
                        (dir_ / (name + ".pem")) + "'"));
  }
  static std::vector<uint8_t> Chars(const std::string& text) { return {text.begin(), text.end()}; }
  std::vector<std::string> ServerArguments(const std::string& name,
                                           std::vector<std::string> more = {}) const {
    more.insert(more.end(), {"--cert", dir_ / (name + ".pem"), "--key", dir_ / (name + ".key")});
    return more;
  }
  LiveOptions Trusting() const {
    LiveOptions options;
    options.tls.ca_file = dir_ / "ca.pem";
    return options;
  }

  TempDir dir_;
};

TEST_F(LiveTls, FramesArriveFromAServerThatIsVouchedFor) {
  RtspServer server(ServerArguments("server"));
  SKIP_UNLESS_STARTED(server);
  Live live(server.Url("", "rtsps"), Trusting());
  const std::vector<FrameMeta> frames = live.Read(40);
  EXPECT_EQ(frames.size(), 40u) << live.status;
  ExpectLiveLaws(frames, live);
}

TEST_F(LiveTls, AnUnknownAuthorityIsRefused) {
  RtspServer server(ServerArguments("server"));
  SKIP_UNLESS_STARTED(server);
  Live live(server.Url("", "rtsps"));
  EXPECT_TRUE(absl::IsUnauthenticated(live.Connect())) << live.status;
  EXPECT_THAT(std::string(MessageOf(live.status)), HasSubstr("ca_file"));
  LiveOptions careless;
  careless.tls.verify = false;
  Live unverified(server.Url("", "rtsps"), careless);
  EXPECT_EQ(unverified.Read(3).size(), 3u) << unverified.status;
}

TEST_F(LiveTls, AnotherHostsCertificateIsRefused) {
  RtspServer server(ServerArguments("other"));
  SKIP_UNLESS_STARTED(server);
  Live live(server.Url("", "rtsps"), Trusting());
  EXPECT_TRUE(absl::IsUnauthenticated(live.Connect())) << live.status;
}

TEST_F(LiveTls, BasicIsAllowedInside) {
  RtspServer server(ServerArguments(
      "server", {"--auth", "basic", "--user", "viewer", "--password", "secretword"}));
  SKIP_UNLESS_STARTED(server);
  Live live(server.Url("viewer:secretword", "rtsps"), Trusting());
  EXPECT_EQ(live.Read(3).size(), 3u) << live.status;
  Live wrong(server.Url("viewer:mistaken", "rtsps"), Trusting());
  EXPECT_TRUE(absl::IsUnauthenticated(wrong.Connect())) << wrong.status;
}

TEST_F(LiveTls, AClientCertificateIsShown) {
  RtspServer server(ServerArguments("server", {"--client-ca", dir_ / "ca.pem"}));
  SKIP_UNLESS_STARTED(server);
  LiveOptions options = Trusting();
  options.tls.certificate_file = dir_ / "client.pem";
  options.tls.key_file = dir_ / "client.key";
  Live live(server.Url("", "rtsps"), options);
  EXPECT_EQ(live.Read(3).size(), 3u) << live.status;
  Live without(server.Url("", "rtsps"), Trusting());
  EXPECT_FALSE(without.Connect().ok());
}

TEST_F(LiveTls, FilesThatAreNoneAreTold) {
  TcpServer server([](int) {});
  LiveOptions options;
  options.tls.ca_file = dir_ / "missing.pem";
  Live live("rtsps://127.0.0.1:" + std::to_string(server.port()) + "/live", options);
  EXPECT_TRUE(absl::IsInvalidArgument(live.Connect())) << live.status;
  EXPECT_THAT(std::string(MessageOf(live.status)), HasSubstr("missing.pem"));
}

TEST_F(LiveTls, AStoppedServerIsGivenUp) {
  RtspServer server(ServerArguments("server"));
  SKIP_UNLESS_STARTED(server);
  std::atomic<bool> stopped{false};
  std::atomic<int> asked{0};
  LiveOptions options = Trusting();
  options.give_up = [&] { return stopped && ++asked > 30; };
  Live live(server.Url("", "rtsps"), options);
  ASSERT_EQ(live.Read(5).size(), 5u) << live.status;
  server.Signal(SIGSTOP);
  stopped = true;
  live.ReadAll();
  EXPECT_TRUE(absl::IsCancelled(live.status)) << live.status;
}

TEST_F(LiveTls, AKilledServerEndsTheStream) {
  RtspServer server(ServerArguments("server"));
  SKIP_UNLESS_STARTED(server);
  Live live(server.Url("", "rtsps"), Trusting());
  ASSERT_EQ(live.Read(5).size(), 5u) << live.status;
  server.Signal(SIGKILL);
  live.ReadAll();
  EXPECT_TRUE(live.ended || absl::IsUnavailable(live.status)) << live.status;
}

}  // namespace
}  // namespace sightline::test
