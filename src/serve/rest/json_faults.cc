#include "serve/rest/json_faults.h"

#include <algorithm>

#include "base/status.h"

namespace sightline::serve {
namespace {

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// Where the string that begins at `at` ends: behind its closing quote.
size_t SkipString(std::string_view text, size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at) {
    if (text[at] == '\\') ++at;
  }
  return std::min(at + 1, text.size());
}

}  // namespace

std::string LikelyJsonFault(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) {
    return "; it begins with a byte order mark (EF BB BF): send it without";
  }
  for (size_t at = 0; at < text.size();) {
    if (text[at] == '"') {
      at = SkipString(text, at);
    } else if (text[at] == '\'') {
      return "; strings stand in double quotes";
    } else if (IsLetter(text[at])) {
      const size_t begin = at;
      while (at < text.size() && IsLetter(text[at])) ++at;
      const std::string_view word = text.substr(begin, at - begin);
      if (word == "NaN" || word == "nan" || word == "Infinity" || word == "Inf" || word == "inf") {
        return fmt::format("; {} is no JSON: send tensors that have it as binary data", word);
      }
      if (word == "True" || word == "False" || word == "None") {
        return fmt::format("; {} is Python and no JSON: true, false and null are", word);
      }
    } else {
      ++at;
    }
  }
  return "";
}

}  // namespace sightline::serve
