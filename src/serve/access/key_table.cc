#include "serve/access/key_table.h"

#include <sys/stat.h>

#include <chrono>
#include <utility>

#include "base/log.h"
#include "base/thread.h"
#include "serve/access/api_key.h"

namespace sightline::serve {

absl::StatusOr<std::unique_ptr<KeyTable>> KeyTable::Open(const std::string& path, bool watch,
                                                         const Clock& clock) {
  std::unique_ptr<KeyTable> table(new KeyTable(path, clock));
  table->state_ = StateOf(path);
  SL_ASSIGN_OR_RETURN(std::vector<KeyRecord> records, ReadKeyFile(path));
  table->Use(std::move(records));
  if (watch) {
    SL_ASSIGN_OR_RETURN(table->thread_, StartThread("keys", [raw = table.get()] { raw->Loop(); }));
  }
  return table;
}

KeyTable::~KeyTable() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  wake_.NotifyAll();
  if (thread_.joinable()) thread_.join();
}

KeyTable::FileState KeyTable::StateOf(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return {};
  const auto ns = [](const timespec& time) {
    return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
  };
  return {info.st_dev, info.st_ino, info.st_size, ns(info.st_mtim), ns(info.st_ctim)};
}

void KeyTable::Use(std::vector<KeyRecord> records) {
  auto keys = std::make_shared<Keys>();
  for (KeyRecord& record : records) {
    auto known = std::make_shared<KnownKey>();
    known->source =
        sources_.try_emplace(record.id, static_cast<uint32_t>(sources_.size() + 1)).first->second;
    if (!record.models.empty()) {
      known->models = std::make_shared<const std::vector<std::string>>(record.models);
    }
    known->record = std::move(record);
    const std::string id = known->record.id;
    keys->emplace(id, std::move(known));
  }
  const MutexLock lock(mutex_);
  keys_ = std::move(keys);
}

void KeyTable::Look() {
  const FileState now = StateOf(path_);
  const bool changed = !(now == state_);
  if (!changed && !failed_) return;
  state_ = now;
  auto records = ReadKeyFile(path_);
  failed_ = !records.ok();  // tried again: a key may have been revoked
  if (failed_) {
    if (changed) Log().error("the keys stay as they were: {}", MessageOf(records.status()));
    return;
  }
  const size_t count = records->size();
  Use(*std::move(records));
  Log().info("{} API keys were read from {}", count, path_);
}

void KeyTable::Loop() {
  while (true) {
    {
      const MutexLock lock(mutex_);
      if (!stopping_) wake_.WaitFor(mutex_, std::chrono::microseconds(kLookUs));
      if (stopping_) return;
    }
    Look();
  }
}

std::shared_ptr<const KnownKey> KeyTable::Find(std::string_view key) const {
  const std::string_view id = KeyIdOf(key);
  if (id.empty()) return nullptr;
  std::shared_ptr<const KnownKey> known = FindId(id);
  const bool is_it = known != nullptr && SameHash(HashOfKey(key), known->record.sha256);
  return is_it ? known : nullptr;
}

std::shared_ptr<const KnownKey> KeyTable::FindId(std::string_view id) const {
  std::shared_ptr<const Keys> keys;
  {
    const MutexLock lock(mutex_);
    keys = keys_;
  }
  const auto at = keys->find(std::string(id));
  if (at == keys->end() || !at->second->record.ValidAt(clock_.NowUtcUs())) return nullptr;
  return at->second;
}

size_t KeyTable::size() const {
  const MutexLock lock(mutex_);
  return keys_->size();
}

}  // namespace sightline::serve
