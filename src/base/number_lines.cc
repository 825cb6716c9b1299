#include "base/number_lines.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/check.h"

namespace sightline {
namespace {

constexpr size_t kMostColumns = 16;

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r";
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

absl::StatusOr<double> ParseNumber(std::string_view field, std::string_view name, size_t line) {
  const std::string_view text = Trim(field);
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [parsed_to, error] = std::from_chars(text.data(), end, value);
  if (text.empty() || error != std::errc() || parsed_to != end || !std::isfinite(value)) {
    return InvalidArgument("line {}: {} is \"{}\", expected a number", line, name, ShownText(text));
  }
  return value;
}

// How many values the line has, at most as many as there are names.
absl::StatusOr<size_t> ParseLine(std::string_view line, size_t number, const NumberColumns& columns,
                                 std::array<double, kMostColumns>& values) {
  std::string_view rest = line;
  for (size_t column = 0; column < columns.names.size(); ++column) {
    const size_t comma = rest.find(',');
    const bool last = comma == std::string_view::npos;
    // Beyond the least, an empty end of the line ("...,") is no value.
    if (last && column >= columns.least && Trim(rest).empty()) return column;
    if (last && column + 1 < columns.least) {
      return InvalidArgument(
          "line {}: {} columns in \"{}\", expected {}", number, column + 1, ShownText(line),
          fmt::join(columns.names.begin(),
                    columns.names.begin() + static_cast<std::ptrdiff_t>(columns.least), ","));
    }
    SL_ASSIGN_OR_RETURN(values[column],
                        ParseNumber(rest.substr(0, comma), columns.names[column], number));
    if (last) return column + 1;
    rest = rest.substr(comma + 1);
  }
  return columns.names.size();
}

}  // namespace

std::string ShownText(std::string_view text) {
  constexpr size_t kMostShown = 40;
  std::string shown;
  for (const char c : text.substr(0, kMostShown)) shown += c >= ' ' && c < 127 ? c : '?';
  return text.size() > kMostShown ? shown + "..." : shown;
}

absl::Status ForEachNumberLine(
    std::string_view text, const NumberColumns& columns,
    const std::function<absl::Status(size_t line, std::span<const double> values)>& take) {
  SL_CHECK(columns.names.size() <= kMostColumns && columns.least <= columns.names.size(),
           "{} columns, {} at least", columns.names.size(), columns.least);
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  std::array<double, kMostColumns> values{};
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    const std::string_view line = Trim(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (line.empty()) continue;
    SL_ASSIGN_OR_RETURN(const size_t count, ParseLine(line, number, columns, values));
    SL_RETURN_IF_ERROR(take(number, std::span<const double>(values).first(count)));
  }
  return absl::OkStatus();
}

}  // namespace sightline
