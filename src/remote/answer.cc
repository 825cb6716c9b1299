// ParseAnswer() of chat_protocol.h.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/ascii_text.h"
#include "base/redact.h"
#include "remote/chat_protocol.h"
#include "remote/hostile_json_internal.h"

namespace sightline {
namespace {

using nlohmann::json;

constexpr size_t kShownBytes = 120;
constexpr size_t kMostListed = 2000;  // labels or objects; bounds the work on a hostile answer
constexpr std::string_view kBlanks = " \t\r\n";

std::string_view Stripped(std::string_view text, std::string_view from_front,
                          std::string_view from_back) {
  const size_t begin = text.find_first_not_of(from_front);
  if (begin == std::string_view::npos) return {};
  text.remove_prefix(begin);
  const size_t end = text.find_last_not_of(from_back);
  return text.substr(0, end == std::string_view::npos ? 0 : end + 1);
}

// What stands between ``` and ```, with which many models surround JSON.
std::string_view WithoutFence(std::string_view text) {
  text = Stripped(text, kBlanks, kBlanks);
  if (!text.starts_with("```") || !text.ends_with("```") || text.size() < 6) return text;
  const size_t line = text.find('\n');
  if (line == std::string_view::npos || line + 3 > text.size()) return text;
  return Stripped(text.substr(line, text.size() - 3 - line), kBlanks, kBlanks);
}

class Reading {
 public:
  Reading(const Question& question, const ChatReply& reply)
      : question_(question), reply_(reply), folded_(AsciiLower(reply.content)) {}

  absl::Status Misfit(std::string_view why) const {
    return DataLoss("the model's answer {}: \"{}\"", why,
                    ShownText(WithoutSecrets(reply_.content.substr(0, 16 * 1024)), kShownBytes));
  }

  // Index of a label, -1 for "none" where it may be said, nullopt for anything else.
  std::optional<int32_t> LabelOf(std::string_view text) const {
    const std::string folded = AsciiLower(Stripped(text, kBlanks, kBlanks));
    for (size_t i = 0; i < question_.labels.size(); ++i) {
      if (AsciiLower(question_.labels[i]) == folded) return static_cast<int32_t>(i);
    }
    const bool none = question_.kind == AnswerKind::kOneLabel && question_.may_find_none;
    if (none && folded == "none") return -1;
    return std::nullopt;
  }

  // Of the label that the JSON holds as `value`, looked for behind the last one.
  float ConfidenceOf(const std::string& value) {
    if (reply_.tokens.empty()) return 1;
    const std::string quoted = "\"" + AsciiLower(value) + "\"";
    for (size_t at = folded_.find(quoted, searched_); at != std::string::npos;
         at = folded_.find(quoted, at + 1)) {
      const size_t behind = folded_.find_first_not_of(kBlanks, at + quoted.size());
      if (behind != std::string::npos && folded_[behind] == ':') continue;  // a key
      searched_ = at + quoted.size();
      return ConfidenceOf(at + 1, at + quoted.size() - 1);
    }
    return 1;  // written with escapes
  }
  // Of the content's bytes [begin, end).
  float ConfidenceOf(size_t begin, size_t end) const {
    double logprob = 0;
    for (const ChatToken& token : reply_.tokens) {
      if (token.begin < end && token.end > begin) logprob += token.logprob;
    }
    return static_cast<float>(std::exp(logprob));
  }
  float ConfidenceOfBare(std::string_view label) const {
    const size_t at = folded_.find(AsciiLower(label));
    return at == std::string::npos ? 1 : ConfidenceOf(at, at + label.size());
  }

