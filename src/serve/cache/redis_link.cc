#include <arpa/inet.h>
#include <hiredis/hiredis.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "serve/cache/redis_link_internal.h"

namespace sightline::serve {
namespace {

constexpr size_t kAtOnce = size_t{64} << 10;
constexpr int kMostReads = 16;  // before others have their turn

// OpenSSL's oldest error of this thread, and forgets them all.
std::string TlsReason() {
  const unsigned long error = ERR_get_error();
  const char* const reason = error == 0 ? nullptr : ERR_reason_error_string(error);
  ERR_clear_error();
  return reason == nullptr ? "an error of TLS" : reason;
}

absl::Status CannotUse(std::string_view what, const std::string& file) {
  return InvalidArgument("cache_tls: {} {}: {}", what, file, TlsReason());
}

bool IsAddress(const std::string& host) {
  in6_addr any{};
  return inet_pton(AF_INET, host.c_str(), &any) == 1 ||
         inet_pton(AF_INET6, host.c_str(), &any) == 1;
}

// Begins to connect to the first address of that family.
int ConnectTo(const RedisUrl& url, int family, std::string& why) {
  addrinfo hints{};
  hints.ai_family = family;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int failed =
      getaddrinfo(url.host.c_str(), std::to_string(url.port).c_str(), &hints, &found);
  if (failed != 0) {
    why = gai_strerror(failed);
    return -1;
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    const int made = socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (made < 0) {
      why = strerror(errno);
      continue;
    }
    const int on = 1;
    setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(made, one->ai_addr, one->ai_addrlen) == 0 || errno == EINPROGRESS) return made;
    why = strerror(errno);
    close(made);
  }
  return -1;
}

}  // namespace

absl::StatusOr<std::shared_ptr<ssl_ctx_st>> RedisTlsContext(const RedisTlsFiles& files) {
  const std::shared_ptr<ssl_ctx_st> context(SSL_CTX_new(TLS_client_method()), &SSL_CTX_free);
  if (context == nullptr) return ResourceExhausted("no memory for TLS to the cache");
  ERR_clear_error();
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                      SSL_MODE_RELEASE_BUFFERS);
  if (files.ca.empty()) {
    SSL_CTX_set_default_verify_paths(context.get());
  } else if (SSL_CTX_load_verify_file(context.get(), files.ca.c_str()) != 1) {
    return CannotUse("no authorities are in", files.ca);
  }
  if (files.certificate.empty()) return context;
  if (SSL_CTX_use_certificate_chain_file(context.get(), files.certificate.c_str()) != 1) {
    return CannotUse("no certificate is in", files.certificate);
  }
  if (SSL_CTX_use_PrivateKey_file(context.get(), files.key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return CannotUse("the certificate's key is not in", files.key);
  }
  return context;
}

void RedisLink::FreeReply::operator()(redisReply* reply) const { freeReplyObject(reply); }
void RedisLink::FreeReader::operator()(redisReader* reader) const { redisReaderFree(reader); }
void RedisLink::FreeTls::operator()(ssl_st* tls) const { SSL_free(tls); }

absl::StatusOr<std::unique_ptr<RedisLink>> RedisLink::Open(const RedisUrl& url,
                                                           const std::shared_ptr<ssl_ctx_st>& tls,
                                                           size_t most_reply_bytes) {
  std::string why;
  int socket = ConnectTo(url, AF_INET, why);
  if (socket < 0) socket = ConnectTo(url, AF_INET6, why);
  if (socket < 0) return Unavailable("{}", why);
  std::unique_ptr<RedisLink> link(new RedisLink(socket, most_reply_bytes));
  link->reader_.reset(redisReaderCreate());
  if (link->reader_ == nullptr) return ResourceExhausted("no memory");
  if (tls == nullptr) return link;
  link->tls_.reset(SSL_new(tls.get()));
  BIO* const from = BIO_new(BIO_s_mem());
  BIO* const to = BIO_new(BIO_s_mem());
  if (link->tls_ == nullptr || from == nullptr || to == nullptr) {
    BIO_free(from);
    BIO_free(to);
    return ResourceExhausted("no memory");
  }
  SSL_set_bio(link->tls_.get(), from, to);
  SSL_set_connect_state(link->tls_.get());
  X509_VERIFY_PARAM* const checks = SSL_get0_param(link->tls_.get());
  if (IsAddress(url.host)) {
    X509_VERIFY_PARAM_set1_ip_asc(checks, url.host.c_str());
  } else {
    X509_VERIFY_PARAM_set1_host(checks, url.host.c_str(), 0);
    SSL_set_tlsext_host_name(link->tls_.get(), url.host.c_str());
  }
  return link;
}

RedisLink::~RedisLink() { close(socket_); }

short RedisLink::events() const {
  return static_cast<short>(POLLIN | (!connected_ || sent_ < unsent_.size() ? POLLOUT : 0));
}

