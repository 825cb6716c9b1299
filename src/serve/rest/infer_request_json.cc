#include <simdjson.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "base/ascii_text.h"
#include "base/time.h"
#include "serve/inference/tensor_types.h"
#include "serve/rest/infer_json.h"
#include "serve/rest/json_faults.h"

namespace sightline::serve {
namespace {

namespace dom = simdjson::dom;

// A parser this large is not kept: some ten times as much memory stands behind it.
constexpr size_t kKeptJsonBytes = size_t{256} * 1024;
constexpr size_t kLongestText = 4096;  // names, ids
constexpr size_t kLongestShown = 100;

std::string Shown(std::string_view text) { return ShownText(text, kLongestShown); }

// A member of an object that must have this type; `found` tells whether there is one.
template <typename T>
absl::StatusOr<std::optional<T>> Member(const dom::object& object, std::string_view key,
                                        std::string_view type) {
  dom::element value;
  if (object.at_key(key).get(value) != simdjson::SUCCESS || value.is_null()) {
    return std::optional<T>();
  }
  T got;
  if (value.get(got) != simdjson::SUCCESS) {
    return InvalidArgument("\"{}\" must be {}", key, type);
  }
  return std::optional<T>(got);
}

absl::StatusOr<std::string> Text(const dom::object& object, std::string_view key, bool needed) {
  SL_ASSIGN_OR_RETURN(const auto text, Member<std::string_view>(object, key, "a string"));
  if (!text && needed) return InvalidArgument("\"{}\" is missing", key);
  if (!text) return std::string();
  if (text->size() > kLongestText) {
    return InvalidArgument("\"{}\" has {} bytes; {} are possible", key, text->size(), kLongestText);
  }
  return std::string(*text);
}

absl::StatusOr<std::optional<size_t>> Size(const dom::object& object, std::string_view key) {
  SL_ASSIGN_OR_RETURN(const auto size, Member<uint64_t>(object, key, "a whole number from 0 on"));
  if (!size) return std::optional<size_t>();
  return std::optional<size_t>(*size);
}

absl::StatusOr<std::vector<int64_t>> Shape(const dom::object& tensor) {
  SL_ASSIGN_OR_RETURN(const auto list, Member<dom::array>(tensor, "shape", "a list"));
  if (!list) return InvalidArgument("\"shape\" is missing");
  std::vector<int64_t> shape;
  for (const dom::element dimension : *list) {
    int64_t value = 0;
    if (dimension.get(value) != simdjson::SUCCESS) {
      return InvalidArgument("\"shape\" is a list of whole numbers");
    }
    if (shape.size() == kMostDimensions) {
      return InvalidArgument("\"shape\" has more than {} dimensions", kMostDimensions);
    }
    shape.push_back(value);
  }
  return shape;
}

// Collects the elements of nested lists in one flat tensor.
class DataReader {
 public:
  DataReader(DataType dtype, int64_t count, std::string& to)
      : dtype_(dtype), count_(count), to_(to) {}

  absl::Status Read(const dom::array& list) {
    for (const dom::element element : list) {
      if (element.is_array()) {
        SL_RETURN_IF_ERROR(Read(dom::array(element)));
        continue;
      }
      if (++read_ > count_) {
        return InvalidArgument("\"data\" has more than the {} elements of its shape", count_);
      }
      if (!ReadOne(element)) {
        return InvalidArgument("element {} of \"data\" is no {}", read_ - 1, WireName(dtype_));
      }
    }
    return absl::OkStatus();
  }
  int64_t read() const { return read_; }

