#include "store/sqlite_database.h"

#include <sqlite3.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/allocation_scope.h"
#include "base/whole_file.h"

namespace sightline {

SqliteStatement::SqliteStatement(SqliteStatement&& other) noexcept
    : statement_(std::exchange(other.statement_, nullptr)), bind_error_(other.bind_error_) {}

SqliteStatement& SqliteStatement::operator=(SqliteStatement&& other) noexcept {
  std::swap(statement_, other.statement_);
  std::swap(bind_error_, other.bind_error_);
  return *this;
}

SqliteStatement::~SqliteStatement() { sqlite3_finalize(statement_); }

void SqliteStatement::Keep(int code) {
  if (bind_error_ == SQLITE_OK) bind_error_ = code;
}

void SqliteStatement::BindInt(int parameter, int64_t value) {
  Keep(sqlite3_bind_int64(statement_, parameter, value));
}

void SqliteStatement::BindReal(int parameter, double value) {
  Keep(sqlite3_bind_double(statement_, parameter, value));
}

void SqliteStatement::BindText(int parameter, std::string_view text) {
  // A null pointer would bind NULL.
  Keep(sqlite3_bind_text64(statement_, parameter, text.data() == nullptr ? "" : text.data(),
                           text.size(), SQLITE_STATIC, SQLITE_UTF8));
}

void SqliteStatement::BindBlob(int parameter, const void* data, size_t size) {
  Keep(sqlite3_bind_blob64(statement_, parameter, data, size, SQLITE_STATIC));
}

void SqliteStatement::BindNull(int parameter) { Keep(sqlite3_bind_null(statement_, parameter)); }

int SqliteStatement::Step() {
  const LibraryAllocations inside_sqlite;
  // A value that could not be bound would be written as NULL, or as the last row's.
  if (const int error = std::exchange(bind_error_, SQLITE_OK); error != SQLITE_OK) return error;
  const int code = sqlite3_step(statement_);
  if (code != SQLITE_ROW) sqlite3_reset(statement_);
  return code;
}

void SqliteStatement::Reset() { sqlite3_reset(statement_); }

int SqliteStatement::columns() const { return sqlite3_column_count(statement_); }

std::string_view SqliteStatement::ColumnName(int column) const {
  const char* name = sqlite3_column_name(statement_, column);
  return name == nullptr ? "" : name;
}

bool SqliteStatement::ColumnIsNull(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

int64_t SqliteStatement::ColumnInt(int column) const {
  return sqlite3_column_int64(statement_, column);
}

double SqliteStatement::ColumnReal(int column) const {
  return sqlite3_column_double(statement_, column);
}

std::string SqliteStatement::ColumnText(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  if (text == nullptr) return "";
  return std::string(text, static_cast<size_t>(sqlite3_column_bytes(statement_, column)));
}

std::string SqliteStatement::ColumnLiteral(int column) const {
  switch (sqlite3_column_type(statement_, column)) {
    case SQLITE_NULL:
      return "NULL";
    case SQLITE_INTEGER:
      return std::to_string(ColumnInt(column));
    case SQLITE_FLOAT:
      return fmt::format("{}", ColumnReal(column));
    case SQLITE_BLOB: {
      const auto* bytes = static_cast<const uint8_t*>(sqlite3_column_blob(statement_, column));
      const int size = sqlite3_column_bytes(statement_, column);
      std::string text = "X'";
      for (int i = 0; i < size; ++i) fmt::format_to(std::back_inserter(text), "{:02x}", bytes[i]);
      return text + "'";
    }
    default:
      break;
  }
  std::string text = "'";
  for (const char c : ColumnText(column)) {
    if (c == '\'') text += c;
    text += c;
  }
  return text + "'";
}

absl::StatusOr<SqliteDatabase> SqliteDatabase::Open(const std::string& path, Mode mode,
                                                    int busy_timeout_ms) {
  // NOMUTEX: the caller promises one thread at a time. EXRESCODE: errors tell I/O from space.
  int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  flags |=
      mode == Mode::kReadOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  struct stat info {};
  if (stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode)) {
    return FailedPrecondition(
        "opening the database {}: it is a pipe, socket or device, and a database needs a file; "
        "choose another path, or move it away",
        path);
  }
  sqlite3* db = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &db, flags, nullptr);
  if (db == nullptr) return ResourceExhausted("no memory to open the database {}", path);
  SqliteDatabase database(db, path);
  if (code != SQLITE_OK) return database.Error(code, "opening the database");
  sqlite3_busy_timeout(db, busy_timeout_ms);
  return database;
}

