// A client of TLS for the tests of servers: speaks the version that it is told.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <string_view>

namespace sightline::serve {

// OpenSSL's own client on a socket of its own.
class TlsClient {
 public:
  struct Options {
    std::string trusted;           // the authority; empty: whoever it is
    std::string certificate, key;  // its own
    int version = TLS1_3_VERSION;  // and no other
    std::string protocols;         // of ALPN
  };
  TlsClient(uint16_t port, const Options& options) {
    context_ = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context_, options.version);
    SSL_CTX_set_max_proto_version(context_, options.version);
    if (!options.trusted.empty()) {
      EXPECT_EQ(SSL_CTX_load_verify_file(context_, options.trusted.c_str()), 1);
      SSL_CTX_set_verify(context_, SSL_VERIFY_PEER, nullptr);
    }
    if (!options.certificate.empty()) {
      EXPECT_EQ(SSL_CTX_use_certificate_chain_file(context_, options.certificate.c_str()), 1);
      EXPECT_EQ(SSL_CTX_use_PrivateKey_file(context_, options.key.c_str(), SSL_FILETYPE_PEM), 1);
    }
    tls_ = SSL_new(context_);
    if (!options.protocols.empty()) {
      SSL_set_alpn_protos(tls_, reinterpret_cast<const unsigned char*>(options.protocols.data()),
                          static_cast<unsigned>(options.protocols.size()));
    }
    socket_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const timeval patience{.tv_sec = 30, .tv_usec = 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(socket_, reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
    SSL_set_fd(tls_, socket_);
    connected_ = SSL_connect(tls_) == 1;
  }
  ~TlsClient() {
    SSL_free(tls_);
    SSL_CTX_free(context_);
    close(socket_);
  }
  TlsClient(const TlsClient&) = delete;

  bool connected() const { return connected_; }
  SSL* tls() { return tls_; }
  bool Say(std::string_view text) {
    size_t sent = 0;
    return SSL_write_ex(tls_, text.data(), text.size(), &sent) == 1 && sent == text.size();
  }
  // Head and announced body; what came before the end.
  std::string Hear() {
    std::string heard;
    char bytes[16384];
    size_t got = 0;
    while (!IsWhole(heard) && SSL_read_ex(tls_, bytes, sizeof(bytes), &got) == 1) {
      heard.append(bytes, got);
    }
    return heard;
  }
  std::string Ask(std::string_view request) { return Say(request) ? Hear() : "(closed)"; }
  std::string Get(const std::string& path) {
    return Ask("GET " + path + " HTTP/1.1\r\nHost: h\r\n\r\n");
  }

 private:
  static bool IsWhole(const std::string& heard) {
    const size_t end = heard.find("\r\n\r\n"), length = heard.find("\r\nContent-Length: ");
    return end != std::string::npos && length < end &&
           heard.size() >= end + 4 + std::stoul(heard.substr(length + 18));
  }
  SSL_CTX* context_;
  SSL* tls_;
  int socket_;
  bool connected_ = false;
};

}  // namespace sightline::serve
