#include "serve/access/key_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "base/test_until.h"
#include "base/whole_file.h"
#include "remote/test_clock.h"
#include "serve/access/api_key.h"
#include "serve/access/key_table.h"

namespace sightline::serve {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class KeyFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "keys-" + std::to_string(getpid()) + "-" +
              ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    path_ = folder_ + "/keys.json";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // The key.
  std::string Add(KeyRecord record) {
    std::string key = *MakeApiKey();
    record.id = KeyIdOf(key);
    if (record.name.empty()) record.name = "test";
    record.sha256 = HashOfKey(key);
    const absl::Status status = EditKeyFile(path_, [&](std::vector<KeyRecord>& keys) {
      keys.push_back(record);
      return absl::OkStatus();
    });
    EXPECT_TRUE(status.ok()) << status;
    return key;
  }

  std::string folder_, path_;
};

TEST_F(KeyFileTest, RecordsComeBackAsTheyWere) {
  KeyRecord record;
  record.name = "front door";
  record.role = KeyRole::kInfer;
  record.created_utc_us = 1'700'000'000'000'000;
  record.expires_utc_us = 1'800'000'000'123'456;
  record.limits = {.rate_per_s = 0.5, .burst = 10, .concurrency = 8};
  record.models = {"a", "b"};
  const std::string key = Add(record);
  Add({});
  const auto read = ReadKeyFile(path_);
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->size(), 2u);
  const KeyRecord& first = (*read)[0];
  EXPECT_EQ(first.id, KeyIdOf(key));
  EXPECT_EQ(first.name, "front door");
  EXPECT_EQ(first.role, KeyRole::kInfer);
  EXPECT_EQ(first.created_utc_us, record.created_utc_us);
  EXPECT_EQ(first.expires_utc_us, record.expires_utc_us);
  EXPECT_EQ(first.limits.rate_per_s, 0.5);
  EXPECT_EQ(first.limits.burst, 10);
  EXPECT_EQ(first.limits.concurrency, 8);
  EXPECT_EQ(first.models, record.models);
  EXPECT_EQ((*read)[1].role, KeyRole::kViewer);
}

TEST_F(KeyFileTest, TheFileIsItsOwnersAndHoldsNoKey) {
  const std::string key = Add({});
  struct stat info {};
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  const auto text = ReadWholeFile(path_, 1 << 20);
  ASSERT_TRUE(text.ok());
  EXPECT_THAT(*text, HasSubstr(std::string(KeyIdOf(key))));
  EXPECT_THAT(*text, Not(HasSubstr(key.substr(key.size() - kKeySecretSize))));
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
    EXPECT_THAT(entry.path().filename().string(), Not(HasSubstr("tmp")));
  }
}

TEST_F(KeyFileTest, AFileThatOthersMayWriteIsNotRead) {
  Add({});
  std::filesystem::permissions(path_, std::filesystem::perms(0620));
  const auto read = ReadKeyFile(path_);
  EXPECT_EQ(read.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(MessageOf(read.status())), HasSubstr("chmod 600"));
}

TEST_F(KeyFileTest, AnEditThatFailsChangesNothing) {
  Add({});
  const std::string before = *ReadWholeFile(path_, 1 << 20);
  EXPECT_FALSE(EditKeyFile(path_, [](std::vector<KeyRecord>& keys) {
                 keys.clear();
                 return InvalidArgument("no");
               }).ok());
  EXPECT_EQ(*ReadWholeFile(path_, 1 << 20), before);
}

TEST_F(KeyFileTest, MistakesAreRefused) {
  const auto told = [](const std::string& text) {
    return std::string(MessageOf(ParseKeys(text, "k.json").status()));
  };
  const std::string hash(64, 'a');
  const auto key = [&](const std::string& more) {
    return "{\"version\":1,\"keys\":[{\"id\":\"0123456789ab\",\"name\":\"n\",\"sha256\":\"" + hash +
           "\"" + more + "}]}";
  };
  EXPECT_TRUE(ParseKeys(key(",\"role\":\"viewer\""), "k.json").ok());
  EXPECT_THAT(told(""), HasSubstr("no JSON object"));
  EXPECT_THAT(told("[]"), HasSubstr("no JSON object"));
  EXPECT_THAT(told("{\"version\":2,\"keys\":[]}"), HasSubstr("version"));
  EXPECT_THAT(told("{\"version\":1}"), HasSubstr("keys"));
  EXPECT_THAT(told("{\"version\":1,\"keys\":[1]}"), HasSubstr("key 1"));
  EXPECT_THAT(told(key("")), HasSubstr("\"role\" is missing"));
  EXPECT_THAT(told(key(",\"role\":\"root\"")), HasSubstr("viewer, infer or admin"));
  EXPECT_THAT(told(key(",\"role\":\"admin\",\"ratelimit\":3")), HasSubstr("no known key"));
  EXPECT_THAT(told(key(",\"role\":\"admin\",\"rate\":-1")), HasSubstr("out of range"));
  EXPECT_THAT(told(key(",\"role\":\"admin\",\"rate\":\"1\"")), HasSubstr("is a number"));
  EXPECT_THAT(told(key(",\"role\":\"admin\",\"concurrency\":1.5")), HasSubstr("whole number"));
  EXPECT_THAT(told(key(",\"role\":\"admin\",\"expires\":\"soon\"")), HasSubstr("is a time"));
  EXPECT_THAT(told(key(",\"role\":\"admin\",\"models\":[]")), HasSubstr("empty"));
  EXPECT_THAT(told(key(",\"role\":\"admin\",\"models\":[1]")), HasSubstr("list of texts"));
}

