#include <algorithm>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/bind_handler.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/rfc7230.hpp>
#include <boost/beast/http/write.hpp>
#include <chrono>
#include <ctime>
#include <exception>
#include <limits>
#include <utility>

#include "base/ascii_text.h"
#include "base/log.h"
#include "base/time.h"
#include "serve/http/client_address.h"
#include "serve/http/http_session_internal.h"

namespace sightline::serve {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;

// How long and how much is read of a connection that is told why it ends: closed with bytes unread it
// would be reset, and the answer lost on its way.
constexpr std::chrono::seconds kLingerTime(2);
constexpr size_t kLingerBytes = 1024 * 1024;
constexpr size_t kReadAtOnce = 4096;
constexpr size_t kFirstPiece = size_t{16} * 1024;  // of a large body; chosen

std::chrono::microseconds Us(int64_t us) { return std::chrono::microseconds(us); }

std::string_view View(beast::string_view text) { return {text.data(), text.size()}; }
beast::string_view View(std::string_view text) { return {text.data(), text.size()}; }

// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, section 5.6.7), whatever the locale.
std::string HttpDate() {
  constexpr std::string_view kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::string_view kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", kDays[utc.tm_wday], utc.tm_mday,
                     kMonths[utc.tm_mon], utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
}

// A body that lies in several strings.
struct PartsBody {
  using value_type = std::vector<std::string>;
  class writer {
   public:
    // Of the writer's buffers: copied by Asio where nothing may be allocated.
    class const_buffers_type {
     public:
      using value_type = asio::const_buffer;
      using const_iterator = const asio::const_buffer*;
      explicit const_buffers_type(const std::vector<asio::const_buffer>& buffers)
          : begin_(buffers.data()), end_(buffers.data() + buffers.size()) {}
      const_iterator begin() const { return begin_; }
      const_iterator end() const { return end_; }

     private:
      const_iterator begin_;
      const_iterator end_;
    };
    template <bool is_request, class Fields>
    writer(const http::header<is_request, Fields>&, const value_type& parts) : parts_(parts) {}
    void init(beast::error_code& error) {
      error = {};
      buffers_.reserve(parts_.size());
      for (const std::string& part : parts_) buffers_.emplace_back(part.data(), part.size());
    }
    boost::optional<std::pair<const_buffers_type, bool>> get(beast::error_code& error) {
      error = {};
      return {{const_buffers_type(buffers_), false}};
    }

   private:
    const value_type& parts_;
    std::vector<asio::const_buffer> buffers_;
  };
};

bool HasControls(std::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\t') || byte == 0x7F) return true;
  }
  return false;
}

bool IsToken(std::string_view text) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  for (const char c : text) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!letter && kMarks.find(c) == std::string_view::npos) return false;
  }
  return !text.empty();
}

template <typename Body>
http::response<Body> HeadOf(const HttpResponse& from, bool keep_alive) {
  http::response<Body> response;
  response.version(11);
  response.result(
      static_cast<unsigned>(from.status >= 200 && from.status <= 599 ? from.status : 500));
  response.keep_alive(keep_alive);
  response.set(http::field::date, View(std::string_view(HttpDate())));
  if (!HasControls(from.content_type))
    response.set(http::field::content_type, View(std::string_view(from.content_type)));
  response.set(http::field::cache_control, "no-store");
  response.set("X-Content-Type-Options", "nosniff");
  for (const auto& [name, value] : from.headers) {
    if (IsToken(name) && !HasControls(value)) {
      response.set(View(std::string_view(name)), View(std::string_view(value)));
    }
  }
  size_t length = from.body.size();
  for (const std::string& part : from.more_body) length += part.size();
  response.content_length(length);
  return response;
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

int64_t NowUs() { return Clock::Real().NowMonotonicUs(); }

}  // namespace

HttpSession::HttpSession(HttpSessionHost& host, Socket&& socket, bool from_unix_socket,
                         bool refused)
    : host_(host),
      stream_(std::move(socket)),
      buffer_(host.options().max_head_bytes + kReadAtOnce),
      from_unix_socket_(from_unix_socket),
      refused_(refused) {}

HttpSession::~HttpSession() {
  ShrinkRoom(0);
  EndExchange();
  host_.Ended(this);
}

