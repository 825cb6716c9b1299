#include "detect/recognised_cache.h"

#include <cstdlib>
#include <filesystem>
#include <utility>

#include "base/log.h"
#include "base/uuid.h"
#include "base/whole_file.h"
#include "infer/model_package.h"

namespace sightline {
namespace {

constexpr int kVersion = 3;  // of recognition; raise it when the same file would be read otherwise
constexpr uint64_t kMaxYamlBytes = 16 << 20;

std::string EnvOr(const char* name, std::string otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value == '/' ? value : otherwise;
}

}  // namespace

RecognisedCache RecognisedCache::Default() {
  std::string root = EnvOr("XDG_CACHE_HOME", "");
  if (root.empty()) {
    const std::string home = EnvOr("HOME", "");
    if (!home.empty()) root = home + "/.cache";
  }
  return RecognisedCache(root.empty() ? ""
                                      : fmt::format("{}/sightline/recognised-{}", root, kVersion));
}

absl::StatusOr<ModelSpec> RecognisedCache::Find(const std::string& model_file,
                                                const std::string& sha256) const {
  const absl::Status nothing = NotFound("{} was not recognised before", model_file);
  if (folder_.empty() || sha256.empty()) return nothing;
  const auto yaml = ReadWholeFile(YamlPath(sha256), kMaxYamlBytes);
  if (!yaml.ok()) return nothing;
  auto package = ParseModelPackage(*yaml, YamlPath(sha256));
  if (!package.ok()) return nothing;
  ModelSpec spec = std::move(package->spec);
  if (spec.sha256 == sha256) {  // nothing to mend
    spec.file = model_file;
    return spec;
  }
  spec.file = CopyPath(sha256);
  if (FileSha256(spec.file) != spec.sha256) return nothing;
  return spec;
}

std::string RecognisedCache::Mended(const OnnxFileInfo& info, const std::string& sha256) const {
  if (info.weights_as_inputs.empty() || info.has_external_data()) return info.path;
  const std::string copy = CopyPath(sha256);
  absl::Status mended = CheckUsable(sha256);
  if (mended.ok()) mended = MendOnnx(info.path, copy).status();
  if (mended.ok()) return copy;
  Log().warn(
      "{} is slower than it could be: its weights are listed as inputs, and no mended copy could "
      "be written: {}",
      info.path, MessageOf(mended));
  return info.path;
}

absl::Status RecognisedCache::Keep(const std::string& sha256, const ModelSpec& spec) const {
  SL_RETURN_IF_ERROR(CheckUsable(sha256));
  ModelPackage package{.spec = spec, .why = {}};
  package.spec.file =
      "model.onnx";  // a package's file is named without its folder; Find() knows it
  return WriteWholeFile(YamlPath(sha256), FormatModelPackage(package));
}

absl::Status RecognisedCache::CheckUsable(const std::string& sha256) const {
  if (folder_.empty() || sha256.empty()) return FailedPrecondition("there is no cache folder");
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (error) return FailedPrecondition("cannot make {}: {}", folder_, error.message());
  return absl::OkStatus();
}

}  // namespace sightline
