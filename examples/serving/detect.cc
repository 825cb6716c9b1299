// Pictures in, boxes out.
//
//   g++ -std=c++17 -O2 detect.cc -lcurl -o detect
//   ./detect http://localhost:8000 street people.jpg ...
//
// With SIGHTLINE_KEY in the environment it is sent as the API key. Needs libcurl and nlohmann-json.
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "post.h"

int main(int argc, char** argv) try {
  if (argc < 4) {
    std::cerr << "usage: detect URL MODEL PICTURE...\n";
    return 2;
  }
  const std::string url = std::string(argv[1]) + "/v1/detect/" + argv[2];
  std::vector<std::string> headers = {"Content-Type: application/octet-stream"};
  if (const char* key = std::getenv("SIGHTLINE_KEY"))
    headers.push_back(std::string("Authorization: Bearer ") + key);
  Poster poster;
  for (int i = 3; i < argc; ++i) {
    std::ifstream file(argv[i], std::ios::binary);
    const std::string picture((std::istreambuf_iterator<char>(file)),
                              std::istreambuf_iterator<char>());
    if (!file) throw std::runtime_error(std::string(argv[i]) + " cannot be read");
    const Answer answer = poster.Post(url, headers, picture);
    const nlohmann::json found = nlohmann::json::parse(answer.body);
    if (answer.status != 200) throw std::runtime_error(found.at("error").get<std::string>());
    for (const nlohmann::json& object : found.at("detections")) {
      std::cout << argv[i] << ": " << object.at("class").get<std::string>() << " "
                << object.at("confidence") << " " << object.at("box_xyxy_px") << "\n";
    }
  }
  return 0;
} catch (const std::exception& error) {
  std::cerr << "detect: " << error.what() << "\n";
  return 1;
}
