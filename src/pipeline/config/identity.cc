#include <fmt/format.h>

#include <algorithm>

#include "pipeline/config/fields.h"

namespace sightline {
namespace {

using config::Field;
using config::FieldType;
using config::Section;

// Texts in quotes and with their length, so that no value can look like another one's key.
std::string Canonical(const Field& field, const config::Value& value) {
  const auto quoted = [](const std::string& text) {
    return fmt::format("{}\"{}\"", text.size(), text);
  };
  if (const auto* text = std::get_if<std::string>(&value)) return quoted(*text);
  if (const auto* list = std::get_if<std::vector<std::string>>(&value)) {
    std::string all = "[";
    for (const std::string& text : *list) all += quoted(text);
    return all + "]";
  }
  return config::FormatValue(field, value);
}

// "key=value;" of every field that affects results, in the table's order; unset ones are left out.
// Numbers are written in their shortest exact form, so equal values give equal texts on any
// machine.
void Append(const Section& section, const void* target, std::string& text) {
  for (const Field& field : section.fields) {
    if (field.section == nullptr) {
      if (!field.affects_results) continue;
      const config::Value value = field.get(target);
      if (std::holds_alternative<std::monostate>(value)) continue;
      text += fmt::format("{}={};", field.key, Canonical(field, value));
      continue;
    }
    size_t index = 0;
    while (const void* inner = field.element(target, index)) {
      text += fmt::format("{}{{", field.key);
      Append(*field.section, inner, text);
      text += "}";
      ++index;
      if (field.type == FieldType::kSection) break;
    }
  }
}

const Field* FindField(const Section& section, std::string_view key) {
  const auto it = std::find_if(section.fields.begin(), section.fields.end(),
                               [&](const Field& field) { return field.key == key; });
  return it == section.fields.end() ? nullptr : &*it;
}

const Section& SectionAt(const Section& section, std::string_view key) {
  return *FindField(section, key)->section;
}

Hash128 HashOf(const Section& section, const void* target) {
  std::string text;
  Append(section, target, text);
  return HashString(text);
}

}  // namespace

ConfigIdentity IdentityOf(const Config& config, const CameraConfig& camera) {
  const Section& file = config::FileSection();
  const Section& cameras = SectionAt(file, "cameras");
  ConfigIdentity identity;

  std::string selection;
  Append(SectionAt(cameras, "select"), &camera, selection);
  selection += fmt::format("start={};", camera.start_utc_us.value_or(-1));
  identity.selection = HashString(selection);

  const ModelConfig& model = config.models[camera.model_index];
  std::string model_text = fmt::format("origin={};", static_cast<int>(model.origin));
  // A file or package is known by its weights; a built-in detector only by its name.
  if (model.origin == ModelOrigin::kBuiltin) model_text += model.reference + ";";
  Append(SectionAt(file, "models"), &model, model_text);
  identity.model = HashString(model_text);

  identity.tracker = HashOf(SectionAt(file, "tracker"), &camera.tracker);

  std::string rules = fmt::format("coordinates={};", static_cast<int>(camera.coordinates));
  for (const ZoneConfig& zone : camera.zones) {
    rules += "zone{";
    Append(SectionAt(cameras, "zones"), &zone, rules);
    rules += "}";
  }
  for (const LineConfig& line : camera.lines) {
    rules += "line{";
    Append(SectionAt(cameras, "lines"), &line, rules);
    rules += "}";
  }
  identity.rules = HashString(rules);
  return identity;
}

}  // namespace sightline
