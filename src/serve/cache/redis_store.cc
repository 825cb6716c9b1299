#include "serve/cache/redis_store.h"

#include <hiredis/hiredis.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/thread.h"
#include "base/time.h"
#include "serve/cache/redis_link_internal.h"

namespace sightline::serve {
namespace {

// Entries of other versions of this program are not looked for.
constexpr std::string_view kPrefix = "sightline:cache:1:";

std::string NameOf(const CacheKey& key) { return std::string(kPrefix) + ToHex(key); }

}  // namespace

// Kept by its thread, too: the last store may go by an answer that the thread gives.
class RedisClient::Core : public std::enable_shared_from_this<RedisClient::Core> {
 public:
  explicit Core(const RedisOptions& options) : options_(options) {}
  ~Core() {
    if (wake_ >= 0) close(wake_);
  }

  absl::Status Start();
  // What waits is a miss. Returns when the thread has ended, or on it, which then ends by itself.
  void End();
  void Find(const CacheKey& key, CacheStore::Found found) EXCLUDES(mutex_);
  void Put(const CacheKey& key, CachedBytes value, int64_t ttl_us) EXCLUDES(mutex_);
  void Erase(const CacheKey& key) EXCLUDES(mutex_);
  StoreCounts Counts() const;
  bool connected() const { return is_ready_.load(std::memory_order_acquire); }

 private:
  struct Command {
    enum class Kind : uint8_t { kGet, kSet, kErase } kind = Kind::kGet;
    std::string name;
    CachedBytes value;
    int64_t ttl_ms = 0;
    CacheStore::Found found;
    int64_t deadline_us = 0;
  };

  static int64_t Now() { return Clock::Real().NowMonotonicUs(); }
  bool Submit(Command command) EXCLUDES(mutex_);
  void Wake() const;
  void Loop();
  void Connect();
  absl::Status Login();
  void Disconnect(std::string_view why);
  void SendWaiting() EXCLUDES(mutex_);
  absl::Status Send(Command command);
  void GiveUpLate();
  int PollTimeoutMs() const;
  void FailWaiting() EXCLUDES(mutex_);
  void Fail(Command& command);

  // Moves bytes and takes what has come; an error when the connection is over.
  absl::Status Advance(short revents);
  absl::Status OnLogin(const redisReply& reply);
  void OnReply(const redisReply& reply);

  const RedisOptions options_;
  int wake_ = -1;
  std::atomic<bool> is_ready_{false}, stopping_{false};
  Counter failures_, dropped_, too_large_;
  mutable Mutex mutex_;
  std::deque<Command> waiting_ GUARDED_BY(mutex_);
  std::atomic<size_t> on_way_{0}, on_way_bytes_{0};
  // Of the thread alone.
  std::shared_ptr<ssl_ctx_st> tls_;  // null: none
  std::unique_ptr<RedisLink> link_;
  bool is_asked_ = false;   // logged in, as far as that is this side's
  size_t logins_left_ = 0;  // replies that are still to come
  int64_t next_try_us_ = 0, pause_us_ = 0, connect_deadline_us_ = 0;
  bool was_told_ = false;
  std::deque<Command> sent_;  // in order
  std::thread thread_;
};

absl::Status RedisClient::Core::Start() {
  wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_ < 0) return ResourceExhausted("no descriptor is left for the connection to Redis");
  pause_us_ = options_.least_pause_us;
  if (options_.url.tls) {
    SL_ASSIGN_OR_RETURN(tls_, RedisTlsContext(options_.tls));
  }
  SL_ASSIGN_OR_RETURN(thread_, StartThread("redis", [self = shared_from_this()] { self->Loop(); }));
  return absl::OkStatus();
}

void RedisClient::Core::End() {
  stopping_.store(true);
  if (!thread_.joinable()) return;
  Wake();
  if (thread_.get_id() == std::this_thread::get_id()) return thread_.detach();
  thread_.join();
}

void RedisClient::Core::Wake() const {
  const uint64_t one = 1;
  if (write(wake_, &one, sizeof one) < 0) return;  // it is full: the thread will look
}

bool RedisClient::Core::Submit(Command command) {
  const size_t bytes = command.value != nullptr ? command.value->size() : 0;
  if (!connected()) {
    failures_.Add();
    return false;
  }
  {
    const MutexLock lock(mutex_);
    if (on_way_.load() >= options_.max_waiting ||
        on_way_bytes_.load() + bytes > options_.max_waiting_bytes) {
      failures_.Add();
      dropped_.Add();
      return false;
    }
    command.deadline_us = Now() + options_.timeout_us;
    on_way_.fetch_add(1);
    on_way_bytes_.fetch_add(bytes);
    waiting_.push_back(std::move(command));
  }
  Wake();
  return true;
}

