#include "pipeline/config/reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/nearest_word.h"
#include "base/time.h"
#include "pipeline/config/scalar.h"

namespace sightline::config {
namespace {

constexpr size_t kMaxTextBytes = 4096;
// Enough to fill the report many times over; bounds the memory of a hostile file.
constexpr size_t kMaxFindings = 1000;

std::string Join(const std::string& path, std::string_view key) {
  return path.empty() ? std::string(key) : fmt::format("{}.{}", path, key);
}

bool IsBoolWord(const YamlNode& node) {
  return node.plain && (node.text == "true" || node.text == "false");
}

std::string Found(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "nothing";
    case YamlNode::Kind::kMap:
      return "a map";
    case YamlNode::Kind::kSequence:
      return "a list";
    case YamlNode::Kind::kScalar:
      break;
  }
  int64_t integer = 0;
  double number = 0;
  if (IsBoolWord(node)) return node.text;
  if (node.plain && ReadNumber(node.text, integer, number) != NumberKind::kNone) {
    return fmt::format("the number {}", node.text.substr(0, 40));
  }
  return fmt::format("the text {}", Quote(node.text));
}

bool InRange(const Field& field, double value) {
  return value <= field.max && (field.min_excluded ? value > field.min : value >= field.min);
}

// The one section in which `key` would be right, for keys that are known but stand elsewhere; empty
// for keys of no section or of several.
std::string_view SectionOf(std::string_view key) {
  std::string_view found;
  for (const Section* section : AllSections()) {
    for (const Field& field : section->fields) {
      if (field.key != key) continue;
      if (!found.empty()) return {};
      found = section->name.empty() ? "the top level" : section->name;
    }
  }
  return found;
}

bool IsIdCharacter(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '-';
}

// Why the text is no id; empty when it is one.
std::string IdFault(std::string_view text) {
  for (const char c : text) {
    if (!IsIdCharacter(c)) {
      return fmt::format(
          "{} holds a character that file names should not; letters A-Z and a-z, "
          "digits, _, . and - are taken",
          Quote(text));
    }
  }
  if (text.size() > kMaxIdLength) {
    return fmt::format("{} has {} characters; {} is the most", Quote(text), text.size(),
                       kMaxIdLength);
  }
  if (text[0] == '.' || text[0] == '-') {
    return fmt::format("{} starts with \"{}\"; start with a letter or a digit", Quote(text),
                       text[0]);
  }
  return "";
}

}  // namespace

bool Reader::Fail(ConfigLocation at, std::string message) {
  if (findings_.errors.size() < kMaxFindings) findings_.errors.push_back({at, std::move(message)});
  return false;
}

bool Reader::WrongType(const YamlNode& node, const std::string& path, std::string_view wanted,
                       std::string_view hint) {
  return Fail(node.at, fmt::format("{}: wants {}, found {}{}", path, wanted, Found(node), hint));
}

void Reader::ReadSection(const Section& section, const YamlNode& node, void* target,
                         const std::string& path) {
  if (section.locate != nullptr) section.locate(target, node.at);
  if (node.kind != YamlNode::Kind::kMap) {
    WrongType(node, path.empty() ? "the file" : path, "a map (\"key: value\" lines, indented)");
    return;
  }
  CheckKeys(section, node, path);
  for (const Field& field : section.fields) {
    const auto entry = std::find_if(node.entries.begin(), node.entries.end(),
                                    [&](const auto& e) { return e.key == field.key; });
    const std::string field_path = Join(path, field.key);
    if (entry != node.entries.end()) {
      locations_[field_path] = entry->value->at;
      if (field.locate != nullptr) field.locate(target, entry->value->at);
      ReadField(field, *entry->value, target, field_path);
    } else if (field.required) {
      Fail(node.at,
           fmt::format("{} has no \"{}\"; add {}", path.empty() ? "the file" : path, field.key,
                       field.example.empty()
                           ? WantedWords(field)
                           : fmt::format("one, such as \"{}: {}\"", field.key, field.example)));
    }
  }
}

