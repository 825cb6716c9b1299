// Reading model.yaml.
#include "infer/model_package.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <optional>
#include <set>
#include <sstream>
#include <utility>

#include "base/nearest_word.h"
#include "base/whole_file.h"
#include "infer/coco_labels.h"
#include "infer/model_store.h"
#include "infer/model_words.h"

namespace sightline {
namespace {

constexpr uint64_t kMaxYamlBytes = 1 << 20;  // the longest label lists have a few hundred KiB
constexpr uint64_t kMaxLabelBytes = 16 << 20;
constexpr size_t kMaxLabels = 100'000;
constexpr size_t kMaxTextBytes = 200;  // of one label or name; chosen
constexpr size_t kMaxReasonBytes = 2'000;
constexpr int kMaxSidePx = 16'384;
constexpr int kMaxBorderPx = 1'000;  // chosen
constexpr int kFormat = 1;

// What is wrong, and where. Thrown and caught in this file only.
struct Refusal {
  YAML::Mark mark;
  std::string message;
};

template <typename... Args>
[[noreturn]] void Refuse(const YAML::Node& node, fmt::format_string<Args...> format,
                         Args&&... args) {
  throw Refusal{node.Mark(), fmt::format(format, std::forward<Args>(args)...)};
}

// UTF-8 (RFC 3629) without control characters: whatever enters here goes to terminals and JSON.
bool IsText(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    if (lead < 0x20 || lead == 0x7f) return false;
    const size_t length = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : 4;
    if (length == 4 && lead >> 3 != 30) return false;
    if (i + length > text.size()) return false;
    uint32_t code = length == 1 ? lead : lead & (0x7fu >> length);
    for (size_t k = 1; k < length; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if (next >> 6 != 2) return false;
      code = code << 6 | (next & 0x3f);
    }
    constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (code < kSmallest[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
      return false;
    }
    i += length;
  }
  return true;
}

std::string Text(const YAML::Node& node, size_t longest = kMaxTextBytes) {
  if (!node.IsScalar()) Refuse(node, "a text is expected");
  const std::string& text = node.Scalar();
  if (text.size() > longest) Refuse(node, "the text is longer than {} bytes", longest);
  if (!IsText(text)) Refuse(node, "the text holds control characters or is not UTF-8");
  return text;
}

std::string NonEmptyText(const YAML::Node& node) {
  std::string text = Text(node);
  if (text.empty()) Refuse(node, "the text is empty");
  return text;
}

// yaml-cpp marks quoted scalars with the tag "!".
bool IsPlain(const YAML::Node& node) { return node.IsScalar() && node.Tag() != "!"; }

int Integer(const YAML::Node& node, int min, int max) {
  int value = 0;
  if (IsPlain(node)) {
    const std::string& text = node.Scalar();
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && end == text.data() + text.size() && value >= min && value <= max) {
      return value;
    }
  }
  Refuse(node, "a whole number from {} to {} is expected", min, max);
}

float Number(const YAML::Node& node, float min, float max) {
  float value = 0;
  if (IsPlain(node)) {
    const std::string& text = node.Scalar();
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && end == text.data() + text.size() && value >= min && value <= max) {
      return value;
    }
  }
  Refuse(node, "a number from {} to {} is expected", min, max);
}

bool Truth(const YAML::Node& node) {
  if (IsPlain(node) && node.Scalar() == "true") return true;
  if (IsPlain(node) && node.Scalar() == "false") return false;
  Refuse(node, "true or false is expected");
}

template <typename T, size_t N>
T OneOf(const YAML::Node& node, const WordTable<T, N>& table) {
  const std::string text = Text(node);
  std::string words;
  std::array<std::string_view, N> known;
  for (size_t i = 0; i < N; ++i) {
    if (table[i].first == text) return table[i].second;
    known[i] = table[i].first;
    words += (i > 0 ? ", " : "") + std::string(known[i]);
  }
  const std::string nearest = NearestWord(text, known);
  Refuse(node, "\"{}\" is none of {}{}", text, words,
         nearest.empty() ? "" : "; did you mean \"" + nearest + "\"?");
}

