#include "serve/http/http_session_internal.h"

#include <algorithm>
#include <boost/asio/error.hpp>
#include <boost/beast/http/error.hpp>
#include <charconv>
#include <cstring>
#include <exception>
#include <utility>

#include "base/ascii_text.h"
#include "base/log.h"
#include "serve/http/client_address.h"
#include "serve/http/feed_session_internal.h"
#include "serve/http/request_head_checks_internal.h"

namespace sightline::serve {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;

constexpr size_t kFirstRead = 1024;   // holds most heads; the room of a connection that is idle
constexpr int64_t kLookUs = 100'000;  // for clients that left while they wait
constexpr size_t kReadBodyAtOnce = size_t{1} << 20;  // before others have their turn; chosen

// Where in the body that begins which is best read where it lies; 0 where nobody says.
size_t AlignedAt(const HttpRequest& request, std::string_view header) {
  size_t at = 0;
  if (header.empty()) return at;
  const std::string_view text = request.Header(header);
  std::from_chars(text.data(), text.data() + text.size(), at);
  return at;
}

// Path and query of the target; the form with scheme and host, which servers must understand, too.
void SplitTarget(std::string_view target, HttpRequest* request) {
  const size_t scheme = target.find("://");
  if (!target.starts_with('/') && scheme != std::string_view::npos) {
    const size_t path = target.find_first_of("/?", scheme + 3);
    target = path == std::string_view::npos ? std::string_view("/") : target.substr(path);
  }
  const size_t question = target.find('?');
  request->path = target.substr(0, question);
  request->query = question == std::string_view::npos ? "" : target.substr(question + 1);
}

}  // namespace

HttpSession::HttpSession(HttpConnectionHost& host, HttpStream&& stream, bool from_unix_socket,
                         int refusal)
    : host_(host),
      stream_(std::move(stream)),
      buffer_(host.options().max_head_bytes + kReadAtOnce),
      room_(host.bodies()),
      from_unix_socket_(from_unix_socket),
      refusal_(refusal) {
  host_.Began(*this);
}

HttpSession::~HttpSession() {
  if (phase_ == Phase::kAsleep) host_.CountAsleep(-1);
  if (answer_room_bytes_ > 0) host_.GiveAnswerRoom(answer_room_bytes_);
  exchange_.End();
  host_.Ended(*this);
}

void HttpSession::Start() {
  if (!stream_.secure()) return AwaitRequest();
  phase_ = Phase::kRequest;
  SetDeadline(host_.NowUs() + host_.options().request_timeout_us);
  stream_.AsyncHandshake([self = Self()](ErrorCode error) { self->OnHandshake(error); });
}

void HttpSession::OnHandshake(ErrorCode error) {
  if (!error) return AwaitRequest();
  if (error == asio::error::operation_aborted) return;  // counted as one that took too long
  host_.HandshakeFailed();
  stream_.DropTls();
  if (stream_.plain_http()) {
    turn_ = std::make_unique<Turn>(host_.options().max_head_bytes);
    return Refuse(400, "this port speaks TLS alone: use https://");
  }
  // What OpenSSL told the other side would be lost if the connection were reset.
  OnSent({});
}

void HttpSession::Close() { stream_.Close(); }

void HttpSession::EndWhenAnswered() {
  if (phase_ != Phase::kHandler && phase_ != Phase::kAnswer) Close();
}

void HttpSession::SetDeadline(int64_t at_us) {
  deadline_us_ = at_us;
  host_.SetAlarm(*this, at_us);
}

void HttpSession::AllowTime(int64_t grace_us, uint64_t moved_bytes) {
  const auto for_bytes_us =
      static_cast<int64_t>(moved_bytes * 1'000'000 / host_.options().min_bytes_per_s);
  SetDeadline(std::min(host_.NowUs() + grace_us, began_us_ + grace_us + for_bytes_us));
}

void HttpSession::OnAlarm(int64_t now_us) {
  if (now_us >= deadline_us_) {
    // An idle connection that ends is none that was slow.
    if (phase_ == Phase::kRequest || phase_ == Phase::kAnswer) host_.TimedOut();
    return Close();
  }
  if (phase_ == Phase::kIdle) return stream_.Cancel();  // goes to sleep
  if (phase_ != Phase::kHandler) return host_.SetAlarm(*this, deadline_us_);
  if (stream_.IsLeft()) {
    turn_->asker.MarkLeft();
  } else {
    host_.SetAlarm(*this, now_us + kLookUs);
  }
}

