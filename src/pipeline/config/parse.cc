#include "pipeline/config/parse.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <map>

#include "pipeline/config/document.h"
#include "pipeline/config/fields.h"
#include "pipeline/config/reader.h"
#include "pipeline/config/secrets.h"
#include "pipeline/config/validate.h"

namespace sightline {
namespace {

std::optional<std::string> ProcessEnvironment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  if (value == nullptr) return std::nullopt;
  return std::string(value);
}

std::string FolderOf(const std::string& file) {
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(file, error);
  if (error) return "/";
  return absolute.lexically_normal().parent_path().string();
}

std::string Lines(const std::string& file, const std::vector<ConfigError>& findings,
                  std::string_view kind) {
  std::string text;
  for (const ConfigError& finding : findings) {
    if (!text.empty()) text += '\n';
    text += file;
    if (finding.at.line > 0) text += fmt::format(":{}:{}", finding.at.line, finding.at.column);
    text += fmt::format(": {}{}", kind, finding.message);
  }
  return text;
}

void SortByLine(std::vector<ConfigError>& findings) {
  std::stable_sort(findings.begin(), findings.end(), [](const auto& a, const auto& b) {
    return std::pair(a.at.line, a.at.column) < std::pair(b.at.line, b.at.column);
  });
}

// Local sources as absolute paths.
void ResolveSource(CameraConfig& camera, const std::string& folder) {
  const std::string& value = camera.source.Reveal();
  camera.source_is_url = config::LooksLikeUrl(value);
  if (camera.source_is_url || value.empty()) return;
  const auto absolute = [&](const std::string& path) {
    return (std::filesystem::path(folder) / path).lexically_normal().string();
  };
  const std::string& shown = camera.source.shown();
  // A reference in front may hold an absolute path; it is shown as it was written.
  camera.source = SecretText(absolute(value), shown.rfind("${", 0) == 0 ? shown : absolute(shown));
}

void ReadDocument(const config::YamlNode& root, const std::string& folder,
                  const ParseOptions& options, Config& config, config::Findings& findings,
                  ConfigLocations& locations) {
  const config::SecretSources sources{
      options.environment ? options.environment : ProcessEnvironment, folder};
  config.outputs.dir = (std::filesystem::path(folder) / config.outputs.dir).string();
  config::Reader reader(sources, findings, locations);
  reader.ReadSection(config::FileSection(), root, &config, "");
  for (CameraConfig& camera : config.cameras) ResolveSource(camera, folder);
  config::Validate(config, locations, options, findings);
  config.declared_models = config.models.size();
  config::ResolveModels(config, folder, options, findings);
}

ParsedConfig Parse(std::string_view text, const std::string& file, const ParseOptions& options) {
  ParsedConfig parsed;
  parsed.file = file;
  if (text.size() > kMaxConfigBytes) {
    parsed.errors.push_back(
        {{}, fmt::format("has more than {} bytes; that is no configuration", kMaxConfigBytes)});
    return parsed;
  }
  config::Findings findings;
  const std::unique_ptr<config::YamlDocument> document = config::ParseYaml(text, findings.errors);
  Config config;
  config.file = file;
  if (document != nullptr &&
      (document->root == nullptr || document->root->kind == config::YamlNode::Kind::kNull)) {
    findings.errors.push_back(
        {{1, 1},
         "the file is empty; the least is \"cameras:\" with one entry of \"id\", "
         "\"source\" and \"model\""});
  } else if (document != nullptr) {
    ReadDocument(*document->root, FolderOf(file), options, config, findings, parsed.locations);
  }
  SortByLine(findings.warnings);
  parsed.warnings = std::move(findings.warnings);
  parsed.config = std::move(config);
  parsed.SetErrors(std::move(findings.errors));
  return parsed;
}

}  // namespace

void ParsedConfig::SetErrors(std::vector<ConfigError> found) {
  SortByLine(found);
  errors_left_out = found.size() - std::min(found.size(), kMaxConfigErrors);
  found.resize(found.size() - errors_left_out);
  errors = std::move(found);
  if (!errors.empty()) config.reset();
}

std::string ParsedConfig::ErrorText() const {
  std::string text = Lines(file, errors, "");
  if (errors_left_out > 0) text += fmt::format("\n{}: and {} more", file, errors_left_out);
  return text;
}

std::string ParsedConfig::WarningText() const { return Lines(file, warnings, "warning: "); }

ParsedConfig ParseConfig(std::string_view text, const std::string& file,
                         const ParseOptions& options) {
  try {
    return Parse(text, file, options);
  } catch (const std::exception& error) {  // out of memory, a path the library cannot take
    ParsedConfig parsed;
    parsed.file = file;
    parsed.errors.push_back({{}, fmt::format("cannot be read: {}", error.what())});
    return parsed;
  }
}

ParsedConfig ReadConfig(const std::string& path, const ParseOptions& options) {
  const auto fail = [&](std::string message) {
    ParsedConfig parsed;
    parsed.file = path;
    parsed.errors.push_back({{}, std::move(message)});
    return parsed;
  };
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    return fail("is a folder; name the configuration file in it");
  }
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  if (!in.is_open()) return fail(fmt::format("cannot be opened: {}", std::strerror(errno)));
  // Bounded, so that a device without an end does no harm; one byte more shows that it is too long.
  std::string text(kMaxConfigBytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad()) return fail(fmt::format("cannot be read: {}", std::strerror(errno)));
  text.resize(static_cast<size_t>(in.gcount()));
  return ParseConfig(text, path, options);
}

absl::StatusOr<Config> LoadConfig(const std::string& path, const ParseOptions& options) {
  ParsedConfig parsed = ReadConfig(path, options);
  if (!parsed.config) return InvalidArgument("{}", parsed.ErrorText());
  return *std::move(parsed.config);
}

}  // namespace sightline
