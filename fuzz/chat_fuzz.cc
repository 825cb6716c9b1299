// Any bytes as a server's reply to a question about a picture: it is an answer of the asked form or an
// error, never a crash or a hang; and what is shown of it is one short line.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "remote/chat_protocol.h"

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

void RequireTame(std::string_view shown) {
  Require(shown.size() <= 600);
  for (const char c : shown) Require(c >= 0x20 && c < 0x7F);
}

bool IsShare(double value) { return value >= 0 && value <= 1; }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sightline;
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  RequireTame(ShownServerMessage(body));
  (void)SimplerDialect({}, body);
  ChatReply reply;
  const absl::Status parsed = ParseChatReply(body, &reply);
  if (!parsed.ok()) {
    RequireTame(MessageOf(parsed));
    reply.content = std::string(body);  // the answer's own parser sees it all the same
  }
  size_t end = 0;
  for (const ChatToken& token : reply.tokens) {
    Require(token.begin == end && token.end >= token.begin && token.logprob <= 0);
    end = token.end;
  }
  Require(reply.total_tokens >= 0);
  for (const AnswerKind kind :
       {AnswerKind::kOneLabel, AnswerKind::kSeveralLabels, AnswerKind::kBoxes}) {
    const Question question{.text = "?",
                            .labels = {"cat", "traffic light", "No."},
                            .kind = kind,
                            .may_find_none = true,
                            .max_boxes = 5};
    const absl::StatusOr<Answer> answer = ParseAnswer(question, reply, 640, 480);
    if (!answer.ok()) {
      RequireTame(MessageOf(answer.status()));
      continue;
    }
    Require(answer->classes.size() <= 3 && answer->boxes.size() <= 5);
    for (const ClassScore& one : answer->classes) {
      Require(one.class_id >= 0 && one.class_id < 3 && IsShare(one.confidence));
    }
    for (const AnsweredBox& one : answer->boxes) {
      Require(one.class_id >= 0 && one.class_id < 3 && IsShare(one.confidence));
      Require(IsShare(one.left) && IsShare(one.top) && IsShare(one.right) && IsShare(one.bottom));
      Require(one.left < one.right && one.top < one.bottom);
    }
  }
  return 0;
}
