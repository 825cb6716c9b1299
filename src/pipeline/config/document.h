// YAML text as a tree with locations, and everything refused that hides mistakes.
//
// Adapts yaml-cpp's event parser: no exception and no type of it leaves document.cc. Its own tree
// (YAML::Node) is not used, because it keeps the last of two equal keys silently and expands
// aliases without a limit. For pipeline/config and the configuration of `sightline serve`.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/config/parse.h"

namespace sightline::config {

inline constexpr int kMaxYamlDepth = 32;
inline constexpr size_t kMaxYamlNodes = 50'000;  // with aliases expanded

struct YamlNode {
  enum class Kind : uint8_t { kNull, kScalar, kSequence, kMap };
  struct Entry {
    std::string key;
    ConfigLocation key_at;
    const YamlNode* value = nullptr;
  };

  Kind kind = Kind::kNull;
  ConfigLocation at;
  std::string text;                    // kScalar
  bool plain = true;                   // kScalar: not in quotes and no block
  std::vector<Entry> entries;          // kMap: keys are unique
  std::vector<const YamlNode*> items;  // kSequence
};

// Owns its nodes; root is null for an empty text. Nodes reached over aliases are shared, there are
// no cycles.
struct YamlDocument {
  std::deque<YamlNode> nodes;
  const YamlNode* root = nullptr;
};

// Null, with one error added, when the text is no single well-formed document within the limits.
// Duplicate keys are errors too, but the tree is still given (with the first of them).
std::unique_ptr<YamlDocument> ParseYaml(std::string_view text, std::vector<ConfigError>& errors);

// The text in quotes for a message: control characters escaped, passwords in URLs masked, cut after
// 60 bytes.
std::string Quote(std::string_view text);

}  // namespace sightline::config
