#include "media/sources/tls_bridge.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <thread>
#include <utility>

#include "base/mutex.h"
#include "base/thread.h"
#include "base/without_sigpipe.h"

namespace sightline {
namespace {

constexpr int kPollMs = 100;

class Socket {
 public:
  Socket() = default;
  explicit Socket(int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

struct SslContextFree {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
struct SslFree {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};
using SslContextPtr = std::unique_ptr<SSL_CTX, SslContextFree>;
using SslPtr = std::unique_ptr<SSL, SslFree>;

// OpenSSL's first reason on this thread; the queue is empty afterwards.
std::string SslReason() {
  const unsigned long code = ERR_get_error();
  const char* reason = code != 0 ? ERR_reason_error_string(code) : nullptr;
  ERR_clear_error();
  return reason != nullptr ? reason : "no reason given";
}

bool IsAddress(const std::string& host) {
  std::array<uint8_t, sizeof(in6_addr)> bytes{};
  return ::inet_pton(AF_INET, host.c_str(), bytes.data()) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), bytes.data()) == 1;
}

absl::StatusOr<SslContextPtr> MakeContext(const TlsOptions& options, const std::string& name) {
  ERR_clear_error();
  SslContextPtr context(SSL_CTX_new(TLS_client_method()));
  if (!context) return ResourceExhausted("{}: no memory for TLS", name);
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_mode(context.get(),
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_verify(context.get(), options.verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  if (options.ca_file.empty()) {
    SSL_CTX_set_default_verify_paths(context.get());
  } else if (SSL_CTX_load_verify_locations(context.get(), options.ca_file.c_str(), nullptr) != 1) {
    return InvalidArgument("{}: no certificate could be read from its ca_file {}: {}", name,
                           options.ca_file, SslReason());
  }
  if (options.certificate_file.empty()) return context;
  if (SSL_CTX_use_certificate_chain_file(context.get(), options.certificate_file.c_str()) != 1) {
    return InvalidArgument("{}: no certificate could be read from {}: {}", name,
                           options.certificate_file, SslReason());
  }
  if (SSL_CTX_use_PrivateKey_file(context.get(), options.key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
    return InvalidArgument(
        "{}: the key {} cannot be read, or is not that of the certificate {}: {}", name,
        options.key_file, options.certificate_file, SslReason());
  }
  return context;
}

// True once the socket is ready for `events`; false when stopped.
bool WaitFor(int fd, short events, const std::function<bool()>& stop) {
  for (;;) {
    if (stop()) return false;
    pollfd one{fd, events, 0};
    if (::poll(&one, 1, kPollMs) > 0) return true;
  }
}

absl::Status Stopped(const std::string& name) { return Cancelled("{}: cancelled", name); }

absl::StatusOr<Socket> Connect(const std::string& host, int port, const std::string& name,
                               const std::function<bool()>& stop) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) {
    return Unavailable(
        "{}: there is no host of that name, or no name server answers; check the "
        "address",
        name);
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(found, &::freeaddrinfo);
  int error = 0;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    Socket socket(::socket(at->ai_family, at->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket.valid()) continue;
    if (::connect(socket.fd(), at->ai_addr, at->ai_addrlen) != 0) {
      error = errno;
      if (error != EINPROGRESS) continue;
      if (!WaitFor(socket.fd(), POLLOUT, stop)) return Stopped(name);
      socklen_t size = sizeof(error);
      ::getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &error, &size);
      if (error != 0) continue;
    }
    const int on = 1;
    ::setsockopt(socket.fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return socket;
  }
  if (error == ECONNREFUSED) {
    return Unavailable(
        "{}: nothing listens there (connection refused); check the port, or wait "
        "until the camera is up",
        name);
  }
  return Unavailable("{}: cannot be reached: {}; check the network", name, std::strerror(error));
}

absl::Status HandshakeError(SSL* ssl, const std::string& name) {
  const long verified = SSL_get_verify_result(ssl);
  const unsigned long code = ERR_peek_error();
  const bool ours = ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED;
  if (ours && verified != X509_V_OK) {
    ERR_clear_error();
    return Unauthenticated(
        "{}: its certificate is not trusted ({}); name the authority that signed it "
        "as the camera's ca_file",
        name, X509_verify_cert_error_string(verified));
  }
  // An alert about a certificate: the server wants one of ours, or another.
  const int alert = ERR_GET_REASON(code) - SSL_AD_REASON_OFFSET;
  const bool about_ours = alert == SSL_AD_BAD_CERTIFICATE || alert == SSL_AD_UNKNOWN_CA ||
                          alert == SSL_AD_CERTIFICATE_REQUIRED ||
                          alert == SSL_AD_CERTIFICATE_UNKNOWN || alert == SSL_AD_ACCESS_DENIED;
  const std::string reason = SslReason();
  if (about_ours) {
    return Unauthenticated(
        "{}: the camera refuses our certificate ({}); set certificate_file and "
        "key_file to one that it knows",
        name, reason);
  }
  return Unavailable(
      "{}: no TLS connection can be made ({}); check that the port is the camera's "
      "for rtsps",
      name, reason);
}

absl::StatusOr<SslPtr> ShakeHands(SSL_CTX* context, int fd, const std::string& host,
                                  const std::string& name, const std::function<bool()>& stop) {
  const WithoutSigpipe spared;
  SslPtr ssl(SSL_new(context));
  if (!ssl || SSL_set_fd(ssl.get(), fd) != 1)
    return ResourceExhausted("{}: no memory for TLS", name);
  if (IsAddress(host)) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), host.c_str());
  } else {
    SSL_set_tlsext_host_name(ssl.get(), host.c_str());
    SSL_set1_host(ssl.get(), host.c_str());
  }
  for (;;) {
    ERR_clear_error();
    const int code = SSL_connect(ssl.get());
    if (code == 1) return ssl;
    const int error = SSL_get_error(ssl.get(), code);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
      return HandshakeError(ssl.get(), name);
    }
    const short events = error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
    if (!WaitFor(fd, events, stop)) return Stopped(name);
  }
}

// Whether the loopback connection `fd` comes from a process of this user: the kernel's table of
// sockets says whose each is.
bool IsFromThisUser(int fd) {
  sockaddr_in peer{};
  socklen_t size = sizeof(peer);
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0) return false;
  const std::string local = fmt::format("{:08X}:{:04X}", peer.sin_addr.s_addr,
                                        static_cast<unsigned>(ntohs(peer.sin_port)));
  std::ifstream table("/proc/self/net/tcp");
  std::string line;
  std::getline(table, line);  // the headings
  while (std::getline(table, line)) {
    std::array<char, 32> address{};
    unsigned user = 0;
    // sl local remote state tx:rx timer:when retransmits uid
    if (std::sscanf(line.c_str(), " %*s %31s %*s %*s %*s %*s %*s %u", address.data(), &user) != 2) {
      continue;
    }
    if (local == address.data()) return user == ::geteuid();
  }
  return false;
}

