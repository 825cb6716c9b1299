// Hashes of pictures that stay nearly the same when a picture is scaled, packed again or brightened a
// little; how near two are is the number of bits in which they differ.
//
//   average     64 bits: brighter than the mean of 8 x 8
//   difference  64 bits: brighter than the left neighbour in 9 x 8
//   dct         64 bits: the 8 x 8 lowest cosine coefficients of 32 x 32 above their median ("pHash")
//   pdq         256 bits: 16 x 16 coefficients of 64 x 64 above their median, with a quality
//
// Source: Python's imagehash 4.3 (average_hash, dhash, phash) over Pillow's "L" and Lanczos resize as
// Pillow up to 12 has it (across, then down; 13 goes down first for tall pictures, which can turn single
// bits there); ThreatExchange's PDQ, float for float, as the package pdqhash 0.2 runs it. Equal to them
// bit by bit from RGB and grey pictures (perceptual_hash_golden_test). The luma of PDQ is rounded once, as
// pdqhash has it; ThreatExchange's own programs round it thrice, which decides bits where coefficients are
// nothing but rounding: in pictures of few pixels. YUV pictures are hashed by their luma, which differs from the grey of their RGB
// by its rounding: a bit or two.
//
// Threads: reentrant. Cost at 512 x 512: benchmarks/hash_bench. Memory: some rows of floats a call.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "types/frame.h"

namespace sightline {

enum class HashKind : uint8_t { kAverage, kDifference, kDct, kPdq };
std::string_view ToString(HashKind kind);  // "ahash", "dhash", "phash", "pdq"
// InvalidArgument names the four.
absl::StatusOr<HashKind> HashKindNamed(std::string_view name);
constexpr int BitsOf(HashKind kind) { return kind == HashKind::kPdq ? 256 : 64; }

struct PerceptualHash {
  std::array<uint64_t, 4> words{};  // those of 64 bits in the first
  int bits = 0;                     // 64 or 256
  // Of PDQ, 0 to 100: how much there is to see. Below 50 its authors take no hash for a match; flat
  // pictures have any hash. 100 for the others, which do not say.
  int quality = 100;

  bool operator==(const PerceptualHash& other) const {
    return bits == other.bits && words == other.words;
  }
};
inline constexpr int kLeastPdqQuality = 50;

// The hexadecimal digits that imagehash and PDQ write.
std::string ToHex(const PerceptualHash& hash);

// Bits that differ. Both of the same kind.
inline int HammingDistance(const PerceptualHash& a, const PerceptualHash& b) {
  int distance = 0;
  for (size_t i = 0; i < a.words.size(); ++i) {
    distance += __builtin_popcountll(a.words[i] ^ b.words[i]);
  }
  return distance;
}

// Errors: those of CheckImage(); InvalidArgument for PDQ of fewer than 5 rows or columns.
absl::StatusOr<PerceptualHash> HashPicture(const ImageView& image, HashKind kind);

}  // namespace sightline