TEST_F(KeyFileTest, RolesIncludeThoseBefore) {
  using enum RouteRole;
  for (const RouteRole role : {kHealth, kMetrics, kViewer}) {
    EXPECT_TRUE(MayDo(KeyRole::kViewer, role));
    EXPECT_TRUE(MayDo(KeyRole::kInfer, role));
    EXPECT_TRUE(MayDo(KeyRole::kAdmin, role));
  }
  EXPECT_FALSE(MayDo(KeyRole::kViewer, kInfer));
  EXPECT_TRUE(MayDo(KeyRole::kInfer, kInfer));
  EXPECT_TRUE(MayDo(KeyRole::kAdmin, kInfer));
  for (const RouteRole role : {kAdmin, kControl}) {
    EXPECT_FALSE(MayDo(KeyRole::kViewer, role));
    EXPECT_FALSE(MayDo(KeyRole::kInfer, role));
    EXPECT_TRUE(MayDo(KeyRole::kAdmin, role));
  }
}

TEST_F(KeyFileTest, ATableFindsOnlyWhatProvesItself) {
  const std::string key = Add({});
  const auto table = KeyTable::Open(path_, /*watch=*/false);
  ASSERT_TRUE(table.ok()) << table.status();
  ASSERT_NE((*table)->Find(key), nullptr);
  EXPECT_GT((*table)->Find(key)->source, 0u);
  std::string other = key;
  other.back() = other.back() == 'A' ? 'B' : 'A';
  EXPECT_EQ((*table)->Find(other), nullptr);
  EXPECT_EQ((*table)->Find(*MakeApiKey()), nullptr);
  EXPECT_EQ((*table)->Find(KeyIdOf(key)), nullptr);
  EXPECT_EQ((*table)->Find((*table)->Find(key)->record.sha256), nullptr);
  EXPECT_EQ((*table)->Find(""), nullptr);
}

TEST_F(KeyFileTest, KeysExpire) {
  TestClock clock;
  KeyRecord record;
  record.expires_utc_us = clock.NowUtcUs() + 1000;
  const std::string key = Add(record);
  const auto table = KeyTable::Open(path_, /*watch=*/false, clock);
  ASSERT_TRUE(table.ok());
  EXPECT_NE((*table)->Find(key), nullptr);
  clock.Advance(999);
  EXPECT_NE((*table)->Find(key), nullptr);
  clock.Advance(1);
  EXPECT_EQ((*table)->Find(key), nullptr);
}

TEST_F(KeyFileTest, ChangesAreSeenAndMistakesChangeNothing) {
  const std::string first = Add({});
  const auto table = KeyTable::Open(path_, /*watch=*/false);
  ASSERT_TRUE(table.ok());
  const std::string second = Add({});
  EXPECT_EQ((*table)->Find(second), nullptr);
  (*table)->Look();
  ASSERT_NE((*table)->Find(second), nullptr);
  EXPECT_NE((*table)->Find(first)->source, (*table)->Find(second)->source);
  const uint32_t source = (*table)->Find(second)->source;

  const absl::Status revoked = EditKeyFile(path_, [](std::vector<KeyRecord>& keys) {
    keys[0].revoked_utc_us = 1;
    return absl::OkStatus();
  });
  ASSERT_TRUE(revoked.ok());
  (*table)->Look();
  EXPECT_EQ((*table)->Find(first), nullptr);
  ASSERT_NE((*table)->Find(second), nullptr);
  EXPECT_EQ((*table)->Find(second)->source, source) << "it stays the same caller";

  std::ofstream(path_) << "{ not json";
  (*table)->Look();
  EXPECT_NE((*table)->Find(second), nullptr);
  std::filesystem::remove(path_);
  (*table)->Look();
  EXPECT_NE((*table)->Find(second), nullptr);
  const std::string third = Add({});  // a new file
  (*table)->Look();
  EXPECT_NE((*table)->Find(third), nullptr);
  EXPECT_EQ((*table)->Find(second), nullptr);
}

TEST_F(KeyFileTest, AWatchedFileIsReadAgainByItself) {
  const std::string key = Add({});
  const auto table = KeyTable::Open(path_, /*watch=*/true);
  ASSERT_TRUE(table.ok());
  EXPECT_NE((*table)->Find(key), nullptr);
  ASSERT_TRUE(EditKeyFile(path_, [](std::vector<KeyRecord>& keys) {
                keys.clear();
                return absl::OkStatus();
              }).ok());
  EXPECT_TRUE(Until([&] { return (*table)->Find(key) == nullptr; }));
}

TEST_F(KeyFileTest, WithoutAFileNothingStarts) {
  EXPECT_EQ(KeyTable::Open(path_).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace sightline::serve
