// One connection to a Redis server, over TCP or TLS: commands out, replies in, in their order. Internal to
// serve/cache.
//
// hiredis 0.14 has the protocol and no TLS, so the bytes are moved here, by OpenSSL between two of its memory
// buffers, and hiredis formats commands and reads replies alone.
// Threads: one. Nothing waits but the look-up of the host's name.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "serve/cache/redis_store.h"

struct redisReader;
struct redisReply;
struct ssl_st;
struct ssl_ctx_st;

namespace sightline::serve {

// Of all connections of a client. InvalidArgument for files that cannot be used, by name.
absl::StatusOr<std::shared_ptr<ssl_ctx_st>> RedisTlsContext(const RedisTlsFiles& files);

class RedisLink {
 public:
  struct FreeReply {
    void operator()(redisReply* reply) const;
  };
  using Reply = std::unique_ptr<redisReply, FreeReply>;

  // Begins to connect. `tls`: null without TLS; else the server's certificate must be for url.host. Replies
  // of more than `most_reply_bytes` are errors.
  static absl::StatusOr<std::unique_ptr<RedisLink>> Open(const RedisUrl& url,
                                                         const std::shared_ptr<ssl_ctx_st>& tls,
                                                         size_t most_reply_bytes);
  ~RedisLink();
  RedisLink(const RedisLink&) = delete;

  int socket() const { return socket_; }
  // What poll() is to wait for.
  short events() const;
  // Moves bytes as far as they go at once; `revents` is what poll() said. An error when it is over.
  absl::Status Advance(short revents);
  // Whether commands may be written.
  bool ready() const { return connected_ && (tls_ == nullptr || is_secure_); }
  // Kept until Advance().
  absl::Status Write(std::span<const std::string_view> words);
  // The next reply that is whole; null when there is none yet.
  absl::StatusOr<Reply> Next();

 private:
  struct FreeReader {
    void operator()(redisReader* reader) const;
  };
  struct FreeTls {
    void operator()(ssl_st* tls) const;
  };
  RedisLink(int socket, size_t most_reply_bytes)
      : socket_(socket), most_reply_bytes_(most_reply_bytes) {}
  absl::Status Receive();
  absl::Status MoveThroughTls();
  absl::Status Decrypt();
  absl::Status Feed(std::string_view bytes);
  absl::Status Send();
  absl::Status TlsError(int result, bool* is_waiting) const;

  const int socket_;
  const size_t most_reply_bytes_;
  std::unique_ptr<redisReader, FreeReader> reader_;
  std::unique_ptr<ssl_st, FreeTls> tls_;
  bool connected_ = false;
  bool is_secure_ = false;
  size_t unread_bytes_ = 0;  // fed since the last reply
  std::string plain_;        // commands that TLS has not seen
  std::string unsent_;
  size_t sent_ = 0;  // of `unsent_`
};

}  // namespace sightline::serve
