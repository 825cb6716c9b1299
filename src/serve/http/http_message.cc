#include "serve/http/http_message.h"

#include <algorithm>
#include <atomic>
#include <nlohmann/json.hpp>

#include "base/ascii_text.h"
#include "base/json_text.h"

namespace sightline::serve {
namespace {

std::string_view Find(const NamedTexts& texts, std::string_view name) {
  const auto at = std::find_if(texts.begin(), texts.end(),
                               [&](const auto& text) { return text.first == name; });
  return at == texts.end() ? std::string_view() : std::string_view(at->second);
}

// Of a query, where "+" is a blank (application/x-www-form-urlencoded).
std::string DecodeQueryPart(std::string_view text) {
  std::string blanks(text);
  std::replace(blanks.begin(), blanks.end(), '+', ' ');
  std::string decoded;
  PercentDecode(blanks, &decoded);
  return decoded;
}

}  // namespace

std::string_view HttpRequest::Header(std::string_view name) const { return Find(headers, name); }

std::string_view HttpRequest::Parameter(std::string_view name) const {
  return Find(parameters, name);
}

std::optional<std::string> HttpRequest::QueryValue(std::string_view key) const {
  std::string_view rest = query;
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
    const size_t equals = std::min(pair.find('='), pair.size());
    if (DecodeQueryPart(pair.substr(0, equals)) != key) continue;
    return DecodeQueryPart(pair.substr(std::min(pair.size(), equals + 1)));
  }
  return std::nullopt;
}

std::vector<std::string> HttpRequest::QueryKeys() const {
  std::vector<std::string> keys;
  std::string_view rest = query;
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
    if (!pair.empty()) keys.push_back(DecodeQueryPart(pair.substr(0, pair.find('='))));
  }
  return keys;
}

struct HttpReply::State {
  explicit State(std::function<void(HttpResponse&&)> to) : send(std::move(to)) {}
  ~State() {
    if (answered) return;
    try {
      send(ErrorResponse(500, "an error inside: nobody answered"));
    } catch (...) {  // no memory: the connection waits until its client goes or the server ends
    }
  }
  std::function<void(HttpResponse&&)> send;
  std::atomic<bool> answered{false};
  std::atomic<bool> left{false};
};

HttpReply::HttpReply(std::function<void(HttpResponse&&)> send)
    : state_(std::make_shared<State>(std::move(send))) {}

void HttpReply::operator()(HttpResponse response) const {
  if (!state_->answered.exchange(true)) state_->send(std::move(response));
}

bool HttpReply::left() const { return state_->left.load(std::memory_order_relaxed); }

HttpReply::Asker HttpReply::asker() const {
  Asker asker;
  asker.state_ = state_;
  return asker;
}

void HttpReply::Asker::MarkLeft() const {
  if (const std::shared_ptr<State> state = state_.lock()) {
    state->left.store(true, std::memory_order_relaxed);
  }
}

HttpResponse ErrorResponse(int status, std::string_view message) {
  return {.status = status,
          .content_type = "application/json",
          .body = JsonText(nlohmann::json{{"error", message}}) + "\n"};
}

}  // namespace sightline::serve
