// Server-sent events, and what both kinds of feeds have in common.
#include "serve/http/feed_session_internal.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <exception>
#include <string>
#include <utility>

#include "base/ascii_text.h"
#include "base/log.h"
#include "serve/http/request_head_checks_internal.h"
#include "serve/http/response_head_internal.h"

namespace sightline::serve {
namespace {

namespace asio = boost::asio;
using ErrorCode = HttpStream::ErrorCode;

constexpr size_t kWriteAtOnce = size_t{64} * 1024;
constexpr int64_t kCommentUs = 15'000'000;  // proxies give silent connections up after a minute
constexpr int64_t kLingerUs = 2'000'000;

// Without line ends, which would begin another field.
std::string_view OneLine(std::string_view text) {
  return text.substr(0, text.find_first_of("\r\n"));
}

void AppendEvent(const FeedMessage& message, std::string* to) {
  if (!message.event.empty()) to->append("event: ").append(OneLine(message.event)).append("\n");
  if (!message.id.empty()) to->append("id: ").append(OneLine(message.id)).append("\n");
  std::string_view rest = message.data;
  while (true) {
    const size_t end = std::min(rest.find_first_of("\r\n"), rest.size());
    to->append("data: ").append(rest.substr(0, end)).append("\n");
    if (end == rest.size()) break;
    rest.remove_prefix(end + (rest.substr(end, 2) == "\r\n" ? 2 : 1));
  }
  to->append("\n");
}

class EventStreamSession final : public FeedConnection {
 public:
  explicit EventStreamSession(HttpConnectionHost& host) : FeedConnection(host) {}
  ~EventStreamSession() override {
    if (stream_) SetWrittenBytes(stream_->written_bytes());
  }

  void EndWhenAnswered() override { queue()->End(); }
  void Close() override { stream_->Close(); }
  void OnFeedAlarm() override {
    if (writing_) host().TimedOut();
    if (writing_ || ended_) return Close();
    unsent_ += ":\n\n";
    Write();
  }
  void OnWake() override {
    if (stream_ && !writing_) Write();
  }
  bool is_stuck() const override { return writing_; }

 private:
  void Begin(HttpStream&& stream) override {
    stream_.emplace(std::move(stream));
    HttpResponse head{.content_type = "text/event-stream"};
    head.headers.emplace_back("X-Accel-Buffering", "no");  // proxies hand events on at once
    AddGateHeaders(&head.headers);
    unsent_ = ResponseHead(head, std::nullopt, /*keep_alive=*/false);
    Read();
    Write();
  }
  std::shared_ptr<EventStreamSession> Self() {
    return std::static_pointer_cast<EventStreamSession>(shared_from_this());
  }
  // To see that the client leaves; what it says means nothing.
  void Read() {
    stream_->async_read_some(asio::buffer(read_), [self = Self()](ErrorCode error, size_t) {
      if (error) return self->Close();
      self->Read();
    });
  }
  void Write() {
    while (!ended_) {
      while (unsent_.size() < kWriteAtOnce) {
        const auto message = queue()->Take();
        if (message == nullptr) break;
        AppendEvent(*message, &unsent_);
      }
      if (unsent_.empty()) {
        if (queue()->at_end()) return Finish();
        unsent_.shrink_to_fit();
        return SetFeedAlarm(host().NowUs() + kCommentUs);
      }
      ErrorCode error;
      const asio::const_buffer bytes(unsent_.data(), unsent_.size());
      unsent_.erase(0, stream_->WriteNow({&bytes, 1}, error));
      if (!error) continue;
      if (error != asio::error::would_block) return Close();
      writing_ = true;
      SetFeedAlarm(host().NowUs() + host().options().write_timeout_us);
      return stream_->AwaitWrite([self = Self()](ErrorCode failed) {
        self->writing_ = false;
        if (!failed) self->Write();
      });
    }
  }
  void Finish() {
    ended_ = true;
    stream_->ShutdownWrites();
    if (host().stopping()) return Close();
    SetFeedAlarm(host().NowUs() + kLingerUs);
  }

