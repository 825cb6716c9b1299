// The bytes of one connection, over TLS or plain: what Asio calls an asynchronous stream. Internal to
// serve/http.
//
// TLS is driven by OpenSSL on the socket itself, which does not block: Asio's own stream holds 70 KB of
// buffers for every connection, also for those that say nothing.
// Threads: everything on the server's.
#pragma once

#include <boost/asio/async_result.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/compose.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/core/role.hpp>
#include <memory>
#include <span>
#include <string>
#include <utility>

struct ssl_st;
struct ssl_ctx_st;

namespace sightline::serve {

class HttpStream {
 public:
  using executor_type = boost::asio::io_context::executor_type;
  using Protocol = boost::asio::generic::stream_protocol;  // TCP and Unix sockets alike
  using Socket = boost::asio::basic_stream_socket<Protocol, executor_type>;
  using ErrorCode = boost::system::error_code;

  // `tls` null: plain.
  HttpStream(Socket&& socket, const std::shared_ptr<ssl_ctx_st>& tls);
  HttpStream(HttpStream&&) noexcept = default;

  // Goes when the connection does.
  void Keep(std::shared_ptr<const void> seat) { seat_ = std::move(seat); }

  executor_type get_executor() { return socket_.get_executor(); }
  int native_handle() { return socket_.native_handle(); }
  bool is_open() const { return socket_.is_open(); }
  bool secure() const { return tls_ != nullptr; }
  // After a handshake that failed: the other side spoke HTTP, without TLS.
  bool plain_http() const { return plain_http_; }

  template <typename Handler>
  using Result = typename boost::asio::async_result<std::decay_t<Handler>,
                                                    void(ErrorCode, size_t)>::return_type;

  // All handlers take an error and, where something was moved, how many bytes.
  template <typename Handler>
  void AsyncHandshake(Handler&& handler) {
    Run([this](size_t*, ErrorCode* error) { return Handshake(error); },
        [handler = std::forward<Handler>(handler)](ErrorCode error, size_t) mutable {
          handler(error);
        });
  }
  template <typename Buffers, typename Handler>
  Result<Handler> async_read_some(const Buffers& buffers, Handler&& handler) {
    return boost::asio::async_initiate<Handler, void(ErrorCode, size_t)>(
        [this](auto&& done, const Buffers& to) {
          if (tls_ == nullptr) return socket_.async_read_some(to, std::move(done));
          Run([this, to](size_t* bytes,
                         ErrorCode* error) { return Read(FirstOf(to), bytes, error); },
              std::move(done));
        },
        handler, buffers);
  }
  template <typename Buffers, typename Handler>
  Result<Handler> async_write_some(const Buffers& buffers, Handler&& handler) {
    return boost::asio::async_initiate<Handler, void(ErrorCode, size_t)>(
        [this](auto&& done, const Buffers& from) {
          if (tls_ == nullptr) {
            return socket_.async_write_some(
                from, [this, done = std::move(done)](ErrorCode error, size_t bytes) mutable {
                  written_bytes_ += bytes;
                  done(error, bytes);
                });
          }
          Run(
              [this, from](size_t* bytes, ErrorCode* error) {
                Piece piece(&scratch_);
                for (auto at = boost::asio::buffer_sequence_begin(from);
                     at != boost::asio::buffer_sequence_end(from) && piece.Add(*at); ++at) {
                }
                return Write(piece.bytes(), bytes, error);
              },
              std::move(done));
        },
        handler, buffers);
  }

