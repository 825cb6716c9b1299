#include "serve/http/http_server.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <exception>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/mutex.h"
#include "base/thread.h"
#include "base/time.h"
#include "serve/http/address_seats_internal.h"
#include "serve/http/client_address.h"
#include "serve/http/feed_queue_internal.h"
#include "serve/http/http_session_internal.h"
#include "serve/http/tls_credentials.h"
#include "serve/http/unix_socket.h"

namespace sightline::serve {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using ErrorCode = boost::system::error_code;

absl::Status CannotListen(const ListenAddress& at, const ErrorCode& error) {
  const std::string where = at.address.empty() ? "this machine" : at.address;
  switch (error.value()) {
    case EADDRINUSE:
      return FailedPrecondition(
          "port {} of {} is taken by another program; choose another, or 0 for "
          "any that is free",
          at.port, where);
    case EADDRNOTAVAIL:
      return FailedPrecondition("{} is no address of this machine", where);
    case EACCES:
      return FailedPrecondition("port {} is not allowed to this user; choose one from 1024 on",
                                at.port);
    default:
      return FailedPrecondition("cannot listen on {}: {}", ToString(at), error.message());
  }
}

ErrorCode OpenAt(const tcp::endpoint& at, tcp::acceptor* acceptor) {
  ErrorCode error;
  if (acceptor->is_open()) acceptor->close(error);
  if (acceptor->open(at.protocol(), error)) return error;
  acceptor->set_option(tcp::acceptor::reuse_address(true), error);
  if (at.address().is_v6()) {
    // Both kinds for "::", whatever the machine's default is.
    acceptor->set_option(asio::ip::v6_only(false), error);
  }
  if (acceptor->bind(at, error)) return error;
  acceptor->listen(asio::socket_base::max_listen_connections, error);
  return error;
}

absl::Status ListenOnTcp(const ListenAddress& at, tcp::acceptor* acceptor) {
  ErrorCode error;
  if (!at.address.empty()) {
    const auto address = asio::ip::make_address(at.address, error);
    if (error) return InvalidArgument("{} is no IP address", at.address);
    error = OpenAt({address, at.port}, acceptor);
  } else {
    error = OpenAt({tcp::v6(), at.port}, acceptor);  // both kinds of addresses
    if (error.value() == EAFNOSUPPORT || error.value() == EADDRNOTAVAIL) {
      error = OpenAt({tcp::v4(), at.port}, acceptor);
    }
  }
  return error ? CannotListen(at, error) : absl::OkStatus();
}

}  // namespace

class HttpServer::Impl final : public HttpConnectionHost {
 public:
  explicit Impl(const HttpServerOptions& options) : options_(options) {}
  ~Impl() override { Stop(); }

  absl::Status Listen() {
    if (!options_.tcp && options_.unix_path.empty()) {
      return InvalidArgument("an HTTP server needs a port or the path of a Unix socket");
    }
    if (options_.tcp) SL_RETURN_IF_ERROR(ListenOnTcp(*options_.tcp, &tcp_.acceptor));
    if (options_.unix_path.empty()) return absl::OkStatus();
    SL_ASSIGN_OR_RETURN(UnixSocket made, UnixSocket::Listen(options_.unix_path));
    unix_file_.emplace(std::move(made));
    ErrorCode error;
    const int descriptor = unix_file_->Release();
    if (unix_.acceptor.assign(asio::local::stream_protocol(), descriptor, error)) {
      close(descriptor);
      return Internal("the socket {} cannot be used: {}", options_.unix_path, error.message());
    }
    return absl::OkStatus();
  }

  absl::Status Start() {
    SL_ASSIGN_OR_RETURN(thread_, StartThread("http", [this] { Loop(); }));
    return absl::OkStatus();
  }

  void Stop() {
    asio::post(context_, [this] { BeginStop(); });
    if (thread_.joinable()) thread_.join();
    {
      const MutexLock lock(box_->mutex);
      box_->open = false;
    }
    unix_file_.reset();
  }

  std::optional<ListenAddress> address() const {
    if (!options_.tcp) return std::nullopt;
    return ListenAddress{options_.tcp->address, port_};
  }
  void RememberPort() {
    ErrorCode error;
    if (options_.tcp) port_ = tcp_.acceptor.local_endpoint(error).port();
  }

