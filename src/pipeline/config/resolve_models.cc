// Which model each name in the file means, and what graphs of models are made of.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "base/nearest_word.h"
#include "pipeline/config/document.h"
#include "pipeline/config/secrets.h"
#include "pipeline/config/validate.h"

namespace sightline::config {
namespace {

constexpr size_t kMostParts = 200;  // of one model; chosen

bool IsPackageName(std::string_view text) {
  if (text.empty() || text.size() > 100 || text[0] == '.' || text[0] == '-') return false;
  return std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '_' || c == '-' || c == '.';
  });
}

// Finds the models that cameras and other models name.
class ModelResolver {
 public:
  ModelResolver(Config& config, const std::string& folder, const ParseOptions& options,
                Findings& findings)
      : config_(config),
        folder_(folder),
        options_(options),
        findings_(findings),
        entries_(config.models.size()) {
    for (const ModelConfig& model : config.models) names_damaged_ |= model.name.empty();
  }

  void Run() {
    for (size_t i = 0; i < entries_; ++i) CheckPackage(config_.models[i]);
    for (size_t i = 0; i < config_.cameras.size(); ++i) {
      CameraConfig& camera = config_.cameras[i];
      if (camera.model.empty()) continue;
      const std::optional<size_t> index =
          IndexOf({.name = camera.model,
                   .at = camera.model_at,
                   .path = fmt::format("cameras[{}].model{}", i,
                                       camera.id.empty() ? "" : ": camera " + Quote(camera.id))});
      if (index) camera.model_index = *index;
    }
    for (size_t i = 0; i < entries_; ++i) ResolveParts(i);
  }

 private:
  bool IsKnownPackage(const std::string& name) const {
    if (!options_.known_packages) return true;
    return std::find(options_.known_packages->begin(), options_.known_packages->end(), name) !=
           options_.known_packages->end();
  }

  void CheckPackage(const ModelConfig& model) {
    if (model.origin != ModelOrigin::kPackage || model.reference.empty() ||
        IsKnownPackage(model.reference)) {
      return;
    }
    const std::vector<std::string_view> known(options_.known_packages->begin(),
                                              options_.known_packages->end());
    const std::string near = NearestWord(model.reference, known);
    findings_.errors.push_back(
        {model.at,
         fmt::format("model {}: no package {} is there{}; add it with \"sightline models "
                     "add FILE.onnx\"",
                     Quote(model.name), Quote(model.reference),
                     near.empty() ? "" : fmt::format(" (did you mean {}?)", Quote(near)))});
  }

  // A place of the file that names a model.
  struct Reference {
    const std::string& name;
    ConfigLocation at;
    std::string path;  // for messages
  };

  // Which of config_.models is meant; it may be made. Nothing after an error.
  std::optional<size_t> IndexOf(const Reference& wanted) {
    const std::string& name = wanted.name;
    for (size_t i = 0; i < entries_; ++i) {
      if (config_.models[i].name == name) return i;
    }
    ModelConfig model;
    model.name = name;
    model.at = wanted.at;
    const std::string extension = std::filesystem::path(name).extension().string();
    if (LooksLikeUrl(name)) {
      findings_.errors.push_back(
          {wanted.at, fmt::format("{}: {} is a URL; a local file or a name is wanted", wanted.path,
                                  Quote(name))});
      return std::nullopt;
    }
    // What the truth of a simulated camera is told goes behind a question mark: truth?miss=0.1.
    if (std::find(std::begin(kBuiltInModels), std::end(kBuiltInModels), name) !=
            std::end(kBuiltInModels) ||
        name.starts_with("truth?")) {
      model.origin = ModelOrigin::kBuiltin;
      model.reference = name;
    } else if (name.find('/') != std::string::npos || extension == ".onnx") {
      model.origin = ModelOrigin::kFile;
      model.reference = (std::filesystem::path(folder_) / name).lexically_normal().string();
      std::error_code error;
      if (options_.check_files && !std::filesystem::exists(model.reference, error)) {
        findings_.errors.push_back(
            {wanted.at, fmt::format("{}: no model file {}", wanted.path, Quote(model.reference))});
        return std::nullopt;
      }
    } else if (IsPackageName(name) && IsKnownPackage(name)) {
      model.origin = ModelOrigin::kPackage;
      model.reference = name;
    } else {
      if (!names_damaged_) FailUnknown(wanted);
      return std::nullopt;
    }
    // Those who name the same thing share one entry.
    const auto [it, fresh] =
        direct_.try_emplace({model.origin, model.reference}, config_.models.size());
    if (fresh) config_.models.push_back(std::move(model));
    return it->second;
  }

