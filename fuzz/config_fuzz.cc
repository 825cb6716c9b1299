// Any bytes as a configuration: it is read or refused, never a crash, a hang or a leak. What is
// read is valid, and what is described reads back.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "pipeline/config/describe.h"
#include "pipeline/config/parse.h"

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sightline;
  ParseOptions options;
  options.environment = [](const std::string& name) -> std::optional<std::string> {
    if (name.size() > 8) return std::nullopt;
    return "hunter2" + name;
  };
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const ParsedConfig parsed = ParseConfig(text, "/fuzz/f.yaml", options);
  Require(parsed.config.has_value() == parsed.errors.empty());
  Require(parsed.errors.size() <= kMaxConfigErrors);
  Require(parsed.ErrorText().empty() == parsed.errors.empty());
  if (!parsed.config) return 0;

  for (const CameraConfig& camera : parsed.config->cameras) {
    Require(camera.model_index < parsed.config->models.size());
    Require(camera.selection.every_nth >= 1);
    Require((camera.zones.empty() && camera.lines.empty()) ||
            camera.coordinates != Coordinates::kUnset);
    for (const ZoneConfig& zone : camera.zones) Require(zone.polygon.size() >= 3);
    IdentityOf(*parsed.config, camera);
  }
  const std::string yaml = ConfigYaml(*parsed.config);
  // Unless the input says it itself, the secret is in nothing that is shown.
  if (text.find("hunter2") == std::string_view::npos) {
    Require(yaml.find("hunter2") == std::string::npos);
  }
  return 0;
}
