#include "store/read.h"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <utility>

#include "store/sqlite_schema.h"

namespace sightline {
namespace {

constexpr int kBusyTimeoutMs = 5000;

struct Table {
  std::string_view name;
  std::string_view key;
  int since;  // version of the schema
};
constexpr std::array<Table, 7> kTables = {{{"camera_states", "camera_id, timestamp, state", 2},
                                           {"detections", "id", 1},
                                           {"events", "id", 1},
                                           {"frames", "camera_id, timestamp, epoch, frame", 1},
                                           {"ledger", "camera_id, outcome, reason", 1},
                                           {"stage_results", "detection_id, stage, part", 3},
                                           {"tracks", "id", 1}}};

}  // namespace

absl::StatusOr<std::unique_ptr<DatabaseReader>> DatabaseReader::Open(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    return NotFound("there is no database {}; check the path", path);
  }
  SL_ASSIGN_OR_RETURN(SqliteDatabase database,
                      SqliteDatabase::Open(path, SqliteDatabase::Mode::kReadOnly, kBusyTimeoutMs));
  SL_ASSIGN_OR_RETURN(const int version, CheckSqliteSchema(database, SqliteMigrations()));
  if (version == 0) return NotFound("{} is an empty database: nothing was stored in it", path);
  return std::unique_ptr<DatabaseReader>(new DatabaseReader(std::move(database), version));
}

absl::StatusOr<int64_t> DatabaseReader::CountRows(std::string_view table) {
  const auto known =
      std::find_if(kTables.begin(), kTables.end(), [&](const Table& t) { return t.name == table; });
  if (known == kTables.end()) {
    return InvalidArgument(
        "there is no table \"{}\": choose camera_states, detections, events, frames, ledger, "
        "stage_results or tracks",
        table);
  }
  if (known->since > schema_version_) return 0;
  return database_.QueryInt(fmt::format("SELECT count(*) FROM {}", table));
}

absl::StatusOr<std::vector<NamedCount>> DatabaseReader::PerClass(std::string_view table,
                                                                 std::string_view camera_id) {
  SL_ASSIGN_OR_RETURN(SqliteStatement statement,
                      database_.Prepare(fmt::format(
                          "SELECT class, count(*) FROM {} WHERE ?1 = '' OR camera_id = ?1 "
                          "GROUP BY class ORDER BY class",
                          table)));
  statement.BindText(1, camera_id);
  std::vector<NamedCount> counts;
  while (true) {
    const int code = statement.Step();
    if (code == SQLITE_DONE) return counts;
    if (code != SQLITE_ROW) return database_.Error(code, "reading the database");
    counts.push_back({statement.ColumnText(0), statement.ColumnInt(1)});
  }
}

absl::StatusOr<std::vector<NamedCount>> DatabaseReader::DetectionsPerClass(
    std::string_view camera_id) {
  return PerClass("detections", camera_id);
}

absl::StatusOr<std::vector<NamedCount>> DatabaseReader::TracksPerClass(std::string_view camera_id) {
  return PerClass("tracks", camera_id);
}

absl::StatusOr<QueryResult> DatabaseReader::Query(std::string_view sql, int64_t max_rows) {
  SL_ASSIGN_OR_RETURN(SqliteStatement statement, database_.Prepare(sql));
  QueryResult result;
  for (int i = 0; i < statement.columns(); ++i) {
    result.columns.emplace_back(statement.ColumnName(i));
  }
  while (true) {
    const int code = statement.Step();
    if (code == SQLITE_DONE) return result;
    if (code != SQLITE_ROW) return database_.Error(code, "reading the database");
    if (static_cast<int64_t>(result.rows.size()) >= max_rows) {
      return ResourceExhausted("{}: the query gives more than {} rows; add a LIMIT",
                               database_.path(), max_rows);
    }
    std::vector<std::string>& row = result.rows.emplace_back();
    for (int i = 0; i < statement.columns(); ++i) row.push_back(statement.ColumnText(i));
  }
}

absl::StatusOr<std::string> DatabaseReader::Dump() {
  std::string text;
  SL_RETURN_IF_ERROR(database_.Execute("BEGIN"));  // one snapshot for all tables
  for (const Table& table : kTables) {
    if (table.since > schema_version_) continue;
    SL_ASSIGN_OR_RETURN(
        SqliteStatement statement,
        database_.Prepare(fmt::format("SELECT * FROM {} ORDER BY {}", table.name, table.key)));
    int code = statement.Step();
    for (; code == SQLITE_ROW; code = statement.Step()) {
      text += table.name;
      for (int i = 0; i < statement.columns(); ++i) {
        text += i == 0 ? ": " : ", ";
        text += statement.ColumnLiteral(i);
      }
      text += '\n';
    }
    if (code != SQLITE_DONE) return database_.Error(code, "reading the database");
  }
  SL_RETURN_IF_ERROR(database_.Execute("COMMIT"));
  return text;
}

}  // namespace sightline
