#include "serve/cache/cache_key.h"

#include <openssl/evp.h>

#include "base/check.h"

namespace sightline::serve {
namespace {

// Looked up once: at every hash it would cost more than a small one.
const EVP_MD* Algorithm() {
  static EVP_MD* const sha256 = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return sha256 != nullptr ? sha256 : EVP_sha256();
}

}  // namespace

std::string ToHex(const CacheKey& key) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : key.bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

CacheKeyHasher::CacheKeyHasher() : context_(EVP_MD_CTX_new()) {
  SL_CHECK(context_ != nullptr, "no memory for a hash");
  SL_CHECK(EVP_DigestInit_ex(context_, Algorithm(), nullptr) == 1, "SHA-256 is missing");
}

CacheKeyHasher::~CacheKeyHasher() { EVP_MD_CTX_free(context_); }

CacheKeyHasher& CacheKeyHasher::Add(std::string_view bytes) {
  const uint64_t size = bytes.size();
  EVP_DigestUpdate(context_, &size, sizeof size);
  EVP_DigestUpdate(context_, bytes.data(), bytes.size());
  return *this;
}

CacheKeyHasher& CacheKeyHasher::Add(const CacheKey& key) {
  return Add(std::string_view(reinterpret_cast<const char*>(key.bytes.data()), key.bytes.size()));
}

CacheKey CacheKeyHasher::Finish() {
  CacheKey key;
  unsigned size = 0;
  EVP_DigestFinal_ex(context_, key.bytes.data(), &size);
  EVP_DigestInit_ex(context_, Algorithm(), nullptr);
  return key;
}

}  // namespace sightline::serve