void HttpSession::Start() { AwaitRequest(); }

void HttpSession::Close() { stream_.close(); }

void HttpSession::EndWhenAnswered() {
  if (!answering_) Close();
}

void HttpSession::AwaitRequest() {
  parser_.emplace();
  parser_->header_limit(static_cast<uint32_t>(host_.options().max_head_bytes));
  // The body's limit is the route's, which the head tells. (Beast 1.74 takes "none" for zero.)
  parser_->body_limit(std::numeric_limits<uint64_t>::max());
  lingered_bytes_ = 0;
  const bool first = std::exchange(first_, false);
  if (buffer_.size() > 0) return ReadHead();  // the next request came along with the last one
  stream_.expires_after(
      refused_ ? std::chrono::microseconds(kLingerTime)
               : Us(first ? host_.options().request_timeout_us : host_.options().idle_timeout_us));
  stream_.async_read_some(buffer_.prepare(kReadAtOnce),
                          [self = shared_from_this()](ErrorCode error, size_t bytes) {
                            if (error) return;  // gone, or idle for too long
                            self->buffer_.commit(bytes);
                            self->ReadHead();
                          });
}

void HttpSession::ReadHead() {
  began_us_ = NowUs();
  stream_.expires_after(Us(host_.options().request_timeout_us));
  http::async_read_header(
      stream_, buffer_, *parser_,
      [self = shared_from_this()](ErrorCode error, size_t) { self->OnHead(error); });
}

void HttpSession::OnHead(ErrorCode error) {
  if (error) return RefuseBroken(error);
  if (refused_) return Refuse(503, "too many connections; try again later");
  const auto& head = parser_->get();
  if (head.version() >= 11 && head.count(http::field::host) != 1) {
    return Refuse(400, "a request of HTTP/1.1 has one Host header");
  }
  request_ = HttpRequest();
  request_.method = View(head.method_string());
  request_.from_unix_socket = from_unix_socket_;
  SplitTarget(View(head.target()), &request_);
  route_ = host_.router().Find(request_.method, request_.path, from_unix_socket_);
  request_.parameters = std::move(route_.parameters);
  for (const auto& field : head) {
    request_.headers.emplace_back(AsciiLower(View(field.name_string())), View(field.value()));
  }
  const bool no_body =
      request_.method == "GET" || request_.method == "HEAD" || request_.method == "DELETE";
  const size_t limit =
      route_.options.max_body_bytes.value_or(no_body ? 0 : host_.options().max_body_bytes);
  const auto length = parser_->content_length();
  const bool chunked = parser_->chunked();
  if (IsRefusedByGate(chunked || length.value_or(0) > 0)) return;
  if (route_.refused()) {
    // What is refused whatever its body says is not worth reading it.
    if (chunked || (length && *length > 0)) {
      return Send(std::move(route_.refusal), /*keep_alive=*/false, /*head_only=*/false);
    }
  } else if ((length && *length > limit) || (chunked && limit == 0)) {
    return Refuse(413, fmt::format("the body may have at most {} bytes here", limit));
  }
  // What there is no room for now is not worth reading. But room is held only for what has come and the
  // next piece, or those who announce much and send nothing would keep out all others.
  const size_t announced = length.value_or(0);
  if (!NeedRoom(announced)) return RefuseFull();
  ShrinkRoom(std::min(announced, kFirstPiece));
  parser_->body_limit(limit);
  if (View(head[http::field::expect]).empty()) return ReadBody();
  if (AsciiLower(View(head[http::field::expect])) != "100-continue") {
    return Refuse(417, "of expectations only 100-continue can be met");
  }
  static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  asio::async_write(stream_, asio::buffer(kContinue.data(), kContinue.size()),
                    [self = shared_from_this()](ErrorCode failed, size_t) {
                      if (!failed) self->ReadBody();
                    });
}

