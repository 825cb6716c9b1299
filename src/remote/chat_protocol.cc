#include "remote/chat_protocol.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "base/ascii_text.h"
#include "base/json_text.h"
#include "base/redact.h"
#include "remote/hostile_json_internal.h"

namespace sightline {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr size_t kShownBytes = 160;
constexpr int64_t kMostTokensAReply = 100'000'000;  // beyond it a server lies; chosen

ordered_json AnswerSchema(const Question& question) {
  ordered_json labels = question.labels;
  if (question.kind == AnswerKind::kOneLabel && question.may_find_none) labels.push_back("none");
  const ordered_json label = {{"type", "string"}, {"enum", labels}};
  const auto object = [](const ordered_json& properties) {
    ordered_json required = ordered_json::array();
    for (const auto& item : properties.items()) required.push_back(item.key());
    return ordered_json{{"type", "object"},
                        {"properties", properties},
                        {"required", required},
                        {"additionalProperties", false}};
  };
  const auto list = [](const ordered_json& items) {
    return ordered_json{{"type", "array"}, {"items", items}};
  };
  switch (question.kind) {
    case AnswerKind::kOneLabel:
      return object({{"answer", label}});
    case AnswerKind::kSeveralLabels:
      return object({{"answers", list(label)}});
    case AnswerKind::kBoxes:
      break;
  }
  const ordered_json one = object({{"label", label}, {"box", list({{"type", "number"}})}});
  return object({{"objects", list(one)}});
}

int64_t Tokens(const json* usage, const char* name) {
  const json* value = Member(usage, name);
  if (value == nullptr || !value->is_number()) return 0;
  const double tokens = value->get<double>();
  if (!(tokens > 0)) return 0;
  return static_cast<int64_t>(std::min(tokens, static_cast<double>(kMostTokensAReply)));
}

// The tokens when they make up the content, else none: there is nothing to count on.
std::vector<ChatToken> ReadTokens(const json* choice, const std::string& content) {
  const json* list = Member(Member(choice, "logprobs"), "content");
  if (list == nullptr || !list->is_array()) return {};
  std::vector<ChatToken> tokens;
  size_t at = 0;
  for (const json& one : *list) {
    const std::string* text = Text(Member(&one, "token"));
    const json* logprob = Member(&one, "logprob");
    if (text == nullptr || logprob == nullptr || !logprob->is_number()) return {};
    if (content.compare(at, text->size(), *text) != 0) return {};
    tokens.push_back({at, at + text->size(), std::min(0.0, logprob->get<double>())});
    at += text->size();
  }
  if (at != content.size()) return {};
  return tokens;
}

}  // namespace

std::string QuestionText(const Question& question) {
  ordered_json names = question.labels;
  if (question.kind == AnswerKind::kOneLabel && question.may_find_none) names.push_back("none");
  const std::string labels = JsonText(names);
  switch (question.kind) {
    case AnswerKind::kOneLabel:
      return fmt::format(
          "{}\nAnswer with JSON alone, {{\"answer\": LABEL}}, where LABEL is exactly one of {}.",
          question.text, labels);
    case AnswerKind::kSeveralLabels:
      return fmt::format(
          "{}\nAnswer with JSON alone, {{\"answers\": [LABEL, ...]}}, where each LABEL is one of "
          "{}; "
          "an empty list when none fits.",
          question.text, labels);
    case AnswerKind::kBoxes:
      break;
  }
  return fmt::format(
      "{}\nAnswer with JSON alone, {{\"objects\": [{{\"label\": LABEL, \"box\": [LEFT, TOP, RIGHT, "
      "BOTTOM]}}, ...]}}, where each LABEL is one of {}, and the box is in {}; an empty list when "
      "there is none. At most {} objects.",
      question.text, labels,
      question.box_unit == BoxUnit::kPixels
          ? "pixels of the picture"
          : "thousandths of the picture's width and height, from 0 to 1000",
      question.max_boxes);
}

std::string ChatRequest(const Question& question, std::string_view model, int max_tokens,
                        const ChatDialect& dialect, std::string_view jpeg) {
  const std::string picture =
      "data:image/jpeg;base64," + absl::Base64Escape(absl::string_view(jpeg.data(), jpeg.size()));
  ordered_json content = ordered_json::array();
  content.push_back({{"type", "text"}, {"text", QuestionText(question)}});
  content.push_back({{"type", "image_url"}, {"image_url", {{"url", picture}}}});
  ordered_json message;
  message["role"] = "user";
  message["content"] = std::move(content);
  ordered_json request;
  request["model"] = model;
  request["messages"].push_back(std::move(message));
  request["stream"] = false;
  request[dialect.max_completion_tokens ? "max_completion_tokens" : "max_tokens"] = max_tokens;
  if (dialect.temperature) request["temperature"] = 0;
  if (dialect.logprobs) request["logprobs"] = true;
  if (dialect.json_schema) {
    request["response_format"] = {
        {"type", "json_schema"},
        {"json_schema",
         {{"name", "answer"}, {"strict", true}, {"schema", AnswerSchema(question)}}}};
  }
  return JsonText(request);
}

