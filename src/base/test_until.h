// Waiting in tests for what another thread does.
#pragma once

#include <chrono>
#include <thread>

namespace sightline {

// Whether the condition comes true with patience.
template <typename Condition>
bool Until(Condition condition, std::chrono::seconds patience = std::chrono::seconds(60)) {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace sightline