template <typename T, typename ReadItem>
void Triple(const YAML::Node& node, std::array<T, 3>& values, ReadItem read) {
  if (!node.IsSequence() || node.size() != 3) {
    Refuse(node, "a list of three numbers is expected, one a channel");
  }
  for (size_t i = 0; i < 3; ++i) values[i] = static_cast<T>(read(node[i]));
}

std::vector<float> Numbers(const YAML::Node& node, size_t most, float min, float max) {
  if (!node.IsSequence() || node.size() > most || node.size() == 0) {
    Refuse(node, "a list of 1 to {} numbers is expected", most);
  }
  std::vector<float> numbers;
  for (const YAML::Node& item : node) numbers.push_back(Number(item, min, max));
  return numbers;
}

std::vector<std::string> Texts(const YAML::Node& node, size_t most, size_t longest) {
  if (!node.IsSequence()) Refuse(node, "a list is expected");
  if (node.size() > most) Refuse(node, "the list is longer than {}", most);
  std::vector<std::string> texts;
  texts.reserve(node.size());
  for (const YAML::Node& item : node) {
    texts.push_back(item.IsNull() ? std::string() : Text(item, longest));
  }
  return texts;
}

struct Target {
  ModelPackage package;
  std::string labels_file;
  bool partial = false;  // the text changes a package that is there, so no key is required
  ModelSpec& spec() { return package.spec; }
};

struct Key {
  std::string_view name;
  bool required;
  void (*read)(const YAML::Node& node, Target& target);
};

constexpr int kMaxClasses = 100'000;  // as many as labels; chosen
constexpr int kMaxKeypoints = 1'000;  // chosen
constexpr float kHuge = 1e9f;         // bounds mean and scale, so that no tensor value overflows
constexpr size_t kMaxAnchorNumbers = 200;  // chosen; models have 12 to 24
constexpr size_t kMaxMaps = 10;            // chosen; models have two to four
constexpr float kLeastScaleXy = 0.1f, kMostScaleXy = 10;

constexpr Key kInputKeys[] = {
    {"name", true, [](const YAML::Node& n, Target& t) { t.spec().input_name = NonEmptyText(n); }},
    {"size_name", false,
     [](const YAML::Node& n, Target& t) { t.spec().size_input_name = NonEmptyText(n); }},
    {"width", true,
     [](const YAML::Node& n, Target& t) { t.spec().input.width = Integer(n, 1, kMaxSidePx); }},
    {"height", true,
     [](const YAML::Node& n, Target& t) { t.spec().input.height = Integer(n, 1, kMaxSidePx); }},
    {"resize", true,
     [](const YAML::Node& n, Target& t) { t.spec().input.resize = OneOf(n, kResizeWords); }},
    {"rounding", false,
     [](const YAML::Node& n, Target& t) { t.spec().input.rounding = OneOf(n, kRoundingWords); }},
    {"crop_from", false,
     [](const YAML::Node& n, Target& t) { t.spec().input.crop_from = Integer(n, 1, kMaxSidePx); }},
    {"border", false,
     [](const YAML::Node& n, Target& t) { t.spec().input.border = Integer(n, 0, kMaxBorderPx); }},
    {"interpolation", true,
     [](const YAML::Node& n, Target& t) {
       t.spec().input.interpolation = OneOf(n, kInterpolationWords);
     }},
    {"channels", true,
     [](const YAML::Node& n, Target& t) { t.spec().input.channels = OneOf(n, kChannelWords); }},
    {"layout", false,
     [](const YAML::Node& n, Target& t) { t.spec().input.layout = OneOf(n, kLayoutWords); }},
    {"dtype", false,
     [](const YAML::Node& n, Target& t) { t.spec().input.dtype = OneOf(n, kDtypeWords); }},
    {"mean", true,
     [](const YAML::Node& n, Target& t) {
       Triple(n, t.spec().input.mean, [](const auto& v) { return Number(v, -kHuge, kHuge); });
     }},
    {"scale", true,
     [](const YAML::Node& n, Target& t) {
       Triple(n, t.spec().input.scale, [](const auto& v) {
         const float scale = Number(v, -kHuge, kHuge);
         if (scale == 0) Refuse(v, "a scale of 0 makes every picture black");
         return scale;
       });
     }},
    {"pad", false,
     [](const YAML::Node& n, Target& t) {
       Triple(n, t.spec().input.pad_value, [](const auto& v) { return Integer(v, 0, 255); });
     }},
    {"batch", false,
     [](const YAML::Node& n, Target& t) {
       t.spec().batch = IsPlain(n) && n.Scalar() == "any" ? 0 : Integer(n, 1, 4096);
     }},
};