SqliteDatabase::SqliteDatabase(SqliteDatabase&& other) noexcept
    : db_(std::exchange(other.db_, nullptr)), path_(std::move(other.path_)) {}

SqliteDatabase& SqliteDatabase::operator=(SqliteDatabase&& other) noexcept {
  std::swap(db_, other.db_);
  std::swap(path_, other.path_);
  return *this;
}

// close_v2: a statement that outlives the connection keeps it until the statement's own end.
SqliteDatabase::~SqliteDatabase() { sqlite3_close_v2(db_); }

absl::StatusOr<SqliteStatement> SqliteDatabase::Prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(db_, sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) return Error(code, "reading the database");
  if (statement == nullptr) return InvalidArgument("\"{}\" holds no SQL statement", sql);
  return SqliteStatement(statement);
}

absl::Status SqliteDatabase::Execute(const std::string& sql) {
  const LibraryAllocations inside_sqlite;
  const int code = sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : Error(code, "working on the database");
}

absl::StatusOr<int64_t> SqliteDatabase::QueryInt(const std::string& sql) {
  SL_ASSIGN_OR_RETURN(SqliteStatement statement, Prepare(sql));
  const int code = statement.Step();
  if (code == SQLITE_ROW) return statement.ColumnInt(0);
  if (code == SQLITE_DONE) return NotFound("{}: no rows for {}", path_, sql);
  return Error(code, "reading the database");
}

absl::StatusOr<std::string> SqliteDatabase::QueryText(const std::string& sql) {
  SL_ASSIGN_OR_RETURN(SqliteStatement statement, Prepare(sql));
  const int code = statement.Step();
  if (code == SQLITE_ROW) return statement.ColumnText(0);
  if (code == SQLITE_DONE) return NotFound("{}: no rows for {}", path_, sql);
  return Error(code, "reading the database");
}

absl::Status SqliteDatabase::Error(int code, std::string_view doing) const {
  const int system_errno = sqlite3_system_errno(db_);
  const bool io_error = (code & 0xff) == SQLITE_IOERR;
  if ((code & 0xff) == SQLITE_FULL ||
      (io_error && (system_errno == ENOSPC || system_errno == EDQUOT))) {
    return ResourceExhausted(
        "{} {}: no space left on the disk (or the size limit is reached); rows committed before "
        "stay; free some space",
        doing, path_);
  }
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Unavailable(
          "{} {}: another process holds its lock; end that process (or its open transaction) or "
          "choose another file",
          doing, path_);
    case SQLITE_NOTADB:
      return InvalidArgument(
          "{} {}: the file is not a SQLite database; choose another file or move it away", doing,
          path_);
    case SQLITE_CORRUPT:
      return DataLoss(
          "{} {}: the database is damaged ({}); move it away, and save what is left with: sqlite3 "
          "FILE .recover",
          doing, path_, sqlite3_errmsg(db_));
    case SQLITE_CANTOPEN:
      if (system_errno == EMFILE || system_errno == ENFILE) {
        return FileError(system_errno, doing, path_);
      }
      return FailedPrecondition(
          "{} {}: cannot open it ({}); check that the folder exists, that the path is a file, and "
          "the permissions of both",
          doing, path_, system_errno != 0 ? std::strerror(system_errno) : sqlite3_errmsg(db_));
    case SQLITE_READONLY:
    case SQLITE_PERM:
      return FailedPrecondition(
          "{} {}: no permission to write; make the file and its folder writable or choose another "
          "place",
          doing, path_);
    default:
      break;
  }
  return MakeError(absl::StatusCode::kInternal, "{} {}: {} (SQLite code {}{}{})", doing, path_,
                   sqlite3_errmsg(db_), code, io_error && system_errno != 0 ? ", " : "",
                   io_error && system_errno != 0 ? std::strerror(system_errno) : "");
}

}  // namespace sightline
