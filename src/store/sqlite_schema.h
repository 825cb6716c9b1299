// The tables of Sightline's SQLite database, their version, and the way from one version to the
// next. docs/output_formats.md describes every column.
//
// PRAGMA application_id tells our files from other programs', PRAGMA user_version is the schema's
// version. Both are set in the transaction that makes the tables, so a crash leaves either an empty
// file or a whole schema.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "store/sqlite_database.h"

namespace sightline {

inline constexpr int32_t kSqliteApplicationId = 0x534C4754;  // "SLGT"

// Element i holds the SQL that leads from version i to version i + 1.
std::span<const std::string_view> SqliteMigrations();

// What a file is, without changing it.
//   InvalidArgument     a database of another program (tables, but not our application id)
//   FailedPrecondition  written by a newer Sightline
// Returns its version; 0 for an empty file.
absl::StatusOr<int> CheckSqliteSchema(SqliteDatabase& database,
                                      std::span<const std::string_view> migrations);

// Brings the file to the newest version in one transaction per step; safe when several processes do
// it at once.
absl::Status MigrateSqliteSchema(SqliteDatabase& database,
                                 std::span<const std::string_view> migrations);

}  // namespace sightline