  // Fills `parts` of an entry of the file, of those that it names first.
  void ResolveParts(size_t index) {
    if (resolved_.size() < entries_) {
      resolved_.resize(entries_, Resolved::kNo);
      sizes_.resize(entries_, 1);
    }
    if (resolved_[index] != Resolved::kNo) return;
    resolved_[index] = Resolved::kBegun;
    std::map<std::string, std::shared_ptr<const ModelConfig>> parts;
    size_t all = 1;
    const std::string owner = config_.models[index].name;
    const ModelConfig named = config_.models[index];  // IndexOf() moves the entries
    ForEachPart(named, [&](const std::string& name, ConfigLocation at) {
      if (name.empty() || parts.count(name) > 0) return;
      const std::string path = fmt::format("model {}", Quote(owner));
      const std::optional<size_t> part = IndexOf({.name = name, .at = at, .path = path});
      if (!part) return;
      if (config_.models[*part].origin == ModelOrigin::kBuiltin &&
          config_.models[*part].reference == "motion") {
        findings_.errors.push_back({at, path + ": motion remembers the pictures of one camera and "
                                               "cannot be a part of another model"});
        return;
      }
      if (*part < entries_) {
        if (resolved_[*part] == Resolved::kBegun) {
          findings_.errors.push_back(
              {at, fmt::format("{}: its part {} needs {} in turn: models cannot go round in a "
                               "circle",
                               path, Quote(name), *part == index ? "itself" : Quote(owner))});
          return;
        }
        ResolveParts(*part);
      }
      all += *part < entries_ ? sizes_[*part] : 1;
      parts[name] = std::make_shared<const ModelConfig>(config_.models[*part]);
    });
    // Parts of parts are counted each time that they are met: so often they are compared and opened.
    if (all > kMostParts) {
      findings_.errors.push_back(
          {named.at,
           fmt::format("model {}: with the parts of its parts it is made of {} models; {} "
                       "are the most",
                       Quote(owner), all, kMostParts)});
      parts.clear();
      all = 1;
    }
    sizes_[index] = all;
    config_.models[index].parts = std::move(parts);
    resolved_[index] = Resolved::kDone;
  }

  void FailUnknown(const Reference& wanted) {
    std::vector<std::string_view> known;
    for (size_t i = 0; i < entries_; ++i) known.push_back(config_.models[i].name);
    known.insert(known.end(), std::begin(kBuiltInModels), std::end(kBuiltInModels));
    if (options_.known_packages) {
      known.insert(known.end(), options_.known_packages->begin(), options_.known_packages->end());
    }
    const std::string near = NearestWord(wanted.name, known);
    findings_.errors.push_back(
        {wanted.at,
         fmt::format(
             "{}: no model {}; {}", wanted.path, Quote(wanted.name),
             near.empty()
                 ? fmt::format("known are {}; add one with \"sightline models add FILE.onnx\"",
                               fmt::join(known.begin(),
                                         known.begin() + std::min<size_t>(known.size(), 10), ", "))
                 : fmt::format("did you mean {}?", Quote(near)))});
  }

  Config& config_;
  const std::string& folder_;
  const ParseOptions& options_;
  Findings& findings_;
  const size_t entries_;  // of the file; those behind are direct references
  enum class Resolved : uint8_t { kNo, kBegun, kDone };
  std::vector<Resolved> resolved_;  // of the entries' parts
  std::vector<size_t> sizes_;       // how many models each is made of
  bool names_damaged_ = false;      // some entry's name was refused: "unknown" may be untrue
  std::map<std::pair<ModelOrigin, std::string>, size_t> direct_;
};

}  // namespace

void ResolveModels(Config& config, const std::string& folder, const ParseOptions& options,
                   Findings& findings) {
  ModelResolver(config, folder, options, findings).Run();
}

}  // namespace sightline::config
