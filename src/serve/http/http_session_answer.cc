// The half of HttpSession that answers.
#include <algorithm>
#include <boost/asio/error.hpp>
#include <boost/beast/http/error.hpp>
#include <utility>

#include "serve/http/http_session_internal.h"
#include "serve/http/response_head_internal.h"

namespace sightline::serve {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;

constexpr size_t kWriteAtOnce = size_t{1} << 20;    // before others have their turn; chosen
constexpr size_t kSmallAnswer = size_t{16} * 1024;  // needs no room; chosen

}  // namespace

void HttpSession::RefuseBroken(ErrorCode error) {
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    return Refuse(431, fmt::format("the head of a request may have at most {} bytes",
                                   host_.options().max_head_bytes));
  }
  if (error == http::error::body_limit) return Refuse(413, "the body is too large");
  Refuse(400, fmt::format("this is no request of HTTP/1.1: {}", error.message()));
}

void HttpSession::Refuse(int status, std::string_view message) {
  Send(ErrorResponse(status, message), /*keep_alive=*/false, /*head_only=*/false);
}

void HttpSession::RefuseFull() {
  HttpResponse full = ErrorResponse(503, "too many large requests at once; try again later");
  full.headers.emplace_back("Retry-After", "1");
  Send(std::move(full), /*keep_alive=*/false, /*head_only=*/false);
}

void HttpSession::RefuseCrowd() {
  HttpResponse full = ErrorResponse(
      refusal_, refusal_ == 429 ? "too many connections of this address; try again later"
                                : "too many connections; try again later");
  full.headers.emplace_back("Retry-After", "1");
  Send(std::move(full), /*keep_alive=*/false, /*head_only=*/false);
}

void HttpSession::SendLater(HttpResponse&& response) {
  Send(std::move(response), keep_alive_ && !host_.stopping(), head_only_);
}

void HttpSession::Send(HttpResponse&& response, bool keep_alive, bool head_only) {
  if (response.status == 204 || response.status == 304) {  // whose ends are where their heads end
    response.body.clear();
    response.more_body.clear();
  }
  size_t length = response.body.size();
  for (const std::string& part : response.more_body) length += part.size();
  if (length > kSmallAnswer && !head_only) {
    if (host_.TakeAnswerRoom(length)) {
      answer_room_bytes_ = length;
    } else {
      response = ErrorResponse(503, "too many large answers wait to be read; try again later");
      response.headers.emplace_back("Retry-After", "1");
      length = response.body.size();
    }
  }
  host_.Answered(response.status);
  Turn& turn = *turn_;
  began_us_ = host_.NowUs();
  if (HttpExchange* const exchange = exchange_.get()) {
    exchange->status = response.status;
    exchange->answered_us = began_us_;
    exchange->body_bytes =
        std::max<uint64_t>({exchange->body_bytes, turn.request.body.size(), turn.place.have()});
    if (exchange->context != nullptr) {
      for (const auto& header : exchange->context->answer_headers) {
        response.headers.push_back(header);
      }
    }
  }
  turn.request.body = RequestBody();
  turn.place = BodyPlace();
  room_.Shrink(0);
  phase_ = Phase::kAnswer;
  keep_alive_ = keep_alive;
  SetDeadline(began_us_ + host_.options().write_timeout_us);
  turn.head = ResponseHead(response, length, keep_alive);
  turn.response = std::move(response);
  turn.unsent.emplace_back(turn.head.data(), turn.head.size());
  if (!head_only) {
    const auto add = [&](const std::string& part) {
      if (!part.empty()) turn.unsent.emplace_back(part.data(), part.size());
    };
    add(turn.response.body);
    for (const std::string& part : turn.response.more_body) add(part);
  }
  Write();
}

void HttpSession::Write() {
  Turn& turn = *turn_;
  ErrorCode error;
  for (size_t now = 0; turn.next < turn.unsent.size() && !error && now < kWriteAtOnce;) {
    size_t sent =
        stream_.WriteNow({turn.unsent.data() + turn.next, turn.unsent.size() - turn.next}, error);
    now += sent;
    turn.sent_bytes += sent;
    while (turn.next < turn.unsent.size() && sent >= turn.unsent[turn.next].size()) {
      sent -= turn.unsent[turn.next++].size();
    }
    if (sent > 0) turn.unsent[turn.next] += sent;
  }
  if (turn.next == turn.unsent.size()) return OnSent({});
  if (error && error != asio::error::would_block) return OnSent(error);
  AllowTime(host_.options().write_timeout_us, turn.sent_bytes);
  stream_.AwaitWrite([self = Self()](ErrorCode failed) {
    if (failed) return self->OnSent(failed);
    self->Write();
  });
}

void HttpSession::OnSent(ErrorCode error) {
  if (answer_room_bytes_ > 0) host_.GiveAnswerRoom(std::exchange(answer_room_bytes_, 0));
  if (HttpExchange* const exchange = exchange_.get()) {
    exchange->sent_bytes = turn_->sent_bytes;
    exchange->complete = !error;
    exchange_.End();
  }
  if (error) return;
  if (keep_alive_ && !host_.stopping()) {
    phase_ = Phase::kRequest;
    began_us_ = host_.NowUs();
    lingered_bytes_ = 0;
    return PassOver();
  }
  phase_ = Phase::kLinger;
  stream_.ShutdownWrites();
  SetDeadline(host_.NowUs() + kLingerUs);
  turn_.reset();
  if (!host_.stopping()) Linger();
}

void HttpSession::PassOver() {
  const size_t have = std::min(buffer_.size(), pass_over_bytes_);
  buffer_.consume(have);
  pass_over_bytes_ -= have;
  lingered_bytes_ += have;
  if (pass_over_bytes_ > 0 && stream_.CanDiscard()) return DiscardRest();
  if (pass_over_bytes_ == 0) return AwaitRequest();
  AllowTime(host_.options().request_timeout_us, lingered_bytes_);
  stream_.async_read_some(buffer_.prepare(std::min(pass_over_bytes_, buffer_.max_size())),
                          [self = Self()](ErrorCode error, size_t bytes) {
                            if (error) return;
                            self->buffer_.commit(bytes);
                            self->PassOver();
                          });
}

void HttpSession::DiscardRest() {
  ErrorCode error;
  while (pass_over_bytes_ > 0 && !error) {
    const size_t gone = stream_.DiscardNow(pass_over_bytes_, error);
    pass_over_bytes_ -= gone;
    lingered_bytes_ += gone;
  }
  if (pass_over_bytes_ == 0) return AwaitRequest();
  if (error != asio::error::would_block) return;  // it has gone
  AllowTime(host_.options().request_timeout_us, lingered_bytes_);
  stream_.AwaitRead([self = Self()](ErrorCode failed) {
    if (!failed) self->DiscardRest();
  });
}

void HttpSession::Linger() {
  buffer_.consume(buffer_.size());
  if (stream_.CanDiscard()) {
    ErrorCode error;
    while (lingered_bytes_ < kLingerBytes && !error) {
      lingered_bytes_ += stream_.DiscardNow(kLingerBytes - lingered_bytes_, error);
    }
    if (error != asio::error::would_block) return;  // it has gone, or sends without end
    return stream_.AwaitRead([self = Self()](ErrorCode failed) {
      if (!failed) self->Linger();
    });
  }
  stream_.async_read_some(buffer_.prepare(kReadAtOnce),
                          [self = Self()](ErrorCode error, size_t bytes) {
                            self->lingered_bytes_ += bytes;
                            if (!error && self->lingered_bytes_ < kLingerBytes) self->Linger();
                          });
}

}  // namespace sightline::serve