 private:
  bool ReadOne(const dom::element& element) {
    switch (dtype_) {
      case DataType::kFloat32:
        return ReadFloat<float>(element);
      case DataType::kFloat64:
        return ReadFloat<double>(element);
      case DataType::kInt8:
        return ReadWhole<int8_t>(element);
      case DataType::kInt16:
        return ReadWhole<int16_t>(element);
      case DataType::kInt32:
        return ReadWhole<int32_t>(element);
      case DataType::kInt64:
        return ReadWhole<int64_t>(element);
      case DataType::kUint8:
        return ReadWhole<uint8_t>(element);
      case DataType::kUint16:
        return ReadWhole<uint16_t>(element);
      case DataType::kUint32:
        return ReadWhole<uint32_t>(element);
      case DataType::kUint64:
        return ReadWhole<uint64_t>(element);
      case DataType::kBool:
        return ReadBool(element);
      case DataType::kString: {
        std::string_view text;
        if (element.get(text) != simdjson::SUCCESS) return false;
        AppendString(text, to_);
        return true;
      }
      default:
        return false;
    }
  }
  template <typename T>
  bool Put(T value) {
    to_.append(reinterpret_cast<const char*>(&value), sizeof(T));
    return true;
  }
  template <typename T>
  bool ReadFloat(const dom::element& element) {
    double value = 0;
    return element.get(value) == simdjson::SUCCESS && Put(static_cast<T>(value));
  }
  template <typename T>
  bool ReadWhole(const dom::element& element) {
    if constexpr (std::is_unsigned_v<T>) {
      uint64_t value = 0;
      return element.get(value) == simdjson::SUCCESS && value <= std::numeric_limits<T>::max() &&
             Put(static_cast<T>(value));
    } else {
      int64_t value = 0;
      return element.get(value) == simdjson::SUCCESS && value >= std::numeric_limits<T>::min() &&
             value <= std::numeric_limits<T>::max() && Put(static_cast<T>(value));
    }
  }
  bool ReadBool(const dom::element& element) {
    bool value = false;
    uint64_t number = 0;
    if (element.get(value) == simdjson::SUCCESS) return Put(static_cast<uint8_t>(value));
    return element.get(number) == simdjson::SUCCESS && number <= 1 &&
           Put(static_cast<uint8_t>(number));
  }

  const DataType dtype_;
  const int64_t count_;
  std::string& to_;
  int64_t read_ = 0;
};

absl::StatusOr<std::optional<dom::object>> Parameters(const dom::object& object) {
  return Member<dom::object>(object, "parameters", "an object");
}

absl::StatusOr<SharedPlace> ReadSharedPlace(const dom::object& parameters,
                                            const SharedMemory& shared_memory) {
  SharedPlace place;
  SL_ASSIGN_OR_RETURN(place.name, Text(parameters, "shared_memory_region", false));
  SL_ASSIGN_OR_RETURN(const auto offset, Size(parameters, "shared_memory_offset"));
  SL_ASSIGN_OR_RETURN(const auto bytes, Size(parameters, "shared_memory_byte_size"));
  if (place.name.empty()) {
    if (!offset && !bytes) return place;
    return InvalidArgument("\"shared_memory_region\" is missing");
  }
  SL_ASSIGN_OR_RETURN(place.region, shared_memory.Find(place.name));
  place.offset = offset.value_or(0);
  if (!bytes) return InvalidArgument("\"shared_memory_byte_size\" is missing");
  place.bytes = *bytes;
  SL_RETURN_IF_ERROR(place.region->CheckRange(place.offset, place.bytes));
  return place;
}

// Reads one request; `rest` are the binary tensors that no input has taken yet.
class RequestReader {
 public:
  RequestReader(std::string_view rest, const SharedMemory& shared_memory, RestInferRequest& to)
      : rest_(rest), shared_memory_(shared_memory), to_(to) {}

