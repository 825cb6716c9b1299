#include "pipeline/config/document.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <exception>
#include <map>
#include <optional>
#include <sstream>

namespace sightline::config {
namespace {

// Leaves yaml-cpp's parser from within a callback; caught in ParseYaml.
struct Refusal : std::exception {
  Refusal(ConfigLocation where, std::string why) : error{where, std::move(why)} {}
  ConfigError error;
};

ConfigLocation Where(const YAML::Mark& mark) {
  if (mark.is_null()) return {};
  return {mark.line + 1, mark.column + 1};
}

class TreeBuilder final : public YAML::EventHandler {
 public:
  TreeBuilder(YamlDocument& document, std::vector<ConfigError>& errors)
      : document_(document), errors_(errors) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (document_.root != nullptr || seen_document_) {
      throw Refusal(Where(mark), "a second document starts here; a configuration is one document");
    }
    seen_document_ = true;
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (ExpectsKey()) throw Refusal(Where(mark), "a key is missing here");
    YamlNode& node = NewNode(YamlNode::Kind::kNull, mark, anchor);
    // yaml-cpp names the next token's place, which may be lines further on.
    if (!open_.empty() && open_.back().entry) node.at = open_.back().entry->key_at;
    Place(node, 1);
    Complete(anchor, 1, 1);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    RefuseTag(mark, tag);
    if (ExpectsKey()) {
      CountNodes(1, mark);
      if (value == "<<" && tag == "?") {
        throw Refusal(Where(mark), "merge keys (<<) are not taken; write the keys out");
      }
      open_.back().entry = YamlNode::Entry{value, Where(mark), nullptr};
      return;
    }
    YamlNode& node = NewNode(YamlNode::Kind::kScalar, mark, anchor);
    node.text = value;
    node.plain = tag == "?";
    Place(node, 1);
    Complete(anchor, 1, 1);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (ExpectsKey()) throw Refusal(Where(mark), "an alias cannot be a key");
    const auto it = anchors_.find(anchor);
    if (it == anchors_.end() || !it->second.complete) {
      throw Refusal(Where(mark), "this alias stands inside of what it refers to");
    }
    const Anchor& target = it->second;
    if (static_cast<int>(open_.size()) + target.height > kMaxYamlDepth) RefuseDepth(mark);
    CountNodes(target.nodes, mark);
    Place(*target.node, target.height);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Begin(YamlNode::Kind::kSequence, mark, tag, anchor);
  }
  void OnSequenceEnd() override { End(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Begin(YamlNode::Kind::kMap, mark, tag, anchor);
  }
  void OnMapEnd() override {
    DropDuplicates(*open_.back().node);
    End();
  }

 private:
  struct Open {
    YamlNode* node;
    YAML::anchor_t anchor;
    size_t nodes_before;
    int height = 1;                        // levels below and with this one
    std::optional<YamlNode::Entry> entry;  // a map's key that waits for its value
  };
  struct Anchor {
    const YamlNode* node = nullptr;
    size_t nodes = 0;
    int height = 0;
    bool complete = false;
  };

  bool ExpectsKey() const {
    return !open_.empty() && open_.back().node->kind == YamlNode::Kind::kMap &&
           !open_.back().entry.has_value();
  }

  static void RefuseTag(const YAML::Mark& mark, const std::string& tag) {
    if (!tag.empty() && tag != "?" && tag != "!") {
      throw Refusal(Where(mark), "tags (!) are not taken; a text that starts with ! needs quotes");
    }
  }
  [[noreturn]] static void RefuseDepth(const YAML::Mark& mark) {
    throw Refusal(Where(mark), fmt::format("nested deeper than {} levels", kMaxYamlDepth));
  }

  void CountNodes(size_t n, const YAML::Mark& mark) {
    nodes_ += n;
    if (nodes_ > kMaxYamlNodes) {
      throw Refusal(Where(mark), fmt::format("more than {} values, aliases expanded; split the "
                                             "configuration",
                                             kMaxYamlNodes));
    }
  }

  YamlNode& NewNode(YamlNode::Kind kind, const YAML::Mark& mark, YAML::anchor_t anchor) {
    CountNodes(1, mark);
    YamlNode& node = document_.nodes.emplace_back();
    node.kind = kind;
    node.at = Where(mark);
    if (anchor != 0) anchors_[anchor] = Anchor{&node, 0, 0, false};
    return node;
  }
  void Complete(YAML::anchor_t anchor, size_t nodes, int height) {
    if (anchor == 0) return;
    Anchor& done = anchors_[anchor];
    done.nodes = nodes;
    done.height = height;
    done.complete = true;
  }

  void Place(const YamlNode& node, int height) {
    if (open_.empty()) {
      document_.root = &node;
      return;
    }
    Open& parent = open_.back();
    parent.height = std::max(parent.height, height + 1);
    if (parent.node->kind == YamlNode::Kind::kSequence) {
      parent.node->items.push_back(&node);
    } else {
      parent.entry->value = &node;
      parent.node->entries.push_back(std::move(*parent.entry));
      parent.entry.reset();
    }
  }

  void Begin(YamlNode::Kind kind, const YAML::Mark& mark, const std::string& tag,
             YAML::anchor_t anchor) {
    RefuseTag(mark, tag);
    if (ExpectsKey()) {
      throw Refusal(Where(mark),
                    "a key must be a plain word, not a list or a map; a text that "
                    "starts with [ or { needs quotes");
    }
    if (static_cast<int>(open_.size()) >= kMaxYamlDepth) RefuseDepth(mark);
    const size_t before = nodes_;
    YamlNode& node = NewNode(kind, mark, anchor);
    Place(node, 1);
    open_.push_back(Open{&node, anchor, before, 1, std::nullopt});
  }
  void End() {
    const Open closed = std::move(open_.back());
    open_.pop_back();
    if (!open_.empty()) open_.back().height = std::max(open_.back().height, closed.height + 1);
    Complete(closed.anchor, nodes_ - closed.nodes_before, closed.height);
  }

  void DropDuplicates(YamlNode& map) {
    std::map<std::string_view, ConfigLocation> first;
    std::vector<YamlNode::Entry> unique;
    unique.reserve(map.entries.size());
    for (const YamlNode::Entry& entry : map.entries) {
      const auto [it, fresh] = first.try_emplace(entry.key, entry.key_at);
      if (fresh) {
        unique.push_back(entry);
      } else {
        errors_.push_back({entry.key_at, fmt::format("the key {} stands here a second time; the "
                                                     "first is in line {}",
                                                     Quote(entry.key), it->second.line)});
      }
    }
    map.entries = std::move(unique);
  }

  YamlDocument& document_;
  std::vector<ConfigError>& errors_;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, Anchor> anchors_;
  size_t nodes_ = 0;
  bool seen_document_ = false;
};

// Length of the UTF-8 sequence at `i`, or 0 when it is none (RFC 3629: no overlong forms, no
// surrogates, at most U+10FFFF).
size_t Utf8Length(std::string_view text, size_t i) {
  const auto byte = [&](size_t k) { return static_cast<uint8_t>(text[k]); };
  const uint8_t lead = byte(i);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                        : (lead & 0xF0) == 0xE0        ? 3
                        : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                       : 0;
  if (length == 0 || i + length > text.size()) return 0;
  for (size_t k = 1; k < length; ++k) {
    if ((byte(i + k) & 0xC0) != 0x80) return 0;
  }
  const uint8_t second = byte(i + 1);
  if (lead == 0xE0 && second < 0xA0) return 0;
  if (lead == 0xED && second > 0x9F) return 0;
  if (lead == 0xF0 && second < 0x90) return 0;
  if (lead == 0xF4 && second > 0x8F) return 0;
  return length;
}

// What no configuration holds and yaml-cpp takes or explains badly.
std::optional<ConfigError> FindBadBytes(std::string_view text) {
  int line = 1;
  size_t line_start = 0;
  bool indentation = true;
  std::optional<ConfigLocation> tab;
  for (size_t i = 0; i < text.size();) {
    const ConfigLocation here{line, static_cast<int>(i - line_start) + 1};
    const auto c = static_cast<uint8_t>(text[i]);
    const size_t length = Utf8Length(text, i);
    if (length == 0) return ConfigError{here, "not UTF-8; save the file as UTF-8"};
    if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7F) {
      return ConfigError{here, fmt::format("a control character (byte {:#04x})", c)};
    }
    if (c == '\n') {
      ++line;
      line_start = i + 1;
      indentation = true;
      tab.reset();
    } else if (indentation && c == '\t') {
      if (!tab) tab = here;
    } else if (c != ' ' && c != '\r') {
      if (indentation && tab && c != '#') {
        return ConfigError{*tab, "a tab in the indentation; YAML takes only spaces there"};
      }
      indentation = false;
    }
    i += length;
  }
  return std::nullopt;
}

std::string_view LineOf(std::string_view text, int line) {
  for (int k = 1; k < line; ++k) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 1);
  }
  return text.substr(0, text.find('\n'));
}

