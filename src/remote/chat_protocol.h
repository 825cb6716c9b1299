// The words of "chat completions", as OpenAI's API has them and many servers speak them: a request
// with a question and a picture, and the reply to it.
//
// Source: OpenAI API reference, "Create chat completion" (image_url parts with data: URLs,
// response_format json_schema, logprobs, usage). Servers take different parts of it: ChatDialect says
// which are used.
// Threads: reentrant. Cost: a copy of the picture in base64; replies are at most as long as their body.
// Safety: a reply is someone else's words. It is parsed to a bounded depth, and no byte of it reaches
// a status other than through ShownText().
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "remote/question.h"

namespace sightline {

struct ChatDialect {
  bool json_schema = true;  // response_format with a schema; the prompt asks for JSON anyway
  bool logprobs = true;     // how sure the model is of each token
  bool temperature = true;  // temperature 0: the likeliest answer, not a drawn one
  bool max_completion_tokens = false;  // in place of max_tokens, which newer models refuse
  bool operator==(const ChatDialect&) const = default;
};

// A body for POST {endpoint}/chat/completions.
std::string ChatRequest(const Question& question, std::string_view model, int max_tokens,
                        const ChatDialect& dialect, std::string_view jpeg);

// The question as the model reads it, with how to answer.
std::string QuestionText(const Question& question);

// What to try next when a server answers 400 to `dialect` with `body`: without the part that its
// message names, or without the first that servers often lack. Nullopt when nothing is left to leave
// out.
std::optional<ChatDialect> SimplerDialect(const ChatDialect& dialect, std::string_view body);

struct ChatToken {
  size_t begin = 0;  // in the content
  size_t end = 0;
  double logprob = 0;  // at most 0
};

struct ChatReply {
  bool is_reply = false;  // of this protocol's form, whatever it says
  std::string content;
  std::vector<ChatToken> tokens;  // cover the content; empty when not given
  bool has_usage = false;
  int64_t prompt_tokens = 0;
  int64_t answer_tokens = 0;
  int64_t total_tokens = 0;
};

// DataLoss for what is no such reply, and for one that is cut off, refused by the model or withheld
// by a filter. *known is all that could be read of it also then: its tokens count all the same.
absl::Status ParseChatReply(std::string_view body, ChatReply* known);

// Whether the error of a server says that its filter of contents took offence at the picture or the
// question: by its code or type, as Azure OpenAI ("content_filter"), OpenAI
// ("content_policy_violation") and DashScope ("data_inspection_failed") have them.
bool SaysFiltered(std::string_view body);

// What a server says about an error: its message, or the beginning of the body; fit to be shown.
std::string ShownServerMessage(std::string_view body);

// The labels and boxes of a reply. Strict: JSON of the form that was asked for, or for kOneLabel the
// label alone (ASCII letters in either case, quotes and a full stop around it); anything else is
// DataLoss with the beginning of the text, never a guess. Confidence: the product of the probabilities
// of the tokens that write the label; 1 where the server gives none.
// sent_width, sent_height: px of the picture that was sent. Boxes are clipped to the picture; those
// without an area in it are left out.
absl::StatusOr<Answer> ParseAnswer(const Question& question, const ChatReply& reply, int sent_width,
                                   int sent_height);

}  // namespace sightline