void Reader::CheckKeys(const Section& section, const YamlNode& node, const std::string& path) {
  std::vector<std::string_view> known;
  for (const Field& field : section.fields) known.push_back(field.key);
  const auto has = [&](std::string_view key) {
    return std::any_of(node.entries.begin(), node.entries.end(),
                       [&](const auto& e) { return e.key == key; });
  };
  const std::string where = path.empty() ? "at the top level" : "in " + path;
  for (const YamlNode::Entry& entry : node.entries) {
    if (std::find(known.begin(), known.end(), entry.key) != known.end()) continue;
    std::string hint;
    if (const std::string_view right = SectionOf(entry.key); !right.empty()) {
      hint = fmt::format("; it belongs in {}", right);
    } else if (const std::string near = NearestWord(entry.key, known); !near.empty()) {
      hint = fmt::format("; did you mean \"{}\"?", near);
    } else {
      hint = fmt::format("; the keys here are {}", fmt::join(known, ", "));
    }
    Fail(entry.key_at, fmt::format("unknown key {} {}{}", Quote(entry.key), where, hint));
  }
  if (!section.exactly_one_of.empty()) {
    const auto count =
        std::count_if(section.exactly_one_of.begin(), section.exactly_one_of.end(), has);
    if (count != 1) {
      Fail(node.at, fmt::format("{} has {} of {}; exactly one is needed", path,
                                count == 0 ? "none" : "more than one",
                                fmt::join(section.exactly_one_of, ", ")));
    }
  }
  for (const Field& field : section.fields) {
    if (!field.needs.empty() && has(field.key) && !has(field.needs)) {
      Fail(node.at, fmt::format("{} has \"{}\" but no \"{}\"; say what the numbers are", path,
                                field.key, field.needs));
      break;  // once, also when several keys need it
    }
  }
}

void Reader::ReadField(const Field& field, const YamlNode& node, void* target,
                       const std::string& path) {
  switch (field.type) {
    case FieldType::kSection:
      if (node.kind != YamlNode::Kind::kMap) {
        WrongType(node, path, WantedWords(field),
                  node.kind == YamlNode::Kind::kNull
                      ? fmt::format("; write \"{}: {{}}\" for the defaults", field.key)
                      : "");
        return;
      }
      ReadSection(*field.section, node, field.enter(target), path);
      return;
    case FieldType::kSectionList:
      ReadSectionList(field, node, target, path);
      return;
    default:
      break;
  }
  Value value;
  if (ReadValue(field, node, path, value)) field.set(target, std::move(value));
}

void Reader::ReadSectionList(const Field& field, const YamlNode& node, void* target,
                             const std::string& path) {
  if (node.kind != YamlNode::Kind::kSequence) {
    WrongType(node, path, WantedWords(field));
    return;
  }
  if (!CheckCount(field, node, path)) return;
  for (size_t i = 0; i < node.items.size(); ++i) {
    const std::string item_path = fmt::format("{}[{}]", path, i);
    locations_[item_path] = node.items[i]->at;
    ReadSection(*field.section, *node.items[i], field.enter(target), item_path);
  }
}

bool Reader::CheckCount(const Field& field, const YamlNode& node, const std::string& path) {
  const size_t count = node.items.size();
  if (count < field.min_items) {
    return Fail(node.at, fmt::format("{}: the list has {} entries; it needs at least {}", path,
                                     count, field.min_items));
  }
  if (count > field.max_items) {
    return Fail(node.at, fmt::format("{}: the list has {} entries; {} is the most", path, count,
                                     field.max_items));
  }
  return true;
}