constexpr Key kNmsKeys[] = {
    {"kind", false,
     [](const YAML::Node& n, Target& t) { t.spec().nms.kind = OneOf(n, kNmsWords); }},
    {"iou", false,
     [](const YAML::Node& n, Target& t) { t.spec().nms.iou_threshold = Number(n, 0, 1); }},
    {"sigma", false,
     [](const YAML::Node& n, Target& t) { t.spec().nms.sigma = Number(n, 1e-3f, 1e3f); }},
    {"class_aware", false,
     [](const YAML::Node& n, Target& t) { t.spec().nms.class_aware = Truth(n); }},
    {"max_detections", false,
     [](const YAML::Node& n, Target& t) { t.spec().nms.max_detections = Integer(n, 1, 100'000); }},
};

// Keys that are required are asked for unless the target is filled already.
void ReadMap(const YAML::Node& node, std::span<const Key> keys, Target& target);

void ReadInputKey(const YAML::Node& node, Target& target) {
  ReadMap(node, kInputKeys, target);
  // Here rather than where they are read: the keys may stand in any order.
  const ResizeMode resize = target.spec().input.resize;
  if (const YAML::Node border = node["border"]; border && resize != ResizeMode::kLetterboxCenter) {
    Refuse(border, "border says something with \"resize: letterbox_center\" only");
  }
  if (const YAML::Node crop_from = node["crop_from"];
      crop_from && resize != ResizeMode::kCenterCrop) {
    Refuse(crop_from, "crop_from says something with \"resize: center_crop\" only");
  }
}

void ReadLabelsKey(const YAML::Node& node, Target& target) {
  if (node.IsScalar()) {
    target.labels_file = NonEmptyText(node);
    return;
  }
  auto labels = std::make_shared<LabelSet>();
  labels->names = Texts(node, kMaxLabels, kMaxTextBytes);
  target.spec().labels = std::move(labels);
}

std::string Sha256(const YAML::Node& node) {
  const std::string text = Text(node);
  const bool hex = std::ranges::all_of(
      text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
  if (text.size() != 64 || !hex) Refuse(node, "64 hexadecimal digits (0-9, a-f) are expected");
  return text;
}

std::string FileInPackage(const YAML::Node& node) {
  std::string name = NonEmptyText(node);
  if (name.find('/') != std::string::npos || name.starts_with('.')) {
    Refuse(node, "the file must lie in the package's own folder: give its name alone");
  }
  return name;
}

constexpr Key kPackageKeys[] = {
    {"format", true,
     [](const YAML::Node& n, Target&) {
       if (Integer(n, 1, 1'000'000) != kFormat) {
         Refuse(n, "this program reads format {}; the package is for a newer one", kFormat);
       }
     }},
    {"name", true,
     [](const YAML::Node& n, Target& t) {
       t.spec().name = Text(n);
       const absl::Status status = CheckModelName(t.spec().name);
       if (!status.ok()) Refuse(n, "{}", MessageOf(status));
     }},
    {"file", true, [](const YAML::Node& n, Target& t) { t.spec().file = FileInPackage(n); }},
    {"sha256", true, [](const YAML::Node& n, Target& t) { t.spec().sha256 = Sha256(n); }},
    {"companion", false,
     [](const YAML::Node& n, Target& t) { t.spec().companion_file = FileInPackage(n); }},
    {"companion_sha256", false,
     [](const YAML::Node& n, Target& t) { t.spec().companion_sha256 = Sha256(n); }},
    {"family", true, [](const YAML::Node& n, Target& t) { t.spec().family = NonEmptyText(n); }},
    {"layout", false, [](const YAML::Node& n, Target& t) { t.spec().layout = Text(n); }},
    {"labels", false, ReadLabelsKey},
    {"classes", false,
     [](const YAML::Node& n, Target& t) { t.spec().classes = Integer(n, 1, kMaxClasses); }},
    {"keypoints", false,
     [](const YAML::Node& n, Target& t) { t.spec().keypoints = Integer(n, 1, kMaxKeypoints); }},
    {"anchors", false,
     [](const YAML::Node& n, Target& t) {
       t.spec().anchors = Numbers(n, kMaxAnchorNumbers, 1e-3f, kMaxSidePx);
     }},
    {"scale_xy", false,
     [](const YAML::Node& n, Target& t) {
       t.spec().scale_xy = Numbers(n, kMaxMaps, kLeastScaleXy, kMostScaleXy);
     }},
    {"input", true, ReadInputKey},
    {"outputs", true,
     [](const YAML::Node& n, Target& t) {
       t.spec().output_names = Texts(n, 256, kMaxTextBytes);
       if (t.spec().output_names.empty()) Refuse(n, "at least one output is needed");
     }},
    {"confidence", false,
     [](const YAML::Node& n, Target& t) { t.spec().confidence_threshold = Number(n, 0, 1); }},
    {"nms", false, [](const YAML::Node& n, Target& t) { ReadMap(n, kNmsKeys, t); }},
    {"why", false,
     [](const YAML::Node& n, Target& t) { t.package.why = Texts(n, 1000, kMaxReasonBytes); }},
};

const Key* FindKey(std::span<const Key> keys, std::string_view name) {
  const auto found = std::ranges::find(keys, name, &Key::name);
  return found == keys.end() ? nullptr : &*found;
}

std::string UnknownKey(std::span<const Key> keys, std::string_view name) {
  std::vector<std::string_view> known;
  for (const Key& key : keys) known.push_back(key.name);
  const std::string nearest = NearestWord(name, known);
  return fmt::format("unknown key \"{}\"{}", name,
                     nearest.empty() ? fmt::format("; known are {}", fmt::join(known, ", "))
                                     : fmt::format(", did you mean \"{}\"?", nearest));
}

void ReadMap(const YAML::Node& node, std::span<const Key> keys, Target& target) {
  if (!node.IsMap()) Refuse(node, "keys with values are expected");
  std::set<std::string_view> seen;
  for (const auto& entry : node) {
    const std::string name = Text(entry.first);
    const Key* key = FindKey(keys, name);
    if (key == nullptr) throw Refusal{entry.first.Mark(), UnknownKey(keys, name)};
    if (!seen.insert(key->name).second) Refuse(entry.first, "\"{}\" stands here twice", name);
    key->read(entry.second, target);
  }
  for (const Key& key : keys) {
    if (key.required && !target.partial && !seen.contains(key.name))
      Refuse(node, "\"{}\" is missing", key.name);
  }
}

absl::Status AtMark(const std::string& where, const YAML::Mark& mark, std::string_view message) {
  if (mark.line < 0) return InvalidArgument("{}: {}", where, message);
  return InvalidArgument("{}:{}:{}: {}", where, mark.line + 1, mark.column + 1, message);
}

// Refuses more than one document. YAML::LoadAll would do, but in version 0.7 it finds documents
// without end in a text that starts with a comma, until the memory is full.
class OneDocument final : public YAML::EventHandler {
 public:
  static void Check(const std::string& text) {
    OneDocument handler;
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(handler)) {
    }
  }
  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1)
      throw Refusal{mark, "a second YAML document starts here; one is expected"};
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t,
                const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}

 private:
  int documents_ = 0;
};

absl::StatusOr<Target> Parse(std::string_view yaml, const std::string& where, Target target = {}) {
  if (yaml.size() > kMaxYamlBytes) {
    return ResourceExhausted("{}: longer than {} bytes", where, kMaxYamlBytes);
  }
  try {
    const std::string text(yaml);
    OneDocument::Check(text);
    ReadMap(YAML::Load(text), kPackageKeys, target);
    if (target.spec().labels == nullptr) target.spec().labels = std::make_shared<LabelSet>();
    return target;
  } catch (const Refusal& refusal) {
    return AtMark(where, refusal.mark, refusal.message);
  } catch (const YAML::Exception& e) {
    return AtMark(where, e.mark, e.msg);
  } catch (const std::exception& e) {
    return InvalidArgument("{}: {}", where, e.what());
  }
}

// The labels that a package names instead of listing them: "coco80", or a file in its folder.
absl::StatusOr<std::shared_ptr<const LabelSet>> NamedLabels(const std::string& name,
                                                            const std::filesystem::path& folder) {
  if (name == "coco80") return CocoLabels();
  return ReadLabels((folder / name).string());
}

}  // namespace

