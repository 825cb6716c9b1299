// Text of numbers: lines of values between commas, as MOTChallenge's files are.
//
// Accepted: blank lines, blanks around values, CRLF, a byte-order mark, a last line without an end,
// and more values than are wanted (not looked at).
// Threads: reentrant. Cost: one pass, std::from_chars for every value; allocates only for errors.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sightline {

struct NumberColumns {
  std::span<const std::string_view> names;  // at most 16
  size_t least = 0;                         // so many at least in every line
};

// Calls `take` for every line that is not blank: its number, from 1, and its values, at least
// columns.least and at most as many as there are names; every one is finite.
// Errors: InvalidArgument with the line's number for a line of too few values, or one that is no
// number; that of `take`, which ends the reading.
absl::Status ForEachNumberLine(
    std::string_view text, const NumberColumns& columns,
    const std::function<absl::Status(size_t line, std::span<const double> values)>& take);

// What an error shows of foreign text: printable, and not long.
std::string ShownText(std::string_view text);

}  // namespace sightline
