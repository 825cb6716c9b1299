// The load over HTTP/1.1 with connections that stay.
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cerrno>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "serve_load/load_run.h"

namespace sightline::load {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = asio::ip::tcp;

constexpr uint64_t kLongestAnswer = uint64_t{1} << 30;
constexpr size_t kScratchBytes = size_t{256}
                                 << 10;          // what answers are read into, one over the other
constexpr std::chrono::seconds kLastAnswers(5);  // how long the last answers are waited for; chosen

std::chrono::steady_clock::time_point At(int64_t ns) {
  return std::chrono::steady_clock::time_point(
      std::chrono::duration_cast<std::chrono::steady_clock::duration>(
          std::chrono::nanoseconds(ns)));
}

class HttpLoad;

// One connection: at most one request under way. Answers are read while the body is still being sent, for a server may
// refuse before it has read all of it. A request is handed to the system in as few calls as it takes, and an answer of
// known length is read once and not kept: what the client itself takes of the machine is not the server's.
class Connection {
 public:
  explicit Connection(HttpLoad& load);
  void Ask(int64_t arrival_ns, const std::string& head, const std::string& body);
  std::optional<int64_t> UnderWay() const {
    return asking_ ? std::optional(arrival_ns_) : std::nullopt;
  }
  void Close() {
    beast::error_code ignored;
    socket_.close(ignored);
  }

 private:
  void Connect();
  void Send();
  void Write();
  void Written(beast::error_code error);
  void Head(beast::error_code error);
  void ReadRest();
  void Read(beast::error_code error);
  void Ended();

  HttpLoad& load_;
  tcp::socket socket_;
  beast::flat_buffer buffer_;
  std::optional<http::response_parser<http::string_body>> parser_;
  std::array<asio::const_buffer, 2> request_;
  uint64_t rest_ = 0;  // of an answer of known length, not read yet
  int64_t arrival_ns_ = 0, sent_ns_ = 0;
  bool asking_ = false, writing_ = false, reading_ = false, stays_ = false;
  bool reused_ = false;  // the connection has answered before
  bool again_ = false;   // the server had closed it meanwhile: the request goes over a new one
};

class HttpLoad {
 public:
  HttpLoad(const LoadOptions& options, LoadRun& run)
      : options_(options), run_(run), timer_(context_) {}

  std::string Run() {
    beast::error_code error;
    tcp::resolver resolver(context_);
    const auto found = resolver.resolve(options_.host, options_.port, error);
    if (error) return options_.host + ": " + error.message();
    peer = *found.begin();
    for (const std::string& body : options_.bodies) heads_.push_back(HeadOf(body.size()));
    run_.Begin();
    Work();
    context_.run();
    for (const auto& connection : connections_) {
      if (const auto arrival_ns = connection->UnderWay()) {
        run_.NotAnswered(*arrival_ns, LoadRun::Kind::kUnanswered);
      }
    }
    for (const int64_t arrival_ns : waiting_) {
      run_.NotAnswered(arrival_ns, LoadRun::Kind::kGivenUp);
    }
    return "";
  }

  void Free(Connection& connection) {
    free_.push_back(&connection);
    --under_way_;
    if (run_.Closed(NowNs()) || !waiting_.empty() || over_) Work();
  }

  asio::io_context& context() { return context_; }
  LoadRun& run() { return run_; }
  asio::mutable_buffer scratch() { return asio::buffer(scratch_); }

  tcp::endpoint peer;

 private:
  std::string HeadOf(size_t length) const {
    std::string head = "POST " + options_.path + " HTTP/1.1\r\nHost: " + options_.host + ":" +
                       options_.port + "\r\nContent-Length: " + std::to_string(length) + "\r\n";
    if (!options_.key.empty()) head += "Authorization: Bearer " + options_.key + "\r\n";
    for (const std::string& header : options_.headers) head += header + "\r\n";
    return head + "\r\n";
  }

  // Sends what is to be sent by now, and comes again when there is more.
  void Work() {
    const int64_t now = NowNs();
    run_.Tell(now);
    if (now >= run_.EndNs()) return End();
    const auto patience = static_cast<int64_t>(options_.patience_s * 1e9);
    while (run_.NextArrivalNs() && *run_.NextArrivalNs() <= now) {
      waiting_.push_back(*run_.NextArrivalNs());
      run_.TakeArrival();
    }
    while (!waiting_.empty() && waiting_.front() + patience < now) {
      run_.NotAnswered(waiting_.front(), LoadRun::Kind::kGivenUp);
      waiting_.pop_front();
    }
    while (!waiting_.empty() && Send(waiting_.front())) waiting_.pop_front();
    if (run_.Closed(now)) {
      while (Send(now)) {
      }
    }
    int64_t next = run_.NextEventNs();
    if (run_.NextArrivalNs()) next = std::min(next, *run_.NextArrivalNs());
    if (next == timer_at_) return;
    timer_at_ = next;
    timer_.expires_at(At(next));
    timer_.async_wait([this](beast::error_code error) {
      if (error) return;
      timer_at_ = 0;
      Work();
    });
  }

  bool Send(int64_t arrival_ns) {
    if (free_.empty()) {
      if (connections_.size() >= options_.connections) return false;
      connections_.push_back(std::make_unique<Connection>(*this));
      free_.push_back(connections_.back().get());
    }
    Connection& connection = *free_.back();
    free_.pop_back();
    ++under_way_;
    const size_t body = next_body_++ % options_.bodies.size();
    connection.Ask(arrival_ns, heads_[body], options_.bodies[body]);
    return true;
  }