  std::optional<HttpStream> stream_;
  std::string unsent_;
  char read_[64];
  bool writing_ = false;  // waits until the client has read
  bool ended_ = false;
};

}  // namespace

FeedConnection::FeedConnection(HttpConnectionHost& host) : host_(host) { host_.Began(*this); }

FeedConnection::~FeedConnection() {
  if (queue_ != nullptr) queue_->Close();
  host_.Ended(*this);
}

const std::shared_ptr<FeedQueue>& FeedConnection::queue() {
  if (queue_ == nullptr) {
    queue_ = std::make_shared<FeedQueue>(host_.options().feed_messages, host_.options().feed_bytes,
                                         host_.feed_counts(), host_.Waker(weak_from_this()));
  }
  return queue_;
}

void FeedConnection::Start(HttpStream&& stream, GatedExchange&& exchange) {
  exchange_.emplace(std::move(exchange));
  if (HttpExchange* const told = exchange_->get()) {
    told->status = 200;
    told->answered_us = host_.NowUs();
    told->complete = true;  // as far as a feed is ever complete
    next_look_us_ = told->answered_us + HttpGate::kFeedLookUs;
  }
  written_before_ = stream.written_bytes();
  Begin(std::move(stream));
}

void FeedConnection::SetFeedAlarm(int64_t at_us) {
  feed_alarm_us_ = at_us;
  host_.SetAlarm(*this, std::min(feed_alarm_us_, next_look_us_));
}

void FeedConnection::OnAlarm(int64_t now_us) {
  if (now_us >= next_look_us_) {
    HttpExchange* const told = exchange_->get();
    is_revoked_ = !host_.options().gate->MayGoOn(*told);
    next_look_us_ = is_revoked_ ? HttpConnectionHost::kNever : now_us + HttpGate::kFeedLookUs;
    if (is_revoked_) {
      if (told->context != nullptr) told->context->refused = "key";
      queue_->Cut();
      if (is_stuck()) return Close();
    }
  }
  const bool is_due = now_us >= feed_alarm_us_;
  SetFeedAlarm(is_due ? HttpConnectionHost::kNever : feed_alarm_us_);
  if (is_due) OnFeedAlarm();
}

void FeedConnection::SetWrittenBytes(uint64_t bytes) {
  HttpExchange* const told = exchange_ ? exchange_->get() : nullptr;
  if (told != nullptr) told->sent_bytes = bytes - written_before_;
}

void FeedConnection::AddGateHeaders(NamedTexts* headers) {
  HttpExchange* const told = exchange_ ? exchange_->get() : nullptr;
  if (told == nullptr || told->context == nullptr) return;
  for (const auto& header : told->context->answer_headers) headers->push_back(header);
}

std::shared_ptr<FeedConnection> MakeEventStream(HttpConnectionHost& host) {
  return std::make_shared<EventStreamSession>(host);
}

std::shared_ptr<FeedConnection> OpenFeed(HttpConnectionHost& host, const HttpRequest& request,
                                         const HttpFeedHandler& handler, bool early,
                                         std::optional<HttpResponse>* refusal) {
  const std::string upgrade = AsciiLower(request.Header("upgrade"));
  const bool web_socket = upgrade.find("websocket") != std::string::npos;
  if (early) {
    *refusal = ErrorResponse(400, "nothing may come behind this request");
    return nullptr;
  }
  if (web_socket && IsOfAnotherSite(request)) {
    *refusal = ErrorResponse(403, "a WebSocket is not opened for the page of another site");
    return nullptr;
  }
  if (web_socket && !IsWebSocketKey(request.Header("sec-websocket-key"))) {
    *refusal = ErrorResponse(400, "Sec-WebSocket-Key is base64 of 16 bytes");
    return nullptr;
  }
  std::shared_ptr<FeedConnection> feed =
      web_socket ? MakeWebSocket(host, request) : MakeEventStream(host);
  try {
    *refusal = handler(request, feed->queue());
  } catch (const std::exception& thrown) {
    Log().error("{} {}: {}", request.method, request.path, thrown.what());
    *refusal = ErrorResponse(500, "an error inside; the log says more");
  }
  return feed;
}

}  // namespace sightline::serve