void RedisClient::Core::Find(const CacheKey& key, CacheStore::Found found) {
  Command command;
  command.name = NameOf(key);
  command.found = found;
  if (!Submit(std::move(command))) found(nullptr);
}

void RedisClient::Core::Put(const CacheKey& key, CachedBytes value, int64_t ttl_us) {
  if (value->size() > options_.max_value_bytes) return too_large_.Add();
  Command command;
  command.kind = Command::Kind::kSet;
  command.name = NameOf(key);
  command.value = std::move(value);
  command.ttl_ms = std::max<int64_t>(1, ttl_us / 1000);
  Submit(std::move(command));
}

void RedisClient::Core::Erase(const CacheKey& key) {
  Command command;
  command.kind = Command::Kind::kErase;
  command.name = NameOf(key);
  Submit(std::move(command));
}

StoreCounts RedisClient::Core::Counts() const {
  StoreCounts counts;
  counts.failures = failures_.value();
  counts.dropped = dropped_.value();
  counts.too_large = too_large_.value();
  counts.is_away = !connected();
  return counts;
}

void RedisClient::Core::Fail(Command& command) {
  failures_.Add();
  on_way_.fetch_sub(1);
  on_way_bytes_.fetch_sub(command.value != nullptr ? command.value->size() : 0);
  const CacheStore::Found found = std::move(command.found);
  if (found) found(nullptr);
}

void RedisClient::Core::FailWaiting() {
  std::deque<Command> waiting;
  {
    const MutexLock lock(mutex_);
    waiting.swap(waiting_);
  }
  for (Command& command : waiting) Fail(command);
}

void RedisClient::Core::Connect() {
  connect_deadline_us_ = Now() + options_.connect_timeout_us;
  auto link = RedisLink::Open(options_.url, tls_, options_.max_value_bytes);
  if (!link.ok()) return Disconnect(MessageOf(link.status()));
  link_ = *std::move(link);
  is_asked_ = false;
  logins_left_ = 0;
}

absl::Status RedisClient::Core::Advance(short revents) {
  const absl::Status moved = link_->Advance(revents);
  if (moved.ok() && link_->ready() && !std::exchange(is_asked_, true)) {
    SL_RETURN_IF_ERROR(Login());
  }
  while (true) {  // also what it said before it closed
    SL_ASSIGN_OR_RETURN(const RedisLink::Reply reply, link_->Next());
    if (reply == nullptr) return moved;
    if (logins_left_ > 0) {
      SL_RETURN_IF_ERROR(OnLogin(*reply));
    } else if (!sent_.empty()) {
      OnReply(*reply);
    } else {
      return Unavailable("it answered what was not asked");
    }
  }
}

absl::Status RedisClient::Core::Login() {
  const RedisUrl& url = options_.url;
  const auto send = [&](const std::vector<std::string_view>& words) {
    ++logins_left_;
    return link_->Write(words);
  };
  if (!url.password.empty()) {
    SL_RETURN_IF_ERROR(send(url.user.empty()
                                ? std::vector<std::string_view>{"AUTH", url.password}
                                : std::vector<std::string_view>{"AUTH", url.user, url.password}));
  }
  if (url.database != 0) SL_RETURN_IF_ERROR(send({"SELECT", std::to_string(url.database)}));
  SL_RETURN_IF_ERROR(send({"PING"}));
  return link_->Advance(0);
}

absl::Status RedisClient::Core::OnLogin(const redisReply& reply) {
  // The server's own words do not hold the password.
  if (reply.type == REDIS_REPLY_ERROR) return Unavailable("{}", std::string(reply.str, reply.len));
  if (--logins_left_ > 0) return absl::OkStatus();
  pause_us_ = options_.least_pause_us;
  was_told_ = false;
  Log().info("the cache at {} is connected", options_.url.Shown());
  is_ready_.store(true, std::memory_order_release);
  return absl::OkStatus();
}

void RedisClient::Core::Disconnect(std::string_view why) {
  const bool was_ready = is_ready_.exchange(false);
  if (!stopping_ && (was_ready || !was_told_)) {
    Log().warn("the cache at {} is away, answers are computed without it: {}", options_.url.Shown(),
               why);
    was_told_ = true;
  }
  next_try_us_ = Now() + pause_us_;
  pause_us_ = std::min(2 * pause_us_, options_.most_pause_us);
  link_.reset();
  for (Command& command : std::exchange(sent_, {})) Fail(command);
  FailWaiting();
}