  HttpServerStats stats() const {
    return {.connections = open_.load(std::memory_order_relaxed),
            .asleep = asleep_.load(std::memory_order_relaxed),
            .accepted = accepted_.load(std::memory_order_relaxed),
            .refused = refused_.load(std::memory_order_relaxed),
            .address_refused = address_refused_.load(std::memory_order_relaxed),
            .failed = failed_.load(std::memory_order_relaxed),
            .requests = requests_.load(std::memory_order_relaxed),
            .errors = errors_.load(std::memory_order_relaxed),
            .bodies_bytes = bodies_->taken_bytes(),
            .bodies_kept_bytes = bodies_->kept_bytes(),
            .bodies_refused = bodies_->refused(),
            .answers_bytes = answers_bytes_.load(std::memory_order_relaxed),
            .answers_refused = answers_refused_.load(std::memory_order_relaxed),
            .timed_out = timed_out_.load(std::memory_order_relaxed),
            .handshakes_failed = handshakes_failed_.load(std::memory_order_relaxed),
            .feeds = feed_counts_->open.load(std::memory_order_relaxed),
            .feed_messages = feed_counts_->sent.load(std::memory_order_relaxed),
            .feed_messages_lost = feed_counts_->lost.load(std::memory_order_relaxed)};
  }

  Router router_;

  // HttpConnectionHost:
  const HttpServerOptions& options() const override { return options_; }
  const Router& router() const override { return router_; }
  bool stopping() const override { return stopping_; }
  int64_t NowUs() const override { return Clock::Real().NowMonotonicUs(); }
  void Answered(int status) override {
    requests_.fetch_add(1, std::memory_order_relaxed);
    if (status >= 400) errors_.fetch_add(1, std::memory_order_relaxed);
  }
  void TimedOut() override { timed_out_.fetch_add(1, std::memory_order_relaxed); }
  void HandshakeFailed() override { handshakes_failed_.fetch_add(1, std::memory_order_relaxed); }
  void CountAsleep(int change) override {
    asleep_.fetch_add(static_cast<uint64_t>(change), std::memory_order_relaxed);
  }
  bool IsCrowded() const override { return 4 * connections_.size() > 3 * options_.max_connections; }
  const std::shared_ptr<FeedCounts>& feed_counts() const override { return feed_counts_; }
  void Began(HttpConnection& connection) override {
    connection.place = connections_.size();
    connections_.push_back({&connection, kNever});
    open_.store(connections_.size(), std::memory_order_relaxed);
  }
  void Ended(HttpConnection& connection) override {
    const size_t place = connection.place;
    connections_[place] = connections_.back();
    connections_[place].connection->place = place;
    connections_.pop_back();
    open_.store(connections_.size(), std::memory_order_relaxed);
    if (!connections_.empty()) return;
    next_look_us_ = kNever;
    clock_.cancel();
    if (stopping_) stop_pause_.cancel();
  }
  void SetAlarm(HttpConnection& connection, int64_t at_us) override {
    connections_[connection.place].alarm_us = at_us;
    if (at_us < next_look_us_ - kLookEveryUs) LookAt(at_us);
  }
  BodyMemory& bodies() override { return *bodies_; }
  void TidyBodies() override {
    if (tidying_ || stopping_) return;
    tidy_pause_.expires_after(kTidyEvery);
    tidy_pause_.async_wait([this](ErrorCode error) {
      tidying_ = false;
      if (!error && bodies_->Tidy()) TidyBodies();
    });
    tidying_ = true;
  }
  bool TakeAnswerRoom(size_t bytes) override {
    return Take(bytes, options_.max_answers_bytes, answers_bytes_, answers_refused_);
  }
  void GiveAnswerRoom(size_t bytes) override {
    answers_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
  }
  HttpReply Wait(std::shared_ptr<HttpConnection> connection) override {
    const uint64_t number = next_number_++;
    waiting_.emplace(number, std::move(connection));
    return HttpReply([this, number, box = box_](HttpResponse&& response) {
      const MutexLock lock(box->mutex);
      if (!box->open) return;
      asio::post(context_, [this, number, response = std::move(response)]() mutable {
        const auto at = waiting_.find(number);
        if (at == waiting_.end()) return;  // it did not wait so long
        const std::shared_ptr<HttpConnection> connection = std::move(at->second);
        waiting_.erase(at);
        connection->SendLater(std::move(response));
      });
    });
  }
  std::function<void()> Waker(std::weak_ptr<HttpConnection> connection) override {
    return [this, box = box_, connection = std::move(connection)] {
      const MutexLock lock(box->mutex);
      if (!box->open) return;
      asio::post(context_, [connection] {
        if (const auto there = connection.lock()) there->OnWake();
      });
    };
  }

 private:
  // Answers come through it from other threads as long as there is a server.
  struct Box {
    Mutex mutex;
    bool open GUARDED_BY(mutex) = true;
  };

  // Connections beyond the most that are still told so; what comes after them is just closed.
  static constexpr size_t kMostRefusals = 32;

  // After an error at a door, out of descriptors or memory most likely: to try again at once would only
  // burn the processor.
  static constexpr std::chrono::milliseconds kPause{100};

  // Alarms are looked for in one pass over an array, never more often than this.
  static constexpr int64_t kLookEveryUs = 20'000;

