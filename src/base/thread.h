// Threads with names, whose start can fail: std::thread throws when the system gives no more of them
// (limits of processes or of memory).
//
// Threads: reentrant.
#pragma once

#include <pthread.h>

#include <new>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "base/status.h"

namespace sightline {

// Runs `body` on a thread called `name` (its first 15 bytes). ResourceExhausted when there is none.
template <typename Body>
absl::StatusOr<std::thread> StartThread(const std::string& name, Body body) {
  try {
    // By the thread itself, so that it has its name from the first step on.
    return std::thread([name = name.substr(0, 15), body = std::move(body)]() mutable {
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
