// Reads a configuration file into Config, and says everything that is wrong with it.
//
// Form: YAML 1.2, one document, UTF-8, at most 1 MiB, 32 levels, 50,000 values. Refused, because
// they hide mistakes: duplicate keys, unknown keys, merge keys, tags, tabs as indentation, true and
// false under other names. Aliases are taken; what they expand to counts against the limits.
//
// Secrets: a camera's `source` may hold ${env:NAME} and ${file:PATH} ($${ is a literal ${); they
// are resolved here and only SecretText::Reveal() gives them away.
//
// Errors: no input makes these functions throw or abort. Threads: reentrant (reads the
// environment). Cost: about 1 ms for a file of 10 cameras.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "pipeline/config/config.h"

namespace sightline {

struct ConfigError {
  ConfigLocation at;
  std::string message;  // without the location: unknown key "zoens" in cameras[0]; did you mean ...
};

struct ParseOptions {
  // Names in the model store. When given, a `model:` or `package:` that names none of them is an
  // error; when not, any well-formed name is taken for a package.
  std::optional<std::vector<std::string>> known_packages;
  // Also check that local files (sources, models) are there.
  bool check_files = false;
  // The value of an environment variable, or nullopt; the process's own when unset.
  std::function<std::optional<std::string>(const std::string& name)> environment;
};

inline constexpr size_t kMaxConfigErrors = 20;
inline constexpr size_t kMaxConfigBytes = 1 << 20;

// Where the value at a path such as "cameras[0].zones[1].polygon[2]" stands in the file.
using ConfigLocations = std::map<std::string, ConfigLocation, std::less<>>;

struct ParsedConfig {
  std::string file;                 // as given
  std::optional<Config> config;     // set exactly when there is no error
  std::vector<ConfigError> errors;  // by line; at most kMaxConfigErrors
  size_t errors_left_out = 0;
  std::vector<ConfigError> warnings;
  ConfigLocations locations;  // of every value of the file

  // Takes the place of `errors`: sorted by line, cut at kMaxConfigErrors and the rest counted. There
  // is no config then unless there are none.
  void SetErrors(std::vector<ConfigError> found);

  // One line each: "file:line:column: message", with "warning: " in front of a warning's message.
  // Empty when there is none; no line end at the end.
  std::string ErrorText() const;
  std::string WarningText() const;
};

// `file` names the text in messages; its folder is where relative paths start.
ParsedConfig ParseConfig(std::string_view text, const std::string& file,
                         const ParseOptions& options = {});
// A file that cannot be read is one error at line 0.
ParsedConfig ReadConfig(const std::string& path, const ParseOptions& options = {});

// As ReadConfig, for callers that only want to go on or stop: InvalidArgument with ErrorText().
absl::StatusOr<Config> LoadConfig(const std::string& path, const ParseOptions& options = {});

// rtsp://user:password@host/x?token=abc as rtsp://user:***@host/x?token=***. For whatever URL is
// printed.
std::string MaskSecrets(std::string_view url);

}  // namespace sightline