  void End() {
    if (under_way_ == 0) {
      timer_.cancel();
      for (const auto& connection : connections_) connection->Close();
      context_.stop();
      return;
    }
    if (over_) return;
    over_ = true;
    timer_.expires_after(kLastAnswers);
    timer_.async_wait([this](beast::error_code error) {
      if (!error) context_.stop();
    });
  }

  const LoadOptions& options_;
  LoadRun& run_;
  asio::io_context context_{1};
  asio::steady_timer timer_;
  int64_t timer_at_ = 0;
  std::vector<std::string> heads_;
  std::vector<char> scratch_ = std::vector<char>(kScratchBytes);
  std::vector<std::unique_ptr<Connection>> connections_;
  std::vector<Connection*> free_;  // the one used last is used first
  std::deque<int64_t> waiting_;    // arrivals that no connection was free for
  size_t under_way_ = 0, next_body_ = 0;
  bool over_ = false;
};

Connection::Connection(HttpLoad& load) : load_(load), socket_(load.context()) {}

void Connection::Ask(int64_t arrival_ns, const std::string& head, const std::string& body) {
  arrival_ns_ = arrival_ns;
  sent_ns_ = NowNs();
  asking_ = true;
  request_ = {asio::buffer(head), asio::buffer(body)};
  reused_ = stays_;
  if (stays_) return Send();
  Connect();
}

void Connection::Connect() {
  buffer_.clear();
  load_.run().Connected();
  socket_.async_connect(load_.peer, [this](beast::error_code error) {
    if (error) {
      load_.run().Answered(arrival_ns_, sent_ns_, NowNs(), LoadRun::Kind::kFailed, -1, 0, false);
      return Ended();
    }
    socket_.set_option(tcp::no_delay(true), error);
    Send();
  });
}

void Connection::Send() {
  writing_ = reading_ = true;
  parser_.emplace();
  parser_->body_limit(kLongestAnswer);
  Write();
  http::async_read_header(socket_, buffer_, *parser_,
                          [this](beast::error_code error, size_t) { Head(error); });
}

void Connection::Write() {
  while (true) {
    std::array<iovec, 2> parts;
    for (size_t i = 0; i < parts.size(); ++i) {
      parts[i] = {const_cast<void*>(request_[i].data()), request_[i].size()};
    }
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    const ssize_t sent = sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) break;
    auto left = static_cast<size_t>(sent);
    for (asio::const_buffer& part : request_) {
      const size_t gone = std::min(left, part.size());
      part += gone;
      left -= gone;
    }
    if (request_[1].size() > 0 || request_[0].size() > 0) continue;
    // Never from within the call that began it.
    return asio::post(load_.context(), [this] { Written({}); });
  }
  if (errno != EAGAIN && errno != EINTR) {
    return asio::post(load_.context(), [this, number = errno] {
      Written({number, boost::system::system_category()});
    });
  }
  socket_.async_wait(tcp::socket::wait_write, [this](beast::error_code error) {
    if (error) return Written(error);
    Write();
  });
}

void Connection::Head(beast::error_code error) {
  const auto length = parser_->content_length();
  if (error || parser_->is_done() || !length) {
    if (error || parser_->is_done()) return Read(error);
    http::async_read(socket_, buffer_, *parser_,
                     [this](beast::error_code failed, size_t) { Read(failed); });
    return;
  }
  const size_t have = std::min<uint64_t>(buffer_.size(), *length);
  buffer_.consume(have);
  rest_ = *length - have;
  ReadRest();
}

void Connection::ReadRest() {
  if (rest_ == 0) return Read({});
  const size_t most = std::min<uint64_t>(rest_, load_.scratch().size());
  socket_.async_read_some(asio::buffer(load_.scratch(), most),
                          [this](beast::error_code error, size_t bytes) {
                            rest_ -= bytes;
                            if (error) return Read(error);
                            ReadRest();
                          });
}

void Connection::Written(beast::error_code error) {
  writing_ = false;
  if (error) stays_ = false;  // what the server said before it closed is still read
  if (!reading_) Ended();
}

void Connection::Read(beast::error_code error) {
  reading_ = false;
  if (error && reused_ && !again_ && !parser_->got_some()) {
    again_ = true;
    stays_ = false;
  } else if (error) {
    load_.run().Answered(arrival_ns_, sent_ns_, NowNs(), LoadRun::Kind::kFailed, -1, 0, false);
    stays_ = false;
  } else {
    const auto& answer = parser_->get();
    const int status = static_cast<int>(answer.result_int());
    const auto kind = status == 200                    ? LoadRun::Kind::kAccepted
                      : status == 503 || status == 429 ? LoadRun::Kind::kRefused
                                                       : LoadRun::Kind::kFailed;
    const uint64_t bytes = parser_->content_length().value_or(answer.body().size());
    load_.run().Answered(arrival_ns_, sent_ns_, NowNs(), kind, status, bytes,
                         answer.find(http::field::retry_after) != answer.end());
    stays_ = answer.keep_alive();
  }
  if (!stays_) Close();
  if (!writing_) Ended();
}

void Connection::Ended() {
  if (!stays_) {
    Close();
    socket_ = tcp::socket(load_.context());
  }
  if (again_ && reused_) {
    reused_ = false;
    return Connect();
  }
  asking_ = again_ = false;
  load_.Free(*this);
}

}  // namespace

std::string RunHttp(const LoadOptions& options, LoadRun& run) {
  return HttpLoad(options, run).Run();
}

}  // namespace sightline::load