absl::StatusOr<ModelPackage> ParseModelPackage(std::string_view yaml, const std::string& where,
                                               std::string* labels_file) {
  SL_ASSIGN_OR_RETURN(Target target, Parse(yaml, where));
  if (labels_file != nullptr) *labels_file = target.labels_file;
  return std::move(target.package);
}

absl::StatusOr<std::shared_ptr<const LabelSet>> ReadLabels(const std::string& path) {
  SL_ASSIGN_OR_RETURN(const std::string content, ReadWholeFile(path, kMaxLabelBytes));
  std::string_view rest = content;
  if (rest.starts_with("\xef\xbb\xbf")) rest.remove_prefix(3);  // a byte order mark
  while (!rest.empty() && (rest.back() == '\n' || rest.back() == '\r')) rest.remove_suffix(1);
  auto labels = std::make_shared<LabelSet>();
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.size() > kMaxTextBytes || !IsText(line) || labels->names.size() == kMaxLabels) {
      return InvalidArgument(
          "{}:{}: class names are expected, one a line, at most {} bytes of UTF-8", path,
          labels->names.size() + 1, kMaxTextBytes);
    }
    labels->names.emplace_back(line);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  if (labels->names.empty()) return InvalidArgument("{} holds no class names", path);
  return std::shared_ptr<const LabelSet>(std::move(labels));
}