absl::Status RedisClient::Core::Send(Command command) {
  const std::string ttl = std::to_string(command.ttl_ms);
  std::vector<std::string_view> words;
  switch (command.kind) {
    case Command::Kind::kGet:
      words = {"GET", command.name};
      break;
    case Command::Kind::kErase:
      words = {"DEL", command.name};
      break;
    case Command::Kind::kSet:
      words = {"SET", command.name, *command.value, "PX", ttl};
      break;
  }
  const absl::Status status = link_->Write(words);
  sent_.push_back(std::move(command));
  return status;
}

void RedisClient::Core::OnReply(const redisReply& reply) {
  Command command = std::move(sent_.front());
  sent_.pop_front();
  if (reply.type == REDIS_REPLY_ERROR) return Fail(command);
  on_way_.fetch_sub(1);
  on_way_bytes_.fetch_sub(command.value != nullptr ? command.value->size() : 0);
  if (!command.found) return;
  CachedBytes bytes;
  if (reply.type == REDIS_REPLY_STRING && reply.len <= options_.max_value_bytes) {
    bytes = std::make_shared<const std::string>(reply.str, reply.len);
  }
  command.found(std::move(bytes));
}

void RedisClient::Core::SendWaiting() {
  std::deque<Command> waiting;
  {
    const MutexLock lock(mutex_);
    waiting.swap(waiting_);
  }
  absl::Status status;
  for (Command& command : waiting) {
    if (link_ == nullptr || !is_ready_ || !status.ok()) {
      Fail(command);
    } else {
      status = Send(std::move(command));
    }
  }
  if (link_ == nullptr) return;
  if (status.ok()) status = link_->Advance(0);
  if (!status.ok()) Disconnect(MessageOf(status));
}

void RedisClient::Core::GiveUpLate() {
  const int64_t now_us = Now();
  if (link_ != nullptr && !is_ready_ && now_us >= connect_deadline_us_) {
    return Disconnect("it did not answer in time");
  }
  // Replies come in order: behind a late one all are late.
  if (sent_.empty() || sent_.front().deadline_us > now_us) return;
  Disconnect("a command was not answered in time");
}

int RedisClient::Core::PollTimeoutMs() const {
  int64_t next_us = -1;
  if (link_ == nullptr) {
    next_us = next_try_us_;
  } else if (!is_ready_) {
    next_us = connect_deadline_us_;
  } else if (!sent_.empty()) {
    next_us = sent_.front().deadline_us;
  }
  if (next_us < 0) return -1;
  return static_cast<int>(std::clamp<int64_t>((next_us - Now() + 999) / 1000, 0, 60'000));
}

void RedisClient::Core::Loop() {
  while (!stopping_) {
    if (link_ == nullptr && Now() >= next_try_us_) Connect();
    std::array<pollfd, 2> files{};
    files[0] = {wake_, POLLIN, 0};
    files[1] = {-1, 0, 0};
    if (link_ != nullptr) files[1] = {link_->socket(), link_->events(), 0};
    poll(files.data(), files.size(), PollTimeoutMs());
    if (files[0].revents != 0) {
      uint64_t ignored = 0;
      if (read(wake_, &ignored, sizeof ignored) < 0) ignored = 0;
    }
    if (link_ != nullptr && files[1].revents != 0) {
      const absl::Status status = Advance(files[1].revents);
      if (!status.ok()) Disconnect(MessageOf(status));
    }
    SendWaiting();
    GiveUpLate();
  }
  Disconnect("");
}

RedisClient::RedisClient(std::shared_ptr<Core> core) : core_(std::move(core)) {}
RedisClient::~RedisClient() { core_->End(); }

absl::StatusOr<std::shared_ptr<RedisClient>> RedisClient::Create(const RedisOptions& options) {
  auto core = std::make_shared<Core>(options);
  SL_RETURN_IF_ERROR(core->Start());
  return std::shared_ptr<RedisClient>(new RedisClient(std::move(core)));
}

bool RedisClient::connected() const { return core_->connected(); }

void RedisStore::Find(const CacheKey& key, Found found) {
  client_->core_->Find(key, std::move(found));
}
void RedisStore::Put(const CacheKey& key, CachedBytes value) {
  client_->core_->Put(key, std::move(value), ttl_us_);
}
void RedisStore::Erase(const CacheKey& key) { client_->core_->Erase(key); }
StoreCounts RedisStore::Counts() const { return client_->core_->Counts(); }

}  // namespace sightline::serve
