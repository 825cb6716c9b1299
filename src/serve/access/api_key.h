// API keys: random texts that name their holder and prove who he is.
//
//   slk_0f3a91c27be4_Vn0x...43 characters...
//       ^ the id      ^ the secret: 256 random bits as base64url
//
// The id may be shown anywhere; it finds the record. What is kept is the SHA-256 of the whole key. A slow
// hash (Argon2, bcrypt) makes guessing what people think up expensive; 2^256 random secrets cannot be
// guessed at any speed, and a slow hash before every request would be a way to stop the server.
//
// Threads: reentrant. Cost: MakeApiKey a system call, the others under 1 us.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace sightline::serve {

inline constexpr size_t kKeyIdSize = 12;
inline constexpr size_t kKeySecretSize = 43;

// A new one; Internal when the system has no randomness.
absl::StatusOr<std::string> MakeApiKey();

// Its id; "" for what is no key by its shape.
std::string_view KeyIdOf(std::string_view key);
bool IsKeyId(std::string_view text);

// The text with "slk_ID_..." for every secret in it, whole or cut: clients put keys where they do not
// belong.
std::string WithoutKeys(std::string_view text);

// 64 hexadecimal digits.
std::string HashOfKey(std::string_view key);

// Compares two hashes; takes as long for those that differ at the beginning as at the end.
bool SameHash(std::string_view a, std::string_view b);

// The key of a request: of "Authorization: Bearer KEY" (the word in any case), else of "X-API-Key: KEY".
// "" when there is neither; what is in another form is given as it is, and is no key.
std::string_view KeyOf(std::string_view authorization, std::string_view x_api_key);

}  // namespace sightline::serve