bool HttpSession::IsRefusedByGate(bool has_body) {
  HttpGate* const gate = host_.options().gate;
  if (gate == nullptr) return false;
  const auto& head = parser_->get();
  if (client_.empty())
    client_ = from_unix_socket_ ? "unix" : ClientAddressOf(stream_.socket().native_handle());
  request_.client = client_;
  exchange_.emplace();
  exchange_->method = request_.method;
  exchange_->route = route_.pattern;
  exchange_->role = route_.options.role;
  exchange_->model = request_.Parameter("model");
  exchange_->client = client_;
  exchange_->began_us = began_us_;
  std::optional<HttpResponse> refusal;
  try {
    refusal = gate->Admit(request_, route_.pattern, route_.options);
  } catch (const std::exception& thrown) {
    Log().error("the gate of the server: {}", thrown.what());
    refusal = ErrorResponse(500, "an error inside; the log says more");
  }
  exchange_->context = request_.context;
  if (!refusal) return false;
  // A body that nobody reads would be taken for the next request.
  const bool keep_alive =
      !has_body && head.version() >= 11 && head.keep_alive() && !host_.stopping();
  Send(*std::move(refusal), keep_alive, head.method() == http::verb::head);
  return true;
}

void HttpSession::EndExchange() {
  if (!exchange_) return;
  exchange_->ended_us = NowUs();
  try {
    host_.options().gate->Ended(*exchange_);
  } catch (const std::exception& thrown) {
    Log().error("the gate of the server: {}", thrown.what());
  }
  exchange_.reset();
}

void HttpSession::ReadBody() {
  if (parser_->is_done()) return OnBody({});
  // A body of known size goes straight to its place, past the parser and its small buffer.
  const auto length = parser_->content_length();
  if (length && *length > kReadAtOnce) {
    std::string& body = request_.body;
    body.reserve(*length);
    const size_t have = std::min<size_t>(buffer_.size(), *length);
    if (!NeedRoom(have)) return RefuseFull();
    body.assign(static_cast<const char*>(buffer_.data().data()), have);
    buffer_.consume(have);
    return ReadRest(*length);
  }
  if (parser_->chunked()) return ReadChunks();
  http::async_read(stream_, buffer_, *parser_,
                   [self = shared_from_this()](ErrorCode error, size_t) { self->OnBody(error); });
}

// Nobody knows the size before the end.
void HttpSession::ReadChunks() {
  http::async_read_some(stream_, buffer_, *parser_,
                        [self = shared_from_this()](ErrorCode error, size_t) {
                          if (error || self->parser_->is_done()) return self->OnBody(error);
                          if (!self->NeedRoom(self->parser_->get().body().capacity())) {
                            return self->RefuseFull();
                          }
                          self->ReadChunks();
                        });
}

// In pieces that grow with what has come: who announces much and sends little has touched little.
void HttpSession::ReadRest(size_t length) {
  std::string& body = request_.body;
  const size_t have = body.size();
  if (have >= length) return Answer();
  const size_t next = std::min(length, have + std::max(kFirstPiece, have));
  if (!NeedRoom(next)) return RefuseFull();
  body.resize(next);
  asio::async_read(stream_, asio::buffer(body.data() + have, body.size() - have),
                   [self = shared_from_this(), length](ErrorCode error, size_t) {
                     if (!error) self->ReadRest(length);
                   });
}

void HttpSession::OnBody(ErrorCode error) {
  if (error) return RefuseBroken(error);
  request_.body = std::move(parser_->get().body());
  request_.body.shrink_to_fit();
  if (!NeedRoom(request_.body.size())) return RefuseFull();
  ShrinkRoom(request_.body.size());
  Answer();
}

bool HttpSession::NeedRoom(size_t bytes) {
  if (bytes <= room_bytes_) return true;
  if (!host_.TakeRoom(bytes - room_bytes_)) return false;
  room_bytes_ = bytes;
  return true;
}

void HttpSession::ShrinkRoom(size_t bytes) {
  if (bytes < room_bytes_) host_.GiveRoom(room_bytes_ - bytes);
  room_bytes_ = std::min(room_bytes_, bytes);
}

