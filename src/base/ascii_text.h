// Letters and escapes of ASCII text, whatever the locale. Threads: reentrant.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sightline {

// A to Z in lower case; every other byte as it is.
std::string AsciiLower(std::string_view text);
// Whether both are the same but for the case of ASCII letters.
bool SameWord(std::string_view a, std::string_view b);

// Every %XX as the byte that it stands for (RFC 3986, section 2.1), into *decoded. A % without two
// hexadecimal digits stays as it is; false when there was one.
bool PercentDecode(std::string_view text, std::string* decoded);

// Cuts the first key=value off a query "a=1&b=2" (empty pairs are passed over); false at its end.
// Values are as they stand; a key without "=" has an empty one.
bool NextPair(std::string_view* query, std::string_view* key, std::string_view* value);

// Someone else's words made fit for logs and terminals: one line of printable ASCII, everything else
// as "?", cut after max_bytes with "...".
std::string ShownText(std::string_view text, size_t max_bytes);

}  // namespace sightline