  absl::Status Read(const dom::object& root) {
    SL_ASSIGN_OR_RETURN(to_.request.id, Text(root, "id", false));
    SL_ASSIGN_OR_RETURN(const auto parameters, Parameters(root));
    if (parameters) SL_RETURN_IF_ERROR(ReadParameters(*parameters));
    SL_ASSIGN_OR_RETURN(const auto inputs, Member<dom::array>(root, "inputs", "a list"));
    if (!inputs) return InvalidArgument("\"inputs\" is missing");
    for (const dom::element element : *inputs) {
      SL_RETURN_IF_ERROR(ReadInput(element));
    }
    if (!rest_.empty()) {
      return InvalidArgument("{} bytes are left over behind the tensors that the JSON names",
                             rest_.size());
    }
    SL_ASSIGN_OR_RETURN(const auto outputs, Member<dom::array>(root, "outputs", "a list"));
    if (!outputs) return absl::OkStatus();
    for (const dom::element element : *outputs) {
      SL_RETURN_IF_ERROR(ReadOutput(element));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status ReadParameters(const dom::object& parameters) {
    SL_ASSIGN_OR_RETURN(const auto binary,
                        Member<bool>(parameters, "binary_data_output", "true or false"));
    to_.binary_by_default = binary.value_or(false);
    SL_ASSIGN_OR_RETURN(const auto priority, Size(parameters, "priority"));
    to_.request.priority = static_cast<int>(std::min<size_t>(priority.value_or(0), 1 << 20));
    SL_ASSIGN_OR_RETURN(const auto timeout, Size(parameters, "timeout"));
    to_.request.timeout_us =
        static_cast<int64_t>(std::min<size_t>(timeout.value_or(0), kLongestDurationUs));
    return absl::OkStatus();
  }

  absl::Status ReadInput(const dom::element& element) {
    dom::object tensor;
    if (element.get(tensor) != simdjson::SUCCESS) {
      return InvalidArgument("\"inputs\" is a list of objects");
    }
    if (to_.request.inputs.size() == kMostTensors) {
      return InvalidArgument("more than {} inputs", kMostTensors);
    }
    InferInput& input = to_.request.inputs.emplace_back();
    SL_ASSIGN_OR_RETURN(input.name, Text(tensor, "name", true));
    return WithContext(ReadTensor(tensor, input), fmt::format("input '{}'", Shown(input.name)));
  }

  absl::Status ReadTensor(const dom::object& tensor, InferInput& input) {
    SL_ASSIGN_OR_RETURN(const std::string datatype, Text(tensor, "datatype", true));
    const std::optional<DataType> dtype = DataTypeNamed(datatype);
    if (!dtype) return InvalidArgument("there is no datatype \"{}\"", Shown(datatype));
    input.dtype = *dtype;
    SL_ASSIGN_OR_RETURN(input.shape, Shape(tensor));
    SL_ASSIGN_OR_RETURN(const int64_t count, CountElements(input.shape));
    SL_ASSIGN_OR_RETURN(const auto parameters, Parameters(tensor));
    SL_ASSIGN_OR_RETURN(const auto data, Member<dom::array>(tensor, "data", "a list"));
    if (parameters) {
      SL_ASSIGN_OR_RETURN(const auto binary, Size(*parameters, "binary_data_size"));
      SL_ASSIGN_OR_RETURN(input.shared, ReadSharedPlace(*parameters, shared_memory_));
      if ((binary || input.shared.region) && data) {
        return InvalidArgument("\"data\" stands beside binary data or shared memory");
      }
      if (binary && input.shared.region) {
        return InvalidArgument("\"binary_data_size\" stands beside shared memory");
      }
      if (input.shared.region) return absl::OkStatus();
      if (binary) return TakeBinary(*binary, input);
    }
    if (!data) return InvalidArgument("\"data\" is missing");
    return ReadData(*data, count, input);
  }

  absl::Status TakeBinary(size_t bytes, InferInput& input) {
    if (bytes > rest_.size()) {
      return InvalidArgument("\"binary_data_size\" is {}, and {} bytes are left behind the JSON",
                             bytes, rest_.size());
    }
    input.bytes = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return absl::OkStatus();
  }

  static absl::Status ReadData(const dom::array& data, int64_t count, InferInput& input) {
    if (input.dtype == DataType::kFloat16 || input.dtype == DataType::kBfloat16) {
      return InvalidArgument(
          "sending {} data via JSON is not supported. Please use the binary data format",
          WireName(input.dtype));
    }
    input.is_owned = true;
    DataReader reader(input.dtype, count, input.owned);
    SL_RETURN_IF_ERROR(reader.Read(data));
    if (reader.read() == count) return absl::OkStatus();
    return InvalidArgument("\"data\" has {} elements; its shape has {}", reader.read(), count);
  }

  absl::Status ReadOutput(const dom::element& element) {
    dom::object tensor;
    if (element.get(tensor) != simdjson::SUCCESS) {
      return InvalidArgument("\"outputs\" is a list of objects");
    }
    if (to_.request.outputs.size() == kMostTensors) {
      return InvalidArgument("more than {} outputs", kMostTensors);
    }
    WantedOutput& output = to_.request.outputs.emplace_back();
    SL_ASSIGN_OR_RETURN(output.name, Text(tensor, "name", true));
    return WithContext(ReadOutputParameters(tensor, output),
                       fmt::format("output '{}'", Shown(output.name)));
  }

  absl::Status ReadOutputParameters(const dom::object& tensor, WantedOutput& output) {
    SL_ASSIGN_OR_RETURN(const auto parameters, Parameters(tensor));
    if (!parameters) return absl::OkStatus();
    SL_ASSIGN_OR_RETURN(const auto binary,
                        Member<bool>(*parameters, "binary_data", "true or false"));
    if (binary) to_.binary.emplace_back(output.name, *binary);
    SL_ASSIGN_OR_RETURN(const auto classes, Size(*parameters, "classification"));
    output.classes =
        static_cast<int>(std::min<size_t>(classes.value_or(0), std::numeric_limits<int>::max()));
    SL_ASSIGN_OR_RETURN(output.shared, ReadSharedPlace(*parameters, shared_memory_));
    return absl::OkStatus();
  }

  std::string_view rest_;
  const SharedMemory& shared_memory_;
  RestInferRequest& to_;
};

}  // namespace

struct JsonReader::Parser {
  dom::parser kept{kKeptJsonBytes};
  bool ready = false;
};

JsonReader::JsonReader() : parser_(std::make_unique<Parser>()) {}
JsonReader::~JsonReader() = default;

absl::StatusOr<RestInferRequest> JsonReader::ReadInferRequest(RequestBody body,
                                                              std::optional<size_t> header_bytes,
                                                              const SharedMemory& shared_memory) {
  const size_t json_bytes = header_bytes.value_or(body.size());
  if (json_bytes > body.size()) {
    return InvalidArgument(
        "Inference-Header-Content-Length is {}, and the body has {} bytes: the request is cut "
        "short",
        json_bytes, body.size());
  }
  if (json_bytes == 0) return InvalidArgument("the request has no JSON object");
  if (json_bytes > kMostJsonBytes) {
    return MakeError(absl::StatusCode::kOutOfRange,
                     "the JSON of a request may have at most {} bytes; send tensors as binary data",
                     kMostJsonBytes);
  }
  const auto backing = std::make_shared<RequestBody>(std::move(body));
  // simdjson looks at a block behind the text.
  static_assert(simdjson::SIMDJSON_PADDING <= RequestBody::kBehind);
  if (backing->size() < json_bytes + simdjson::SIMDJSON_PADDING) backing->ReadableBehind();
  dom::parser large{kMostJsonBytes};
  dom::parser& parser = json_bytes <= kKeptJsonBytes ? parser_->kept : large;
  if (&parser == &large || !parser_->ready) {
    const size_t capacity = &parser == &large ? json_bytes : kKeptJsonBytes;
    if (parser.allocate(capacity, kMostJsonDepth) != simdjson::SUCCESS) {
      return ResourceExhausted("no memory is left to read {} bytes of JSON", json_bytes);
    }
    parser_->ready |= &parser != &large;
  }
  dom::element root;
  const simdjson::error_code error =
      parser.parse(backing->data(), json_bytes, /*realloc_if_needed=*/false).get(root);
  if (error == simdjson::DEPTH_ERROR) {
    return InvalidArgument("the JSON is more than {} levels deep", kMostJsonDepth);
  }
  if (error != simdjson::SUCCESS) {
    return InvalidArgument("failed to parse the request JSON buffer: {}{}",
                           simdjson::error_message(error),
                           LikelyJsonFault(std::string_view(*backing).substr(0, json_bytes)));
  }
  dom::object object;
  if (root.get(object) != simdjson::SUCCESS) {
    return InvalidArgument("the request is no JSON object");
  }
  RestInferRequest request;
  RequestReader reader(std::string_view(*backing).substr(json_bytes), shared_memory, request);
  SL_RETURN_IF_ERROR(reader.Read(object));
  if (json_bytes < backing->size()) request.request.backing = backing;
  return request;
}

}  // namespace sightline::serve
