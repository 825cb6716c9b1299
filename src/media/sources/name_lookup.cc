#include "media/sources/name_lookup.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

#include <array>
#include <chrono>
#include <map>
#include <utility>

#include "base/mutex.h"
#include "base/thread.h"

namespace sightline {
namespace {

constexpr std::chrono::milliseconds kPoll(100);

struct Answer {
  bool there = false;
  int code = 0;
};

bool IsNumeric(const std::string& host) {
  std::array<uint8_t, sizeof(in6_addr)> bytes{};
  const std::string plain = host.substr(0, host.find('%'));  // fe80::1%eth0
  return ::inet_pton(AF_INET, host.c_str(), bytes.data()) == 1 ||
         ::inet_pton(AF_INET6, plain.c_str(), bytes.data()) == 1;
}

int AskSystem(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int code = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (code == 0) ::freeaddrinfo(found);
  return code;
}

}  // namespace

struct NameLookup::State {
  explicit State(LookUp look) : look_up(std::move(look)) {}
  const LookUp look_up;
  Mutex mutex;
  CondVar changed;
  std::map<std::string, std::shared_ptr<Answer>> asked GUARDED_BY(mutex);  // not answered yet
};

NameLookup::NameLookup(LookUp look_up) : state_(std::make_shared<State>(std::move(look_up))) {}

NameLookup& NameLookup::System() {
  static NameLookup& lookup = *new NameLookup(&AskSystem);
  return lookup;
}

std::optional<int> NameLookup::Find(const std::string& host, const std::function<bool()>& stop) {
  if (IsNumeric(host)) return 0;
  std::shared_ptr<Answer> answer;
  for (;;) {
    if (stop()) return std::nullopt;
    MutexLock lock(state_->mutex);
    if (answer && answer->there) return answer->code;
    if (!answer) {
      const auto found = state_->asked.find(host);
      if (found != state_->asked.end()) {
        answer = found->second;
      } else if (state_->asked.size() < kMostThreads) {
        answer = std::make_shared<Answer>();
        absl::StatusOr<std::thread> thread = StartThread("resolve", [state = state_, answer, host] {
          const int code = state->look_up(host);
          MutexLock lock(state->mutex);
          *answer = {true, code};
          state->asked.erase(host);
          state->changed.NotifyAll();
        });
        if (!thread.ok()) return EAI_MEMORY;
        state_->asked.emplace(host, answer);
        thread->detach();
      }
    }
    state_->changed.WaitFor(state_->mutex, kPoll);
  }
}

}  // namespace sightline