  // Memory of bodies that nobody needed for twice as long is given back. Chosen.
  static constexpr std::chrono::seconds kTidyEvery{1};

  struct Place {
    HttpConnection* connection;
    int64_t alarm_us;
  };

  template <typename Acceptor>
  struct Door {
    Acceptor acceptor;
    bool from_unix_socket;
    bool watched = false;  // somebody who comes is let in
    bool failing = false;  // the last one could not be
  };

  // May throw anywhere; Loop() then tries again.
  template <typename Acceptor>
  void Watch(Door<Acceptor>& door) {
    if (door.watched || !door.acceptor.is_open()) return;
    auto peer = std::make_shared<HttpStream::Socket>(context_);
    door.acceptor.async_accept(*peer, [this, &door, peer](ErrorCode error) {
      door.watched = false;
      if (error == asio::error::operation_aborted || !door.acceptor.is_open()) return;
      if (error) {
        context_.stop();  // for Loop(), which pauses
        failed_.fetch_add(1, std::memory_order_relaxed);
        if (!std::exchange(door.failing, true)) {
          Log().warn("HTTP connections cannot be accepted for now: {}", error.message());
        }
        return;
      }
      door.failing = false;
      Welcome(std::move(*peer), door.from_unix_socket);
      Watch(door);
    });
    door.watched = true;
  }

  void Welcome(HttpStream::Socket&& socket, bool from_unix_socket) {
    accepted_.fetch_add(1, std::memory_order_relaxed);
    const bool is_full = connections_.size() >= options_.max_connections;
    const size_t most_of_one = options_.max_connections_per_address;
    std::shared_ptr<const void> seat;
    size_t of_one = 0;
    if (most_of_one > 0 && !from_unix_socket) {
      seat = seats_->Take(NetworkOf(ClientAddressOf(socket.native_handle())), &of_one);
    }
    const bool is_address_full = of_one > most_of_one;
    if (is_full || is_address_full) refused_.fetch_add(1, std::memory_order_relaxed);
    if (is_address_full) address_refused_.fetch_add(1, std::memory_order_relaxed);
    // Closes it.
    if (connections_.size() >= options_.max_connections + kMostRefusals) return;
    if (of_one > most_of_one + kMostRefusals) return;
    ErrorCode ignored;
    socket.native_non_blocking(true, ignored);
    // The last piece of an answer does not wait until the one before was acknowledged.
    if (!from_unix_socket) socket.set_option(tcp::no_delay(true), ignored);
    const bool secure = options_.tls != nullptr && !from_unix_socket;
    HttpStream stream(std::move(socket), secure ? options_.tls->context() : nullptr);
    stream.Keep(std::move(seat));
    const int refusal = is_full ? 503 : is_address_full ? 429 : 0;
    std::make_shared<HttpSession>(*this, std::move(stream), from_unix_socket, refusal)->Start();
  }

  static bool Take(size_t bytes, size_t most, std::atomic<size_t>& taken,
                   std::atomic<uint64_t>& refused) {
    const size_t before = taken.load(std::memory_order_relaxed);
    if (bytes > most || before > most - bytes) {
      refused.fetch_add(1, std::memory_order_relaxed);
      return false;
    }
    taken.store(before + bytes, std::memory_order_relaxed);
    return true;
  }

  void LookAt(int64_t at_us) {
    next_look_us_ = kNever;
    clock_.expires_at(std::chrono::steady_clock::time_point(std::chrono::microseconds(at_us)));
    clock_.async_wait([this](ErrorCode error) {
      if (!error) Look();  // else another look was chosen, or there is nobody left
    });
    next_look_us_ = at_us;
  }

  void Look() {
    const int64_t now_us = NowUs();
    next_look_us_ = now_us;  // alarms that are set meanwhile are looked at below
    int64_t next_us = kNever;
    for (size_t i = 0; i < connections_.size(); ++i) {
      Place& place = connections_[i];
      if (place.alarm_us <= now_us) {
        place.alarm_us = kNever;
        place.connection->OnAlarm(now_us);
      }
      next_us = std::min(next_us, connections_[i].alarm_us);
    }
    next_look_us_ = kNever;
    if (next_us != kNever) LookAt(std::max(next_us, now_us + kLookEveryUs));
  }

  void BeginStop() {
    if (std::exchange(stopping_, true)) return;
    ErrorCode ignored;
    tcp_.acceptor.close(ignored);
    unix_.acceptor.close(ignored);
    work_.reset();
    tidy_pause_.cancel();
    bodies_->StopKeeping();
    // They do not end before this returns.
    for (size_t i = 0; i < connections_.size(); ++i) connections_[i].connection->EndWhenAnswered();
    if (connections_.empty()) return;
    stop_pause_.expires_after(std::chrono::microseconds(options_.stop_timeout_us));
    stop_pause_.async_wait([this](ErrorCode error) {
      if (error) return;
      for (size_t i = 0; i < connections_.size(); ++i) connections_[i].connection->Close();
      // An answer that comes later finds nobody.
      const auto given_up = std::exchange(waiting_, {});
    });
  }

