#include "pipeline/config/diff.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "pipeline/config/fields.h"

namespace sightline {
namespace {

using config::Field;
using config::FieldType;
using config::Section;
using config::Value;

struct Setting {
  std::string camera;
  std::string key;
  std::string value;  // what is compared
  std::string shown;
  size_t place = 0;  // in the order of the file's tables
};
using Settings = std::map<std::string, Setting>;  // by path

// How an element of a list is called: what it calls itself, else its number.
std::string NameOf(const Section& section, const void* element, size_t index) {
  for (const Field& field : section.fields) {
    if (field.key != "id" && field.key != "name") continue;
    const Value value = field.get(element);
    if (const auto* name = std::get_if<std::string>(&value)) return *name;
  }
  return fmt::format("{}", index + 1);
}

class Collector {
 public:
  explicit Collector(Settings& settings) : settings_(settings) {}

  void Collect(const Section& section, const void* target, const std::string& path,
               const std::string& camera, const std::string& key) {
    for (const Field& field : section.fields) {
      const std::string name(field.key);
      const std::string here = path.empty() ? name : path + "." + name;
      const bool cameras = path.empty() && name == "cameras";
      const std::string top = key.empty() && !cameras ? name : key;
      if (field.type == FieldType::kSectionList) {
        for (size_t i = 0; const void* element = field.element(target, i); ++i) {
          const std::string called = NameOf(*field.section, element, i);
          Collect(*field.section, element, here + "." + called, cameras ? called : camera, top);
        }
      } else if (field.type == FieldType::kSection) {
        if (const void* inner = field.element(target, 0)) {
          // That it is there at all may be the difference.
          if (!field.unset_means.empty()) Add(here, camera, top, "{}", "set");
          Collect(*field.section, inner, here, camera, top);
        }
      } else {
        const Value value = field.get(target);
        if (std::holds_alternative<std::monostate>(value)) continue;
        const auto* secret = std::get_if<SecretText>(&value);
        const std::string shown = secret ? secret->shown() : config::FormatValue(field, value);
        Add(here, camera, top, secret ? secret->Reveal() : shown, shown);
      }
    }
  }

 private:
  void Add(const std::string& path, const std::string& camera, const std::string& key,
           std::string value, std::string shown) {
    settings_.emplace(path,
                      Setting{camera, key, std::move(value), std::move(shown), settings_.size()});
  }

  Settings& settings_;
};

Settings SettingsOf(const Config& config) {
  // A model that a camera names directly is that camera's setting.
  Config declared = config;
  declared.models.resize(std::min(declared.models.size(), declared.declared_models));
  Settings settings;
  Collector(settings).Collect(config::FileSection(), &declared, "", "", "");
  return settings;
}

// "yolox.onnx (content 0123456789ab)": as many digits as tell two files apart for people.
std::string WithContent(const std::string& name, const ModelConfig& model) {
  return fmt::format("{} (content {})", name, model.content.substr(0, 12));
}

bool HoldsSomethingElse(const ModelConfig& before, const ModelConfig& after) {
  return before.origin == after.origin && before.reference == after.reference &&
         !before.content.empty() && !after.content.empty() && before.content != after.content;
}

// Models of the same name whose files were replaced.
void AddReplacedModels(const Config& before, const Config& after, ConfigDiff& diff) {
  for (size_t i = 0; i < after.declared_models; ++i) {
    const ModelConfig& now = after.models[i];
    for (size_t k = 0; k < before.declared_models; ++k) {
      const ModelConfig& was = before.models[k];
      if (was.name != now.name || !HoldsSomethingElse(was, now)) continue;
      const char* const key = now.origin == ModelOrigin::kPackage ? "package" : "file";
      diff.changes.push_back({"", "models", fmt::format("models.{}.{}", now.name, key),
                              WithContent(was.reference, was), WithContent(now.reference, now)});
    }
  }
  for (const CameraConfig& now : after.cameras) {
    if (now.model_index < after.declared_models) continue;
    for (const CameraConfig& was : before.cameras) {
      if (was.id != now.id || was.model_index < before.declared_models) continue;
      const ModelConfig& old_model = before.models[was.model_index];
      const ModelConfig& new_model = after.models[now.model_index];
      if (!HoldsSomethingElse(old_model, new_model)) continue;
      diff.changes.push_back({now.id, "model", fmt::format("cameras.{}.model", now.id),
                              WithContent(was.model, old_model),
                              WithContent(now.model, new_model)});
    }
  }
}

std::vector<std::string> OnlyIn(const Config& these, const Config& those) {
  std::vector<std::string> ids;
  for (const CameraConfig& camera : these.cameras) {
    const bool there =
        std::any_of(those.cameras.begin(), those.cameras.end(),
                    [&](const CameraConfig& other) { return other.id == camera.id; });
    if (!there) ids.push_back(camera.id);
  }
  return ids;
}

}  // namespace

ConfigDiff DiffConfigs(const Config& before, const Config& after) {
  ConfigDiff diff;
  diff.added = OnlyIn(after, before);
  diff.removed = OnlyIn(before, after);
  const auto passed_over = [&](const Setting& setting) {
    const auto is_its = [&](const std::string& id) { return id == setting.camera; };
    return std::any_of(diff.added.begin(), diff.added.end(), is_its) ||
           std::any_of(diff.removed.begin(), diff.removed.end(), is_its);
  };
  const Settings old_settings = SettingsOf(before);
  const Settings new_settings = SettingsOf(after);
  std::vector<std::pair<size_t, SettingChange>> found;
  for (const auto& [path, now] : new_settings) {
    if (passed_over(now)) continue;
    const auto was = old_settings.find(path);
    const bool there = was != old_settings.end();
    if (there && was->second.value == now.value) continue;
    SettingChange change{now.camera, now.key, path, there ? was->second.shown : "", now.shown};
    // A password that changed looks the same before and after.
    if (change.before == change.after) change.after += " (another secret)";
    found.emplace_back(now.place, std::move(change));
  }
  for (const auto& [path, was] : old_settings) {
    if (passed_over(was) || new_settings.contains(path)) continue;
    found.emplace_back(was.place, SettingChange{was.camera, was.key, path, was.shown, ""});
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (auto& [place, change] : found) diff.changes.push_back(std::move(change));
  AddReplacedModels(before, after, diff);
  return diff;
}

std::string DiffText(const ConfigDiff& diff) {
  std::vector<std::string> lines;
  for (const std::string& id : diff.added) lines.push_back(fmt::format("+ camera {}", id));
  for (const std::string& id : diff.removed) lines.push_back(fmt::format("- camera {}", id));
  for (const SettingChange& change : diff.changes) {
    if (change.before.empty()) {
      lines.push_back(fmt::format("+ {}: {}", change.path, change.after));
    } else if (change.after.empty()) {
      lines.push_back(fmt::format("- {}: {}", change.path, change.before));
    } else {
      lines.push_back(fmt::format("~ {}: {} -> {}", change.path, change.before, change.after));
    }
  }
  return fmt::format("{}", fmt::join(lines, "\n"));
}

}  // namespace sightline
