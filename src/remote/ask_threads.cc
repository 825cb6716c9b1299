#include "remote/ask_threads.h"

#include "base/thread.h"

namespace sightline {

absl::StatusOr<std::unique_ptr<AskThreads>> AskThreads::Start(const std::string& name, int threads,
                                                              int max_waiting,
                                                              ChatEndpoint* endpoint) {
  std::unique_ptr<AskThreads> started(
      new AskThreads(static_cast<size_t>(threads), max_waiting, endpoint));
  for (int i = 0; i < threads; ++i) {
    SL_ASSIGN_OR_RETURN(std::thread thread,
                        StartThread("ask-" + name, [pool = started.get()] { pool->Run(); }));
    started->threads_.push_back(std::move(thread));
  }
  return started;
}

AskThreads::~AskThreads() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    work_.NotifyAll();
  }
  for (std::thread& thread : threads_) thread.join();
}

size_t AskThreads::AskAll(std::span<Ask> asks) {
  size_t turned_away = 0;
  size_t left = 0;
  const MutexLock lock(mutex_);
  for (Ask& ask : asks) {
    if (waiting_.size() + taken_ >= most_) {
      ask.answer = Unavailable("{}: not asked: {} pictures wait already", endpoint_->origin(),
                               waiting_.size());
      ++turned_away;
      continue;
    }
    waiting_.push_back({&ask, &left});
    ++left;
    work_.NotifyOne();
  }
  while (left > 0) answered_.Wait(mutex_);
  return turned_away;
}

void AskThreads::Run() {
  while (true) {
    Waiting next;
    {
      const MutexLock lock(mutex_);
      while (waiting_.empty() && !stopping_) work_.Wait(mutex_);
      if (waiting_.empty()) return;
      next = waiting_.front();
      waiting_.pop_front();
      ++taken_;
    }
    absl::StatusOr<Answer> answer = endpoint_->Ask(next.ask->picture, next.ask->deadline_us);
    const MutexLock lock(mutex_);
    next.ask->answer = std::move(answer);
    --taken_;
    if (--*next.left == 0) answered_.NotifyAll();
  }
}

}  // namespace sightline
