// The nearest known word to a mistyped one, for errors such as: unknown key "zoens", did you mean
// "zones"? By Damerau-Levenshtein distance (adjacent swaps count one), at most a third of the length.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace sightline {

// Empty when nothing is near. Cost: O(words x length^2).
std::string NearestWord(std::string_view typed, std::span<const std::string_view> known);

}  // namespace sightline
