#include "serve/access/key_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/json_text.h"
#include "base/partial_file.h"
#include "base/time.h"
#include "base/whole_file.h"
#include "serve/access/api_key.h"

namespace sightline::serve {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kMostRate = 1e9;

bool IsPrintable(std::string_view text) {
  for (const char c : text) {
    if (c < 0x20 || c > 0x7E) return false;
  }
  return !text.empty() && text.size() <= kLongestKeyName;
}

// One record, key by key; the first mistake is kept.
class RecordReader {
 public:
  explicit RecordReader(const Json& json) : json_(json) {}

  void Text(const char* key, bool needed, std::string* to) {
    const Json* const value = Find(key, needed);
    if (value == nullptr) return;
    if (!value->is_string()) return Fail(key, "is a text");
    *to = value->get<std::string>();
  }
  void Time(const char* key, int64_t* to) {
    std::string text;
    Text(key, /*needed=*/false, &text);
    if (text.empty()) return;
    const auto time = ParseUtc(text);
    if (!time.ok() || *time <= 0) return Fail(key, "is a time such as 2026-01-31T12:00:00Z");
    *to = *time;
  }
  void Number(const char* key, double most, double* to) {
    const Json* const value = Find(key, /*needed=*/false);
    if (value == nullptr) return;
    if (!value->is_number()) return Fail(key, "is a number");
    *to = value->get<double>();
    if (!(*to >= 0 && *to <= most)) Fail(key, "is out of range");
  }
  void Texts(const char* key, std::vector<std::string>* to) {
    const Json* const value = Find(key, /*needed=*/false);
    if (value == nullptr) return;
    if (!value->is_array()) return Fail(key, "is a list of texts");
    for (const Json& item : *value) {
      if (!item.is_string()) return Fail(key, "is a list of texts");
      to->push_back(item.get<std::string>());
    }
    // A list that was emptied by mistake must not open all models.
    if (to->empty()) Fail(key, "is empty; leave it out for all models");
  }
  // A key that this version does not know may be a limit.
  void RefuseOthers() {
    for (const auto& [key, value] : json_.items()) {
      if (!known_.contains(key)) return Fail(key.c_str(), "is no known key");
    }
  }
  void Fail(const char* key, std::string_view what) {
    if (error_.empty()) error_ = fmt::format("\"{}\" {}", key, what);
  }
  const std::string& error() const { return error_; }

