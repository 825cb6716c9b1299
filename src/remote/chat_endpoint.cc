#include "remote/chat_endpoint.h"

#include <algorithm>
#include <utility>

#include "base/redact.h"

namespace sightline {
namespace {

// A question in another dialect is no retry; these are all that there are (SimplerDialect()).
constexpr int kMostDialects = 5;

// Of a picture and its question, where the server does not say; chosen: what a picture of 768 px costs
// at most with the usual ways to count.
constexpr int64_t kAssumedPromptTokens = 1000;

bool IsAboutRequest(int status) { return status == 400 || status == 413 || status == 422; }

std::string ChatUrl(std::string endpoint) {
  while (endpoint.ends_with('/')) endpoint.pop_back();
  return endpoint + "/chat/completions";
}

}  // namespace

ChatEndpoint::ChatEndpoint(const VisionLanguageOptions& options, Question question, int max_tokens,
                           std::shared_ptr<VisionLanguageCounters> counters,
                           std::unique_ptr<net::HttpClient> client, std::string origin)
    : options_(options),
      question_(std::move(question)),
      max_tokens_(max_tokens),
      counters_(std::move(counters)),
      client_(std::move(client)),
      origin_(std::move(origin)),
      cancel_(options.cancel ? options.cancel : std::make_shared<net::CancelSignal>()),
      url_(ChatUrl(options.endpoint)),
      budget_(options.budget, *options.clock),
      chance_(static_cast<unsigned>(Clock::Real().NowMonotonicUs())) {}

absl::StatusOr<std::unique_ptr<ChatEndpoint>> ChatEndpoint::Create(
    const VisionLanguageOptions& options, Question question, int max_tokens,
    std::shared_ptr<VisionLanguageCounters> counters) {
  SL_ASSIGN_OR_RETURN(std::string origin, net::OriginOf(options.endpoint));
  SL_ASSIGN_OR_RETURN(
      std::unique_ptr<net::HttpClient> client,
      net::HttpClient::Create({.connect_timeout_us = options.connect_timeout_us,
                               .max_idle_connections = static_cast<size_t>(options.max_at_once),
                               .tls = options.tls,
                               .use_environment_proxy = options.use_environment_proxy}));
  HideSecret(options.api_key, "***");
  return std::unique_ptr<ChatEndpoint>(new ChatEndpoint(options, std::move(question), max_tokens,
                                                        std::move(counters), std::move(client),
                                                        std::move(origin)));
}

absl::StatusOr<Answer> ChatEndpoint::Ask(const SentPicture& picture, int64_t deadline_us) {
  if (const absl::Status paused = CheckPause(); !paused.ok()) {
    counters_->refused_while_paused.Add();
    return paused;
  }
  absl::StatusOr<Answer> answer = AskWithRetries(picture, deadline_us);
  if (answer.ok()) {
    counters_->answers.Add();
  } else if (absl::IsResourceExhausted(answer.status())) {
    counters_->refused_by_budget.Add();
  } else {
    counters_->errors.Add();
  }
  return answer;
}

absl::StatusOr<Answer> ChatEndpoint::AskWithRetries(const SentPicture& picture,
                                                    int64_t deadline_us) {
  absl::Status last;
  int dialects = 1;
  for (int attempt = 1;;) {
    if (cancel_->cancelled()) return Cancelled("{}: asked to stop", origin_);
    const int64_t left_us = deadline_us - options_.clock->NowMonotonicUs();
    if (left_us <= 0) {
      if (!last.ok()) return last;
      return DeadlineExceeded("{}: not asked within {} s: others were asked before", origin_,
                              static_cast<double>(options_.timeout_us) / 1e6);
    }
    // Where it was asked in vain already, that is what there is to say.
    if (const absl::Status taken = budget_.TakeRequest(); !taken.ok()) {
      return last.ok() ? taken : last;
    }
    Outcome outcome = AskOnce(picture, left_us);
    if (outcome.answer.ok()) return outcome.answer;
    last = outcome.answer.status();
    if (outcome.other_words && dialects < kMostDialects) {
      ++dialects;
      continue;
    }
    if (!outcome.may_pass) {
      if (outcome.counts_against) NoteFailure({});
      return last;
    }
    ++attempt;
    int64_t wait_us = 0;
    {
      const MutexLock lock(mutex_);
      const double chance = std::uniform_real_distribution<>()(chance_);
      wait_us = net::RetryWaitUs(options_.retry, attempt, outcome.retry_after_us, chance);
    }
    const bool in_time = options_.clock->NowMonotonicUs() + wait_us < deadline_us;
    if (attempt > options_.retry.max_attempts || !in_time) {
      NoteFailure(outcome.retry_after_us);
      return last;
    }
    if (cancel_->WaitFor(wait_us)) return Cancelled("{}: asked to stop", origin_);
    counters_->retries.Add();
  }
}

ChatEndpoint::Outcome ChatEndpoint::AskOnce(const SentPicture& picture, int64_t timeout_us) {
  ChatDialect dialect;
  {
    const MutexLock lock(mutex_);
    dialect = dialect_;
  }
  const std::string body =
      ChatRequest(question_, options_.model, max_tokens_, dialect, picture.jpeg);
  net::HttpRequest request{
      .method = "POST",
      .url = url_,
      .headers = {{"Content-Type", "application/json"}, {"Accept", "application/json"}},
      .body = body,
      .timeout_us = timeout_us,
      .cancel = cancel_.get()};
  if (!options_.api_key.empty()) {
    request.headers.push_back({"Authorization", "Bearer " + options_.api_key});
  }
  counters_->requests.Add();
  const absl::StatusOr<net::HttpResponse> response = client_->Fetch(request);
  if (response.ok()) return OutcomeOf(*response, dialect, picture);
  Outcome outcome{.answer = response.status()};
  outcome.may_pass =
      absl::IsUnavailable(response.status()) || absl::IsDeadlineExceeded(response.status());
  outcome.counts_against = !absl::IsCancelled(response.status());
  if (absl::IsResourceExhausted(response.status())) {
    // That code is the budget's.
    outcome.answer = absl::Status(absl::StatusCode::kDataLoss, response.status().message());
  }
  return outcome;
}

ChatEndpoint::Outcome ChatEndpoint::OutcomeOf(const net::HttpResponse& response,
                                              const ChatDialect& dialect,
                                              const SentPicture& picture) {
  Outcome outcome{.retry_after_us = response.retry_after_us};
  if (response.status != 200) {
    outcome.answer = ErrorOf(response);
    outcome.may_pass = net::MayPass(response.status);
    const bool of_the_picture = response.status == 413 || SaysFiltered(response.body);
    if ((response.status == 400 || response.status == 422) && !of_the_picture) {
      outcome.other_words = LearnFrom(dialect, response.body);
    }
    // What it never took it may never take; what it takes of other pictures is this one's fault.
    outcome.counts_against =
        outcome.may_pass || !(of_the_picture || (IsAboutRequest(response.status) && Works()));
    return outcome;
  }
  ChatReply reply;
  const absl::Status parsed = ParseChatReply(response.body, &reply);
  // A server that does not count shall not make the budget endless.
  budget_.AddTokens(reply.has_usage ? reply.total_tokens : kAssumedPromptTokens + max_tokens_);
  counters_->prompt_tokens.Add(static_cast<uint64_t>(reply.prompt_tokens));
  counters_->answer_tokens.Add(static_cast<uint64_t>(reply.answer_tokens));
  if (!reply.has_usage) counters_->replies_without_usage.Add();
  if (reply.is_reply) {
    outcome.counts_against = false;
    NoteSuccess(dialect);
  }
  if (parsed.ok()) {
    outcome.answer = ParseAnswer(question_, reply, picture.width, picture.height);
  } else {
    outcome.answer = parsed;
  }
  if (!outcome.answer.ok()) outcome.answer = WithContext(outcome.answer.status(), origin_);
  return outcome;
}

absl::Status ChatEndpoint::ErrorOf(const net::HttpResponse& response) const {
  const int status = response.status;
  const std::string said = ShownServerMessage(response.body);
  const auto error = [&](absl::StatusCode code, std::string_view advice) {
    return MakeError(code, "{}: status {}{}: \"{}\"", origin_, status, advice, said);
  };
  if (status == 401) return error(absl::StatusCode::kUnauthenticated, ", check the API key");
  if (status == 402 || status == 403) {
    return error(absl::StatusCode::kPermissionDenied, ", the key's owner may not do this");
  }
  if (status == 404) {
    return error(absl::StatusCode::kNotFound, ", check the endpoint's path and the model's name");
  }
  if (IsAboutRequest(status)) {
    return error(absl::StatusCode::kInvalidArgument, ", it does not take the request");
  }
  if (net::MayPass(status)) return error(absl::StatusCode::kUnavailable, "");
  if (status >= 300 && status < 400) {
    return error(absl::StatusCode::kFailedPrecondition,
                 ", it redirects; give the address where it is");
  }
  return error(absl::StatusCode::kFailedPrecondition, "");
}

absl::Status ChatEndpoint::CheckPause() {
  const MutexLock lock(mutex_);
  const int64_t left_us = paused_until_us_ - options_.clock->NowMonotonicUs();
  if (left_us <= 0) return absl::OkStatus();
  return Unavailable("{}: not asked: it is left alone for {} s more, after {} failures in a row",
                     origin_, (left_us + 999'999) / 1'000'000, failures_);
}

void ChatEndpoint::NoteSuccess(const ChatDialect& dialect) {
  const MutexLock lock(mutex_);
  failures_ = 0;
  paused_until_us_ = 0;
  dialect_works_ = dialect_works_ || dialect == dialect_;
}

void ChatEndpoint::NoteFailure(std::optional<int64_t> retry_after_us) {
  const MutexLock lock(mutex_);
  ++failures_;
  int64_t pause_us = 0;
  if (failures_ >= kPauseAfter) {
    const int doubled = std::min(failures_ - kPauseAfter, 10);
    pause_us = std::min(int64_t{1'000'000} << doubled, kLongestPauseUs);
  }
  if (retry_after_us) {
    pause_us = std::max(pause_us, std::min(*retry_after_us, kLongestServerPauseUs));
  }
  paused_until_us_ = std::max(paused_until_us_, options_.clock->NowMonotonicUs() + pause_us);
}

bool ChatEndpoint::Works() {
  const MutexLock lock(mutex_);
  return dialect_works_;
}

bool ChatEndpoint::LearnFrom(const ChatDialect& dialect, std::string_view body) {
  const MutexLock lock(mutex_);
  if (dialect != dialect_) return true;  // another request has learnt meanwhile
  if (dialect_works_) return false;      // so it is this picture that it does not take
  const std::optional<ChatDialect> simpler = SimplerDialect(dialect, body);
  // When no words help, they were not what it is about: the next picture begins anew.
  dialect_ = simpler.value_or(ChatDialect());
  return simpler.has_value();
}

}  // namespace sightline
