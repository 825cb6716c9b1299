#include <netinet/in.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <boost/asio/error.hpp>
#include <cerrno>
#include <cstring>
#include <new>

#include "serve/http/http_stream_internal.h"

namespace sightline::serve {
namespace {

namespace asio = boost::asio;
using ErrorCode = HttpStream::ErrorCode;

ErrorCode SystemError(int number) { return {number, boost::system::system_category()}; }

int SocketOf(BIO* bio) { return static_cast<int>(reinterpret_cast<intptr_t>(BIO_get_data(bio))); }

// OpenSSL's own one raises SIGPIPE when the other side is gone.
int BioWrite(BIO* bio, const char* bytes, int length) {
  BIO_clear_retry_flags(bio);
  const ssize_t sent =
      send(SocketOf(bio), bytes, static_cast<size_t>(length), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
  return static_cast<int>(sent);
}

int BioRead(BIO* bio, char* bytes, int length) {
  BIO_clear_retry_flags(bio);
  const ssize_t got = recv(SocketOf(bio), bytes, static_cast<size_t>(length), MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
  return static_cast<int>(got);
}

long BioControl(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

int BioCreate(BIO* bio) {
  BIO_set_init(bio, 1);
  return 1;
}

BIO* NewBio(int socket) {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* const made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
    BIO_meth_set_write(made, BioWrite);
    BIO_meth_set_read(made, BioRead);
    BIO_meth_set_ctrl(made, BioControl);
    BIO_meth_set_create(made, BioCreate);
    return made;
  }();
  BIO* const bio = BIO_new(method);
  if (bio == nullptr) throw std::bad_alloc();
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<intptr_t>(socket)));
  return bio;
}

}  // namespace

void HttpStream::FreeTls::operator()(ssl_st* tls) const { SSL_free(tls); }

HttpStream::HttpStream(Socket&& socket, const std::shared_ptr<ssl_ctx_st>& tls)
    : socket_(std::move(socket)) {
  if (tls == nullptr) return;
  tls_.reset(SSL_new(tls.get()));
  if (tls_ == nullptr) throw std::bad_alloc();
  BIO* const bio = NewBio(socket_.native_handle());
  SSL_set_bio(tls_.get(), bio, bio);
  SSL_set_accept_state(tls_.get());
}

bool HttpStream::Piece::Add(asio::const_buffer more) {
  if (more.size() == 0) return true;
  if (bytes_.size() == 0) {
    bytes_ = more;
    return more.size() < kMost;
  }
  // The same again where OpenSSL could not write it the last time, as it demands.
  if (bytes_.data() != scratch_->data()) {
    scratch_->assign(static_cast<const char*>(bytes_.data()), bytes_.size());
  }
  const size_t taken = std::min(more.size(), kMost - scratch_->size());
  scratch_->append(static_cast<const char*>(more.data()), taken);
  bytes_ = asio::const_buffer(scratch_->data(), scratch_->size());
  return bytes_.size() < kMost;
}

HttpStream::Progress HttpStream::After(int result, ErrorCode* error) {
  const int system_error = errno;
  switch (SSL_get_error(tls_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return Progress::kAwaitRead;
    case SSL_ERROR_WANT_WRITE:
      return Progress::kAwaitWrite;
    case SSL_ERROR_ZERO_RETURN:
      *error = asio::error::eof;
      break;
    case SSL_ERROR_SYSCALL:
      *error = system_error == 0 ? ErrorCode(asio::error::eof) : SystemError(system_error);
      break;
    default:
      *error = asio::error::connection_aborted;
      break;
  }
  plain_http_ = ERR_GET_REASON(ERR_peek_error()) == SSL_R_HTTP_REQUEST;
  ERR_clear_error();
  return Progress::kDone;
}

HttpStream::Progress HttpStream::Handshake(ErrorCode* error) {
  ERR_clear_error();
  errno = 0;
  const int result = SSL_accept(tls_.get());
  return result == 1 ? Progress::kDone : After(result, error);
}

HttpStream::Progress HttpStream::Read(asio::mutable_buffer to, size_t* bytes, ErrorCode* error) {
  if (to.size() == 0) return Progress::kDone;
  ERR_clear_error();
  errno = 0;
  const int result = SSL_read_ex(tls_.get(), to.data(), to.size(), bytes);
  return result == 1 ? Progress::kDone : After(result, error);
}

HttpStream::Progress HttpStream::Write(asio::const_buffer from, size_t* bytes, ErrorCode* error) {
  if (from.size() == 0) return Progress::kDone;
  ERR_clear_error();
  errno = 0;
  const int result = SSL_write_ex(tls_.get(), from.data(), from.size(), bytes);
  if (result != 1) return After(result, error);
  written_bytes_ += *bytes;
  return Progress::kDone;
}

size_t HttpStream::WriteNow(std::span<const asio::const_buffer> from, ErrorCode& error) {
  error = {};
  if (tls_ != nullptr) {
    Piece piece(&scratch_);
    for (const asio::const_buffer& one : from) {
      if (!piece.Add(one)) break;
    }
    size_t bytes = 0;
    const Progress progress = Write(piece.bytes(), &bytes, &error);
    write_waits_for_read_ = progress == Progress::kAwaitRead;
    if (progress != Progress::kDone) error = asio::error::would_block;
    return bytes;
  }
  constexpr size_t kMostParts = 64;
  iovec parts[kMostParts];
  msghdr message{};
  message.msg_iov = parts;
  for (const asio::const_buffer& one : from) {
    if (message.msg_iovlen == kMostParts) break;
    parts[message.msg_iovlen++] = {const_cast<void*>(one.data()), one.size()};
  }
  const ssize_t sent = sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent >= 0) {
    written_bytes_ += static_cast<uint64_t>(sent);
    return static_cast<size_t>(sent);
  }
  error =
      errno == EAGAIN || errno == EINTR ? ErrorCode(asio::error::would_block) : SystemError(errno);
  return 0;
}

size_t HttpStream::ReadNow(asio::mutable_buffer to, ErrorCode& error) {
  error = {};
  const ssize_t got = recv(socket_.native_handle(), to.data(), to.size(), MSG_DONTWAIT);
  if (got > 0) return static_cast<size_t>(got);
  if (got == 0) {
    error = asio::error::eof;
  } else {
    error = errno == EAGAIN || errno == EINTR ? ErrorCode(asio::error::would_block)
                                              : SystemError(errno);
  }
  return 0;
}

size_t HttpStream::WaitingBytes() {
  int bytes = 0;
  return ioctl(socket_.native_handle(), FIONREAD, &bytes) == 0 && bytes > 0
             ? static_cast<size_t>(bytes)
             : 0;
}

bool HttpStream::CanDiscard() {
  int protocol = 0;
  socklen_t size = sizeof protocol;
  return tls_ == nullptr &&
         getsockopt(socket_.native_handle(), SOL_SOCKET, SO_PROTOCOL, &protocol, &size) == 0 &&
         protocol == IPPROTO_TCP;
}

size_t HttpStream::DiscardNow(size_t most, ErrorCode& error) {
  error = {};
  const ssize_t gone = recv(socket_.native_handle(), nullptr, most, MSG_TRUNC | MSG_DONTWAIT);
  if (gone > 0) return static_cast<size_t>(gone);
  if (gone == 0) {
    error = asio::error::eof;
  } else {
    error = errno == EAGAIN || errno == EINTR ? ErrorCode(asio::error::would_block)
                                              : SystemError(errno);
  }
  return 0;
}

void HttpStream::Cancel() {
  ErrorCode ignored;
  socket_.cancel(ignored);
}

void HttpStream::ShutdownWrites() {
  ErrorCode ignored;
  if (tls_ != nullptr && socket_.is_open()) {
    ERR_clear_error();
    SSL_shutdown(tls_.get());
    ERR_clear_error();
  }
  socket_.shutdown(Socket::shutdown_send, ignored);
}

void HttpStream::Close() {
  ErrorCode ignored;
  socket_.close(ignored);
}

bool HttpStream::IsLeft() {
  pollfd look{.fd = socket_.native_handle(), .events = POLLRDHUP, .revents = 0};
  return poll(&look, 1, 0) > 0;
}

void beast_close_socket(HttpStream& stream) { stream.Close(); }

void teardown(boost::beast::role_type, HttpStream& stream, ErrorCode& error) {
  error = {};
  stream.ShutdownWrites();
  stream.Close();
}

}  // namespace sightline::serve
