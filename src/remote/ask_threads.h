// The threads that wait for an endpoint's answers: as many as requests may be out at once.
//
// Queue: first come, first served; beyond max_waiting a picture is turned away at once (Unavailable).
// Internal to this module.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "remote/chat_endpoint.h"

namespace sightline {

// One picture to ask about, and the answer.
struct Ask {
  SentPicture picture;
  int64_t deadline_us = 0;  // on the options' monotonic clock
  absl::StatusOr<Answer> answer = absl::UnknownError("not asked");
};

class AskThreads {
 public:
  // `endpoint` must live as long. ResourceExhausted when a thread cannot be started.
  static absl::StatusOr<std::unique_ptr<AskThreads>> Start(const std::string& name, int threads,
                                                           int max_waiting, ChatEndpoint* endpoint);
  ~AskThreads();  // nobody may be in AskAll()

  // Returns when each has its answer; how many were turned away. Threads: any.
  size_t AskAll(std::span<Ask> asks) EXCLUDES(mutex_);

 private:
  struct Waiting {
    Ask* ask = nullptr;
    size_t* left = nullptr;  // of its AskAll(); guarded by mutex_
  };

  AskThreads(size_t threads, int max_waiting, ChatEndpoint* endpoint)
      : most_(threads + static_cast<size_t>(max_waiting)), endpoint_(endpoint) {}
  void Run() EXCLUDES(mutex_);

  const size_t most_;  // waiting and being asked about
  ChatEndpoint* const endpoint_;
  std::vector<std::thread> threads_;
  Mutex mutex_;
  CondVar work_;
  CondVar answered_;
  std::deque<Waiting> waiting_ GUARDED_BY(mutex_);
  size_t taken_ GUARDED_BY(mutex_) = 0;  // being asked about
  bool stopping_ GUARDED_BY(mutex_) = false;
};

}  // namespace sightline