 private:
  const Json* Find(const char* key, bool needed) {
    known_.insert(key);
    const auto at = json_.find(key);
    if (at != json_.end()) return &*at;
    if (needed) Fail(key, "is missing");
    return nullptr;
  }
  const Json& json_;
  std::set<std::string> known_;
  std::string error_;
};

std::string ReadRecord(const Json& json, KeyRecord* record) {
  if (!json.is_object()) return "is no object";
  RecordReader reader(json);
  std::string role;
  double concurrency = 0;
  reader.Text("id", true, &record->id);
  reader.Text("name", true, &record->name);
  reader.Text("role", true, &role);
  reader.Text("sha256", true, &record->sha256);
  reader.Time("created", &record->created_utc_us);
  reader.Time("expires", &record->expires_utc_us);
  reader.Time("revoked", &record->revoked_utc_us);
  reader.Number("rate", kMostRate, &record->limits.rate_per_s);
  reader.Number("burst", kMostRate, &record->limits.burst);
  reader.Number("concurrency", 1 << 20, &concurrency);
  reader.Texts("models", &record->models);
  reader.RefuseOthers();
  record->limits.concurrency = static_cast<int>(concurrency);
  if (concurrency != std::floor(concurrency)) reader.Fail("concurrency", "is a whole number");
  if (!IsKeyId(record->id)) reader.Fail("id", "is 12 hexadecimal digits");
  if (!IsPrintable(record->name)) reader.Fail("name", "is printable ASCII, at most 100 bytes");
  const std::optional<KeyRole> known = KeyRoleNamed(role);
  if (!known) reader.Fail("role", "is viewer, infer or admin");
  record->role = known.value_or(KeyRole::kViewer);
  if (record->sha256.size() != 64 ||
      record->sha256.find_first_not_of("0123456789abcdef") != std::string::npos) {
    reader.Fail("sha256", "is 64 hexadecimal digits");
  }
  return reader.error();
}

absl::Status WriteKeyFile(const std::string& path, const std::vector<KeyRecord>& keys) {
  const std::string beside = fmt::format("{}.tmp-{}", path, getpid());
  unlink(beside.c_str());
  absl::Status status;
  {
    const FileHandle file(
        open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (file.get() < 0) return FileError(errno, "writing to", path);
    int error = WriteAll(file.get(), KeysText(keys));
    if (error == 0 && fsync(file.get()) != 0) error = errno;
    if (error != 0) status = FileError(error, "writing to", path);
  }
  if (status.ok() && rename(beside.c_str(), path.c_str()) != 0) {
    status = FileError(errno, "writing to", path);
  }
  if (!status.ok()) {
    unlink(beside.c_str());
    return status;
  }
  const std::string folder = std::filesystem::path(path).parent_path().string();
  SyncFolder(folder.empty() ? "." : folder);
  return absl::OkStatus();
}

}  // namespace

std::string_view ToString(KeyRole role) {
  switch (role) {
    case KeyRole::kViewer:
      return "viewer";
    case KeyRole::kInfer:
      return "infer";
    case KeyRole::kAdmin:
      return "admin";
  }
  return "viewer";
}

std::optional<KeyRole> KeyRoleNamed(std::string_view name) {
  for (const KeyRole role : {KeyRole::kViewer, KeyRole::kInfer, KeyRole::kAdmin}) {
    if (ToString(role) == name) return role;
  }
  return std::nullopt;
}

bool MayDo(KeyRole role, RouteRole needed) {
  switch (needed) {
    case RouteRole::kHealth:
    case RouteRole::kMetrics:
    case RouteRole::kViewer:
      return true;
    case RouteRole::kInfer:
      return role != KeyRole::kViewer;
    case RouteRole::kAdmin:
    case RouteRole::kControl:
      return role == KeyRole::kAdmin;
  }
  return false;
}

absl::StatusOr<std::vector<KeyRecord>> ParseKeys(std::string_view json, const std::string& file) {
  const Json root = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object())
    return InvalidArgument("{} is no file of keys: it is no JSON object", file);
  const auto version = root.find("version");
  if (version == root.end() || *version != 1) {
    return InvalidArgument("{}: \"version\" is not 1, which is all that this program knows", file);
  }
  const auto list = root.find("keys");
  if (list == root.end() || !list->is_array() || list->size() > kMostKeys) {
    return InvalidArgument("{}: \"keys\" is a list of at most {} keys", file, kMostKeys);
  }
  std::vector<KeyRecord> keys;
  std::set<std::string> ids;
  for (const Json& item : *list) {
    KeyRecord record;
    std::string wrong = ReadRecord(item, &record);
    if (wrong.empty() && !ids.insert(record.id).second) wrong = "the id stands twice";
    if (!wrong.empty()) return InvalidArgument("{}: key {}: {}", file, keys.size() + 1, wrong);
    keys.push_back(std::move(record));
  }
  return keys;
}

std::string KeysText(const std::vector<KeyRecord>& keys) {
  Json list = Json::array();
  for (const KeyRecord& key : keys) {
    Json item = {{"id", key.id}, {"name", key.name}, {"role", ToString(key.role)}};
    item["sha256"] = key.sha256;
    if (key.created_utc_us > 0) item["created"] = FormatUtc(key.created_utc_us);
    if (key.expires_utc_us > 0) item["expires"] = FormatUtc(key.expires_utc_us);
    if (key.revoked_utc_us > 0) item["revoked"] = FormatUtc(key.revoked_utc_us);
    if (key.limits.rate_per_s > 0) item["rate"] = key.limits.rate_per_s;
    if (key.limits.burst > 0) item["burst"] = key.limits.burst;
    if (key.limits.concurrency > 0) item["concurrency"] = key.limits.concurrency;
    if (!key.models.empty()) item["models"] = key.models;
    list.push_back(std::move(item));
  }
  return JsonText(Json{{"version", 1}, {"keys", std::move(list)}}, 2) + "\n";
}

absl::StatusOr<std::vector<KeyRecord>> ReadKeyFile(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) == 0 && (info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return FailedPrecondition(
        "{} may be written by others than its owner, who could give themselves keys; chmod 600 {}",
        path, path);
  }
  SL_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(path, kMaxKeyFileBytes));
  return ParseKeys(text, path);
}

absl::Status EditKeyFile(const std::string& path,
                         const std::function<absl::Status(std::vector<KeyRecord>&)>& edit) {
  const std::string lock_path = path + ".lock";
  const FileHandle lock(open(lock_path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (lock.get() < 0) return FileError(errno, "opening", lock_path);
  SL_RETURN_IF_ERROR(LockForWriting(lock.get(), path));
  std::vector<KeyRecord> keys;
  auto read = ReadKeyFile(path);
  if (read.ok()) {
    keys = *std::move(read);
  } else if (read.status().code() != absl::StatusCode::kNotFound) {
    return read.status();
  }
  SL_RETURN_IF_ERROR(edit(keys));
  return WriteKeyFile(path, keys);
}

}  // namespace sightline::serve