  void Loop() {
    for (bool first = true;; first = false) {
      try {
        const auto until = std::chrono::steady_clock::now() + kPause;
        context_.restart();
        // Who is in is answered meanwhile; the other door may fail as well and ends it no sooner.
        while (!first && !stopping_ && std::chrono::steady_clock::now() < until) {
          context_.run_until(until);
          context_.restart();
        }
        Watch(tcp_);
        Watch(unix_);
        // Where the last look did not come to its end.
        const int64_t now_us = NowUs();
        const bool looks = next_look_us_ > now_us && next_look_us_ != kNever;
        if (!looks && !connections_.empty()) LookAt(now_us + kLookEveryUs);
        context_.run();
        if (stopping_) return;  // nothing is left to do: no door stops it any more
      } catch (...) {
        // Of one connection (no memory, most likely), which ends with it.
        try {
          TellError();
        } catch (...) {  // nor is there memory to say so
        }
      }
    }
  }

  static void TellError() {
    try {
      throw;
    } catch (const std::exception& error) {
      Log().warn("an HTTP connection ended by an error: {}", error.what());
    } catch (...) {
      Log().warn("an HTTP connection ended by an error");
    }
  }

  const HttpServerOptions options_;
  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{context_.get_executor()};
  Door<tcp::acceptor> tcp_{tcp::acceptor(context_), /*from_unix_socket=*/false};
  Door<asio::local::stream_protocol::acceptor> unix_{
      asio::local::stream_protocol::acceptor(context_),
      /*from_unix_socket=*/true};
  asio::steady_timer stop_pause_{context_};
  std::optional<UnixSocket> unix_file_;
  uint16_t port_ = 0;
  bool stopping_ = false;  // on the server's thread
  // The rest up to box_ on the server's thread, too.
  std::vector<Place> connections_;
  asio::steady_timer clock_{context_};
  asio::steady_timer tidy_pause_{context_};
  bool tidying_ = false;
  int64_t next_look_us_ = kNever;
  // What waits for an answer from elsewhere.
  std::unordered_map<uint64_t, std::shared_ptr<HttpConnection>> waiting_;
  uint64_t next_number_ = 0;
  const std::shared_ptr<Box> box_ = std::make_shared<Box>();
  const std::shared_ptr<BodyMemory> bodies_ = BodyMemory::Make(options_.max_bodies_bytes);
  std::atomic<size_t> answers_bytes_{0};
  std::atomic<uint64_t> answers_refused_{0}, timed_out_{0};
  std::atomic<uint64_t> handshakes_failed_{0}, asleep_{0}, address_refused_{0};
  const std::shared_ptr<AddressSeats> seats_ = std::make_shared<AddressSeats>();
  const std::shared_ptr<FeedCounts> feed_counts_ = std::make_shared<FeedCounts>();
  std::atomic<uint64_t> open_{0}, accepted_{0}, refused_{0}, failed_{0}, requests_{0}, errors_{0};
  std::thread thread_;
};

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Create(const HttpServerOptions& options) {
  try {
    auto impl = std::make_unique<Impl>(options);
    SL_RETURN_IF_ERROR(impl->Listen());
    impl->RememberPort();
    return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
  } catch (const std::exception& error) {  // no descriptor for the event queue
    return ResourceExhausted("no HTTP server can be made: {}", error.what());
  }
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

absl::Status HttpServer::Route(std::string_view method, std::string_view pattern,
                               HttpHandler handler, const RouteOptions& options) {
  return impl_->router_.Add(method, pattern, std::move(handler), options);
}
absl::Status HttpServer::RouteAsync(std::string_view method, std::string_view pattern,
                                    HttpAsyncHandler handler, const RouteOptions& options) {
  return impl_->router_.AddAsync(method, pattern, std::move(handler), options);
}
absl::Status HttpServer::RouteFeed(std::string_view pattern, HttpFeedHandler handler,
                                   const RouteOptions& options) {
  return impl_->router_.AddFeed(pattern, std::move(handler), options);
}
absl::Status HttpServer::Start() { return impl_->Start(); }
void HttpServer::Stop() { impl_->Stop(); }
std::optional<ListenAddress> HttpServer::address() const { return impl_->address(); }
HttpServerStats HttpServer::stats() const { return impl_->stats(); }
std::vector<Router::Listed> HttpServer::routes() const { return impl_->router_.List(); }

}  // namespace sightline::serve
