#include "base/uuid.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstdio>
#include <memory>
#include <vector>

#include "base/check.h"

namespace sightline {

std::string ToString(const Uuid& id) {
  std::string text;
  text.reserve(36);
  for (size_t i = 0; i < id.bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    constexpr char kHex[] = "0123456789abcdef";
    text += kHex[id.bytes[i] >> 4];
    text += kHex[id.bytes[i] & 15];
  }
  return text;
}

Hash128 HashBytes(std::span<const uint8_t> bytes, uint64_t seed) {
  const XXH128_hash_t hash = XXH3_128bits_withSeed(bytes.data(), bytes.size(), seed);
  return {hash.low64, hash.high64};
}

Hash128 HashString(std::string_view text, uint64_t seed) {
  return HashBytes({reinterpret_cast<const uint8_t*>(text.data()), text.size()}, seed);
}

FieldHasher& FieldHasher::AddRaw(const void* data, size_t size) {
  SL_CHECK(used_ + size <= bytes_.size(), "too many fields for one id");
  if (size == 0) return *this;  // an empty string may have no address
  std::memcpy(bytes_.data() + used_, data, size);
  used_ += size;
  return *this;
}

FieldHasher& FieldHasher::Add(std::string_view text) {
  if (text.size() > 32) {
    Add(static_cast<uint64_t>(text.size()));
    return Add(HashString(text));
  }
  Add(static_cast<uint64_t>(text.size()));
  return AddRaw(text.data(), text.size());
}

Hash128 FieldHasher::Finish() const { return HashBytes({bytes_.data(), used_}); }

Uuid MakeTimeUuid(int64_t utc_us, const Hash128& identity) {
  Uuid id;
  const uint64_t ms = utc_us < 0 ? 0 : static_cast<uint64_t>(utc_us) / 1000;
  for (int i = 0; i < 6; ++i) id.bytes[i] = static_cast<uint8_t>(ms >> (8 * (5 - i)));
  for (int i = 0; i < 2; ++i) id.bytes[6 + i] = static_cast<uint8_t>(identity.high >> (8 * i));
  for (int i = 0; i < 8; ++i) id.bytes[8 + i] = static_cast<uint8_t>(identity.low >> (8 * i));
  id.bytes[6] = (id.bytes[6] & 0x0f) | 0x80;  // version 8
  id.bytes[8] = (id.bytes[8] & 0x3f) | 0x80;  // RFC 9562 variant
  return id;
}

std::string FileSha256(const std::string& path) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "rb"), &std::fclose);
  if (!file) return "";
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(),
                                                                   &EVP_MD_CTX_free);
  EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
  std::vector<uint8_t> buffer(1 << 16);
  size_t got = 0;
  while ((got = std::fread(buffer.data(), 1, buffer.size(), file.get())) > 0) {
    EVP_DigestUpdate(context.get(), buffer.data(), got);
  }
  if (std::ferror(file.get()) != 0) return "";
  std::array<uint8_t, 32> digest{};
  unsigned size = 0;
  EVP_DigestFinal_ex(context.get(), digest.data(), &size);
  std::string hex;
  for (const uint8_t byte : digest) hex += fmt::format("{:02x}", byte);
  return hex;
}

}  // namespace sightline
