// Versions of the schema, and reading a database back.
#include "store/sqlite_schema.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/whole_file.h"
#include "store/read.h"
#include "store/sqlite_test_support.h"
#include "store/store_test_support.h"

namespace sightline {
namespace {

TEST(SqliteSchema, MigratesStepByStepAndKeepsTheRows) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  const auto sink = MustCreate({.path = path});
  StoreRun(*sink, SyntheticResults(), 10);
  ASSERT_TRUE(sink->Close().ok());
  const auto known = SqliteMigrations();
  std::vector<std::string_view> later(known.begin(), known.end());
  later.insert(later.end(), {"ALTER TABLE frames ADD COLUMN note TEXT;", "CREATE TABLE x (y);"});
  auto database = *SqliteDatabase::Open(path, SqliteDatabase::Mode::kReadWriteCreate, 0);
  ASSERT_TRUE(MigrateSqliteSchema(database, later).ok());
  EXPECT_EQ(*database.QueryInt("PRAGMA user_version"), static_cast<int64_t>(later.size()));
  EXPECT_EQ(*database.QueryInt("SELECT count(*) FROM frames WHERE note IS NULL"), 10);
  EXPECT_TRUE(MigrateSqliteSchema(database, later).ok()) << "nothing left to do";
}

TEST(SqliteSchema, ThePageNamesTheVersion) {
  const auto page =
      ReadWholeFile(std::string(SIGHTLINE_SOURCE_DIR) + "/docs/output_formats.md", 1 << 20);
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_NE(page->find(fmt::format("the schema's version, now {}.", SqliteMigrations().size())),
            std::string::npos);
}

// Rows of `from` in a file of an earlier version, made by that version's own statements.
void MakeOldFile(const std::string& path, size_t version, const std::string& from) {
  auto database = *SqliteDatabase::Open(path, SqliteDatabase::Mode::kReadWriteCreate, 0);
  ASSERT_TRUE(MigrateSqliteSchema(database, SqliteMigrations().first(version)).ok());
  ASSERT_TRUE(database.Execute("ATTACH '" + from + "' AS other").ok());
  for (const char* table : {"detections", "events", "frames", "ledger", "tracks"}) {
    ASSERT_TRUE(
        database.Execute(fmt::format("INSERT INTO {0} SELECT * FROM other.{0}", table)).ok());
  }
}

// A file of each earlier version, with rows in it, is brought up to date when opened.
TEST(SqliteSchema, AnOldFileIsWrittenOn) {
  const TemporaryFolder folder;
  const SyntheticResults source;
  const auto whole = MustCreate({.path = folder / "whole.db"});
  StoreRun(*whole, source, 10);
  ASSERT_TRUE(whole->Close().ok());
  const std::string expected = DumpOf(folder / "whole.db");
  for (size_t version = 1; version < SqliteMigrations().size(); ++version) {
    SCOPED_TRACE(version);
    const std::string path = folder / fmt::format("{}.db", version);
    MakeOldFile(path, version, folder / "whole.db");
    {
      const auto reader = *DatabaseReader::Open(path);
      EXPECT_EQ(reader->schema_version(), static_cast<int>(version));
      EXPECT_EQ(*reader->Dump(), expected) << "read as it is";
      EXPECT_EQ(*reader->CountRows("stage_results"), 0);
    }
    const auto again = MustCreate({.path = path});
    StoreRun(*again, source, 10);
    ASSERT_TRUE(again->Close().ok());
    EXPECT_EQ(DumpOf(path), expected) << "a re-run into the old file doubles nothing";

    const auto sink = MustCreate({.path = path});
    StoreRun(*sink, SyntheticResults("door", 5, 3, /*stages=*/true), 10);
    const CameraStateChange change{.camera = source.camera(), .reason = "reset", .utc_us = 5};
    ASSERT_TRUE(sink->WriteCameraState(change).ok());
    ASSERT_TRUE(sink->WriteCameraState(change).ok()) << "the same again is the same row";
    ASSERT_TRUE(sink->Close().ok());
    const auto reader = *DatabaseReader::Open(path);
    EXPECT_EQ(reader->schema_version(), static_cast<int>(SqliteMigrations().size()));
    EXPECT_EQ(*reader->CountRows("frames"), 10);
    EXPECT_EQ(*reader->CountRows("detections"), 50);
    EXPECT_EQ(*reader->CountRows("camera_states"), 1);
    EXPECT_EQ(*reader->CountRows("stage_results"), 70);
  }
}

TEST(SqliteSchema, AStepThatFailsChangesNothing) {
  const TemporaryFolder folder;
  auto database = *SqliteDatabase::Open(folder / "a.db", SqliteDatabase::Mode::kReadWriteCreate, 0);
  const std::vector<std::string_view> broken = {SqliteMigrations()[0],
                                                "CREATE TABLE y (a); CREATE TABEL z (b);"};
  EXPECT_FALSE(MigrateSqliteSchema(database, broken).ok());
  EXPECT_EQ(*database.QueryInt("PRAGMA user_version"), 1);
  EXPECT_EQ(*database.QueryInt("SELECT count(*) FROM sqlite_master WHERE name = 'y'"), 0);
}

// ---- reading back ----

TEST(DatabaseReader, SaysWhatIsWrong) {
  const TemporaryFolder folder;
  EXPECT_EQ(DatabaseReader::Open(folder / "none.db").status().code(), absl::StatusCode::kNotFound);
  WriteFile(folder / "empty.db", "");
  EXPECT_EQ(DatabaseReader::Open(folder / "empty.db").status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(MustCreate({.path = folder / "a.db"})->Close().ok());
  const auto reader = *DatabaseReader::Open(folder / "a.db");
  EXPECT_EQ(reader->schema_version(), static_cast<int>(SqliteMigrations().size()));
  EXPECT_EQ(reader->CountRows("users; DROP").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(reader->Query("DELETE FROM frames").ok());
  EXPECT_FALSE(reader->Query("SELEC 1").ok());
  EXPECT_FALSE(reader->Query("").ok());
  EXPECT_EQ(reader->Query("SELECT 1 UNION SELECT 2", 1).status().code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace sightline