absl::Status RedisLink::Advance(short revents) {
  if (!connected_) {
    if (revents == 0) return absl::OkStatus();
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(socket_, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return Unavailable("{}", strerror(error));
    connected_ = true;
  }
  // What the server says before it closes is heard first.
  absl::Status received;
  if ((revents & (POLLIN | POLLERR | POLLHUP)) != 0) received = Receive();
  if (tls_ != nullptr) SL_RETURN_IF_ERROR(MoveThroughTls());
  SL_RETURN_IF_ERROR(received);
  return Send();
}

absl::Status RedisLink::Receive() {
  std::array<char, kAtOnce> bytes;
  for (int i = 0; i < kMostReads; ++i) {
    const ssize_t got = recv(socket_, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got == 0) return Unavailable("it closed the connection");
    if (got < 0) {
      const bool is_all = errno == EAGAIN || errno == EINTR;
      return is_all ? absl::OkStatus() : Unavailable("{}", strerror(errno));
    }
    const std::string_view come(bytes.data(), static_cast<size_t>(got));
    if (tls_ == nullptr) {
      SL_RETURN_IF_ERROR(Feed(come));
    } else if (BIO_write(SSL_get_rbio(tls_.get()), come.data(), static_cast<int>(come.size())) !=
               static_cast<int>(come.size())) {
      return ResourceExhausted("no memory");
    } else if (is_secure_) {
      SL_RETURN_IF_ERROR(Decrypt());
    }
  }
  return absl::OkStatus();
}

absl::Status RedisLink::TlsError(int result, bool* is_waiting) const {
  const int error = SSL_get_error(tls_.get(), result);
  *is_waiting = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
  if (*is_waiting) return absl::OkStatus();
  if (error == SSL_ERROR_ZERO_RETURN) return Unavailable("it closed the connection");
  const long verified = SSL_get_verify_result(tls_.get());
  if (verified != X509_V_OK) {
    ERR_clear_error();
    return Unavailable("its certificate is not accepted: {}",
                       X509_verify_cert_error_string(verified));
  }
  return Unavailable("TLS: {}", TlsReason());
}

absl::Status RedisLink::MoveThroughTls() {
  absl::Status status;
  if (!is_secure_) {
    ERR_clear_error();
    const int result = SSL_do_handshake(tls_.get());
    bool is_waiting = false;
    is_secure_ = result == 1;
    if (!is_secure_) status = TlsError(result, &is_waiting);
  }
  if (status.ok() && is_secure_) status = Decrypt();
  if (status.ok() && is_secure_ && !plain_.empty()) {
    ERR_clear_error();
    size_t taken = 0;
    for (std::string_view rest = plain_; !rest.empty(); rest.remove_prefix(taken)) {
      const int result = SSL_write_ex(tls_.get(), rest.data(), rest.size(), &taken);
      bool is_waiting = false;
      if (result != 1) {
        SL_RETURN_IF_ERROR(TlsError(result, &is_waiting));
        return Unavailable("TLS: it began the handshake anew");
      }
    }
    plain_.clear();
  }
  BIO* const out = SSL_get_wbio(tls_.get());
  const size_t before = unsent_.size();
  const size_t pending = BIO_ctrl_pending(out);
  unsent_.resize(before + pending);
  if (pending > 0) BIO_read(out, unsent_.data() + before, static_cast<int>(pending));
  if (!status.ok()) Send().IgnoreError();  // tells the server why
  return status;
}

absl::Status RedisLink::Decrypt() {
  std::array<char, kAtOnce> bytes;
  while (true) {
    size_t got = 0;
    ERR_clear_error();
    const int result = SSL_read_ex(tls_.get(), bytes.data(), bytes.size(), &got);
    if (result == 1) {
      SL_RETURN_IF_ERROR(Feed({bytes.data(), got}));
      continue;
    }
    bool is_waiting = false;
    return TlsError(result, &is_waiting);
  }
}

absl::Status RedisLink::Feed(std::string_view bytes) {
  unread_bytes_ += bytes.size();
  // Several replies may have come at once; one that is too large comes alone.
  if (unread_bytes_ > most_reply_bytes_ + kMostReads * kAtOnce) {
    return Unavailable("a reply is larger than any that was kept there");
  }
  if (redisReaderFeed(reader_.get(), bytes.data(), bytes.size()) != REDIS_OK) {
    return Unavailable("{}", reader_->errstr);
  }
  return absl::OkStatus();
}

absl::Status RedisLink::Send() {
  while (sent_ < unsent_.size()) {
    const ssize_t gone =
        send(socket_, unsent_.data() + sent_, unsent_.size() - sent_, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (gone < 0) {
      if (errno != EAGAIN && errno != EINTR) return Unavailable("{}", strerror(errno));
      if (sent_ > unsent_.size() / 2) {  // it may never become empty
        unsent_.erase(0, sent_);
        sent_ = 0;
      }
      return absl::OkStatus();
    }
    sent_ += static_cast<size_t>(gone);
  }
  unsent_.clear();
  sent_ = 0;
  if (unsent_.capacity() > kAtOnce) unsent_.shrink_to_fit();
  return absl::OkStatus();
}

absl::Status RedisLink::Write(std::span<const std::string_view> words) {
  std::vector<const char*> texts;
  std::vector<size_t> sizes;
  for (const std::string_view word : words) {
    texts.push_back(word.data());
    sizes.push_back(word.size());
  }
  char* command = nullptr;
  const int size =
      redisFormatCommandArgv(&command, static_cast<int>(words.size()), texts.data(), sizes.data());
  if (size < 0) return ResourceExhausted("no memory");
  (tls_ == nullptr ? unsent_ : plain_).append(command, static_cast<size_t>(size));
  redisFreeCommand(command);
  return absl::OkStatus();
}

absl::StatusOr<RedisLink::Reply> RedisLink::Next() {
  void* reply = nullptr;
  if (redisReaderGetReply(reader_.get(), &reply) != REDIS_OK) {
    return Unavailable("{}", reader_->errstr);
  }
  if (reply != nullptr) unread_bytes_ = 0;
  return Reply(static_cast<redisReply*>(reply));
}

}  // namespace sightline::serve