  // What was handed to the system, or to TLS above it, since the connection began.
  uint64_t written_bytes() const { return written_bytes_; }
  // Writes what can be written at once; `error` is would_block when that was not all.
  size_t WriteNow(std::span<const boost::asio::const_buffer> from, ErrorCode& error);
  // Calls handler(error) when WriteNow() may do more.
  template <typename Handler>
  void AwaitWrite(Handler&& handler) {
    socket_.async_wait(write_waits_for_read_ ? Socket::wait_read : Socket::wait_write,
                       std::forward<Handler>(handler));
  }
  // Calls handler(error) when there is something to read, and needs no memory for it meanwhile. Only when
  // the last read has taken all.
  template <typename Handler>
  void AwaitRead(Handler&& handler) {
    socket_.async_wait(Socket::wait_read, std::forward<Handler>(handler));
  }
  // Reads what can be read at once; `error` is would_block when there is nothing now. Only without TLS.
  size_t ReadNow(boost::asio::mutable_buffer to, ErrorCode& error);
  // Bytes that have come and were not read yet, with TLS as they travel.
  size_t WaitingBytes();
  // Whether DiscardNow() works: over TCP without TLS.
  bool CanDiscard();
  // Throws away what can be read at once, up to so many bytes, without copying it (MSG_TRUNC, tcp(7)). 0 with
  // would_block when there is nothing now.
  size_t DiscardNow(size_t most, ErrorCode& error);
  // Ends all that is awaited with operation_aborted.
  void Cancel();
  // Gives memory back that the next write will take again.
  void Rest() { scratch_ = std::string(); }
  // Nothing more will be written.
  void ShutdownWrites();
  // From now on without TLS.
  void DropTls() { tls_.reset(); }
  void Close();
  // The other side has closed, or will send nothing more.
  bool IsLeft();

 private:
  enum class Progress { kDone, kAwaitRead, kAwaitWrite };
  // OpenSSL makes a record of each piece that it gets: small ones are put together.
  class Piece {
   public:
    explicit Piece(std::string* scratch) : scratch_(scratch) {}
    bool Add(boost::asio::const_buffer more);  // false: enough
    boost::asio::const_buffer bytes() const { return bytes_; }

   private:
    static constexpr size_t kMost = 16384;  // of a record
    std::string* scratch_;
    boost::asio::const_buffer bytes_;
  };
  struct FreeTls {
    void operator()(ssl_st* tls) const;
  };

  template <typename Buffers>
  static boost::asio::mutable_buffer FirstOf(const Buffers& buffers) {
    for (auto at = boost::asio::buffer_sequence_begin(buffers);
         at != boost::asio::buffer_sequence_end(buffers); ++at) {
      const boost::asio::mutable_buffer one(*at);
      if (one.size() > 0) return one;
    }
    return {};
  }
  // Tries `step` whenever the socket is ready for it.
  template <typename Step, typename Handler>
  void Run(Step step, Handler&& handler) {
    boost::asio::async_compose<std::decay_t<Handler>, void(ErrorCode, size_t)>(
        [this, step = std::move(step), began = false, ended = false, bytes = size_t{0},
         result = ErrorCode()](auto& self, ErrorCode error = {}, size_t = 0) mutable {
          if (ended) return self.complete(result, bytes);
          if (error) return self.complete(error, 0);
          const Progress progress = step(&bytes, &result);
          if (progress != Progress::kDone) {
            began = true;
            return socket_.async_wait(
                progress == Progress::kAwaitRead ? Socket::wait_read : Socket::wait_write,
                std::move(self));
          }
          if (began) return self.complete(result, bytes);
          ended = true;  // never from within the call that began it
          boost::asio::post(socket_.get_executor(), std::move(self));
        },
        handler, socket_);
  }
  Progress Handshake(ErrorCode* error);
  Progress Read(boost::asio::mutable_buffer to, size_t* bytes, ErrorCode* error);
  Progress Write(boost::asio::const_buffer from, size_t* bytes, ErrorCode* error);
  Progress After(int result, ErrorCode* error);

  std::shared_ptr<const void> seat_;
  Socket socket_;
  std::unique_ptr<ssl_st, FreeTls> tls_;
  std::string scratch_;
  uint64_t written_bytes_ = 0;
  bool write_waits_for_read_ = false;
  bool plain_http_ = false;
};

// Beast's WebSocket asks for them.
void beast_close_socket(HttpStream& stream);
void teardown(boost::beast::role_type, HttpStream& stream, boost::system::error_code& error);
template <typename Handler>
void async_teardown(boost::beast::role_type, HttpStream& stream, Handler&& handler) {
  stream.ShutdownWrites();
  stream.Close();
  boost::asio::post(stream.get_executor(), [handler = std::forward<Handler>(handler)]() mutable {
    handler(boost::system::error_code());
  });
}

}  // namespace sightline::serve