bool Reader::ReadValue(const Field& field, const YamlNode& node, const std::string& path,
                       Value& value) {
  const std::string wanted = WantedWords(field);
  if (field.type == FieldType::kTextList || field.type == FieldType::kNumberList ||
      field.type == FieldType::kPoint || field.type == FieldType::kPoints) {
    return ReadList(field, node, path, value);
  }
  if (node.kind != YamlNode::Kind::kScalar) return WrongType(node, path, wanted);

  int64_t integer = 0;
  double number = 0;
  const NumberKind kind = ReadNumber(node.text, integer, number);
  switch (field.type) {
    case FieldType::kBool: {
      if (!IsBoolWord(node)) {
        return WrongType(node, path, wanted,
                         !node.plain && (node.text == "true" || node.text == "false")
                             ? "; remove the quotes"
                             : "");
      }
      value = node.text == "true";
      return true;
    }
    case FieldType::kInteger:
    case FieldType::kNumber: {
      const bool fits = kind == NumberKind::kInteger ||
                        (kind == NumberKind::kNumber && field.type == FieldType::kNumber);
      if (!node.plain || !fits) {
        return WrongType(node, path, wanted,
                         !node.plain && fits             ? "; remove the quotes"
                         : kind == NumberKind::kTooLarge ? "; that is too large"
                                                         : "");
      }
      if (!InRange(field, number)) return WrongType(node, path, wanted);
      if (field.type == FieldType::kInteger) {
        value = integer;
      } else {
        value = number;
      }
      return true;
    }
    case FieldType::kDuration: {
      const absl::StatusOr<int64_t> duration = ParseDurationUs(node.text);
      if (!duration.ok()) {
        return WrongType(node, path, wanted,
                         kind == NumberKind::kInteger || kind == NumberKind::kNumber
                             ? fmt::format("; a unit is missing: \"{}s\"?", node.text.substr(0, 40))
                             : "");
      }
      if (!InRange(field, static_cast<double>(*duration))) return WrongType(node, path, wanted);
      value = *duration;
      return true;
    }
    case FieldType::kTime: {
      const absl::StatusOr<int64_t> time = ParseUtc(node.text);
      // The library also takes "infinite-future".
      if (!time.ok() || node.text.find("inf") != std::string::npos) {
        return WrongType(node, path, wanted, "; date, T, time, and Z or an offset such as +02:00");
      }
      if (!InRange(field, static_cast<double>(*time))) {
        return WrongType(node, path, wanted, "; years 1970 to 9999 are taken");
      }
      value = *time;
      return true;
    }
    case FieldType::kChoice: {
      const auto at = std::find(field.choices.begin(), field.choices.end(), node.text);
      if (at == field.choices.end()) {
        const std::string near = NearestWord(node.text, field.choices);
        return WrongType(node, path, wanted,
                         near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near));
      }
      value = static_cast<int64_t>(at - field.choices.begin());
      return true;
    }
    default:
      return ReadText(field, node, path, value);
  }
}

bool Reader::ReadText(const Field& field, const YamlNode& node, const std::string& path,
                      Value& value) {
  const std::string& text = node.text;
  if (IsBoolWord(node)) {
    return WrongType(node, path, WantedWords(field), "; put it in quotes if it is meant");
  }
  if (text.empty()) return Fail(node.at, fmt::format("{}: the text is empty", path));
  if (text.size() > kMaxTextBytes) {
    return Fail(node.at, fmt::format("{}: the text has {} bytes; {} is the most", path, text.size(),
                                     kMaxTextBytes));
  }
  for (const unsigned char c : text) {
    if (c < 0x20 || c == 0x7F) {
      return Fail(node.at, fmt::format("{}: {} holds a line end or another control character", path,
                                       Quote(text)));
    }
  }
  const bool one_reference =
      text.starts_with("${") && text.find("${", 1) == std::string::npos && text.ends_with('}');
  if (field.type == FieldType::kSecret && !one_reference) {
    return Fail(node.at,
                fmt::format("{}: a secret does not belong into this file; name where it is: "
                            "${{env:NAME}} or ${{file:PATH}}",
                            path));
  }
  if (field.type == FieldType::kSource || field.type == FieldType::kSecret) {
    absl::StatusOr<SecretText> resolved = ResolveSecrets(text, sources_);
    if (!resolved.ok()) {
      return Fail(node.at, fmt::format("{}: {}", path, MessageOf(resolved.status())));
    }
    value = *std::move(resolved);
    return true;
  }
  if (HasReference(text)) {
    return Fail(node.at,
                fmt::format("{}: ${{...}} is taken only in a camera's source and in keys", path));
  }
  switch (field.type) {
    case FieldType::kId:
      if (const std::string fault = IdFault(text); !fault.empty()) {
        return Fail(node.at, fmt::format("{}: {}", path, fault));
      }
      value = text;
      return true;
    case FieldType::kLabel:
      if (text.size() > kMaxLabelLength) {
        return Fail(node.at, fmt::format("{}: {} has {} bytes; {} is the most", path, Quote(text),
                                         text.size(), kMaxLabelLength));
      }
      value = text;
      return true;
    case FieldType::kPath:
      if (text[0] == '~') {
        return Fail(node.at, fmt::format("{}: ~ is not replaced in {}; write the whole path", path,
                                         Quote(text)));
      }
      if (LooksLikeUrl(text)) {
        return Fail(node.at,
                    fmt::format("{}: {} is a URL; a local path is wanted", path, Quote(text)));
      }
      value = (std::filesystem::path(sources_.folder) / text).lexically_normal().string();
      return true;
    default:
      value = text;
      return true;
  }
}