 private:
  const Question& question_;
  const ChatReply& reply_;
  const std::string folded_;
  size_t searched_ = 0;
};

template <typename T>
void SortBest(std::vector<T>* results) {
  std::ranges::stable_sort(*results,
                           [](const T& a, const T& b) { return a.confidence > b.confidence; });
}

absl::StatusOr<Answer> OneLabel(const Question& question, const std::optional<json>& parsed,
                                std::string_view text, Reading* reading) {
  Answer answer;
  if (parsed && parsed->is_object()) {
    const std::string* value = Text(Member(&*parsed, "answer"));
    if (value == nullptr) return reading->Misfit("has no \"answer\"");
    const std::optional<int32_t> label = reading->LabelOf(*value);
    if (!label) return reading->Misfit("is none of the labels");
    if (*label >= 0) answer.classes.push_back({*label, reading->ConfidenceOf(*value)});
    return answer;
  }
  std::optional<int32_t> label = reading->LabelOf(text);
  if (!label) label = reading->LabelOf(Stripped(text, "\"'`*", "\"'`*."));
  if (!label) return reading->Misfit("is none of the labels");
  if (*label >= 0) {
    answer.classes.push_back({*label, reading->ConfidenceOfBare(question.labels[*label])});
  }
  return answer;
}

absl::StatusOr<Answer> SeveralLabels(const std::optional<json>& parsed, Reading* reading) {
  const json* list = parsed ? Member(&*parsed, "answers") : nullptr;
  if (list == nullptr || !list->is_array()) return reading->Misfit("has no list of \"answers\"");
  if (list->size() > kMostListed) return reading->Misfit("lists too much");
  Answer answer;
  for (const json& one : *list) {
    const std::string* value = Text(&one);
    const std::optional<int32_t> label = value ? reading->LabelOf(*value) : std::nullopt;
    if (!label) return reading->Misfit("has what is none of the labels");
    const auto same = [&](const ClassScore& score) { return score.class_id == *label; };
    if (std::ranges::any_of(answer.classes, same)) continue;
    answer.classes.push_back({*label, reading->ConfidenceOf(*value)});
  }
  SortBest(&answer.classes);
  return answer;
}

absl::StatusOr<Answer> Boxes(const Question& question, const std::optional<json>& parsed,
                             int sent_width, int sent_height, Reading* reading) {
  const json* list = parsed ? Member(&*parsed, "objects") : nullptr;
  if (list == nullptr || !list->is_array()) return reading->Misfit("has no list of \"objects\"");
  if (list->size() > kMostListed) return reading->Misfit("lists too much");
  const bool pixels = question.box_unit == BoxUnit::kPixels;
  const double width = pixels ? sent_width : 1000;
  const double height = pixels ? sent_height : 1000;
  Answer answer;
  for (const json& one : *list) {
    const std::string* value = Text(Member(&one, "label"));
    const std::optional<int32_t> label = value ? reading->LabelOf(*value) : std::nullopt;
    if (!label) return reading->Misfit("has an object with none of the labels");
    const json* box = Member(&one, "box");
    const bool four = box != nullptr && box->is_array() && box->size() == 4 &&
                      std::ranges::all_of(*box, [](const json& side) { return side.is_number(); });
    if (!four) return reading->Misfit("has an object without a box of four numbers");
    const auto share = [&](size_t i, double whole) {
      return std::clamp((*box)[i].get<double>() / whole, 0.0, 1.0);
    };
    const AnsweredBox found{.class_id = *label,
                            .confidence = reading->ConfidenceOf(*value),
                            .left = share(0, width),
                            .top = share(1, height),
                            .right = share(2, width),
                            .bottom = share(3, height)};
    if (found.right > found.left && found.bottom > found.top) answer.boxes.push_back(found);
  }
  SortBest(&answer.boxes);
  const auto most = static_cast<size_t>(std::max(0, question.max_boxes));
  if (answer.boxes.size() > most) answer.boxes.resize(most);
  return answer;
}

}  // namespace

absl::StatusOr<Answer> ParseAnswer(const Question& question, const ChatReply& reply, int sent_width,
                                   int sent_height) {
  Reading reading(question, reply);
  const std::string_view text = WithoutFence(reply.content);
  if (text.empty()) return DataLoss("the model's answer is empty");
  std::optional<json> parsed;
  if (text.front() == '{') {
    parsed = ParseHostileJson(text);
    if (!parsed) return reading.Misfit("is no whole JSON");
  }
  switch (question.kind) {
    case AnswerKind::kOneLabel:
      return OneLabel(question, parsed, text, &reading);
    case AnswerKind::kSeveralLabels:
      return SeveralLabels(parsed, &reading);
    case AnswerKind::kBoxes:
      return Boxes(question, parsed, sent_width, sent_height, &reading);
  }
  return Internal("a question of no kind");
}

}  // namespace sightline
