#include "detect/recognised_cache.h"

#include <cstdlib>
#include <filesystem>
#include <utility>

#include "base/uuid.h"
#include "base/whole_file.h"
#include "infer/model_package.h"

namespace sightline {
namespace {

constexpr int kVersion = 1;  // of recognition; raise it when the same file would be read otherwise
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

absl::StatusOr<ModelSpec> RecognisedCache::Keep(const OnnxFileInfo& info, const std::string& sha256,
                                                ModelSpec spec) const {
  if (folder_.empty() || sha256.empty()) {
    return FailedPrecondition("there is no home folder to keep what was found of {}", info.path);
  }
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (error) return FailedPrecondition("cannot make {}: {}", folder_, error.message());
  spec.sha256 = sha256;
  const bool mend = !info.weights_as_inputs.empty() && !info.has_external_data();
  if (mend) {
    spec.file = CopyPath(sha256);
    SL_RETURN_IF_ERROR(MendOnnx(info.path, spec.file).status());
    spec.sha256 = FileSha256(spec.file);
  }
  ModelPackage package{.spec = spec, .why = {}};
  package.spec.file =
      "model.onnx";  // a package's file is named without its folder; Find() knows it
  SL_RETURN_IF_ERROR(WriteWholeFile(YamlPath(sha256), FormatModelPackage(package)));
  return spec;
}

}  // namespace sightline
