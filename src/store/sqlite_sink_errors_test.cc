// What the SQLite sink does with files that are not its own, damaged, locked or forbidden, and with a
// full disk.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/full_disk_test_internal.h"
#include "store/read.h"
#include "store/sqlite_test_support.h"
#include "store/store_test_support.h"

namespace sightline {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(SqliteSinkErrors, NotADatabase) {
  const TemporaryFolder folder;
  WriteFile(folder / "a.db", std::string(5000, 'x'));
  const absl::Status status = SqliteSink::Create({.path = folder / "a.db"}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(ErrorText(status), HasSubstr(folder / "a.db"));
  EXPECT_THAT(ErrorText(status), HasSubstr("not a SQLite database"));
  EXPECT_THAT(ErrorText(status), Not(HasSubstr("\n")));
  EXPECT_EQ(ReadFile(folder / "a.db"), std::string(5000, 'x'));
}

TEST(SqliteSinkErrors, AnotherProgramsDatabaseStaysAsItIs) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  {
    auto other = *SqliteDatabase::Open(path, SqliteDatabase::Mode::kReadWriteCreate, 0);
    ASSERT_TRUE(other.Execute("CREATE TABLE detections (x); PRAGMA user_version = 1").ok());
  }
  const std::string before = ReadFile(path);
  const absl::Status status = SqliteSink::Create({.path = path}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(ErrorText(status), HasSubstr("another program"));
  EXPECT_EQ(ReadFile(path), before);
}

TEST(SqliteSinkErrors, ANewerSchemaIsRefused) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  ASSERT_TRUE(MustCreate({.path = path})->Close().ok());
  {
    auto database = *SqliteDatabase::Open(path, SqliteDatabase::Mode::kReadWriteCreate, 0);
    ASSERT_TRUE(database.Execute("PRAGMA user_version = 99").ok());
  }
  const absl::Status status = SqliteSink::Create({.path = path}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(ErrorText(status), HasSubstr("schema version 99"));
  EXPECT_EQ(DatabaseReader::Open(path).status(), status);
}

TEST(SqliteSinkErrors, LockedByAnotherProcess) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  const auto sink = MustCreate({.path = path, .busy_timeout_ms = 1});
  auto other = *SqliteDatabase::Open(path, SqliteDatabase::Mode::kReadWriteCreate, 0);
  ASSERT_TRUE(other.Execute("BEGIN IMMEDIATE").ok());
  ASSERT_TRUE(sink->Write(SyntheticResults().Frame(0)).ok());
  const absl::Status status = sink->Flush();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(ErrorText(status), HasSubstr("another process holds its lock"));
  EXPECT_EQ(sink->Write(SyntheticResults().Frame(1)), status) << "errors are sticky";
  EXPECT_EQ(sink->Close(), status);
}

TEST(SqliteSinkErrors, FolderMissingAndPathIsAFolder) {
  const TemporaryFolder folder;
  for (const std::string& path : {folder / "none/a.db", folder.path()}) {
    const absl::Status status = SqliteSink::Create({.path = path}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    EXPECT_THAT(ErrorText(status), HasSubstr(path));
  }
  EXPECT_EQ(SqliteSink::Create({.path = ""}).status().code(), absl::StatusCode::kInvalidArgument);
}

// Root may write everywhere, so the attempt is made by a child that is nobody.
TEST(SqliteSinkErrors, ReadOnlyFolder) {
  const TemporaryFolder folder;
  ASSERT_EQ(chmod(folder.path().c_str(), 0555), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    constexpr uid_t kNobody = 65534;
    if (geteuid() == 0 && setuid(kNobody) != 0) _exit(2);
    const absl::Status status = SqliteSink::Create({.path = folder / "a.db"}).status();
    _exit(status.code() == absl::StatusCode::kFailedPrecondition &&
                  MessageOf(status).find(folder.path()) != std::string_view::npos
              ? 0
              : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  chmod(folder.path().c_str(), 0755);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(SqliteSinkErrors, DamagedPages) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  const auto sink = MustCreate({.path = path});
  StoreRun(*sink, SyntheticResults(), 300);
  ASSERT_TRUE(sink->Close().ok());
  std::string bytes = ReadFile(path);
  for (size_t i = 4096; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 31);
  WriteFile(path, bytes);
  auto again = SqliteSink::Create({.path = path});
  absl::Status status = again.status();
  if (again.ok()) {
    for (uint64_t i = 0; i < 300 && status.ok(); ++i) {
      status = (*again)->Write(SyntheticResults().Frame(i));
    }
    if (status.ok()) status = (*again)->Close();
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(ErrorText(status), HasSubstr("damaged"));
}

// Writes until the disk is full; what had been committed must still be there, in whole frames.
void ExpectFullDiskKeepsCommittedRows(const SqliteSinkOptions& options, uint64_t* committed) {
  const SyntheticResults source;
  const auto sink = MustCreate(options);
  ASSERT_NE(sink, nullptr);
  absl::Status status;
  for (uint64_t i = 0; i < 200'000 && status.ok(); ++i) status = sink->Write(source.Frame(i));
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_THAT(ErrorText(status), HasSubstr(options.path));
  EXPECT_THAT(ErrorText(status), Not(HasSubstr("\n")));
  *committed = sink->stats().frames;
  EXPECT_EQ(sink->Close(), status);
}

TEST(SqliteSinkErrors, SizeLimitReached) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  uint64_t committed = 0;
  ExpectFullDiskKeepsCommittedRows({.path = path, .batch_rows = 100, .max_size_bytes = 1024 * 1024},
                                   &committed);
  EXPECT_GT(committed, 100u);
  const auto reader = *DatabaseReader::Open(path);
  EXPECT_EQ(static_cast<uint64_t>(*reader->CountRows("frames")), committed);
  EXPECT_EQ(static_cast<uint64_t>(*reader->CountRows("detections")), committed * 5);
}

TEST(SqliteSinkErrors, DiskFull) {
  const TemporaryFolder folder;
  const std::string disk = folder / "disk";
  ASSERT_EQ(mkdir(disk.c_str(), 0755), 0);
  if (mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=3m") != 0) {
    GTEST_SKIP() << "only root can mount a small disk; SizeLimitReached stands in";
  }
  uint64_t committed = 0;
  ExpectFullDiskKeepsCommittedRows({.path = disk + "/a.db", .batch_rows = 100}, &committed);
  EXPECT_GT(committed, 100u);
  {
    const auto reader = DatabaseReader::Open(disk + "/a.db");
    EXPECT_TRUE(reader.ok()) << reader.status();
    if (reader.ok()) {
      EXPECT_EQ(static_cast<uint64_t>(*(*reader)->CountRows("frames")), committed);
      EXPECT_EQ(static_cast<uint64_t>(*(*reader)->CountRows("detections")), committed * 5);
    }
  }
  EXPECT_EQ(umount(disk.c_str()), 0);
}

TEST(SqliteSink, WaitsForRoom) {
  const TemporaryFolder folder;
  const SyntheticResults source;
  const auto wait = std::make_shared<OutputWait>();
  const auto undisturbed = MustCreate({.path = folder / "whole.db", .batch_rows = 100});
  StoreRun(*undisturbed, source, 500);
  ASSERT_TRUE(undisturbed->Close().ok());
  const auto sink = MustCreate({.path = folder / "full.db", .batch_rows = 100, .wait = wait});
  WithFullDisk(*wait, [&] { StoreRun(*sink, source, 500); });
  ASSERT_TRUE(sink->Close().ok());
  EXPECT_EQ(DumpOf(folder / "full.db"), DumpOf(folder / "whole.db"));
}

TEST(SqliteSink, WaitsForAnotherProgramsLock) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  const auto wait = std::make_shared<OutputWait>();
  const auto sink =
      MustCreate({.path = path, .batch_rows = 100, .busy_timeout_ms = 1, .wait = wait});
  auto other = *SqliteDatabase::Open(path, SqliteDatabase::Mode::kReadWriteCreate, 0);
  ASSERT_TRUE(other.Execute("BEGIN IMMEDIATE").ok());
  std::thread release([&] {
    while (wait->reason().empty()) std::this_thread::yield();
    EXPECT_TRUE(other.Execute("COMMIT").ok());
  });
  StoreRun(*sink, SyntheticResults(), 200);
  release.join();
  ASSERT_TRUE(sink->Close().ok());
  EXPECT_EQ(*(*DatabaseReader::Open(path))->CountRows("frames"), 200);
}

// Whoever ends the run while the disk is full gets an error, and a file with what was committed.
TEST(SqliteSink, WaitsNoLongerThanTheRun) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  const SyntheticResults source;
  const auto wait = std::make_shared<OutputWait>();
  ASSERT_TRUE(FullDisk::Prepare());
  const auto sink = MustCreate({.path = path, .batch_rows = 1, .wait = wait});
  ASSERT_TRUE(sink->Write(source.Frame(0)).ok());
  {
    const FullDisk disk;
    std::thread end([&] {
      while (wait->reason().empty()) std::this_thread::yield();
      wait->End();
    });
    EXPECT_EQ(sink->Write(source.Frame(1)).code(), absl::StatusCode::kResourceExhausted);
    end.join();
  }
  EXPECT_EQ(*(*DatabaseReader::Open(path))->CountRows("frames"), 1);
}

}  // namespace
}  // namespace sightline
