// The one table of the configuration's keys: what the parser accepts, what the JSON Schema and
// docs/configuration.md say, and what enters a camera's identity all come from here.
//
// A Section is a map in the file, a Field one key of it. Fields reach the typed structs of config.h
// through three functions each (set, get, enter), made from member pointers in fields.cc.
// Private to pipeline/config.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "pipeline/config/config.h"

namespace sightline::config {

enum class FieldType : uint8_t {
  kBool,        // bool
  kInteger,     // int64_t
  kNumber,      // double
  kDuration,    // int64_t, microseconds
  kTime,        // int64_t, microseconds of UTC
  kChoice,      // int64_t, index into `choices`
  kId,          // std::string, [A-Za-z0-9_.-], at most 50: becomes part of file names
  kLabel,       // std::string, a name for people, at most 100 bytes
  kText,        // std::string
  kPath,        // std::string, made absolute
  kSource,      // SecretText
  kSecret,      // SecretText, with a reference in it: nobody writes a key into the file
  kTextList,    // std::vector<std::string>
  kNumberList,  // std::vector<int64_t>, each within min and max
  kPoint,       // PointF
  kPoints,      // std::vector<PointF>
  kSection,     // a map with keys of its own
  kSectionList  // a list of such maps
};

using Value =
    std::variant<std::monostate, bool, int64_t, double, std::string, std::vector<std::string>,
                 std::vector<int64_t>, PointF, std::vector<PointF>, SecretText>;

struct Section;

struct Field {
  std::string_view key;
  FieldType type = FieldType::kText;
  std::string_view description;  // a sentence or two in Markdown, without the default

  bool required = false;
  bool affects_results = false;  // enters the camera's identity
  std::string_view needs;        // another key of the section that must be there as well
  std::string_view unset_means;  // default in words, where the struct's default is "unset"
  std::string_view example;
  double min = -std::numeric_limits<double>::infinity();  // kDuration: microseconds
  double max = std::numeric_limits<double>::infinity();
  bool min_excluded = false;
  size_t min_items = 0;  // of lists
  size_t max_items = 1000;
  std::span<const std::string_view> choices;
  const Section* section = nullptr;

  // `target` is the struct that the field's section fills.
  void (*set)(void* target, Value&& value) = nullptr;
  Value (*get)(const void* target) = nullptr;  // monostate when unset
  // kSection: the struct that the inner section fills, made when it is optional.
  // kSectionList: a new last element.
  void* (*enter)(void* target) = nullptr;
  // kSection: the inner struct, null when it is optional and unset. kSectionList: element `index`,
  // null behind the last one.
  const void* (*element)(const void* target, size_t index) = nullptr;
  // Where the value stands, for those who complain about it later; may be null.
  void (*locate)(void* target, ConfigLocation at) = nullptr;
};

struct Section {
  std::string_view name;  // as in the documents: "cameras[].zones[]"; "" is the file itself
  std::string_view description;
  std::span<const Field> fields;
  std::span<const std::string_view> exactly_one_of = {};  // keys
  void (*locate)(void* target, ConfigLocation at) = nullptr;
};

// The whole file, filling a Config.
const Section& FileSection();

// Calls visit(section) for the file's section and every one below it, in the order of the
// documents. Sections that stand under several keys (tracker) come once.
std::vector<const Section*> AllSections();

// A struct with every default, for reading defaults from: the target of `section`.
const void* DefaultTarget(const Section& section);

inline constexpr size_t kMaxIdLength = 50;
inline constexpr size_t kMaxLabelLength = 100;

// The value as YAML would have it ("0.5", "[a, b]", "2s"); empty for monostate.
std::string FormatValue(const Field& field, const Value& value);
// "2s", "250ms", "1500us": the largest unit that divides it.
std::string FormatDuration(int64_t duration_us);

// "a whole number from 1 to 64": what the field takes, for messages and documents.
std::string WantedWords(const Field& field);

}  // namespace sightline::config
