#include "base/redact.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <utility>

#include "base/mutex.h"

namespace sightline {
namespace {

struct Hidden {
  Mutex mutex;
  std::atomic<bool> any{false};
  // By falling length of the secret, so that a URL goes before the password in it.
  std::deque<std::pair<std::string, std::string>> secrets GUARDED_BY(mutex);
  std::deque<std::string> by_age GUARDED_BY(mutex);
};

Hidden& TheHidden() {
  static Hidden& hidden = *new Hidden;  // logs are written until the very end
  return hidden;
}

void ReplaceAll(std::string* text, const std::string& from, const std::string& to) {
  for (size_t at = text->find(from); at != std::string::npos; at = text->find(from, at)) {
    text->replace(at, from.size(), to);
    at += to.size();
  }
}

}  // namespace

void HideSecret(std::string_view secret, std::string_view instead) {
  // A text that stands in its own replacement would be found again.
  if (secret.size() < kMinHiddenBytes || secret == instead) return;
  Hidden& hidden = TheHidden();
  const MutexLock lock(hidden.mutex);
  const auto same = [&](const auto& entry) { return entry.first == secret; };
  if (std::ranges::any_of(hidden.secrets, same)) return;
  if (hidden.by_age.size() == kMaxHidden) {
    const std::string& oldest = hidden.by_age.front();
    std::erase_if(hidden.secrets, [&](const auto& entry) { return entry.first == oldest; });
    hidden.by_age.pop_front();
  }
  const auto place = std::ranges::find_if(
      hidden.secrets, [&](const auto& entry) { return entry.first.size() < secret.size(); });
  hidden.secrets.emplace(place, std::string(secret), std::string(instead));
  hidden.by_age.emplace_back(secret);
  hidden.any.store(true, std::memory_order_release);
}

std::string WithoutSecrets(std::string_view text) {
  std::string shown(text);
  Hidden& hidden = TheHidden();
  if (!hidden.any.load(std::memory_order_acquire)) return shown;
  const MutexLock lock(hidden.mutex);
  for (const auto& [secret, instead] : hidden.secrets) ReplaceAll(&shown, secret, instead);
  return shown;
}

}  // namespace sightline
