#include "cli/calibrate/int8_worker.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "base/json_text.h"

namespace sightline::cli {
namespace {

using nlohmann::json;

constexpr size_t kMostAnswerBytes = 16 << 20;          // 100,000 layers and their names
constexpr int64_t kPatienceUs = int64_t{600'000'000};  // the largest models take minutes
constexpr const char* kGood = "the answer of quantize.py";

absl::StatusOr<json> Answer(ChildProcess& child) {
  SL_ASSIGN_OR_RETURN(const std::string line, child.ReadLine(kMostAnswerBytes, kPatienceUs));
  json answer = json::parse(line, nullptr, false);
  if (!answer.is_object()) return Internal("{} is no JSON object", kGood);
  const auto error = answer.find("error");
  if (error == answer.end()) return answer;
  return Internal("quantize.py: {}", error->is_string() ? error->get<std::string>() : "");
}

absl::StatusOr<json> Ask(ChildProcess& child, const json& order) {
  SL_RETURN_IF_ERROR(child.Write(JsonText(order) + "\n", kPatienceUs));
  return Answer(child);
}

absl::StatusOr<std::string> TextOf(const json& object, const char* key) {
  const auto at = object.find(key);
  if (!object.is_object() || at == object.end() || !at->is_string()) {
    return Internal("{} lacks the text \"{}\"", kGood, key);
  }
  return at->get<std::string>();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Int8Worker>> Int8Worker::Start(const std::string& python,
                                                              const std::string& script,
                                                              std::function<bool()> stop) {
  SL_ASSIGN_OR_RETURN(std::unique_ptr<ChildProcess> child,
                      ChildProcess::Start({python, "-B", script}, std::move(stop)));
  return std::unique_ptr<Int8Worker>(new Int8Worker(std::move(child)));
}

absl::StatusOr<OpenedForInt8> Int8Worker::Open(const std::string& model_file,
                                               const std::string& scratch) {
  SL_ASSIGN_OR_RETURN(const json answer,
                      Ask(*child_, {{"do", "open"}, {"model", model_file}, {"scratch", scratch}}));
  const auto layers = answer.find("layers");
  if (layers == answer.end() || !layers->is_array() || layers->empty()) {
    return Internal("{} names no layers", kGood);
  }
  OpenedForInt8 opened;
  for (const json& layer : *layers) {
    if (!layer.is_object()) return Internal("{} has a layer that is no object", kGood);
    Int8Layer one;
    SL_ASSIGN_OR_RETURN(one.name, TextOf(layer, "name"));
    SL_ASSIGN_OR_RETURN(one.op, TextOf(layer, "op"));
    SL_ASSIGN_OR_RETURN(one.kind, TextOf(layer, "kind"));
    opened.layers.push_back(std::move(one));
  }
  if (const auto versions = answer.find("versions");
      versions != answer.end() && versions->is_object()) {
    for (const auto& [name, version] : versions->items()) {
      if (version.is_string()) opened.versions[name] = version.get<std::string>();
    }
  }
  return opened;
}

absl::Status Int8Worker::Observe(std::span<const TensorInfo> inputs,
                                 std::span<const std::span<const uint8_t>> bytes) {
  json order = {{"do", "observe"}, {"inputs", json::array()}};
  for (const TensorInfo& input : inputs) {
    order["inputs"].push_back(
        {{"name", input.name}, {"dtype", ToString(input.dtype)}, {"shape", input.shape}});
  }
  SL_RETURN_IF_ERROR(child_->Write(JsonText(order) + "\n", kPatienceUs));
  for (const std::span<const uint8_t> tensor : bytes) {
    SL_RETURN_IF_ERROR(child_->Write(tensor, kPatienceUs));
  }
  return Answer(*child_).status();
}

absl::Status Int8Worker::Make(const Int8Choice& choice, const std::string& file) {
  return Ask(*child_, {{"do", "make"},
                       {"method", choice.method},
                       {"fp32", choice.in_fp32},
                       {"weights", choice.weight_bits},
                       {"out", file}})
      .status();
}

}  // namespace sightline::cli
