#include "base/ascii_text.h"

#include <algorithm>

namespace sightline {
namespace {

char LowerOf(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = LowerOf(c);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

}  // namespace

std::string AsciiLower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = LowerOf(c);
  return lower;
}

bool SameWord(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, LowerOf, LowerOf);
}

bool PercentDecode(std::string_view text, std::string* decoded) {
  bool good = true;
  decoded->clear();
  for (size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '%';
    const int high = escape && i + 2 < text.size() ? HexDigit(text[i + 1]) : -1;
    const int low = high >= 0 ? HexDigit(text[i + 2]) : -1;
    if (low < 0) {
      good = good && !escape;
      *decoded += text[i];
      continue;
    }
    *decoded += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return good;
}

bool NextPair(std::string_view* query, std::string_view* key, std::string_view* value) {
  while (query->starts_with('&')) query->remove_prefix(1);
  if (query->empty()) return false;
  const std::string_view pair = query->substr(0, query->find('&'));
  query->remove_prefix(pair.size());
  const size_t equals = pair.find('=');
  *key = pair.substr(0, equals);
  *value = equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
  return true;
}

std::string ShownText(std::string_view text, size_t max_bytes) {
  std::string shown(text.substr(0, max_bytes));
  for (char& c : shown) {
    if (c == '\n' || c == '\r' || c == '\t') c = ' ';
    if (c < 0x20 || c >= 0x7F) c = '?';
  }
  if (text.size() > max_bytes) shown += "...";
  return shown;
}

}  // namespace sightline
