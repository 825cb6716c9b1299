// Keeps secrets out of what people read: whoever resolves a secret says what to show instead, and
// the log and the command line's errors replace it wherever it turns up, also inside words of
// libraries. For safety on top of care: outputs are made from shown texts in the first place.
//
// Threads: safe. Memory: bounded, a repeated text is kept once and the oldest go beyond kMaxHidden.
// Cost: one atomic load while nothing is hidden, else one search of the text per hidden one.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sightline {

inline constexpr size_t kMaxHidden = 20'000;  // chosen: four per camera of a large site
inline constexpr size_t kMinHiddenBytes = 4;  // shorter ones would tear ordinary words

// `secret` is shown as `instead` from now on; nothing happens when it is shorter than
// kMinHiddenBytes or is shown as it is.
void HideSecret(std::string_view secret, std::string_view instead);

// The text with every hidden secret replaced, longer ones first.
std::string WithoutSecrets(std::string_view text);

}  // namespace sightline