bool Reader::ReadList(const Field& field, const YamlNode& node, const std::string& path,
                      Value& value) {
  if (node.kind != YamlNode::Kind::kSequence) return WrongType(node, path, WantedWords(field));
  if (field.type == FieldType::kPoint) {
    PointF point;
    if (!ReadPoint(node, path, point)) return false;
    value = point;
    return true;
  }
  if (!CheckCount(field, node, path)) return false;
  bool good = true;
  std::vector<std::string> texts;
  std::vector<int64_t> numbers;
  std::vector<PointF> points;
  for (size_t i = 0; i < node.items.size(); ++i) {
    const YamlNode& item = *node.items[i];
    const std::string item_path = fmt::format("{}[{}]", path, i);
    locations_[item_path] = item.at;
    if (field.type == FieldType::kPoints) {
      PointF point;
      good = ReadPoint(item, item_path, point) && good;
      points.push_back(point);
      continue;
    }
    if (field.type == FieldType::kNumberList) {
      Field number = field;
      number.type = FieldType::kInteger;
      Value read;
      good = ReadValue(number, item, item_path, read) && good;
      if (good) numbers.push_back(std::get<int64_t>(read));
      continue;
    }
    Field name;
    name.type = FieldType::kLabel;
    Value text;
    if (item.kind != YamlNode::Kind::kScalar) {
      good = WrongType(item, item_path, "a name");
    } else if (!ReadText(name, item, item_path, text)) {
      good = false;
    } else {
      texts.push_back(std::get<std::string>(std::move(text)));
    }
  }
  if (field.type == FieldType::kPoints) {
    value = std::move(points);
  } else if (field.type == FieldType::kNumberList) {
    value = std::move(numbers);
  } else {
    value = std::move(texts);
  }
  return good;
}

bool Reader::ReadPoint(const YamlNode& node, const std::string& path, PointF& point) {
  if (node.kind != YamlNode::Kind::kSequence || node.items.size() != 2) {
    return WrongType(node, path, "a point [x, y]",
                     node.kind == YamlNode::Kind::kSequence
                         ? fmt::format(" of {} entries", node.items.size())
                         : "");
  }
  double numbers[2] = {};
  for (size_t i = 0; i < 2; ++i) {
    const YamlNode& item = *node.items[i];
    int64_t integer = 0;
    if (item.kind != YamlNode::Kind::kScalar || !item.plain) {
      return WrongType(item, path, "numbers in [x, y]");
    }
    const NumberKind kind = ReadNumber(item.text, integer, numbers[i]);
    if (kind != NumberKind::kInteger && kind != NumberKind::kNumber) {
      return WrongType(item, path, "numbers in [x, y]");
    }
  }
  // Coordinates are checked against their real bounds once `coordinates` is known; this keeps them
  // within what a float holds exactly enough.
  for (const double number : numbers) {
    if (std::abs(number) > 1e6) {
      return Fail(node.at, fmt::format("{}: {} is no place in a picture", path, number));
    }
  }
  point = {static_cast<float>(numbers[0]), static_cast<float>(numbers[1])};
  return true;
}

}  // namespace sightline::config