void HttpSession::AwaitRequest() {
  turn_ = std::make_unique<Turn>(host_.options().max_head_bytes);
  began_us_ = 0;
  const bool first = std::exchange(first_, false);
  if (buffer_.size() > 0) {  // the next request came along with the last one; others go first
    phase_ = Phase::kRequest;
    asio::post(stream_.get_executor(), [self = Self()] { self->ReadHead(); });
    return;
  }
  const int64_t now_us = host_.NowUs();
  phase_ = Phase::kIdle;
  deadline_us_ = now_us + (refusal_ != 0                ? kLingerUs
                           : first && host_.IsCrowded() ? host_.options().request_timeout_us
                                                        : host_.options().idle_timeout_us);
  host_.SetAlarm(*this, std::min(deadline_us_, now_us + host_.options().asleep_after_us));
  ReadMore();
}

void HttpSession::ReadMore() {
  const size_t room = phase_ == Phase::kIdle
                          ? std::clamp(buffer_.capacity(), kFirstRead, kReadAtOnce)
                          : kReadAtOnce;
  stream_.async_read_some(buffer_.prepare(room), [self = Self()](ErrorCode error, size_t bytes) {
    if (error == asio::error::operation_aborted && self->phase_ == Phase::kIdle &&
        self->stream_.is_open()) {
      return self->Sleep();
    }
    if (error) return;  // gone, or silent for too long
    self->buffer_.commit(bytes);
    self->ReadHead();
  });
}

// Ten thousand connections may wait for their next request; none of what a request needs is kept.
void HttpSession::Sleep() {
  phase_ = Phase::kAsleep;
  host_.CountAsleep(1);
  turn_.reset();
  buffer_.clear();
  buffer_.shrink_to_fit();
  stream_.Rest();
  host_.SetAlarm(*this, deadline_us_);
  stream_.AwaitRead([self = Self()](ErrorCode error) {
    if (error) return;
    self->turn_ = std::make_unique<Turn>(self->host_.options().max_head_bytes);
    self->phase_ = Phase::kIdle;
    self->host_.CountAsleep(-1);
    // The bytes are there, so that this is not for long.
    self->host_.SetAlarm(*self, self->deadline_us_);
    self->ReadMore();
  });
}

void HttpSession::ReadHead() {
  if (phase_ != Phase::kRequest || began_us_ == 0) {
    phase_ = Phase::kRequest;
    began_us_ = host_.NowUs();
    SetDeadline(began_us_ + host_.options().request_timeout_us);
  }
  ErrorCode error;
  while (!turn_->parser.is_header_done() && !error && buffer_.size() > 0) {
    const char* const bytes = static_cast<const char*>(buffer_.data().data());
    const size_t taken = turn_->parser.put(buffer_.data(), error);
    // The parser takes a folded header at once, and hands it on as one line.
    if (HasFoldedHeader({bytes, taken})) return Refuse(400, "a header may not go on in a new line");
    buffer_.consume(taken);
  }
  if (error == http::error::need_more) error = {};
  if (!error && !turn_->parser.is_header_done()) return ReadMore();
  OnHead(error);
}

