// Numbers as the configuration takes them. Private to pipeline/config.
#pragma once

#include <cstdint>
#include <string_view>

namespace sightline::config {

enum class NumberKind { kNone, kInteger, kNumber, kTooLarge };

// Decimal numbers as YAML 1.2's core schema has them. Leading zeros are refused: YAML 1.1 read
// them as octal. Not finite is kNone (.inf, nan) or kTooLarge (1e999). For kInteger both are set,
// for kNumber only `number`.
NumberKind ReadNumber(std::string_view text, int64_t& integer, double& number);

}  // namespace sightline::config
