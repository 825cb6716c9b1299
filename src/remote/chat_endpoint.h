// One endpoint for chat completions: asks it about a picture, within the budget, with retries, and in
// the dialect that it understands. Internal to this module.
//
// The dialect is found out by the first requests: what a server refuses with 400 is left out, until a
// request succeeds; from then on 400 is about a picture, as is at any time what a server's filter of
// contents refuses. After kPauseAfter failures in a row nobody asks for a second, then two, to a minute;
// the next failure begins the next pause, the next success ends them. What is about a picture is no such
// failure. When the server says for how long it wants to be left alone, it is.
//
// Threads: safe; Ask() blocks.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <string_view>

#include "base/mutex.h"
#include "base/status.h"
#include "net/http_client.h"
#include "remote/chat_protocol.h"
#include "remote/request_budget.h"
#include "remote/vision_language_model.h"

namespace sightline {

struct SentPicture {
  std::string jpeg;
  int width = 0;  // px
  int height = 0;
};

class ChatEndpoint {
 public:
  static constexpr int kPauseAfter = 5;                            // chosen
  static constexpr int64_t kLongestPauseUs = 60'000'000;           // of our own; chosen
  static constexpr int64_t kLongestServerPauseUs = 3'600'000'000;  // however long it wishes; chosen

  // `question` complete; `counters` not null. Errors as OpenVisionLanguageModel().
  static absl::StatusOr<std::unique_ptr<ChatEndpoint>> Create(
      const VisionLanguageOptions& options, Question question, int max_tokens,
      std::shared_ptr<VisionLanguageCounters> counters);

  // Errors as vision_language_model.h has them. deadline_us: on the options' monotonic clock. Counts
  // everything but pictures, cache_hits and refused_waiting.
  absl::StatusOr<Answer> Ask(const SentPicture& picture, int64_t deadline_us);

  const std::string& origin() const { return origin_; }

 private:
  struct Outcome {
    absl::StatusOr<Answer> answer = absl::UnknownError("");
    bool may_pass = false;       // asking again may help
    bool other_words = false;    // asking again in another dialect, at once
    bool counts_against = true;  // an error of the endpoint's, not of one picture or answer
    std::optional<int64_t> retry_after_us = {};
  };

  ChatEndpoint(const VisionLanguageOptions& options, Question question, int max_tokens,
               std::shared_ptr<VisionLanguageCounters> counters,
               std::unique_ptr<net::HttpClient> client, std::string origin);

  absl::StatusOr<Answer> AskWithRetries(const SentPicture& picture, int64_t deadline_us);
  Outcome AskOnce(const SentPicture& picture, int64_t timeout_us);
  Outcome OutcomeOf(const net::HttpResponse& response, const ChatDialect& dialect,
                    const SentPicture& picture);
  absl::Status ErrorOf(const net::HttpResponse& response) const;
  absl::Status CheckPause() EXCLUDES(mutex_);
  bool Works() EXCLUDES(mutex_);  // a request has succeeded in the dialect
  void NoteSuccess(const ChatDialect& dialect) EXCLUDES(mutex_);
  void NoteFailure(std::optional<int64_t> retry_after_us) EXCLUDES(mutex_);
  // True when there is another way to say it; `dialect` is what was tried.
  bool LearnFrom(const ChatDialect& dialect, std::string_view body) EXCLUDES(mutex_);

  const VisionLanguageOptions options_;
  const Question question_;
  const int max_tokens_;
  const std::shared_ptr<VisionLanguageCounters> counters_;
  const std::unique_ptr<net::HttpClient> client_;
  const std::string origin_;
  const std::shared_ptr<net::CancelSignal> cancel_;
  const std::string url_;
  RequestBudget budget_;

  Mutex mutex_;
  ChatDialect dialect_ GUARDED_BY(mutex_);
  bool dialect_works_ GUARDED_BY(mutex_) = false;
  int failures_ GUARDED_BY(mutex_) = 0;  // in a row
  int64_t paused_until_us_ GUARDED_BY(mutex_) = 0;
  std::minstd_rand chance_ GUARDED_BY(mutex_);
};

}  // namespace sightline
