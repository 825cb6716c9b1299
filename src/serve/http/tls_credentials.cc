#include "serve/http/tls_credentials.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <cstring>
#include <string_view>
#include <utility>

#include "base/log.h"
#include "base/whole_file.h"

namespace sightline::serve {
namespace {

constexpr size_t kMostPemBytes = size_t{4} << 20;  // bundles of authorities have some 200 KB

struct Free {
  void operator()(BIO* of) const { BIO_free(of); }
  void operator()(X509* of) const { X509_free(of); }
  void operator()(EVP_PKEY* of) const { EVP_PKEY_free(of); }
};
template <typename T>
using Owned = std::unique_ptr<T, Free>;

// What OpenSSL last complained about, and nothing left of it.
std::string Complaint() {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  const char* const reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "OpenSSL does not say why" : reason;
}

absl::StatusOr<Owned<BIO>> ReadPem(std::string_view what, const std::string& file,
                                   std::string* text) {
  absl::StatusOr<std::string> read = ReadWholeFile(file, kMostPemBytes);
  if (!read.ok()) return InvalidArgument("{}: {}", what, MessageOf(read.status()));
  *text = *std::move(read);
  return Owned<BIO>(BIO_new_mem_buf(text->data(), static_cast<int>(text->size())));
}

// Asked for the passphrase of a key: there is nobody to ask.
int NoPassphrase(char*, int, int, void*) { return 0; }

absl::StatusOr<Owned<X509>> UseCertificate(const std::string& file, SSL_CTX* context) {
  std::string text;
  SL_ASSIGN_OR_RETURN(const Owned<BIO> pem, ReadPem("the certificate of TLS", file, &text));
  Owned<X509> own(PEM_read_bio_X509(pem.get(), nullptr, NoPassphrase, nullptr));
  if (own == nullptr) {
    ERR_clear_error();
    return InvalidArgument(
        "{} holds no certificate: a file in PEM with BEGIN CERTIFICATE is needed", file);
  }
  if (SSL_CTX_use_certificate(context, own.get()) != 1) {
    return InvalidArgument("the certificate in {} cannot be used: {}", file, Complaint());
  }
  while (X509* const next = PEM_read_bio_X509(pem.get(), nullptr, NoPassphrase, nullptr)) {
    if (SSL_CTX_add0_chain_cert(context, next) == 1) continue;  // keeps it
    X509_free(next);
    return InvalidArgument("the chain in {} cannot be used: {}", file, Complaint());
  }
  ERR_clear_error();  // of the end of the file
  return own;
}

absl::Status UseKey(const TlsFiles& files, const Owned<X509>& certificate, SSL_CTX* context) {
  std::string text;
  SL_ASSIGN_OR_RETURN(const Owned<BIO> pem, ReadPem("the key of TLS", files.key, &text));
  const Owned<EVP_PKEY> key(PEM_read_bio_PrivateKey(pem.get(), nullptr, NoPassphrase, nullptr));
  OPENSSL_cleanse(text.data(), text.size());
  if (key == nullptr) {
    ERR_clear_error();
    return InvalidArgument(
        "{} holds no private key that can be read: a file in PEM without a passphrase is needed",
        files.key);
  }
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    ERR_clear_error();
    return InvalidArgument("the key in {} does not belong to the certificate in {}", files.key,
                           files.certificate);
  }
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1) {
    return InvalidArgument("the key in {} cannot be used: {}", files.key, Complaint());
  }
  return absl::OkStatus();
}

absl::Status UseClientAuthority(const std::string& file, SSL_CTX* context) {
  std::string text;
  SL_ASSIGN_OR_RETURN(const Owned<BIO> pem, ReadPem("the authority of clients", file, &text));
  X509_STORE* const store = SSL_CTX_get_cert_store(context);
  int found = 0;
  while (true) {
    const Owned<X509> one(PEM_read_bio_X509(pem.get(), nullptr, NoPassphrase, nullptr));
    if (one == nullptr) break;
    if (X509_STORE_add_cert(store, one.get()) != 1 ||
        SSL_CTX_add_client_CA(context, one.get()) != 1) {
      return InvalidArgument("the authority of clients in {} cannot be used: {}", file,
                             Complaint());
    }
    ++found;
  }
  ERR_clear_error();
  if (found == 0) {
    return InvalidArgument(
        "{} holds no certificate: that of the authority of clients in PEM is needed", file);
  }
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return absl::OkStatus();
}

