#include "remote/request_budget.h"

#include <algorithm>
#include <string_view>

namespace sightline {
namespace {

constexpr int64_t kSecondUs = 1'000'000;
constexpr int64_t kDayUs = 24 * 3600 * kSecondUs;
constexpr std::array<int64_t, 3> kLengthsUs = {60 * kSecondUs, 3600 * kSecondUs, kDayUs};
constexpr std::array<std::string_view, 3> kNames = {"minute", "hour", "day"};

}  // namespace

void RequestBudget::Advance(Window* window, int64_t length_us) {
  const int64_t index = clock_.NowUtcUs() / length_us;
  if (index > window->index) *window = {.index = index};
}

absl::Status RequestBudget::TakeRequest() {
  const std::array<int64_t, 3> most = {limits_.requests_per_minute, limits_.requests_per_hour,
                                       limits_.requests_per_day};
  const MutexLock lock(mutex_);
  const auto spent = [&](int64_t limit, std::string_view what, std::string_view name,
                         const Window& window, int64_t length_us) {
    const int64_t left_us = (window.index + 1) * length_us - clock_.NowUtcUs();
    return ResourceExhausted("not asked: the budget of {} {} a {} is spent; there is more in {} s",
                             limit, what, name, std::max<int64_t>(1, left_us / kSecondUs));
  };
  for (size_t i = 0; i < most.size(); ++i) {
    Advance(&requests_[i], kLengthsUs[i]);
    if (most[i] > 0 && requests_[i].spent >= most[i]) {
      return spent(most[i], "requests", kNames[i], requests_[i], kLengthsUs[i]);
    }
  }
  Advance(&tokens_, kDayUs);
  if (limits_.tokens_per_day > 0 && tokens_.spent >= limits_.tokens_per_day) {
    return spent(limits_.tokens_per_day, "tokens", "day", tokens_, kDayUs);
  }
  for (Window& window : requests_) ++window.spent;
  return absl::OkStatus();
}

void RequestBudget::AddTokens(int64_t tokens) {
  const MutexLock lock(mutex_);
  Advance(&tokens_, kDayUs);
  tokens_.spent += std::max<int64_t>(0, tokens);
}

}  // namespace sightline
