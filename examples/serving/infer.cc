// Tensors in, tensors out, as binary data behind the JSON.
//
//   g++ -std=c++17 -O2 infer.cc -lcurl -o infer
//   ./infer http://localhost:8000 add_sub
//
// The model: INPUT0 and INPUT1 of FP32 [rows, 16]; OUTPUT0 is their sum. Needs libcurl and nlohmann-json, and a
// little-endian machine.
#include <cstring>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "post.h"

int main(int argc, char** argv) try {
  if (argc != 3) {
    std::cerr << "usage: infer URL MODEL\n";
    return 2;
  }
  std::vector<float> values(16);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  const std::string raw(reinterpret_cast<const char*>(values.data()),
                        values.size() * sizeof(float));

  nlohmann::json inputs;
  for (const char* name : {"INPUT0", "INPUT1"}) {
    inputs.push_back({{"name", name},
                      {"datatype", "FP32"},
                      {"shape", {1, 16}},
                      {"parameters", {{"binary_data_size", raw.size()}}}});
  }
  const std::string json =
      nlohmann::json{{"inputs", inputs}, {"parameters", {{"binary_data_output", true}}}}.dump();
  Poster poster;
  const Answer answer =
      poster.Post(std::string(argv[1]) + "/v2/models/" + argv[2] + "/infer",
                  {"Content-Type: application/octet-stream",
                   "Inference-Header-Content-Length: " + std::to_string(json.size())},
                  json + raw + raw);
  if (answer.status != 200) {
    throw std::runtime_error(nlohmann::json::parse(answer.body).at("error").get<std::string>());
  }
  // The answer's JSON says how many bytes of each output follow it, in its order.
  size_t at = answer.json_length.empty() ? answer.body.size() : std::stoul(answer.json_length);
  const nlohmann::json described = nlohmann::json::parse(answer.body.substr(0, at));
  for (const nlohmann::json& output : described.at("outputs")) {
    const size_t size = output.at("parameters").at("binary_data_size");
    std::vector<float> got(size / sizeof(float));
    if (at + size > answer.body.size()) throw std::runtime_error("the answer is cut short");
    std::memcpy(got.data(), answer.body.data() + at, got.size() * sizeof(float));
    at += size;
    std::cout << output.at("name").get<std::string>() << ":";
    for (const float value : got) std::cout << " " << value;
    std::cout << "\n";
  }
  return 0;
} catch (const std::exception& error) {
  std::cerr << "infer: " << error.what() << "\n";
  return 1;
}
