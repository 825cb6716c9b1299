// Inference requests of the Open Inference Protocol with random tensors.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sightline::load {

// Of type FP32.
struct RandomTensor {
  std::string name;
  std::vector<int64_t> shape;
};

// "NAME=2x3"; false when it is none.
bool ParseTensor(const std::string& text, RandomTensor& tensor);

// A request by HTTP with tensors as binary data both ways. json_bytes: the length of its JSON, for
// Inference-Header-Content-Length.
std::string HttpBody(const std::vector<RandomTensor>& tensors, uint64_t seed, size_t& json_bytes);

// The same with tensors as JSON.
std::string JsonBody(const std::vector<RandomTensor>& tensors, uint64_t seed);

// A message ModelInferRequest.
std::string GrpcBody(const std::string& model, const std::vector<RandomTensor>& tensors,
                     uint64_t seed);

}  // namespace sightline::load
