// Whether the tensors of an ONNX file are what they say. Internal to onnx_check.cc.
//
// Threads: one object is used by one.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "infer/onnx_wire.h"

namespace sightline {

class OnnxTensorChecker {
 public:
  // `file` stands in errors and must live as long.
  explicit OnnxTensorChecker(std::string_view file) : file_(file) {}

  // A TensorProto and a SparseTensorProto: known element type, data of the length that type and
  // dimensions say, at most 2 GiB, and 4 GiB of all that were looked at. Gives the name.
  absl::Status Tensor(std::span<const uint8_t> bytes, std::string_view* name);
  absl::Status Sparse(std::span<const uint8_t> bytes, std::string_view* name);

 protected:
  static std::string Quoted(std::string_view name);
  template <typename... Args>
  absl::Status Bad(fmt::format_string<Args...> format, Args&&... args) const {
    return DataLoss("{} is damaged or made up: {}", file_,
                    fmt::format(format, std::forward<Args>(args)...));
  }
  absl::Status Twice(std::string_view what) const { return Bad("its {} is there twice", what); }
  absl::Status TooMuch(std::string_view what) const {
    return ResourceExhausted("{} is beyond what a model may hold here: {}", file_, what);
  }

  template <typename Visit>
  absl::Status EachField(std::span<const uint8_t> message, Visit visit) const {
    WireReader reader(message);
    WireReader::Field field;
    while (reader.Next(field)) {
      SL_RETURN_IF_ERROR(visit(field));
    }
    return reader.ok() ? absl::OkStatus() : Bad("a field has no end");
  }

 private:
  struct Parts;
  absl::Status Dimensions(const WireReader::Field& field, std::vector<int64_t>* dims) const;
  // Elements of a tensor of that shape, within the limits for `bits` each.
  absl::StatusOr<uint64_t> Elements(const std::vector<int64_t>& dims, uint32_t bits,
                                    std::string_view name);
  absl::Status CheckParts(const Parts& tensor, std::string_view name);

  const std::string_view file_;
  uint64_t total_bits_ = 0;
};

}  // namespace sightline
