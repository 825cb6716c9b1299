// Text files line by line, as truth comes in them: blanks around lines and values do not matter, nor
// do CRLF and a byte-order mark. Threads: reentrant.
#pragma once

#include <charconv>
#include <cmath>
#include <cstddef>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/status.h"

namespace sightline::evaluate {

inline std::string_view Trim(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

// Calls `take` with the number, from 1, and the text of each line that is not blank.
template <typename Take>
absl::Status ForEachLine(std::string_view text, Take take) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    const std::string_view line = Trim(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (!line.empty()) SL_RETURN_IF_ERROR(take(number, line));
  }
  return absl::OkStatus();
}

// The words of a line, between blanks.
inline void SplitWords(std::string_view line, std::vector<std::string_view>* words) {
  constexpr std::string_view kBlanks = " \t";
  words->clear();
  for (size_t at = line.find_first_not_of(kBlanks); at != std::string_view::npos;) {
    const size_t end = line.find_first_of(kBlanks, at);
    words->push_back(line.substr(at, end == std::string_view::npos ? end : end - at));
    at = end == std::string_view::npos ? end : line.find_first_not_of(kBlanks, end);
  }
}

// All of `text` as a number; whole when Number is.
template <typename Number>
bool ParseNumber(std::string_view text, Number* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

// As ParseNumber; not NaN and not infinite.
inline bool ParseFinite(std::string_view text, double* value) {
  return ParseNumber(text, value) && std::isfinite(*value);
}

}  // namespace sightline::evaluate
