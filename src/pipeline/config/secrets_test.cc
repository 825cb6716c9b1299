#include "pipeline/config/secrets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "pipeline/config/document.h"

namespace sightline::config {
namespace {

using testing::HasSubstr;
using testing::Not;

class ResolveSecretsTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        std::filesystem::path(testing::TempDir()) /
        ("secrets_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void Write(const std::string& name, const std::string& content) {
    std::ofstream(folder_ / name, std::ios::binary) << content;
  }
  SecretText Resolve(std::string_view text) {
    const absl::StatusOr<SecretText> resolved = ResolveSecrets(text, sources());
    EXPECT_TRUE(resolved.ok()) << MessageOf(resolved.status());
    return resolved.ok() ? *resolved : SecretText();
  }
  std::string Fault(std::string_view text) {
    const absl::StatusOr<SecretText> resolved = ResolveSecrets(text, sources());
    EXPECT_FALSE(resolved.ok());
    return std::string(MessageOf(resolved.status()));
  }
  SecretSources sources() const {
    return {[](const std::string& name) -> std::optional<std::string> {
              if (name == "PW") return "p@ss/w:rd%41%";
              if (name == "HOST") return "10.0.0.7";
              if (name == "URL") return "rtsp://u:hunter2@h/";
              if (name == "EMPTY") return "";
              if (name == "LINES") return "hunter2\nx";
              return std::nullopt;
            },
            folder_.string()};
  }

  std::filesystem::path folder_;
};

TEST_F(ResolveSecretsTest, PlainTextStaysAsItIs) {
  EXPECT_EQ(Resolve("clips/a$b.mp4").Reveal(), "clips/a$b.mp4");
  EXPECT_EQ(Resolve("a$${x}.mp4").Reveal(), "a${x}.mp4");
  EXPECT_EQ(Resolve("a$${x}.mp4").shown(), "a${x}.mp4");
}

TEST_F(ResolveSecretsTest, EncodesWhatWouldBreakAUrl) {
  const SecretText text = Resolve("rtsp://admin:${env:PW}@${env:HOST}:554/x");
  EXPECT_EQ(text.Reveal(), "rtsp://admin:p%40ss%2Fw:rd%41%25@10.0.0.7:554/x");
  EXPECT_EQ(text.shown(), "rtsp://admin:***@${env:HOST}:554/x");
  EXPECT_EQ(Resolve("clips/${env:PW}").Reveal(), "clips/p@ss/w:rd%41%") << "no URL, no encoding";
}

TEST_F(ResolveSecretsTest, ShowsReferencesAsTheyWereWritten) {
  EXPECT_EQ(Resolve("${env:URL}").shown(), "${env:URL}");
  EXPECT_EQ(Resolve("${env:URL}").Reveal(), "rtsp://u:hunter2@h/");
  Write("pw", "hunter2\r\n");
  const SecretText text = Resolve("rtsp://a:x${file:pw}@h/${env:HOST}?token=${env:PW}");
  EXPECT_EQ(text.Reveal(), "rtsp://a:xhunter2@h/10.0.0.7?token=p@ss/w:rd%41%");
  EXPECT_EQ(text.shown(), "rtsp://a:***@h/${env:HOST}?token=***");
  std::ostringstream out;
  out << text;
  EXPECT_EQ(out.str(), text.shown());
}

TEST_F(ResolveSecretsTest, FaultsSayWhatToDoAndNoSecret) {
  EXPECT_THAT(Fault("${env:NOT_SET}"), HasSubstr("\"NOT_SET\" is not set"));
  EXPECT_THAT(Fault("${env:EMPTY}"), HasSubstr("is empty"));
  EXPECT_THAT(Fault("${env:LINES}"),
              testing::AllOf(HasSubstr("line end"), Not(HasSubstr("hunter2"))));
  EXPECT_THAT(Fault("${file:none}"), HasSubstr("is not there"));
  EXPECT_THAT(Fault("${file:.}"), HasSubstr("no regular file"));
  EXPECT_THAT(Fault("${PW}"), HasSubstr("write ${env:NAME}"));
  EXPECT_THAT(Fault("${env:}"), HasSubstr("write ${env:NAME}"));
  EXPECT_THAT(Fault("${env:PW"), HasSubstr("without its }"));
  EXPECT_THAT(Fault("a\x01"
                    "0\x02"),
              HasSubstr("control character"));
  Write("big", std::string(kMaxSecretBytes + 1, 'x'));
  EXPECT_THAT(Fault("${file:big}"), HasSubstr("more than"));
}

TEST(MaskSecrets, HidesPasswordsWhereverUrlsHoldThem) {
  const std::pair<const char*, const char*> cases[] = {
      {"door.mp4", "door.mp4"},
      {"rtsp://10.0.0.7:554/a@b", "rtsp://10.0.0.7:554/a@b"},
      {"rtsp://admin@h/x", "rtsp://admin@h/x"},
      {"rtsp://admin:pw@h/x", "rtsp://admin:***@h/x"},
      {"rtsp://admin:p@w@h/x", "rtsp://admin:***@h/x"},
      {"rtsp://admin:p/w@h/x", "rtsp://admin:***@h/x"},
      {"rtsp://:pw@h", "rtsp://:***@h"},
      {"rtsp://[::1]:554/x", "rtsp://[::1]:554/x"},
      {"concat:http://u:pw@h/a|http://v:qw@h/b", "concat:http://u:***@h/a|http://v:***@h/b"},
      {"http://h/x?user=a&password=pw&c=1", "http://h/x?user=a&password=***&c=1"},
      {"http://h/x?X-Amz-Signature=abc", "http://h/x?X-Amz-Signature=***"},
      {"rtsp://h/user=admin&password=pw&channel=1", "rtsp://h/user=admin&password=***&channel=1"},
      {"http://h/?url=rtsp://u:pw@h2/", "http://h/?url=rtsp://u:***@h2/"},
      {"see rtsp://u:pw@h for more", "see rtsp://u:***@h for more"},
  };
  for (const auto& [url, masked] : cases) EXPECT_EQ(MaskSecrets(url), masked) << url;
}

TEST(Quote, CutsAtWholeCharacters) {
  EXPECT_EQ(Quote("a"), "\"a\"");
  EXPECT_EQ(Quote(std::string(59, 'a') + "äb"), "\"" + std::string(59, 'a') + "ä...\"");
  EXPECT_EQ(Quote("\xff"), "\"\\xff\"");
}

}  // namespace
}  // namespace sightline::config
