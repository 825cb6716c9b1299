// Reads a Sightline database back: for reports, `query`, and tests. Read-only: other processes may
// write meanwhile; every call sees the state of its own moment.
//
// Errors as in sqlite_database.h, and those of CheckSqliteSchema for files that are not ours.
// Threads: one at a time. Cost: as SQLite's for the query.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "store/sqlite_database.h"

namespace sightline {

struct NamedCount {
  std::string name;
  int64_t count = 0;
  bool operator==(const NamedCount&) const = default;
};

struct QueryResult {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;  // values as text, NULL as ""
};

class DatabaseReader {
 public:
  // NotFound when there is no file.
  static absl::StatusOr<std::unique_ptr<DatabaseReader>> Open(const std::string& path);

  int schema_version() const { return schema_version_; }
  // Rows of "camera_states", "detections", "events", "frames", "ledger", "stage_results" or "tracks",
  // none of a table that the file's version has not yet; InvalidArgument for other names.
  absl::StatusOr<int64_t> CountRows(std::string_view table);
  // Detections and distinct objects by class name, in the order of the names. Empty camera_id: all.
  absl::StatusOr<std::vector<NamedCount>> DetectionsPerClass(std::string_view camera_id = {});
  absl::StatusOr<std::vector<NamedCount>> TracksPerClass(std::string_view camera_id = {});
  // Any one SELECT. Writing statements fail: the file is open for reading only. ResourceExhausted
  // beyond max_rows, so that a careless query cannot eat the memory.
  absl::StatusOr<QueryResult> Query(std::string_view sql, int64_t max_rows = 100'000);
  // Every row of every table in the order of the keys, values as SQL literals: equal databases give
  // equal text, whatever the order in which their rows came.
  absl::StatusOr<std::string> Dump();

 private:
  DatabaseReader(SqliteDatabase database, int schema_version)
      : database_(std::move(database)), schema_version_(schema_version) {}
  absl::StatusOr<std::vector<NamedCount>> PerClass(std::string_view table,
                                                   std::string_view camera_id);

  SqliteDatabase database_;
  int schema_version_;
};

}  // namespace sightline