void HttpSession::OnHead(ErrorCode error) {
  if (error) return RefuseBroken(error);
  if (refusal_ != 0) return RefuseCrowd();
  RequestParser& parser = turn_->parser;
  HttpRequest& request = turn_->request;
  if (auto refusal = RefusalOfHead(request, parser.version(), parser.hosts())) {
    return Send(*std::move(refusal), /*keep_alive=*/false, /*head_only=*/false);
  }
  request.from_unix_socket = from_unix_socket_;
  SplitTarget(parser.target(), &request);
  turn_->route = host_.router().Find(request.method, request.path, from_unix_socket_);
  Router::Found& route = turn_->route;
  request.parameters = std::move(route.parameters);
  const bool no_body =
      request.method == "GET" || request.method == "HEAD" || request.method == "DELETE";
  const size_t limit =
      route.options.max_body_bytes.value_or(no_body ? 0 : host_.options().max_body_bytes);
  const auto length = parser.content_length();
  const bool chunked = parser.chunked();
  if (IsRefusedByGate(length.value_or(0), chunked)) return;
  if (route.refused()) {
    // What is refused whatever its body says is not worth reading it.
    if (chunked || (length && *length > 0)) {
      return Send(std::move(route.refusal), /*keep_alive=*/false, /*head_only=*/false);
    }
  } else if ((length && *length > limit) || (chunked && limit == 0)) {
    if (limit == 0) {
      return Refuse(400, fmt::format("{} takes no body here: send none", request.method));
    }
    return Refuse(413, fmt::format("the body may have at most {} bytes here", limit));
  }
  // What there is no room for now is not worth reading. But room is held only for what has come and the
  // next piece, or those who announce much and send nothing would keep out all others.
  const size_t announced = length.value_or(0);
  if (!room_.Need(announced)) return RefuseFull();
  room_.Shrink(std::min(announced, BodyPlace::kFirstPiece));
  parser.body_limit(limit);
  const std::string_view expect = request.Header("expect");
  if (expect.empty()) return ReadBody();
  if (AsciiLower(expect) != "100-continue") {
    return Refuse(417, "of expectations only 100-continue can be met");
  }
  static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  const asio::const_buffer bytes(kContinue.data(), kContinue.size());
  // Fits whatever the socket still holds, unless its client reads nothing at all.
  if (stream_.WriteNow({&bytes, 1}, error) == kContinue.size()) ReadBody();
}

bool HttpSession::IsRefusedByGate(size_t body_bytes, bool chunked) {
  HttpGate* const gate = host_.options().gate;
  if (gate == nullptr) return false;
  HttpRequest& request = turn_->request;
  if (client_.empty()) {
    client_ = from_unix_socket_ ? "unix" : ClientAddressOf(stream_.native_handle());
  }
  request.client = client_;
  std::optional<HttpResponse> refusal = exchange_.Begin(*gate, request, turn_->route, began_us_);
  if (!refusal) return false;
  // A body that nobody reads would be taken for the next request. One that is not long is passed over once
  // the answer is sent: clients under a limit come again, and a new connection costs more than that.
  const bool keep_alive =
      !chunked && body_bytes <= kPassOverBytes && request.Header("expect").empty() && KeepsAlive();
  pass_over_bytes_ = keep_alive ? body_bytes : 0;
  Send(*std::move(refusal), keep_alive, IsHead());
  return true;
}

bool HttpSession::KeepsAlive() const {
  return turn_->parser.version() >= 11 && turn_->parser.keep_alive() && !host_.stopping();
}

void HttpSession::ReadBody() {
  RequestParser& parser = turn_->parser;
  if (parser.is_done()) return Answer();
  const auto length = parser.content_length();
  if (!length) return ReadChunks();
  // A body of known size goes straight to its place, past the parser and its small buffer.
  BodyPlace& place = turn_->place;
  place.Begin(*length, AlignedAt(turn_->request, turn_->route.options.aligned_by));
  const size_t have = std::min<size_t>(buffer_.size(), *length);
  // As far as it is worth a question.
  const size_t waiting = *length - have > BodyPlace::kFirstPiece ? stream_.WaitingBytes() : 0;
  if (have + waiting > 0 && !place.Grow(have + waiting, room_)) return RefuseFull();
  std::memcpy(place.free(), buffer_.data().data(), have);
  place.Came(have);
  buffer_.consume(have);
  ReadRest();
}

// In pieces that grow with what has come.
void HttpSession::ReadRest() {
  BodyPlace& place = turn_->place;
  for (size_t now = 0; !place.whole() && now < kReadBodyAtOnce;) {
    if (place.free_bytes() == 0 && !place.Grow(stream_.WaitingBytes(), room_)) return RefuseFull();
    if (stream_.secure()) return AwaitRest();
    ErrorCode error;
    const size_t bytes = stream_.ReadNow({place.free(), place.free_bytes()}, error);
    if (error == asio::error::would_block) return AwaitRest();
    if (error) return;
    place.Came(bytes);
    now += bytes;
  }
  if (!place.whole()) return AwaitRest();
  turn_->request.body = place.Take();
  if (turn_->request.body.is_block()) host_.TidyBodies();
  Answer();
}