int ChooseProtocol(SSL*, const unsigned char** chosen, unsigned char* length,
                   const unsigned char* offered, unsigned int offered_length, void*) {
  static constexpr unsigned char kOurs[] = "\x08http/1.1";
  unsigned char* out = nullptr;
  if (SSL_select_next_proto(&out, length, kOurs, sizeof(kOurs) - 1, offered, offered_length) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *chosen = out;
  return SSL_TLSEXT_ERR_OK;
}

void Warn(const TlsFiles& files, const X509* certificate) {
  struct stat key {};
  if (stat(files.key.c_str(), &key) == 0 && (key.st_mode & S_IROTH) != 0) {
    Log().warn("every user of this machine may read the key {}; chmod 600 it", files.key);
  }
  if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0) {
    Log().warn("the certificate in {} is over: clients will refuse it", files.certificate);
  }
}

absl::StatusOr<std::shared_ptr<SSL_CTX>> Make(const TlsFiles& files) {
  const std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  if (context == nullptr) return ResourceExhausted("no TLS: {}", Complaint());
  SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION);
  // Buffers of connections that say nothing are given back; what could not be written comes again.
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // Resumed by tickets that the client keeps; nothing is kept here.
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  static constexpr unsigned char kName[] = "sightline";
  SSL_CTX_set_session_id_context(context.get(), kName, sizeof(kName) - 1);
  SSL_CTX_set_alpn_select_cb(context.get(), ChooseProtocol, nullptr);
  SL_ASSIGN_OR_RETURN(const Owned<X509> certificate,
                      UseCertificate(files.certificate, context.get()));
  SL_RETURN_IF_ERROR(UseKey(files, certificate, context.get()));
  if (!files.client_ca.empty()) {
    SL_RETURN_IF_ERROR(UseClientAuthority(files.client_ca, context.get()));
  }
  Warn(files, certificate.get());
  return context;
}

}  // namespace

std::vector<TlsCredentials::Stamp> TlsCredentials::Stamps() const {
  std::vector<Stamp> stamps;
  for (const std::string* file : {&files_.certificate, &files_.key, &files_.client_ca}) {
    struct stat found {};
    Stamp& stamp = stamps.emplace_back();
    if (file->empty() || stat(file->c_str(), &found) != 0) continue;
    stamp = {.inode = found.st_ino,
             .size = found.st_size,
             .changed_ns = found.st_mtim.tv_sec * 1'000'000'000 + found.st_mtim.tv_nsec};
  }
  return stamps;
}

absl::StatusOr<std::shared_ptr<TlsCredentials>> TlsCredentials::Load(const TlsFiles& files) {
  if (files.certificate.empty() || files.key.empty()) {
    return InvalidArgument("TLS needs both a certificate and its key");
  }
  const std::shared_ptr<TlsCredentials> made(new TlsCredentials(files));
  std::vector<Stamp> stamps = made->Stamps();  // before: a change meanwhile is then seen later
  SL_ASSIGN_OR_RETURN(std::shared_ptr<SSL_CTX> context, Make(files));
  const MutexLock lock(made->mutex_);
  made->context_ = std::move(context);
  made->stamps_ = std::move(stamps);
  return made;
}

absl::StatusOr<bool> TlsCredentials::Refresh() {
  std::vector<Stamp> stamps = Stamps();
  {
    const MutexLock lock(mutex_);
    if (stamps == stamps_) return false;
    stamps_ = std::move(stamps);
  }
  SL_ASSIGN_OR_RETURN(std::shared_ptr<SSL_CTX> context, Make(files_));
  const MutexLock lock(mutex_);
  context_ = std::move(context);
  return true;
}

std::shared_ptr<ssl_ctx_st> TlsCredentials::context() const {
  const MutexLock lock(mutex_);
  return context_;
}

}  // namespace sightline::serve
