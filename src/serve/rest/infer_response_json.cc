#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/json_text.h"
#include "serve/inference/tensor_types.h"
#include "serve/rest/infer_json.h"

namespace sightline::serve {
namespace {

void AppendQuoted(std::string_view text, std::string& json) {
  const bool is_plain = std::all_of(text.begin(), text.end(), [](char c) {
    return c >= 0x20 && c < 0x7F && c != '"' && c != '\\';
  });
  if (is_plain) {
    json.append(1, '"').append(text).append(1, '"');
  } else {
    json += JsonText(nlohmann::json(std::string(text)));
  }
}

template <typename T>
void AppendNumber(T value, std::string& json) {
  char text[32];
  json.append(text, std::to_chars(text, text + sizeof(text), value).ptr);
}

// As Python writes and reads them, and with it most clients; JSON has no such numbers.
template <typename T>
void AppendFloat(T value, std::string& json) {
  if (std::isfinite(value)) return AppendNumber(value, json);
  json += std::isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
}

template <typename T, typename Append>
void AppendAll(std::string_view bytes, std::string& json, Append append) {
  for (size_t at = 0; at + sizeof(T) <= bytes.size(); at += sizeof(T)) {
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof(T));
    if (at > 0) json.push_back(',');
    append(value, json);
  }
}

template <typename T>
void AppendWholes(std::string_view bytes, std::string& json) {
  AppendAll<T>(bytes, json, [](T value, std::string& to) { AppendNumber(value, to); });
}

bool IsUtf8(std::string_view text) {
  try {
    static_cast<void>(nlohmann::json(std::string(text)).dump());
    return true;
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

absl::Status AppendStrings(const InferOutput& output, std::string& json) {
  std::string_view rest = output.bytes;
  while (!rest.empty()) {
    if (rest.size() < output.bytes.size()) json.push_back(',');
    const std::string_view text = TakeString(rest);
    if (!IsUtf8(text)) {
      return InvalidArgument(
          "output '{}' holds strings that are no UTF-8, which JSON cannot carry. "
          "Please use the binary data format",
          output.name);
    }
    AppendQuoted(text, json);
  }
  return absl::OkStatus();
}

absl::Status AppendData(const InferOutput& output, std::string& json) {
  const std::string_view bytes = output.bytes;
  switch (output.dtype) {
    case DataType::kFloat32:
      AppendAll<float>(bytes, json, [](float value, std::string& to) { AppendFloat(value, to); });
      return absl::OkStatus();
    case DataType::kFloat64:
      AppendAll<double>(bytes, json, [](double value, std::string& to) { AppendFloat(value, to); });
      return absl::OkStatus();
    case DataType::kBool:
      AppendAll<uint8_t>(bytes, json,
                         [](uint8_t value, std::string& to) { to += value ? "true" : "false"; });
      return absl::OkStatus();
    case DataType::kInt8:
      AppendWholes<int8_t>(bytes, json);
      return absl::OkStatus();
    case DataType::kInt16:
      AppendWholes<int16_t>(bytes, json);
      return absl::OkStatus();
    case DataType::kInt32:
      AppendWholes<int32_t>(bytes, json);
      return absl::OkStatus();
    case DataType::kInt64:
      AppendWholes<int64_t>(bytes, json);
      return absl::OkStatus();
    case DataType::kUint8:
      AppendWholes<uint8_t>(bytes, json);
      return absl::OkStatus();
    case DataType::kUint16:
      AppendWholes<uint16_t>(bytes, json);
      return absl::OkStatus();
    case DataType::kUint32:
      AppendWholes<uint32_t>(bytes, json);
      return absl::OkStatus();
    case DataType::kUint64:
      AppendWholes<uint64_t>(bytes, json);
      return absl::OkStatus();
    case DataType::kString:
      return AppendStrings(output, json);
    default:
      return InvalidArgument(
          "sending {} data via JSON is not supported. Please use the binary data format for output "
          "'{}'",
          WireName(output.dtype), output.name);
  }
}

bool IsBinary(const BinaryChoice& choice, const std::string& name) {
  for (const auto& [output, binary] : choice.outputs) {
    if (output == name) return binary;
  }
  return choice.by_default;
}

}  // namespace

absl::StatusOr<RestInferAnswer> WriteInferResponse(InferResponse&& response,
                                                   const BinaryChoice& choice) {
  RestInferAnswer answer;
  std::string& json = answer.json;
  json = "{";
  if (!response.id.empty()) {
    json += "\"id\":";
    AppendQuoted(response.id, json);
    json += ",";
  }
  json += "\"model_name\":";
  AppendQuoted(response.model, json);
  json += ",\"model_version\":";
  AppendQuoted(response.version, json);
  json += ",\"outputs\":[";
  bool is_first = true;
  for (InferOutput& output : response.outputs) {
    if (!std::exchange(is_first, false)) json += ",";
    json += "{\"name\":";
    AppendQuoted(output.name, json);
    json += ",\"datatype\":\"";
    json += WireName(output.dtype);
    json += "\",\"shape\":[";
    for (size_t i = 0; i < output.shape.size(); ++i) {
      if (i > 0) json += ",";
      AppendNumber(output.shape[i], json);
    }
    json += "]";
    if (output.shared.region) {
      // Neither data nor parameters: Triton's C++ client takes any parameters for those of binary data.
    } else if (IsBinary(choice, output.name)) {
      json += ",\"parameters\":{\"binary_data_size\":";
      AppendNumber(output.bytes.size(), json);
      json += "}";
      answer.has_binary = true;
      answer.binary.push_back(std::move(output.bytes));
    } else {
      json += ",\"data\":[";
      SL_RETURN_IF_ERROR(AppendData(output, json));
      json += "]";
    }
    json += "}";
  }
  json += "]}";
  return answer;
}

}  // namespace sightline::serve
