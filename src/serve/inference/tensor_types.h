// Element types and strings as the Open Inference Protocol writes them.
//
// Strings ("BYTES") travel one after the other, each behind its length in four bytes, little-endian.
// Source: Open Inference Protocol 2, "Tensor Data Types"; Triton's extension "Binary Tensor Data".
// Threads: reentrant.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "types/tensor.h"

namespace sightline::serve {

// "FP32"; "" for kOther.
std::string_view WireName(DataType type);
std::optional<DataType> DataTypeNamed(std::string_view wire_name);

// The elements of a shape: no dimension is negative and the product is at most 2^40. InvalidArgument
// else.
absl::StatusOr<int64_t> CountElements(std::span<const int64_t> shape);

// Puts one string behind the others.
void AppendString(std::string_view text, std::string& bytes);

// InvalidArgument when `bytes` are not exactly `count` strings. Cost: a look at each length.
absl::Status CheckStrings(std::string_view bytes, int64_t count);

// Takes the next of checked strings off the front.
std::string_view TakeString(std::string_view& bytes);

}  // namespace sightline::serve