// Bytes on their way in one direction.
struct Channel {
  std::array<uint8_t, 16384> bytes{};
  size_t begin = 0;
  size_t end = 0;
  bool empty() const { return begin == end; }
  void Fill(size_t count) {
    begin = 0;
    end = count;
  }
  void Take(size_t count) { begin += count; }
};

}  // namespace

class TlsBridge::Impl {
 public:
  Impl(SslContextPtr context, Socket remote, SslPtr ssl, std::string name)
      : context_(std::move(context)),
        remote_(std::move(remote)),
        ssl_(std::move(ssl)),
        name_(std::move(name)) {}
  ~Impl() {
    const uint64_t one = 1;
    if (wake_.valid()) (void)!::write(wake_.fd(), &one, sizeof(one));
    if (thread_.joinable()) thread_.join();
  }

  absl::Status Listen();
  int port() const { return port_; }
  absl::Status error() const {
    const MutexLock lock(mutex_);
    return error_;
  }

 private:
  void Run();
  bool Accept();
  bool MoveOut();
  bool MoveIn();

  const SslContextPtr context_;
  Socket remote_;
  SslPtr ssl_;  // before its socket is closed
  Socket listener_;
  Socket local_;
  Socket wake_;
  int port_ = 0;
  Channel out_;  // from the library to the server
  Channel in_;
  bool want_write_ = false;  // what OpenSSL waits for
  const std::string name_;
  mutable Mutex mutex_;
  absl::Status error_ GUARDED_BY(mutex_);
  std::thread thread_;
};

