#include "infer/tflite_file.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string_view>

namespace sightline {
namespace {

constexpr std::string_view kIdentifier = "TFL3";
constexpr size_t kIdentifierAt = 4;

}  // namespace

bool LooksLikeTflite(std::span<const uint8_t> bytes) {
  return bytes.size() >= kIdentifierAt + kIdentifier.size() &&
         std::equal(kIdentifier.begin(), kIdentifier.end(), bytes.begin() + kIdentifierAt);
}

bool IsTfliteFile(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return false;
  std::array<char, kIdentifierAt + kIdentifier.size()> head{};
  std::ifstream file(path, std::ios::binary);
  file.read(head.data(), head.size());
  return file.gcount() == static_cast<std::streamsize>(head.size()) &&
         std::string_view(head.data() + kIdentifierAt, kIdentifier.size()) == kIdentifier;
}

absl::StatusOr<OnnxFileInfo> InspectTflite(const std::string& path, InferenceBackend& backend) {
  if (!backend.Reads(ModelFormat::kTflite)) {
    return InvalidArgument(
        "{} is a TensorFlow Lite model, which {} does not read: OpenVINO does (./dev setup "
        "installs "
        "it), or convert it to ONNX, for example with tf2onnx",
        path, backend.name());
  }
  SL_ASSIGN_OR_RETURN(const std::unique_ptr<InferenceSession> session,
                      backend.Open({.model_file = path}));
  OnnxFileInfo info;
  info.path = path;
  std::error_code error;
  info.file_bytes = std::filesystem::file_size(path, error);
  info.producer = "TensorFlow Lite";
  info.inputs.assign(session->inputs().begin(), session->inputs().end());
  info.outputs.assign(session->outputs().begin(), session->outputs().end());
  return info;
}

}  // namespace sightline
