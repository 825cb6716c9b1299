// Bodies packed by gzip or deflate (RFC 9110, section 8.4.1), as clients send and accept them.
//
// Threads: reentrant. Source: RFC 1950 to 1952, over zlib.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sightline::serve {

enum class BodyCoding { kIdentity, kGzip, kDeflate };
std::string_view ToString(BodyCoding coding);  // "gzip"

// Of a Content-Encoding header; Unimplemented for others.
absl::StatusOr<BodyCoding> ReadContentEncoding(std::string_view header);

// What to pack an answer with: gzip or deflate where the client accepts that one alone. Lists of several
// are what client libraries send by default; tensors pack badly, and nobody who wants speed wants it.
BodyCoding ChooseCoding(std::string_view accept_encoding);

// InvalidArgument for damaged or cut bytes, OutOfRange when more than `most_bytes` come out.
absl::StatusOr<std::string> Unpack(std::string_view packed, size_t most_bytes);

// By zlib's fastest level.
std::string Pack(BodyCoding coding, std::string_view bytes);

}  // namespace sightline::serve
