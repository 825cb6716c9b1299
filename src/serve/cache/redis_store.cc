#include "serve/cache/redis_store.h"

#include <hiredis/async.h>
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
  // What hiredis holds until the reply.
  struct Sent {
    Core* core = nullptr;
    Command command;
    bool is_over = false;  // was answered as a miss
  };

  static int64_t Now() { return Clock::Real().NowMonotonicUs(); }
  bool Submit(Command command) EXCLUDES(mutex_);
  void Wake() const;
  void Loop();
  void Connect();
  void Login();
  void Disconnect(std::string_view why);
  void SendWaiting() EXCLUDES(mutex_);
  void Send(Command command);
  void GiveUpLate();
  int PollTimeoutMs() const;
  void FailWaiting() EXCLUDES(mutex_);
  void Fail(Command& command);

  static void OnConnect(const redisAsyncContext* context, int status);
  static void OnDisconnect(const redisAsyncContext* context, int status);
  static void OnLogin(redisAsyncContext* context, void* reply, void* is_last);
  static void OnReply(redisAsyncContext* context, void* reply, void* sent);

  const RedisOptions options_;
  int wake_ = -1;
  std::atomic<bool> is_ready_{false}, stopping_{false};
  Counter failures_, dropped_, too_large_;
  mutable Mutex mutex_;
  std::deque<Command> waiting_ GUARDED_BY(mutex_);
  std::atomic<size_t> on_way_{0}, on_way_bytes_{0};
  // Of the thread alone.
  redisAsyncContext* context_ = nullptr;
  bool wants_read_ = false, wants_write_ = false;
  int64_t next_try_us_ = 0, pause_us_ = 0, connect_deadline_us_ = 0;
  bool was_told_ = false;
  std::deque<Sent*> sent_;  // in order; owned by the replies
  std::thread thread_;
};

absl::Status RedisClient::Core::Start() {
  wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_ < 0) return ResourceExhausted("no descriptor is left for the connection to Redis");
  pause_us_ = options_.least_pause_us;
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
  context_ = redisAsyncConnect(options_.url.host.c_str(), options_.url.port);
  if (context_ == nullptr || context_->err != 0) {
    const std::string why = context_ != nullptr ? context_->errstr : "no memory";
    if (context_ != nullptr) redisAsyncFree(context_);
    context_ = nullptr;
    return Disconnect(why);
  }
  context_->data = this;
  context_->ev.data = this;
  context_->ev.addRead = [](void* self) { static_cast<Core*>(self)->wants_read_ = true; };
  context_->ev.delRead = [](void* self) { static_cast<Core*>(self)->wants_read_ = false; };
  context_->ev.addWrite = [](void* self) { static_cast<Core*>(self)->wants_write_ = true; };
  context_->ev.delWrite = [](void* self) { static_cast<Core*>(self)->wants_write_ = false; };
  context_->ev.cleanup = [](void* self) {
    static_cast<Core*>(self)->wants_read_ = static_cast<Core*>(self)->wants_write_ = false;
  };
  redisAsyncSetConnectCallback(context_, &Core::OnConnect);
  redisAsyncSetDisconnectCallback(context_, &Core::OnDisconnect);
}

void RedisClient::Core::OnConnect(const redisAsyncContext* context, int status) {
  auto* const self = static_cast<Core*>(context->data);
  if (status == REDIS_OK) return self->Login();
  const std::string why = context->errstr;
  self->context_ = nullptr;  // hiredis frees it
  self->Disconnect(why);
}

void RedisClient::Core::OnDisconnect(const redisAsyncContext* context, int) {
  auto* const self = static_cast<Core*>(context->data);
  if (self->context_ != context) return;  // given up here
  const std::string why = context->errstr != nullptr ? context->errstr : "it closed the connection";
  self->context_ = nullptr;
  self->Disconnect(why);
}

void RedisClient::Core::Login() {
  const RedisUrl& url = options_.url;
  const auto send = [&](const std::vector<std::string>& words, bool is_last) {
    std::vector<const char*> texts;
    std::vector<size_t> sizes;
    for (const std::string& word : words) {
      texts.push_back(word.data());
      sizes.push_back(word.size());
    }
    redisAsyncCommandArgv(context_, &Core::OnLogin, is_last ? this : nullptr,
                          static_cast<int>(texts.size()), texts.data(), sizes.data());
  };
  if (!url.password.empty()) {
    send(url.user.empty() ? std::vector<std::string>{"AUTH", url.password}
                          : std::vector<std::string>{"AUTH", url.user, url.password},
         false);
  }
  if (url.database != 0) send({"SELECT", std::to_string(url.database)}, false);
  send({"PING"}, true);
}

