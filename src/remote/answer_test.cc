// Requests and replies of chat completions, and how strictly answers are read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/redact.h"
#include "remote/chat_protocol.h"

namespace sightline {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

Question Asked(AnswerKind kind = AnswerKind::kOneLabel) {
  return {.text = "What?", .labels = {"Cat", "traffic light", "No."}, .kind = kind};
}

absl::StatusOr<Answer> Read(const Question& question, const std::string& content) {
  return ParseAnswer(question, {.content = content}, 640, 480);
}
// The class of the only answer, -1 for none, -2 for an error.
int ClassOf(const Question& question, const std::string& content) {
  const absl::StatusOr<Answer> answer = Read(question, content);
  if (!answer.ok()) return absl::IsDataLoss(answer.status()) ? -2 : -3;
  if (answer->classes.empty()) return -1;
  EXPECT_EQ(answer->classes.size(), 1u);
  EXPECT_EQ(answer->classes[0].confidence, 1.0f);
  return answer->classes[0].class_id;
}

TEST(ParseAnswer, OneLabelInTheFormsThatModelsWrite) {
  const Question question = Asked();
  EXPECT_EQ(ClassOf(question, R"({"answer": "Cat"})"), 0);
  EXPECT_EQ(ClassOf(question, R"({"why": "whiskers", "answer": "cAT"})"), 0);
  EXPECT_EQ(ClassOf(question, "```json\n{\"answer\": \"traffic light\"}\n```"), 1);
  EXPECT_EQ(ClassOf(question, " \n{\"answer\": \"traffic light\"}\n"), 1);
  EXPECT_EQ(ClassOf(question, "CAT"), 0);
  EXPECT_EQ(ClassOf(question, " \"Traffic Light\".\n"), 1);
  EXPECT_EQ(ClassOf(question, "**cat**"), 0);
  EXPECT_EQ(ClassOf(question, "no."), 2) << "a label's own full stop";
}

TEST(ParseAnswer, AnythingElseIsAnErrorAndNoGuess) {
  const Question question = Asked();
  for (const std::string content : {"",
                                    "   ",
                                    "dog",
                                    "a cat",
                                    "cat or dog",
                                    "I think it is a cat.",
                                    "{\"answer\": \"dog\"}",
                                    "{\"answer\": 1}",
                                    "{\"answer\": [\"cat\"]}",
                                    "{\"answer\": null}",
                                    "{\"Answer\": \"cat\"}",
                                    "{\"answer\": \"cat\"",
                                    "{\"answer\": \"cat\"} cat",
                                    "[\"cat\"]",
                                    "``````",
                                    "```",
                                    "none",
                                    "\"",
                                    "{",
                                    "{\"answers\": [\"cat\"]}"}) {
    EXPECT_EQ(ClassOf(question, content), -2) << content;
  }
}

TEST(ParseAnswer, NoneOnlyWhereItMayBeSaid) {
  Question question = Asked();
  question.may_find_none = true;
  EXPECT_EQ(ClassOf(question, R"({"answer": "none"})"), -1);
  EXPECT_EQ(ClassOf(question, "None."), -1);
  EXPECT_EQ(ClassOf(question, "nothing"), -2);
}

TEST(ParseAnswer, WhatIsShownOfItIsShortAndTame) {
  const absl::Status status = Read(Asked(), "\x1b[2J\r\n" + std::string(100'000, 'x')).status();
  const std::string message(MessageOf(status));
  EXPECT_LT(message.size(), 250u);
  EXPECT_THAT(message, Not(HasSubstr("\x1b")));
  EXPECT_THAT(message, Not(HasSubstr("\n")));
}

TEST(ParseAnswer, SeveralLabels) {
  const Question question = Asked(AnswerKind::kSeveralLabels);
  const auto answer = Read(question, R"({"answers": ["no.", "cat", "Cat"]})");
  ASSERT_TRUE(answer.ok()) << answer.status();
  ASSERT_EQ(answer->classes.size(), 2u);
  EXPECT_EQ(answer->classes[0].class_id, 2);
  EXPECT_EQ(answer->classes[1].class_id, 0);
  EXPECT_TRUE(Read(question, R"({"answers": []})")->classes.empty());
  for (const std::string content :
       {"cat", "{\"answers\": \"cat\"}", "{\"answers\": [\"cat\", \"dog\"]}", "{\"answers\": [1]}",
        "{\"answer\": \"cat\"}"}) {
    EXPECT_TRUE(absl::IsDataLoss(Read(question, content).status())) << content;
  }
  std::string many = "{\"answers\": [\"cat\"";
  for (int i = 0; i < 5000; ++i) many += ",\"cat\"";
  EXPECT_TRUE(absl::IsDataLoss(Read(question, many + "]}").status()));
}

TEST(ParseAnswer, BoxesInBothUnits) {
  Question question = Asked(AnswerKind::kBoxes);
  const auto answer = Read(question, R"({"objects": [
      {"label": "cat", "box": [100, 200, 300.5, 400]},
      {"label": "no.", "box": [-50, 0, 2000, 1000]},
      {"label": "cat", "box": [300, 0, 100, 100]},
      {"label": "cat", "box": [1000, 0, 1200, 100]}]})");
  ASSERT_TRUE(answer.ok()) << answer.status();
  ASSERT_EQ(answer->boxes.size(), 2u) << "two have no area in the picture";
  EXPECT_EQ(answer->boxes[0].class_id, 0);
  EXPECT_DOUBLE_EQ(answer->boxes[0].left, 0.1);
  EXPECT_DOUBLE_EQ(answer->boxes[0].top, 0.2);
  EXPECT_DOUBLE_EQ(answer->boxes[0].right, 0.3005);
  EXPECT_DOUBLE_EQ(answer->boxes[0].bottom, 0.4);
  EXPECT_DOUBLE_EQ(answer->boxes[1].left, 0);
  EXPECT_DOUBLE_EQ(answer->boxes[1].right, 1);
  question.box_unit = BoxUnit::kPixels;
  const auto pixels =
      Read(question, R"({"objects": [{"label": "cat", "box": [64, 48, 320, 240]}]})");
  EXPECT_DOUBLE_EQ(pixels->boxes.at(0).left, 0.1);
  EXPECT_DOUBLE_EQ(pixels->boxes.at(0).top, 0.1);
  EXPECT_DOUBLE_EQ(pixels->boxes.at(0).right, 0.5);
  EXPECT_DOUBLE_EQ(pixels->boxes.at(0).bottom, 0.5);
}

TEST(ParseAnswer, BoxesThatAreNone) {
  const Question question = Asked(AnswerKind::kBoxes);
  for (const std::string box : {"[1, 2, 3]", "[1, 2, 3, 4, 5]", "[1, 2, 3, \"4\"]", "1", "{}",
                                "[1, 2, 3, 1e999]", "[1, 2, 3, NaN]", "[[1], 2, 3, 4]", "null"}) {
    const std::string content = "{\"objects\": [{\"label\": \"cat\", \"box\": " + box + "}]}";
    EXPECT_TRUE(absl::IsDataLoss(Read(question, content).status())) << content;
  }
  EXPECT_TRUE(absl::IsDataLoss(Read(question, R"({"objects": [{"box": [1, 2, 3, 4]}]})").status()));
  EXPECT_TRUE(absl::IsDataLoss(Read(question, R"({"objects": {}})").status()));
}

ChatReply WithTokens(std::vector<std::pair<std::string, double>> tokens) {
  ChatReply reply;
  for (const auto& [text, probability] : tokens) {
    const size_t begin = reply.content.size();
    reply.content += text;
    reply.tokens.push_back({begin, reply.content.size(), std::log(probability)});
  }
  return reply;
}

TEST(ParseAnswer, ConfidenceIsThatOfTheLabelsTokens) {
  const auto json_answer = ParseAnswer(
      Asked(),
      WithTokens(
          {{"{\"answer\"", 0.1}, {": \"", 0.2}, {"traffic", 0.8}, {" light", 0.5}, {"\"}", 0.3}}),
      1, 1);
  EXPECT_NEAR(json_answer->classes.at(0).confidence, 0.4, 1e-6);
  const auto fused = ParseAnswer(Asked(), WithTokens({{"{\"answer\":\"Cat\"}", 0.7}}), 1, 1);
  EXPECT_NEAR(fused->classes.at(0).confidence, 0.7, 1e-6);
  const auto bare = ParseAnswer(Asked(), WithTokens({{"C", 0.5}, {"at", 0.5}, {".", 0.1}}), 1, 1);
  EXPECT_NEAR(bare->classes.at(0).confidence, 0.25, 1e-6);
  Question question = Asked(AnswerKind::kSeveralLabels);
  question.labels = {"answers", "dog"};
  const auto several = ParseAnswer(question,
                                   WithTokens({{"{\"answers\": [", 0.1},
                                               {"\"answers\"", 0.6},
                                               {", ", 0.1},
                                               {"\"dog\"", 0.9},
                                               {"]}", 0.1}}),
                                   1, 1);
  ASSERT_EQ(several->classes.size(), 2u);
  EXPECT_EQ(several->classes[0].class_id, 1) << "best first";
  EXPECT_NEAR(several->classes[0].confidence, 0.9, 1e-6);
  EXPECT_NEAR(several->classes[1].confidence, 0.6, 1e-6) << "the label, not the key of its name";
}

std::string ReplyText(const json& choice, const json& usage = nullptr) {
  json reply = {{"choices", json::array({choice})}};
  if (!usage.is_null()) reply["usage"] = usage;
  return reply.dump();
}

TEST(ParseChatReply, ReadsContentTokensAndUsage) {
  const json tokens =
      json::parse(R"([{"token": "ca", "logprob": -0.5}, {"token": "t", "logprob": 3}])");
  const json choice = {{"message", {{"content", "cat"}, {"refusal", nullptr}}},
                       {"finish_reason", "stop"},
                       {"logprobs", {{"content", tokens}}}};
  ChatReply reply;
  ASSERT_TRUE(
      ParseChatReply(ReplyText(choice, {{"prompt_tokens", 7}, {"completion_tokens", 3}}), &reply)
          .ok());
  EXPECT_TRUE(reply.is_reply);
  EXPECT_EQ(reply.content, "cat");
  ASSERT_EQ(reply.tokens.size(), 2u);
  EXPECT_EQ(reply.tokens[1].begin, 2u);
  EXPECT_DOUBLE_EQ(reply.tokens[0].logprob, -0.5);
  EXPECT_DOUBLE_EQ(reply.tokens[1].logprob, 0) << "no probability is above 1";
  EXPECT_TRUE(reply.has_usage);
  EXPECT_EQ(reply.total_tokens, 10);
}

TEST(ParseChatReply, TokensThatAreNotTheContentAreNone) {
  for (const char* tokens :
       {R"([{"token": "dog", "logprob": -1}])", R"([{"token": "ca", "logprob": -1}])",
        R"([{"token": "cats", "logprob": -1}])", R"([{"token": 3, "logprob": -1}])",
        R"([{"token": "cat"}])", R"([{"token": "cat", "logprob": null}])", "[]", "null", "7"}) {
    const json choice = {{"message", {{"content", "cat"}}},
                         {"logprobs", {{"content", json::parse(tokens)}}}};
    ChatReply reply;
    ASSERT_TRUE(ParseChatReply(ReplyText(choice), &reply).ok());
    EXPECT_TRUE(reply.tokens.empty()) << tokens;
    EXPECT_FALSE(reply.has_usage);
  }
}

TEST(ParseChatReply, UsageThatLiesIsBounded) {
  ChatReply reply;
  const json choice = {{"message", {{"content", "cat"}}}};
  ASSERT_TRUE(ParseChatReply(ReplyText(choice, {{"prompt_tokens", -5},
                                                {"completion_tokens", 1e300},
                                                {"total_tokens", "many"}}),
                             &reply)
                  .ok());
  EXPECT_EQ(reply.prompt_tokens, 0);
  EXPECT_EQ(reply.total_tokens, 100'000'000);
}

TEST(ParseChatReply, NoReplies) {
  for (const std::string body :
       {"", "cat", "[]", "7", "null", "{}", R"({"choices": []})", R"({"choices": {}})",
        R"({"choices": [null]})", R"({"choices": [{}]})", R"({"choices": [{"message": "cat"}]})",
        R"({"error": {"message": "overloaded"}})"}) {
    ChatReply reply;
    EXPECT_TRUE(absl::IsDataLoss(ParseChatReply(body, &reply))) << body;
    EXPECT_FALSE(reply.is_reply) << body;
  }
  ChatReply reply;
  EXPECT_TRUE(absl::IsDataLoss(ParseChatReply(std::string(100'000, '['), &reply)));
  const std::string deep = "{\"choices\":" + std::string(40, '[') + std::string(40, ']') + "}";
  EXPECT_TRUE(absl::IsDataLoss(ParseChatReply(deep, &reply)));
}

TEST(ParseChatReply, RepliesWithoutAnAnswer) {
  for (const char* choice :
       {R"({"message": {"content": null}})", R"({"message": {"content": [1]}})",
        R"({"message": {"content": "{"}, "finish_reason": "length"})",
        R"({"message": {"content": ""}, "finish_reason": "content_filter"})",
        R"({"message": {"content": null, "refusal": "I cannot \u001b[31m"}})"}) {
    ChatReply reply;
    const absl::Status status =
        ParseChatReply(ReplyText(json::parse(choice), {{"total_tokens", 5}}), &reply);
    EXPECT_TRUE(absl::IsDataLoss(status)) << choice;
    EXPECT_TRUE(reply.is_reply) << choice;
    EXPECT_EQ(reply.total_tokens, 5) << "spent all the same";
    EXPECT_THAT(std::string(MessageOf(status)), Not(HasSubstr("\x1b")));
  }
}

TEST(ChatRequest, HasTheFormOfTheApi) {
  for (const AnswerKind kind :
       {AnswerKind::kOneLabel, AnswerKind::kSeveralLabels, AnswerKind::kBoxes}) {
    Question question = Asked(kind);
    question.labels.push_back("say \"x\"");
    const json request =
        json::parse(ChatRequest(question, "m", 50, {}, std::string("\xFF\xD8\0", 3)));
    EXPECT_EQ(request.at("model"), "m");
    EXPECT_EQ(request.at("max_tokens"), 50);
    EXPECT_EQ(request.at("temperature"), 0);
    EXPECT_EQ(request.at("logprobs"), true);
    EXPECT_EQ(request.at("stream"), false);
    const json& parts = request.at("messages").at(0).at("content");
    EXPECT_THAT(parts.at(0).at("text").get<std::string>(), HasSubstr("say \\\"x\\\""));
    EXPECT_EQ(parts.at(1).at("image_url").at("url"), "data:image/jpeg;base64,/9gA");
    const json& format = request.at("response_format");
    EXPECT_EQ(format.at("type"), "json_schema");
    EXPECT_EQ(format.at("json_schema").at("strict"), true);
    const json& schema = format.at("json_schema").at("schema");
    EXPECT_EQ(schema.at("additionalProperties"), false);
    EXPECT_EQ(schema.at("required").size(), 1u);
    EXPECT_THAT(schema.dump(), HasSubstr("traffic light"));
  }
  const json plain = json::parse(ChatRequest(Asked(), "m", 50,
                                             {.json_schema = false,
                                              .logprobs = false,
                                              .temperature = false,
                                              .max_completion_tokens = true},
                                             ""));
  for (const char* name : {"response_format", "logprobs", "temperature", "max_tokens"}) {
    EXPECT_FALSE(plain.contains(name)) << name;
  }
  EXPECT_EQ(plain.at("max_completion_tokens"), 50);
}

TEST(SimplerDialect, LeavesOutWhatIsNamedThenWhatIsOftenMissing) {
  ChatDialect dialect;
  dialect = *SimplerDialect(dialect, "Unsupported parameter: 'max_tokens'");
  EXPECT_TRUE(dialect.max_completion_tokens && dialect.json_schema && dialect.logprobs);
  dialect = *SimplerDialect(dialect, "temperature does not support 0");
  EXPECT_FALSE(dialect.temperature);
  dialect = *SimplerDialect(dialect, "LOGPROBS are not there");
  EXPECT_TRUE(!dialect.logprobs && dialect.json_schema);
  dialect = *SimplerDialect(dialect, "no");
  EXPECT_FALSE(dialect.json_schema);
  EXPECT_FALSE(SimplerDialect(dialect, "max_tokens temperature logprobs").has_value());
}

TEST(ShownServerMessage, FindsTheMessageAndHidesSecrets) {
  EXPECT_EQ(ShownServerMessage(R"({"error": {"message": "no\nway"}})"), "no way");
  EXPECT_EQ(ShownServerMessage(R"({"error": "gone"})"), "gone");
  EXPECT_EQ(ShownServerMessage(R"({"message": "gone"})"), "gone");
  EXPECT_EQ(ShownServerMessage("<html>"), "<html>");
  HideSecret("secret-of-answer-test", "***");
  EXPECT_EQ(ShownServerMessage("key secret-of-answer-test"), "key ***");
  EXPECT_LT(ShownServerMessage(std::string(100'000, 'x')).size(), 200u);
}

}  // namespace
}  // namespace sightline
