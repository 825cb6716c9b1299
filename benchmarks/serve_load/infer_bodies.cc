#include "serve_load/infer_bodies.h"

#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>
#include <random>

#include "open_inference.pb.h"

namespace sightline::load {
namespace {

using Json = nlohmann::ordered_json;

size_t Elements(const RandomTensor& tensor) {
  size_t count = 1;
  for (const int64_t size : tensor.shape) count *= static_cast<size_t>(size);
  return count;
}

std::vector<float> Values(const RandomTensor& tensor, std::mt19937_64& dice) {
  std::vector<float> values(Elements(tensor));
  for (float& value : values) value = std::uniform_real_distribution<float>(-1, 1)(dice);
  return values;
}

std::string Raw(const RandomTensor& tensor, std::mt19937_64& dice) {
  const std::vector<float> values = Values(tensor, dice);
  std::string raw(values.size() * sizeof(float), '\0');
  std::memcpy(raw.data(), values.data(), raw.size());
  return raw;
}

}  // namespace

bool ParseTensor(const std::string& text, RandomTensor& tensor) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) return false;
  tensor.name = text.substr(0, equals);
  const char* at = text.data() + equals + 1;
  const char* end = text.data() + text.size();
  size_t elements = 1;
  while (at != end) {
    int64_t size = 0;
    const auto [next, error] = std::from_chars(at, end, size);
    if (error != std::errc() || size < 1 || size > (1 << 26)) return false;
    elements *= static_cast<size_t>(size);
    if (elements > (1 << 26)) return false;
    tensor.shape.push_back(size);
    if (next == end) return true;
    if (*next != 'x') return false;
    at = next + 1;
  }
  return false;
}

std::string HttpBody(const std::vector<RandomTensor>& tensors, uint64_t seed, size_t& json_bytes) {
  std::mt19937_64 dice(seed);
  Json inputs = Json::array();
  std::string raw;
  for (const RandomTensor& tensor : tensors) {
    inputs.push_back({{"name", tensor.name},
                      {"datatype", "FP32"},
                      {"shape", tensor.shape},
                      {"parameters", {{"binary_data_size", Elements(tensor) * sizeof(float)}}}});
    raw += Raw(tensor, dice);
  }
  const std::string json =
      Json{{"inputs", inputs}, {"parameters", {{"binary_data_output", true}}}}.dump();
  json_bytes = json.size();
  return json + raw;
}

std::string JsonBody(const std::vector<RandomTensor>& tensors, uint64_t seed) {
  std::mt19937_64 dice(seed);
  Json inputs = Json::array();
  for (const RandomTensor& tensor : tensors) {
    inputs.push_back({{"name", tensor.name},
                      {"datatype", "FP32"},
                      {"shape", tensor.shape},
                      {"data", Values(tensor, dice)}});
  }
  return Json{{"inputs", inputs}}.dump();
}

std::string GrpcBody(const std::string& model, const std::vector<RandomTensor>& tensors,
                     uint64_t seed) {
  std::mt19937_64 dice(seed);
  inference::ModelInferRequest request;
  request.set_model_name(model);
  for (const RandomTensor& tensor : tensors) {
    auto* input = request.add_inputs();
    input->set_name(tensor.name);
    input->set_datatype("FP32");
    for (const int64_t size : tensor.shape) input->add_shape(size);
    *request.add_raw_input_contents() = Raw(tensor, dice);
  }
  return request.SerializeAsString();
}

}  // namespace sightline::load