void HttpSession::AwaitRest() {
  BodyPlace& place = turn_->place;
  AllowTime(host_.options().request_timeout_us, place.have());
  if (!stream_.secure()) {
    return stream_.AwaitRead([self = Self()](ErrorCode error) {
      if (!error) self->ReadRest();
    });
  }
  stream_.async_read_some(asio::buffer(place.free(), place.free_bytes()),
                          [self = Self()](ErrorCode error, size_t bytes) {
                            if (error) return;
                            self->turn_->place.Came(bytes);
                            self->ReadRest();
                          });
}

// Nobody knows the size before the end.
void HttpSession::ReadChunks() {
  Turn& turn = *turn_;
  ErrorCode error;
  while (!turn.parser.is_done() && !error && buffer_.size() > 0) {
    buffer_.consume(turn.parser.put(buffer_.data(), error));
    if (!room_.Need(turn.request.body.text().capacity())) return RefuseFull();
  }
  if (turn.parser.is_done()) {
    turn.request.body.text().shrink_to_fit();
    room_.Shrink(turn.request.body.size());
    return Answer();
  }
  if (error && error != http::error::need_more) return RefuseBroken(error);
  // What the parser leaves is the extension of a chunk or the trailer, without its end.
  if (buffer_.size() + kReadAtOnce > buffer_.max_size()) {
    return Refuse(431, fmt::format("chunk extensions and trailers may have at most {} bytes",
                                   host_.options().max_head_bytes));
  }
  AllowTime(host_.options().request_timeout_us, turn.request.body.size());
  stream_.async_read_some(buffer_.prepare(kReadAtOnce),
                          [self = Self()](ErrorCode failed, size_t bytes) {
                            if (failed) return;
                            self->buffer_.commit(bytes);
                            self->ReadChunks();
                          });
}

void HttpSession::Answer() {
  HttpRequest& request = turn_->request;
  Router::Found& route = turn_->route;
  keep_alive_ = KeepsAlive();
  head_only_ = IsHead();
  if (HttpExchange* const exchange = exchange_.get()) {
    exchange->handled_us = host_.NowUs();
    exchange->body_bytes = request.body.size();
  }
  if (route.refused()) return Send(std::move(route.refusal), keep_alive_, head_only_);
  if (head_only_) request.method = "GET";
  if (route.feed_handler != nullptr) return AnswerByFeed();
  if (route.async_handler != nullptr) {
    phase_ = Phase::kHandler;
    deadline_us_ = HttpConnectionHost::kNever;
    const HttpReply reply = host_.Wait(shared_from_this());
    turn_->asker = reply.asker();
    host_.SetAlarm(*this, host_.NowUs() + kLookUs);
    const std::string method = request.method, path = request.path;
    try {
      (*route.async_handler)(std::move(request), reply);
    } catch (const std::exception& thrown) {
      Log().error("{} {}: {}", method, path, thrown.what());
      reply(ErrorResponse(500, "an error inside; the log says more"));
    }
    return;
  }
  HttpResponse response;
  try {
    response = (*route.handler)(request);
  } catch (const std::exception& thrown) {
    Log().error("{} {}: {}", request.method, request.path, thrown.what());
    response = ErrorResponse(500, "an error inside; the log says more");
  }
  Send(std::move(response), keep_alive_, head_only_);
}

// The connection is handed on: this session ends with it.
void HttpSession::AnswerByFeed() {
  if (head_only_) return Send({.content_type = "text/event-stream"}, keep_alive_, head_only_);
  std::optional<HttpResponse> refusal;
  const std::shared_ptr<FeedConnection> feed =
      OpenFeed(host_, turn_->request, *turn_->route.feed_handler, buffer_.size() > 0, &refusal);
  if (refusal) return Send(*std::move(refusal), keep_alive_, head_only_);
  host_.Answered(200);
  feed->Start(std::move(stream_), std::move(exchange_));
}

}  // namespace sightline::serve
