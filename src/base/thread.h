// Threads with names, whose start can fail: std::thread throws when the system gives no more of them
// (limits of processes or of memory).
//
// Threads: reentrant.
#pragma once

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "base/status.h"

namespace sightline {

// What the system shows for a thread of that name: its first 15 bytes, of which those that are
// neither letters nor digits nor one of _ - . : are "_".
inline std::string ShownThreadName(std::string_view name) {
  std::string shown(name.substr(0, 15));
  for (char& c : shown) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '_' || c == '-' || c == '.' || c == ':';
    if (!plain) c = '_';
  }
  return shown;
}

// Adds `nice` to the nice value of the calling thread alone (on Linux it is a thread's); where the system
// does not let it, it stays as it is.
inline void LowerThreadPriority(int nice) {
  if (nice <= 0) return;
  const auto id = static_cast<id_t>(gettid());
  setpriority(PRIO_PROCESS, id, getpriority(PRIO_PROCESS, id) + nice);
}

// Runs `body` on a thread called ShownThreadName(name). ResourceExhausted when there is none.
template <typename Body>
absl::StatusOr<std::thread> StartThread(const std::string& name, Body body) {
  try {
    // By the thread itself, so that it has its name from the first step on.
    return std::thread([name = ShownThreadName(name), body = std::move(body)]() mutable {
      pthread_setname_np(pthread_self(), name.c_str());
      body();
    });
  } catch (const std::system_error& error) {
    return ResourceExhausted(
        "no thread could be started for {}: {}; ask for fewer with --threads, or raise the limits "
        "of processes and memory (ulimit -u, ulimit -v)",
        name, error.code().message());
  } catch (const std::bad_alloc&) {
    return ResourceExhausted("no memory is left for the thread {}", name);
  }
}

}  // namespace sightline