// yaml-cpp's words, with what usually lies behind them.
std::string Explain(std::string_view text, const YAML::Exception& error) {
  const std::string& words = error.msg;
  std::string_view hint;
  const auto has = [&](std::string_view part) { return words.find(part) != std::string::npos; };
  if (has("anchor") || has("alias")) {
    hint = "; a text that starts with * or & needs quotes";
  } else if (has("illegal map value")) {
    hint =
        "; a text with \": \" in it needs quotes, and a key with text behind it can have no "
        "keys below";
  } else if (has("end of map") || has("end of sequence") || has("bad indentation")) {
    const std::string_view line = LineOf(text, error.mark.line + 1);
    hint = line.find(':') == std::string_view::npos
               ? "; is a \":\" missing here?"
               : "; does this line start in the same column as its neighbours? A text that starts "
                 "with [, {, \" or ' and goes on behind its end needs quotes";
  } else if (has("flow")) {
    hint = "; is a ], } or quotes missing?";
  }
  return fmt::format("not valid YAML: {}{}", words, hint);
}

}  // namespace

std::unique_ptr<YamlDocument> ParseYaml(std::string_view text, std::vector<ConfigError>& errors) {
  if (text.substr(0, 3) == "\xEF\xBB\xBF") text.remove_prefix(3);  // a byte order mark
  if (std::optional<ConfigError> bad = FindBadBytes(text)) {
    errors.push_back(std::move(*bad));
    return nullptr;
  }
  auto document = std::make_unique<YamlDocument>();
  TreeBuilder builder(*document, errors);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
    return document;
  } catch (const Refusal& refusal) {
    errors.push_back(refusal.error);
  } catch (const YAML::Exception& error) {
    errors.push_back({Where(error.mark), Explain(text, error)});
  } catch (const std::exception& error) {
    errors.push_back({{}, fmt::format("the file cannot be read as YAML: {}", error.what())});
  }
  return nullptr;
}

std::string Quote(std::string_view text) {
  constexpr size_t kMax = 60;
  const std::string masked = MaskSecrets(text);
  std::string quoted = "\"";
  for (size_t i = 0; i < masked.size();) {
    if (i >= kMax) {
      quoted += "...";
      break;
    }
    const size_t length = Utf8Length(masked, i);
    const auto c = static_cast<uint8_t>(masked[i]);
    if (length == 0 || c < 0x20 || c == 0x7F) {
      quoted += fmt::format("\\x{:02x}", c);
      ++i;
    } else {
      quoted.append(masked, i, length);
      i += length;
    }
  }
  return quoted + "\"";
}

}  // namespace sightline::config
