#include "serve/access/access_log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "base/test_until.h"
#include "base/whole_file.h"

namespace sightline::serve {
namespace {

using ::testing::HasSubstr;

class AccessLogTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = ::testing::TempDir() + "access-" + std::to_string(getpid()) + "-" +
            ::testing::UnitTest::GetInstance()->current_test_info()->name() + ".log";
    std::filesystem::remove(path_);
  }
  void TearDown() override {
    std::filesystem::remove(path_);
    std::filesystem::remove(path_ + ".1");
  }
  static std::vector<std::string> Lines(const std::string& path) {
    std::vector<std::string> lines;
    const auto text = ReadWholeFile(path, 1 << 24);
    std::istringstream stream(text.ok() ? *text : "");
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return lines;
  }
  static AccessRecord Record(const std::string& id) {
    AccessRecord record;
    record.protocol = "http";
    record.method = "POST";
    record.route = "/v2/models/{model}/infer";
    record.model = "m";
    record.status = 200;
    record.complete = true;
    record.request_id = id;
    return record;
  }
  std::string path_;
};

TEST_F(AccessLogTest, ALineHasWhatIsKnown) {
  AccessRecord record = Record("id1");
  record.received_bytes = 600;
  record.sent_bytes = 320;
  record.client = "127.0.0.1";
  record.key_id = "0f3a91c27be4";
  record.trace_id = "t";
  record.began_utc_us = 1'769'860'800'123'456;
  record.took_us = 4200;
  record.submitted_us = 100;
  record.computing_us = 400;
  record.computed_us = 3500;
  EXPECT_EQ(AccessLine(record),
            "{\"time\":\"2026-01-31T12:00:00.123456Z\",\"protocol\":\"http\",\"method\":\"POST\","
            "\"route\":\"/v2/models/{model}/infer\",\"model\":\"m\",\"status\":200,"
            "\"bytes_in\":600,\"bytes_out\":320,\"ms\":4.2,\"queue_ms\":0.3,\"compute_ms\":3.1,"
            "\"client\":\"127.0.0.1\",\"key\":\"0f3a91c27be4\",\"request_id\":\"id1\","
            "\"trace_id\":\"t\"}\n");
}

TEST_F(AccessLogTest, WhatIsNotKnownIsLeftOut) {
  AccessRecord record;
  record.protocol = "grpc";
  record.refused = "rate";
  const auto line = nlohmann::json::parse(AccessLine(record));
  EXPECT_EQ(line["complete"], false);
  EXPECT_EQ(line["refused"], "rate");
  for (const char* name : {"method", "route", "model", "key", "queue_ms", "compute_ms"}) {
    EXPECT_FALSE(line.contains(name)) << name;
  }
}

TEST_F(AccessLogTest, ALineIsOneLineWhateverIsInIt) {
  AccessRecord record = Record("x");
  record.model = "a\n\"b\xFF\t";
  const std::string line = AccessLine(record);
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  EXPECT_TRUE(nlohmann::json::accept(line));
}

TEST_F(AccessLogTest, EveryLineIsWrittenBeforeTheEnd) {
  {
    auto log = AccessLog::Open(path_, /*max_waiting=*/100'000);
    ASSERT_TRUE(log.ok()) << log.status();
    for (int i = 0; i < 5000; ++i) (*log)->Add(Record(std::to_string(i)));
  }
  const auto lines = Lines(path_);
  ASSERT_EQ(lines.size(), 5000u);
  for (int i = 0; i < 5000; ++i) {
    EXPECT_EQ(nlohmann::json::parse(lines[static_cast<size_t>(i)])["request_id"],
              std::to_string(i));
  }
}

TEST_F(AccessLogTest, AFileThatWasMovedIsOpenedAnew) {
  auto log = AccessLog::Open(path_);
  ASSERT_TRUE(log.ok());
  (*log)->Add(Record("before"));
  ASSERT_TRUE(Until([&] { return (*log)->stats().written == 1; }));
  std::filesystem::rename(path_, path_ + ".1");
  (*log)->Add(Record("still"));
  ASSERT_TRUE(Until([&] { return (*log)->stats().written == 2; }));
  (*log)->Reopen();
  (*log)->Add(Record("after"));
  ASSERT_TRUE(Until([&] { return (*log)->stats().written == 3; }));
  ASSERT_EQ(Lines(path_ + ".1").size(), 2u);
  ASSERT_EQ(Lines(path_).size(), 1u);
  EXPECT_THAT(Lines(path_)[0], HasSubstr("after"));
}

TEST_F(AccessLogTest, WhatDoesNotFitIsCounted) {
  // Nobody reads the pipe: the writer stands, and the queue fills.
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  const int reader = open(path_.c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reader, 0);
  auto log = AccessLog::Open(path_, /*max_waiting=*/10);
  ASSERT_TRUE(log.ok());
  size_t added = 0;
  ASSERT_TRUE(Until([&] {
    (*log)->Add(Record(std::string(100, 'x')));
    ++added;
    return (*log)->stats().dropped >= 10;
  }));
  // Now it is read, and everything is accounted for.
  std::string bytes(1 << 16, '\0');
  ASSERT_TRUE(Until([&] {
    while (read(reader, bytes.data(), bytes.size()) > 0) {
    }
    const AccessLogStats stats = (*log)->stats();
    return stats.written + stats.dropped == added;
  }));
  close(reader);
}

TEST_F(AccessLogTest, LinesThatCannotBeWrittenAreCounted) {
  if (access("/dev/full", W_OK) != 0) GTEST_SKIP() << "there is no /dev/full";
  auto log = AccessLog::Open("/dev/full");
  ASSERT_TRUE(log.ok()) << log.status();
  (*log)->Add(Record("x"));
  EXPECT_TRUE(Until([&] { return (*log)->stats().failed == 1; }));
  EXPECT_EQ((*log)->stats().written, 0u);
}

TEST_F(AccessLogTest, AFolderThatIsNotThereIsAnError) {
  EXPECT_FALSE(AccessLog::Open(path_ + "/no/log").ok());
}

TEST_F(AccessLogTest, AReaderThatStandsStillDoesNotHoldTheEnd) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  const int reader = open(path_.c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reader, 0);
  {
    auto log = AccessLog::Open(path_, /*max_waiting=*/100'000);
    ASSERT_TRUE(log.ok());
    for (int i = 0; i < 5000; ++i)
      (*log)->Add(Record(std::to_string(i)));  // more than a pipe holds
  }
  close(reader);
}

TEST_F(AccessLogTest, AFifoThatNobodyReadsIsRefused) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  EXPECT_FALSE(AccessLog::Open(path_).ok());
}

}  // namespace
}  // namespace sightline::serve
