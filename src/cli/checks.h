// What options of the command line are checked for where CLI11's own checks let something through:
// CLI::Range takes NaN, and numbers without a sign wrap around.
#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdint>
#include <string>
#include <system_error>

#include "base/time.h"

namespace sightline::cli {

template <typename Number>
CLI::Validator InRange(Number least, Number most, const char* kind, const char* name) {
  return CLI::Validator(
      [least, most, kind](std::string& text) {
        Number value = 0;
        const char* const end = text.data() + text.size();
        const auto [stop, error] = std::from_chars(text.data(), end, value);
        const bool good = error == std::errc() && stop == end && value >= least && value <= most;
        return good ? std::string()
                    : fmt::format("{} is no {} from {} to {}", text, kind, least, most);
      },
      fmt::format("{} in [{} - {}]", name, least, most));
}

// A number from `least` to `most`; not NaN.
inline CLI::Validator Between(double least, double most) {
  return InRange(least, most, "number", "NUMBER");
}

// A whole number from `least` to `most`.
inline CLI::Validator WholeBetween(uint64_t least, uint64_t most) {
  return InRange(least, most, "whole number", "INT");
}

// Nothing given is not the same as the default.
inline CLI::Validator NotEmpty() {
  return CLI::Validator(
      [](std::string& text) { return text.empty() ? std::string("it is empty") : std::string(); },
      "");
}

// The value of --for.
inline absl::StatusOr<int64_t> ParseFor(const std::string& text) {
  SL_ASSIGN_OR_RETURN(const int64_t length_us, ParseDurationUs(text));
  if (length_us > 0 && length_us <= kLongestDurationUs) return length_us;
  return InvalidArgument("--for {}: more than 0 and at most 366 days are possible, such as 30s",
                         text);
}

}  // namespace sightline::cli
