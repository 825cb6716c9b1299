// The certificate and the key by which a server shows who it is, and the authority whose clients it lets in.
//
//   SL_ASSIGN_OR_RETURN(auto tls, TlsCredentials::Load({.certificate = "c.pem", .key = "k.pem"}));
//
// TLS 1.3 alone, ALPN "http/1.1", no early data. With `client_ca` every client must show a certificate that
// leads to one of its authorities (mTLS).
// Threads: any. Connections keep the credentials with which they began; new ones have the newest.
// Source: RFC 8446, over OpenSSL.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"

struct ssl_ctx_st;  // OpenSSL's SSL_CTX

namespace sightline::serve {

// Paths of PEM files.
struct TlsFiles {
  std::string certificate;  // and those that lead from it to its authority, in this order
  std::string key;          // without a passphrase
  std::string client_ca;    // empty: clients need no certificate

  bool empty() const { return certificate.empty() && key.empty() && client_ca.empty(); }
};

class TlsCredentials {
 public:
  // InvalidArgument for files that are missing, that hold something else, or that do not belong together,
  // by name. Logs a warning for a key that every user may read and for a certificate that is over.
  static absl::StatusOr<std::shared_ptr<TlsCredentials>> Load(const TlsFiles& files);

  // Loads the files again where one has changed (true). After an error the old ones stay, and the error is
  // given once for each change. Cost of nothing new: three stat().
  absl::StatusOr<bool> Refresh();

  std::shared_ptr<ssl_ctx_st> context() const;
  const TlsFiles& files() const { return files_; }

 private:
  struct Stamp {
    uint64_t inode = 0;
    int64_t size = -1;
    int64_t changed_ns = 0;
    bool operator==(const Stamp&) const = default;
  };
  explicit TlsCredentials(const TlsFiles& files) : files_(files) {}
  std::vector<Stamp> Stamps() const;

  const TlsFiles files_;
  mutable Mutex mutex_;
  std::shared_ptr<ssl_ctx_st> context_ GUARDED_BY(mutex_);
  std::vector<Stamp> stamps_ GUARDED_BY(mutex_);
};

}  // namespace sightline::serve