absl::Status TlsBridge::Impl::Listen() {
  wake_ = Socket(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  listener_ = Socket(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* any = reinterpret_cast<sockaddr*>(&address);
  if (!wake_.valid() || !listener_.valid() || ::bind(listener_.fd(), any, size) != 0 ||
      ::listen(listener_.fd(), 1) != 0 || ::getsockname(listener_.fd(), any, &size) != 0) {
    return ResourceExhausted("{}: no local port for its TLS connection: {}", name_,
                             std::strerror(errno));
  }
  port_ = ntohs(address.sin_port);
  SL_ASSIGN_OR_RETURN(thread_, StartThread("tls-bridge", [this] { Run(); }));
  return absl::OkStatus();
}

// False when the bridge is being taken down.
bool TlsBridge::Impl::Accept() {
  for (;;) {
    std::array<pollfd, 2> both{pollfd{listener_.fd(), POLLIN, 0}, pollfd{wake_.fd(), POLLIN, 0}};
    if (::poll(both.data(), both.size(), -1) < 0 && errno != EINTR) return false;
    if (both[1].revents != 0) return false;
    Socket one(::accept4(listener_.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!one.valid() || !IsFromThisUser(one.fd())) continue;
    const int on = 1;
    ::setsockopt(one.fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    local_ = std::move(one);
    listener_ = Socket();
    return true;
  }
}

// Library to server. False at the end of either.
bool TlsBridge::Impl::MoveOut() {
  if (out_.empty()) {
    const ssize_t got = ::recv(local_.fd(), out_.bytes.data(), out_.bytes.size(), 0);
    if (got == 0) return false;
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    out_.Fill(static_cast<size_t>(got));
  }
  while (!out_.empty()) {
    ERR_clear_error();
    size_t written = 0;
    if (SSL_write_ex(ssl_.get(), out_.bytes.data() + out_.begin, out_.end - out_.begin, &written) !=
        1) {
      const int error = SSL_get_error(ssl_.get(), 0);
      want_write_ = error == SSL_ERROR_WANT_WRITE;
      return want_write_ || error == SSL_ERROR_WANT_READ;
    }
    out_.Take(written);
  }
  want_write_ = false;
  return true;
}

// Server to library. False at the end of either.
bool TlsBridge::Impl::MoveIn() {
  for (;;) {
    if (in_.empty()) {
      ERR_clear_error();
      size_t got = 0;
      if (SSL_read_ex(ssl_.get(), in_.bytes.data(), in_.bytes.size(), &got) != 1) {
        const int error = SSL_get_error(ssl_.get(), 0);
        if (error == SSL_ERROR_SSL) {
          const MutexLock lock(mutex_);
          error_ = HandshakeError(ssl_.get(), name_);
        }
        return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
      }
      in_.Fill(got);
    }
    while (!in_.empty()) {
      const ssize_t sent =
          ::send(local_.fd(), in_.bytes.data() + in_.begin, in_.end - in_.begin, MSG_NOSIGNAL);
      if (sent < 0) return errno == EAGAIN || errno == EINTR;
      in_.Take(static_cast<size_t>(sent));
    }
  }
}

void TlsBridge::Impl::Run() {
  const WithoutSigpipe spared;
  if (!Accept()) return;
  bool alive = MoveIn();  // what came with the handshake shows on no socket
  while (alive) {
    // What is full is not read from: the other side waits then.
    const auto remote_events =
        static_cast<short>((in_.empty() ? POLLIN : 0) | (want_write_ ? POLLOUT : 0));
    const auto local_events =
        static_cast<short>((out_.empty() ? POLLIN : 0) | (in_.empty() ? 0 : POLLOUT));
    // Without events a socket is left out: one that broke would be reported without end.
    std::array<pollfd, 3> all{pollfd{remote_events != 0 ? remote_.fd() : -1, remote_events, 0},
                              pollfd{local_events != 0 ? local_.fd() : -1, local_events, 0},
                              pollfd{wake_.fd(), POLLIN, 0}};
    if (::poll(all.data(), all.size(), -1) < 0 && errno != EINTR) break;
    // The library's last words (TEARDOWN) are in the socket before it is taken down.
    alive = MoveOut() && MoveIn();
    if (all[2].revents != 0) break;
  }
  SSL_shutdown(ssl_.get());
  ERR_clear_error();
  ::shutdown(local_.fd(), SHUT_RDWR);
}

absl::StatusOr<std::unique_ptr<TlsBridge>> TlsBridge::Open(const std::string& host, int port,
                                                           const TlsOptions& options,
                                                           const std::string& name,
                                                           const std::function<bool()>& stop) {
  SL_ASSIGN_OR_RETURN(SslContextPtr context, MakeContext(options, name));
  SL_ASSIGN_OR_RETURN(Socket socket, Connect(host, port, name, stop));
  SL_ASSIGN_OR_RETURN(SslPtr ssl, ShakeHands(context.get(), socket.fd(), host, name, stop));
  auto impl = std::make_unique<Impl>(std::move(context), std::move(socket), std::move(ssl), name);
  SL_RETURN_IF_ERROR(impl->Listen());
  return std::unique_ptr<TlsBridge>(new TlsBridge(std::move(impl)));
}

absl::Status TlsBridge::error() const { return impl_->error(); }
TlsBridge::TlsBridge(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsBridge::~TlsBridge() = default;
int TlsBridge::port() const { return impl_->port(); }

}  // namespace sightline