void HttpSession::Answer() {
  const auto& message = parser_->get();
  const bool keep_alive = message.version() >= 11 && message.keep_alive() && !host_.stopping();
  const bool head_only = message.method() == http::verb::head;
  if (exchange_) {
    exchange_->handled_us = NowUs();
    exchange_->body_bytes = request_.body.size();
  }
  if (route_.refused()) return Send(std::move(route_.refusal), keep_alive, head_only);
  if (head_only) request_.method = "GET";
  if (route_.async_handler != nullptr) {
    answering_ = true;
    keep_alive_ = keep_alive;
    head_only_ = head_only;
    stream_.expires_never();
    const HttpReply reply = host_.Wait(shared_from_this());
    try {
      (*route_.async_handler)(std::move(request_), reply);
    } catch (const std::exception& thrown) {
      Log().error("{} {}: {}", View(message.method_string()), View(message.target()),
                  thrown.what());
      reply(ErrorResponse(500, "an error inside; the log says more"));
    }
    return;
  }
  HttpResponse response;
  try {
    response = (*route_.handler)(request_);
  } catch (const std::exception& thrown) {
    Log().error("{} {}: {}", request_.method, request_.path, thrown.what());
    response = ErrorResponse(500, "an error inside; the log says more");
  }
  Send(std::move(response), keep_alive, head_only);
}

void HttpSession::RefuseBroken(ErrorCode error) {
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    return Refuse(431, fmt::format("the head of a request may have at most {} bytes",
                                   host_.options().max_head_bytes));
  }
  if (error == http::error::body_limit) return Refuse(413, "the body is too large");
  // Gone, silent for too long, or closed in the middle: nobody listens any more.
  const bool is_http_error =
      error.category() == http::make_error_code(http::error::bad_method).category();
  if (!is_http_error || error == http::error::end_of_stream ||
      error == http::error::partial_message)
    return;
  Refuse(400, fmt::format("this is no request of HTTP/1.1: {}", error.message()));
}

void HttpSession::Refuse(int status, std::string_view message) {
  Send(ErrorResponse(status, message), /*keep_alive=*/false, /*head_only=*/false);
}

void HttpSession::RefuseFull() {
  parser_->get().body() = std::string();
  HttpResponse full = ErrorResponse(503, "too many large requests at once; try again later");
  full.headers.emplace_back("Retry-After", "1");
  Send(std::move(full), /*keep_alive=*/false, /*head_only=*/false);
}

void HttpSession::SendLater(HttpResponse&& response) {
  Send(std::move(response), keep_alive_ && !host_.stopping(), head_only_);
}

void HttpSession::Send(HttpResponse&& response, bool keep_alive, bool head_only) {
  host_.Answered(response.status);
  if (exchange_) {
    exchange_->status = response.status;
    exchange_->answered_us = NowUs();
    exchange_->body_bytes = std::max<uint64_t>(exchange_->body_bytes, request_.body.size());
    if (exchange_->context != nullptr) {
      for (const auto& header : exchange_->context->answer_headers) {
        response.headers.push_back(header);
      }
    }
  }
  request_.body = std::string();
  ShrinkRoom(0);
  answering_ = true;
  stream_.expires_after(Us(host_.options().write_timeout_us));
  const auto send = [&](auto&& message) {
    using Message = std::decay_t<decltype(message)>;
    const auto kept = std::make_shared<Message>(std::move(message));
    http::async_write(stream_, *kept,
                      [self = shared_from_this(), kept, keep_alive](ErrorCode error, size_t bytes) {
                        self->OnSent(error, bytes, keep_alive);
                      });
  };
  if (head_only) return send(HeadOf<http::empty_body>(response, keep_alive));
  auto message = HeadOf<PartsBody>(response, keep_alive);
  message.body().reserve(1 + response.more_body.size());
  message.body().push_back(std::move(response.body));
  for (std::string& part : response.more_body) message.body().push_back(std::move(part));
  send(std::move(message));
}

void HttpSession::OnSent(ErrorCode error, size_t bytes, bool keep_alive) {
  answering_ = false;
  if (exchange_) {
    exchange_->sent_bytes = bytes;
    exchange_->complete = !error;
    EndExchange();
  }
  if (error) return;
  if (keep_alive && !host_.stopping()) return AwaitRequest();
  stream_.socket().shutdown(Socket::shutdown_send, error);
  stream_.expires_after(kLingerTime);
  if (!host_.stopping()) Linger();
}

void HttpSession::Linger() {
  buffer_.consume(buffer_.size());
  stream_.async_read_some(buffer_.prepare(kReadAtOnce),
                          [self = shared_from_this()](ErrorCode error, size_t bytes) {
                            self->lingered_bytes_ += bytes;
                            if (!error && self->lingered_bytes_ < kLingerBytes) self->Linger();
                          });
}

}  // namespace sightline::serve
