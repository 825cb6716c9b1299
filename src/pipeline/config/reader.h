// Walks a YAML tree along the table of keys and fills a Config. Private to pipeline/config.
#pragma once

#include <string>

#include "pipeline/config/document.h"
#include "pipeline/config/fields.h"
#include "pipeline/config/secrets.h"
#include "pipeline/config/validate.h"

namespace sightline::config {

class Reader {
 public:
  // `sources.folder` is where relative paths start.
  Reader(const SecretSources& sources, Findings& findings, LocationMap& locations)
      : sources_(sources), findings_(findings), locations_(locations) {}

  // Fills `target`, the struct of `section`, from `node`. Errors are added to the findings; what is
  // wrong is left as it was. `path` is "" for the file, else such as "cameras[0]".
  void ReadSection(const Section& section, const YamlNode& node, void* target,
                   const std::string& path);

 private:
  void CheckKeys(const Section& section, const YamlNode& node, const std::string& path);
  void ReadField(const Field& field, const YamlNode& node, void* target, const std::string& path);
  void ReadSectionList(const Field& field, const YamlNode& node, void* target,
                       const std::string& path);
  bool ReadValue(const Field& field, const YamlNode& node, const std::string& path, Value& value);
  bool ReadText(const Field& field, const YamlNode& node, const std::string& path, Value& value);
  bool ReadList(const Field& field, const YamlNode& node, const std::string& path, Value& value);
  bool ReadPoint(const YamlNode& node, const std::string& path, PointF& point);
  bool CheckCount(const Field& field, const YamlNode& node, const std::string& path);

  bool Fail(ConfigLocation at, std::string message);
  bool WrongType(const YamlNode& node, const std::string& path, std::string_view wanted,
                 std::string_view hint = "");

  const SecretSources& sources_;
  Findings& findings_;
  LocationMap& locations_;
};

}  // namespace sightline::config