std::optional<ChatDialect> SimplerDialect(const ChatDialect& dialect, std::string_view body) {
  const std::string said = AsciiLower(body);
  const auto names = [&](const char* word) { return said.find(word) != std::string::npos; };
  ChatDialect simpler = dialect;
  if (dialect.json_schema && (names("response_format") || names("json_schema"))) {
    simpler.json_schema = false;
  } else if (dialect.logprobs && names("logprobs")) {
    simpler.logprobs = false;
  } else if (!dialect.max_completion_tokens && names("max_tokens")) {
    simpler.max_completion_tokens = true;
  } else if (dialect.temperature && names("temperature")) {
    simpler.temperature = false;
  } else if (dialect.json_schema) {
    simpler.json_schema = false;
  } else if (dialect.logprobs) {
    simpler.logprobs = false;
  } else {
    return std::nullopt;
  }
  return simpler;
}

absl::Status ParseChatReply(std::string_view body, ChatReply* known) {
  *known = {};
  const std::optional<json> root = ParseHostileJson(body);
  if (!root || !root->is_object()) {
    return DataLoss("the answer is no JSON object: \"{}\"", ShownServerMessage(body));
  }
  const json* said = Member(&*root, "usage");
  known->has_usage = said != nullptr && said->is_object();
  known->prompt_tokens = Tokens(said, "prompt_tokens");
  known->answer_tokens = Tokens(said, "completion_tokens");
  known->total_tokens =
      std::max(Tokens(said, "total_tokens"), known->prompt_tokens + known->answer_tokens);
  const json* choices = Member(&*root, "choices");
  const json* choice =
      choices != nullptr && choices->is_array() && !choices->empty() ? &choices->front() : nullptr;
  const json* message = Member(choice, "message");
  if (message == nullptr || !message->is_object()) {
    return DataLoss("the answer has no message: \"{}\"", ShownServerMessage(body));
  }
  known->is_reply = true;
  const std::string* finish = Text(Member(choice, "finish_reason"));
  if (finish != nullptr && *finish == "length") {
    return DataLoss("the model's answer is cut off; allow it more tokens");
  }
  if (finish != nullptr && *finish == "content_filter") {
    return DataLoss("the server's filter withholds the answer");
  }
  if (const std::string* refusal = Text(Member(message, "refusal"))) {
    return DataLoss("the model refuses: \"{}\"", ShownText(WithoutSecrets(*refusal), kShownBytes));
  }
  const std::string* content = Text(Member(message, "content"));
  if (content == nullptr) {
    return DataLoss("the answer has no content: \"{}\"", ShownServerMessage(body));
  }
  known->content = *content;
  known->tokens = ReadTokens(choice, known->content);
  return absl::OkStatus();
}

bool SaysFiltered(std::string_view body) {
  const std::optional<json> root = ParseHostileJson(body);
  if (!root) return false;
  const json* error = Member(&*root, "error");
  for (const char* name : {"code", "type"}) {
    for (const json* of : {error, &*root}) {
      const std::string* text = Text(Member(of, name));
      if (text == nullptr) continue;
      const std::string said = AsciiLower(*text);
      for (const char* word : {"content_filter", "content_policy", "data_inspection"}) {
        if (said.find(word) != std::string::npos) return true;
      }
    }
  }
  return false;
}

std::string ShownServerMessage(std::string_view body) {
  const std::optional<json> root = ParseHostileJson(body);
  if (root) {
    const json* error = Member(&*root, "error");
    const std::string* text = Text(Member(error, "message"));
    if (text == nullptr) text = Text(error);
    if (text == nullptr) text = Text(Member(&*root, "message"));
    if (text != nullptr) return ShownText(WithoutSecrets(*text), kShownBytes);
  }
  // Secrets are found only whole: cut after they are gone, and of a long body only its beginning.
  return ShownText(WithoutSecrets(body.substr(0, 16 * 1024)), kShownBytes);
}

}  // namespace sightline
