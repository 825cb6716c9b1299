// What a change from one configuration to another means, setting by setting: for people before they
// apply it, and for the engine to know which cameras it must touch.
//
// Settings are compared by their effective values, defaults filled in; comments, the order of keys and
// of cameras make no difference. A model whose files hold something else (ModelConfig::content, where both
// were looked at) is another one under the same name. Secrets are compared by what they really are and shown as masked.
// Threads: reentrant. Cost: milliseconds.
#pragma once

#include <string>
#include <vector>

#include "pipeline/config/config.h"

namespace sightline {

// One setting that differs.
struct SettingChange {
  std::string camera;  // id; empty: not a camera's
  std::string key;     // the first key below the camera or the file: "zones", "outputs"
  std::string path;    // "cameras.gate.zones.door.enter_frames"
  std::string before;  // as YAML has it; empty: was not set
  std::string after;   // empty: is no longer set
};

struct ConfigDiff {
  std::vector<std::string> added;      // cameras by id, in the new configuration's order
  std::vector<std::string> removed;    // in the old one's
  std::vector<SettingChange> changes;  // of what both have

  bool empty() const { return added.empty() && removed.empty() && changes.empty(); }
};

ConfigDiff DiffConfigs(const Config& before, const Config& after);

// A line each: "+ camera yard", "- camera door", "~ cameras.gate.select.every_nth: 1 -> 2". Empty when there
// is no difference; no line end at the end.
std::string DiffText(const ConfigDiff& diff);

}  // namespace sightline