absl::Status ApplyModelYaml(std::string_view yaml, const std::string& where,
                            const std::string& labels_folder, ModelPackage& package) {
  SL_ASSIGN_OR_RETURN(Target target,
                      Parse(yaml, where, {.package = package, .labels_file = "", .partial = true}));
  if (!target.labels_file.empty()) {
    SL_ASSIGN_OR_RETURN(target.spec().labels, NamedLabels(target.labels_file, labels_folder));
  }
  // Which files there are is no matter of their description: its names would be looked for elsewhere.
  target.spec().companion_file = package.spec.companion_file;
  target.spec().companion_sha256 = package.spec.companion_sha256;
  package = std::move(target.package);
  return absl::OkStatus();
}

absl::Status SetInModelPackage(std::string_view key, std::string_view value,
                               ModelPackage& package) {
  const std::string where = fmt::format("--set {}={}", key, value);
  const size_t dot = key.find('.');
  const std::string_view head = key.substr(0, dot);
  std::span<const Key> keys = kPackageKeys;
  std::string_view name = head;
  if (dot != std::string_view::npos && (head == "input" || head == "nms")) {
    keys = head == "input" ? std::span<const Key>(kInputKeys) : std::span<const Key>(kNmsKeys);
    name = key.substr(dot + 1);
  }
  const Key* found = FindKey(keys, name);
  if (found == nullptr) return InvalidArgument("{}: {}", where, UnknownKey(keys, name));
  if (keys.data() == kPackageKeys &&
      (name == "format" || name == "file" || name == "sha256" || name.starts_with("companion"))) {
    return InvalidArgument("{}: that comes from the file and cannot be set", where);
  }
  try {
    Target target{.package = package, .labels_file = "", .partial = true};
    found->read(YAML::Load(std::string(value)), target);
    if (!target.labels_file.empty()) {
      SL_ASSIGN_OR_RETURN(target.spec().labels, NamedLabels(target.labels_file, ""));
    }
    package = std::move(target.package);
    return absl::OkStatus();
  } catch (const Refusal& refusal) {
    return InvalidArgument("{}: {}", where, refusal.message);
  } catch (const YAML::Exception& e) {
    return InvalidArgument("{}: {}", where, e.msg);
  }
}

}  // namespace sightline
