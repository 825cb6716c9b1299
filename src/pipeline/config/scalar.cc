#include "pipeline/config/scalar.h"

#include <charconv>
#include <cmath>

namespace sightline::config {

NumberKind ReadNumber(std::string_view text, int64_t& integer, double& number) {
  if (text.substr(0, 1) == "+") text.remove_prefix(1);
  const std::string_view digits = text.substr(text.substr(0, 1) == "-" ? 1 : 0);
  if (digits.empty() || digits[0] < '0' || digits[0] > '9') {
    if (digits.size() < 2 || digits[0] != '.' || digits[1] < '0' || digits[1] > '9') {
      return NumberKind::kNone;
    }
  }
  if (digits.size() > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9') {
    return NumberKind::kNone;
  }
  const char* end = text.data() + text.size();
  const auto whole = std::from_chars(text.data(), end, integer);
  if (whole.ptr == end && whole.ec == std::errc()) {
    number = static_cast<double>(integer);
    return NumberKind::kInteger;
  }
  const auto real = std::from_chars(text.data(), end, number);
  if (real.ptr != end) return NumberKind::kNone;
  if (real.ec != std::errc() || !std::isfinite(number)) return NumberKind::kTooLarge;
  return NumberKind::kNumber;
}

}  // namespace sightline::config
