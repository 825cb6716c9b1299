#include "serve/access/api_key.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "base/ascii_text.h"

namespace sightline::serve {
namespace {

constexpr std::string_view kPrefix = "slk_";
constexpr std::string_view kHex = "0123456789abcdef";
constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

std::string Hex(std::span<const uint8_t> bytes) {
  std::string text;
  text.reserve(2 * bytes.size());
  for (const uint8_t byte : bytes) {
    text += kHex[byte >> 4];
    text += kHex[byte & 15];
  }
  return text;
}

// Without padding (RFC 4648, section 5).
std::string Base64Url(std::span<const uint8_t> bytes) {
  std::string text;
  uint32_t bits = 0;
  int count = 0;
  for (const uint8_t byte : bytes) {
    bits = bits << 8 | byte;
    count += 8;
    while (count >= 6) {
      count -= 6;
      text += kBase64[(bits >> count) & 63];
    }
  }
  if (count > 0) text += kBase64[(bits << (6 - count)) & 63];
  return text;
}

}  // namespace

absl::StatusOr<std::string> MakeApiKey() {
  std::array<uint8_t, kKeyIdSize / 2 + 32> random{};
  if (RAND_bytes(random.data(), static_cast<int>(random.size())) != 1) {
    return Internal("the system has no random numbers for a key");
  }
  const std::span<const uint8_t> bytes(random);
  std::string key = std::string(kPrefix) + Hex(bytes.first(kKeyIdSize / 2)) + "_" +
                    Base64Url(bytes.subspan(kKeyIdSize / 2));
  OPENSSL_cleanse(random.data(), random.size());
  return key;
}

bool IsKeyId(std::string_view text) {
  return text.size() == kKeyIdSize && text.find_first_not_of(kHex) == std::string_view::npos;
}

std::string_view KeyIdOf(std::string_view key) {
  if (key.size() != kPrefix.size() + kKeyIdSize + 1 + kKeySecretSize || !key.starts_with(kPrefix)) {
    return {};
  }
  const std::string_view id = key.substr(kPrefix.size(), kKeyIdSize);
  const std::string_view rest = key.substr(kPrefix.size() + kKeyIdSize);
  const bool good = IsKeyId(id) && rest[0] == '_' &&
                    rest.substr(1).find_first_not_of(kBase64) == std::string_view::npos;
  return good ? id : std::string_view();
}

std::string WithoutKeys(std::string_view text) {
  std::string shown;
  while (true) {
    const size_t at = text.find(kPrefix);
    const size_t secret = at + kPrefix.size() + kKeyIdSize + 1;
    if (at == std::string_view::npos || secret > text.size()) return shown.append(text);
    shown.append(text.substr(0, at + kPrefix.size()));
    text.remove_prefix(at + kPrefix.size());
    if (!IsKeyId(text.substr(0, kKeyIdSize)) || text[kKeyIdSize] != '_') continue;
    shown.append(text.substr(0, kKeyIdSize + 1)).append("...");
    text.remove_prefix(kKeyIdSize + 1);
    text.remove_prefix(std::min(text.find_first_not_of(kBase64), text.size()));
  }
}

std::string HashOfKey(std::string_view key) {
  std::array<uint8_t, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (EVP_Digest(key.data(), key.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1) {
    return "";  // equals no hash of a record
  }
  return Hex(std::span<const uint8_t>(digest).first(size));
}

bool SameHash(std::string_view a, std::string_view b) {
  return a.size() == 64 && b.size() == 64 && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string_view KeyOf(std::string_view authorization, std::string_view x_api_key) {
  if (authorization.empty()) return x_api_key;
  constexpr std::string_view kBearer = "bearer ";
  if (AsciiLower(authorization.substr(0, kBearer.size())) != kBearer) return authorization;
  std::string_view key = authorization.substr(kBearer.size());
  key.remove_prefix(std::min(key.find_first_not_of(' '), key.size()));
  return key;
}

}  // namespace sightline::serve
