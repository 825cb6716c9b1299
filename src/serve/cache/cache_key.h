// Under what an answer is kept: one hash over everything that it depends on.
//
// SHA-256 (FIPS 180-4, by OpenSSL), because a collision would give one caller the answer of another:
// with a fast hash that is not made against it somebody could look for one. Every field is led by its
// length, so that no two lists of fields are the same bytes.
//
// Threads: reentrant; one CacheKeyHasher is for one thread. Cost: 0.2 us and about 0.6 ms per MB with
// the processor's SHA instructions, 1.9 ms without (benchmarks/cache_bench measures it).
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>

struct evp_md_ctx_st;

namespace sightline::serve {

struct CacheKey {
  std::array<uint8_t, 32> bytes{};
  auto operator<=>(const CacheKey&) const = default;
};

// For hash tables: a key is random as it is.
struct CacheKeyHash {
  size_t operator()(const CacheKey& key) const {
    size_t low = 0;
    std::memcpy(&low, key.bytes.data(), sizeof low);
    return low;
  }
};

std::string ToHex(const CacheKey& key);

class CacheKeyHasher {
 public:
  CacheKeyHasher();
  ~CacheKeyHasher();
  CacheKeyHasher(const CacheKeyHasher&) = delete;
  CacheKeyHasher& operator=(const CacheKeyHasher&) = delete;

  CacheKeyHasher& Add(std::string_view bytes);
  CacheKeyHasher& Add(const CacheKey& key);
  template <typename T>
  requires std::is_arithmetic_v<T> || std::is_enum_v<T> CacheKeyHasher& Add(T value) {
    return Add(std::string_view(reinterpret_cast<const char*>(&value), sizeof value));
  }
  // Once; the hasher begins anew.
  CacheKey Finish();

 private:
  evp_md_ctx_st* const context_;
};

}  // namespace sightline::serve
