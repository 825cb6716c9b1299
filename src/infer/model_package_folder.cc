// Packages as folders; what stands in their model.yaml is read in model_package.cc.
#include <sys/stat.h>

#include <filesystem>
#include <utility>

#include "base/uuid.h"
#include "base/whole_file.h"
#include "infer/coco_labels.h"
#include "infer/model_package.h"

namespace sightline {
namespace {

constexpr uint64_t kMaxYamlBytes = 1 << 20;

// A package holds its files itself. A link in a folder that somebody else made could lead to any file
// of its reader's, whose lines would then be shown as class names.
absl::Status CheckOwnFile(const std::string& file, PackageOrigin origin) {
  struct stat status {};
  if (lstat(file.c_str(), &status) != 0) {
    return NotFound("{} is missing: add the model again", file);
  }
  if (!S_ISREG(status.st_mode)) {
    return InvalidArgument(
        "{} is no regular file: packages hold their files themselves, add the "
        "model again",
        file);
  }
  if (status.st_nlink > 1 && origin == PackageOrigin::kForeign) {
    return InvalidArgument(
        "{} has {} names (hard links): a package from elsewhere must hold its files itself; copy "
        "the "
        "folder with `cp -r`, or add the model with `sightline models add`",
        file, status.st_nlink);
  }
  return absl::OkStatus();
}

absl::Status CheckModelFile(const std::string& file, const std::string& stated_sha256,
                            PackageOrigin origin) {
  SL_RETURN_IF_ERROR(CheckOwnFile(file, origin));
  const std::string sha256 = FileSha256(file);
  if (sha256.empty()) return FailedPrecondition("{} cannot be read", file);
  if (sha256 != stated_sha256) {
    return DataLoss(
        "{} is not the file that was added: its sha256 is {}, model.yaml says {}; if "
        "that is intended, add it again with --replace",
        file, sha256, stated_sha256);
  }
  return absl::OkStatus();
}

// The labels that a package names instead of listing them: "coco80", or a file in its folder.
absl::StatusOr<std::shared_ptr<const LabelSet>> LabelsIn(const std::filesystem::path& folder,
                                                         const std::string& name,
                                                         PackageOrigin origin) {
  if (name == "coco80") return CocoLabels();
  if (name.find('/') != std::string::npos) {
    return InvalidArgument("the labels file must lie in the package's own folder");
  }
  const std::string file = (folder / name).string();
  SL_RETURN_IF_ERROR(CheckOwnFile(file, origin));
  return ReadLabels(file);
}

}  // namespace

absl::StatusOr<ModelPackage> PeekModelPackage(const std::string& folder, PackageOrigin origin) {
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(folder, error);
  const std::string yaml_path = (absolute / kModelYaml).string();
  if (std::filesystem::exists(std::filesystem::symlink_status(yaml_path, error))) {
    SL_RETURN_IF_ERROR(CheckOwnFile(yaml_path, origin));
  }
  SL_ASSIGN_OR_RETURN(const std::string yaml, ReadWholeFile(yaml_path, kMaxYamlBytes));
  std::string labels_file;
  SL_ASSIGN_OR_RETURN(ModelPackage package, ParseModelPackage(yaml, yaml_path, &labels_file));
  if (!labels_file.empty()) {
    auto labels = LabelsIn(absolute, labels_file, origin);
    if (!labels.ok()) return WithContext(labels.status(), yaml_path);
    package.spec.labels = *std::move(labels);
  }
  package.spec.file = (absolute / package.spec.file).string();
  if (!package.spec.companion_file.empty()) {
    package.spec.companion_file = (absolute / package.spec.companion_file).string();
  }
  return package;
}

absl::StatusOr<ModelPackage> LoadModelPackage(const std::string& folder, PackageOrigin origin) {
  SL_ASSIGN_OR_RETURN(ModelPackage package, PeekModelPackage(folder, origin));
  const ModelSpec& spec = package.spec;
  SL_RETURN_IF_ERROR(CheckModelFile(spec.file, spec.sha256, origin));
  if (!spec.companion_file.empty()) {
    SL_RETURN_IF_ERROR(CheckModelFile(spec.companion_file, spec.companion_sha256, origin));
  }
  return package;
}

absl::StatusOr<ModelPackage> PeekPackageBeside(const std::string& model_file) {
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::absolute(model_file, error).parent_path();
  if (!std::filesystem::exists(folder / kModelYaml, error)) return NotFound("no {}", kModelYaml);
  SL_ASSIGN_OR_RETURN(ModelPackage package, PeekModelPackage(folder.string()));
  if (!std::filesystem::equivalent(package.spec.file, model_file, error)) {
    return NotFound("of another file");
  }
  return package;
}

}  // namespace sightline