void RedisClient::Core::OnLogin(redisAsyncContext* context, void* reply, void* is_last) {
  auto* const self = static_cast<Core*>(context->data);
  if (self->context_ != context || reply == nullptr) return;
  const auto* const answer = static_cast<const redisReply*>(reply);
  if (answer->type == REDIS_REPLY_ERROR) {
    // The server's own words do not hold the password.
    self->Disconnect(std::string_view(answer->str, answer->len));
    return;
  }
  if (is_last == nullptr) return;
  self->pause_us_ = self->options_.least_pause_us;
  self->was_told_ = false;
  Log().info("the cache at {} is connected", self->options_.url.Shown());
  self->is_ready_.store(true, std::memory_order_release);
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
  wants_read_ = wants_write_ = false;
  // Freeing answers all that was sent, with nothing. Within a callback hiredis does it afterwards.
  if (redisAsyncContext* const context = std::exchange(context_, nullptr)) redisAsyncFree(context);
  FailWaiting();
}

void RedisClient::Core::Send(Command command) {
  auto* const sent = new Sent{this, std::move(command), false};
  const Command& to_send = sent->command;
  const std::string ttl = std::to_string(to_send.ttl_ms);
  std::array<const char*, 5> texts{};
  std::array<size_t, 5> sizes{};
  size_t count = 0;
  const auto add = [&](std::string_view word) {
    texts[count] = word.data();
    sizes[count++] = word.size();
  };
  switch (to_send.kind) {
    case Command::Kind::kGet:
      add("GET");
      add(to_send.name);
      break;
    case Command::Kind::kErase:
      add("DEL");
      add(to_send.name);
      break;
    case Command::Kind::kSet:
      add("SET");
      add(to_send.name);
      add(*to_send.value);
      add("PX");
      add(ttl);
      break;
  }
  if (redisAsyncCommandArgv(context_, &Core::OnReply, sent, static_cast<int>(count), texts.data(),
                            sizes.data()) == REDIS_OK) {
    sent_.push_back(sent);
    return;
  }
  Fail(sent->command);
  delete sent;
}

void RedisClient::Core::OnReply(redisAsyncContext*, void* reply, void* privdata) {
  const std::unique_ptr<Sent> sent(static_cast<Sent*>(privdata));
  Core& core = *sent->core;
  if (const auto at = std::ranges::find(core.sent_, sent.get()); at != core.sent_.end()) {
    core.sent_.erase(at);
  }
  if (sent->is_over) return;
  const auto* const answer = static_cast<const redisReply*>(reply);
  if (answer == nullptr || answer->type == REDIS_REPLY_ERROR) return core.Fail(sent->command);
  core.on_way_.fetch_sub(1);
  core.on_way_bytes_.fetch_sub(sent->command.value != nullptr ? sent->command.value->size() : 0);
  if (!sent->command.found) return;
  CachedBytes bytes;
  if (answer->type == REDIS_REPLY_STRING && answer->len <= core.options_.max_value_bytes) {
    bytes = std::make_shared<const std::string>(answer->str, answer->len);
  }
  sent->command.found(std::move(bytes));
}

void RedisClient::Core::SendWaiting() {
  std::deque<Command> waiting;
  {
    const MutexLock lock(mutex_);
    waiting.swap(waiting_);
  }
  for (Command& command : waiting) {
    if (context_ == nullptr || !is_ready_) {
      Fail(command);
    } else {
      Send(std::move(command));
    }
  }
}

void RedisClient::Core::GiveUpLate() {
  const int64_t now_us = Now();
  if (context_ != nullptr && !is_ready_ && now_us >= connect_deadline_us_) {
    return Disconnect("it did not answer in time");
  }
  if (sent_.empty() || sent_.front()->command.deadline_us > now_us) return;
  // Replies come in order: behind a late one all are late.
  for (Sent* const sent : sent_) {
    sent->is_over = true;
    Fail(sent->command);
  }
  Disconnect("a command was not answered in time");
}

int RedisClient::Core::PollTimeoutMs() const {
  int64_t next_us = -1;
  if (context_ == nullptr) {
    next_us = next_try_us_;
  } else if (!is_ready_) {
    next_us = connect_deadline_us_;
  } else if (!sent_.empty()) {
    next_us = sent_.front()->command.deadline_us;
  }
  if (next_us < 0) return -1;
  return static_cast<int>(std::clamp<int64_t>((next_us - Now() + 999) / 1000, 0, 60'000));
}

void RedisClient::Core::Loop() {
  while (!stopping_) {
    if (context_ == nullptr && Now() >= next_try_us_) Connect();
    std::array<pollfd, 2> files{};
    files[0] = {wake_, POLLIN, 0};
    files[1] = {context_ != nullptr ? context_->c.fd : -1, 0, 0};
    if (wants_read_) files[1].events |= POLLIN;
    if (wants_write_) files[1].events |= POLLOUT;
    poll(files.data(), files.size(), PollTimeoutMs());
    if (files[0].revents != 0) {
      uint64_t ignored = 0;
      if (read(wake_, &ignored, sizeof ignored) < 0) ignored = 0;
    }
    const auto is = [&](short events) { return (files[1].revents & events) != 0; };
    if (context_ != nullptr && wants_read_ && is(POLLIN | POLLERR | POLLHUP)) {
      redisAsyncHandleRead(context_);
    }
    if (context_ != nullptr && wants_write_ && is(POLLOUT | POLLERR | POLLHUP)) {
      redisAsyncHandleWrite(context_);
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
