// A SQLite connection and its prepared statements, with errors for people.
//
// Every error is one line: what failed, the file, SQLite's own words, and what to do.
//   SQLITE_FULL, ENOSPC, EDQUOT          ResourceExhausted (disk full, or the size cap reached)
//   SQLITE_BUSY, SQLITE_LOCKED           Unavailable       (another process holds the lock)
//   SQLITE_NOTADB                        InvalidArgument   (not a SQLite file)
//   SQLITE_CORRUPT                       DataLoss
//   SQLITE_CANTOPEN, READONLY, PERM      FailedPrecondition
//   anything else                        Internal
//
// Threads: one at a time per connection. Memory: SQLite's page cache, bounded by cache_kib.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

struct sqlite3;
struct sqlite3_stmt;

namespace sightline {

class SqliteStatement {
 public:
  SqliteStatement() = default;
  SqliteStatement(SqliteStatement&& other) noexcept;
  SqliteStatement& operator=(SqliteStatement&& other) noexcept;
  ~SqliteStatement();

  // Parameters count from 1. Text and blobs are borrowed until the next Bind of the same parameter
  // or the end of the statement, so they must live until Step.
  void BindInt(int parameter, int64_t value);
  void BindReal(int parameter, double value);  // NaN becomes NULL
  void BindText(int parameter, std::string_view text);
  void BindBlob(int parameter, const void* data, size_t size);
  void BindNull(int parameter);

  // SQLITE_ROW, SQLITE_DONE or an error code, also that of a Bind since the last Step. After
  // SQLITE_DONE or an error the statement is ready for the next round; bindings stay.
  int Step();
  void Reset();

  int columns() const;
  std::string_view ColumnName(int column) const;
  bool ColumnIsNull(int column) const;
  int64_t ColumnInt(int column) const;
  double ColumnReal(int column) const;
  std::string ColumnText(int column) const;
  // A value as SQL would write it: NULL, 12, 0.5, 'text', X'00ff'.
  std::string ColumnLiteral(int column) const;

 private:
  friend class SqliteDatabase;
  explicit SqliteStatement(sqlite3_stmt* statement) : statement_(statement) {}
  void Keep(int code);

  sqlite3_stmt* statement_ = nullptr;
  int bind_error_ = 0;  // the first since the last Step
};

class SqliteDatabase {
 public:
  enum class Mode { kReadOnly, kReadWriteCreate };

  // Waits up to busy_timeout_ms for other processes' locks before Unavailable.
  static absl::StatusOr<SqliteDatabase> Open(const std::string& path, Mode mode,
                                             int busy_timeout_ms);
  SqliteDatabase(SqliteDatabase&& other) noexcept;
  SqliteDatabase& operator=(SqliteDatabase&& other) noexcept;
  ~SqliteDatabase();

  absl::StatusOr<SqliteStatement> Prepare(std::string_view sql);
  // Runs statements that return nothing of interest.
  absl::Status Execute(const std::string& sql);
  // The first column of the first row; NotFound when there is none.
  absl::StatusOr<int64_t> QueryInt(const std::string& sql);
  absl::StatusOr<std::string> QueryText(const std::string& sql);

  // `code` is what Step returned; `doing` reads like "writing results to".
  absl::Status Error(int code, std::string_view doing) const;

  const std::string& path() const { return path_; }
  sqlite3* handle() { return db_; }

 private:
  SqliteDatabase(sqlite3* db, std::string path) : db_(db), path_(std::move(path)) {}
  sqlite3* db_ = nullptr;
  std::string path_;
};

}  // namespace sightline
