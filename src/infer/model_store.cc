#include "infer/model_store.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/nearest_word.h"
#include "base/partial_file.h"
#include "base/uuid.h"
#include "base/whole_file.h"
#include "infer/model_format.h"
#include "infer/onnx_file.h"

namespace sightline {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kWorkPrefix = ".adding-";
constexpr size_t kMaxNameBytes = 50;
constexpr uint64_t kMaxModelBytes = uint64_t{2} << 30;
constexpr auto kForgottenAfter = std::chrono::hours(24);  // chosen: no add takes a day

std::string EnvOr(const char* name, std::string otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

absl::Status SystemError(std::string_view what, const fs::path& path,
                         const std::error_code& error) {
  if (error == std::errc::no_space_on_device) {
    return ResourceExhausted("{} {}: {}: free some space and try again", what, path.string(),
                             error.message());
  }
  return FailedPrecondition("{} {}: {}", what, path.string(), error.message());
}

std::error_code LastError() { return {errno, std::generic_category()}; }

// A folder of its own under the store; gone when this is, unless it was moved to its place.
class WorkFolder {
 public:
  static absl::StatusOr<WorkFolder> Create(const fs::path& root) {
    std::string pattern = (root / (std::string(kWorkPrefix) + "XXXXXX")).string();
    if (mkdtemp(pattern.data()) == nullptr) {
      return SystemError("cannot write into", root, LastError());
    }
    chmod(pattern.c_str(), 0755);
    return WorkFolder(pattern);
  }
  explicit WorkFolder(fs::path path) : path_(std::move(path)) {}
  WorkFolder(WorkFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  WorkFolder& operator=(WorkFolder&&) = delete;
  ~WorkFolder() {
    std::error_code error;
    if (!path_.empty()) fs::remove_all(path_, error);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// What interrupted adds left behind.
void RemoveForgotten(const fs::path& root) {
  std::error_code error;
  const auto now = fs::file_time_type::clock::now();
  for (const auto& entry : fs::directory_iterator(root, error)) {
    if (!entry.path().filename().string().starts_with(kWorkPrefix)) continue;
    std::error_code ignored;
    const auto written = fs::last_write_time(entry.path(), ignored);
    if (!ignored && now - written > kForgottenAfter) fs::remove_all(entry.path(), ignored);
  }
}

int RenameWith(const fs::path& from, const fs::path& to, unsigned flags) {
  return static_cast<int>(
      syscall(SYS_renameat2, AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags));
}

// Moves the finished folder to its place in one step. With `replace`, the old one is swapped into
// `work`, which goes away with it.
absl::Status MoveIntoPlace(const fs::path& work, const fs::path& place, bool replace) {
  // A folder can be renamed onto a missing or empty one only, so this never overwrites a package.
  if (rename(work.c_str(), place.c_str()) == 0) return absl::OkStatus();
  if (errno != ENOTEMPTY && errno != EEXIST) {
    return SystemError("cannot put the model at", place, LastError());
  }
  if (!replace) {
    return FailedPrecondition(
        "there is already a model at {}: give another --name, or --replace it", place.string());
  }
  if (RenameWith(work, place, RENAME_EXCHANGE) == 0) return absl::OkStatus();
  if (errno != EINVAL && errno != ENOSYS) {
    return SystemError("cannot replace", place, LastError());
  }
  // A file system that cannot exchange: for a moment there is no model of that name.
  const fs::path old = work.string() + "-old";
  if (rename(place.c_str(), old.c_str()) != 0 || rename(work.c_str(), place.c_str()) != 0) {
    return SystemError("cannot replace", place, LastError());
  }
  std::error_code ignored;
  fs::remove_all(old, ignored);
  return absl::OkStatus();
}

// The packages of a folder, unsorted; none where there is no such folder.
absl::Status ListFolder(const std::string& root, bool shipped, std::vector<StoredModel>* models) {
  std::error_code error;
  fs::directory_iterator entries(root, error);
  if (error == std::errc::no_such_file_or_directory) return absl::OkStatus();
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    std::error_code ignored;
    const std::string name = entries->path().filename().string();
    if (!entries->is_directory(ignored) || name.starts_with('.')) continue;
    const auto same = [&](const StoredModel& model) { return model.name == name; };
    if (std::ranges::any_of(*models, same)) continue;
    StoredModel model{.name = name,
                      .folder = entries->path().string(),
                      .shipped = shipped,
                      .status = {},
                      .package = {}};
    auto package = PeekModelPackage(model.folder, PackageOrigin::kStored);
    model.status = package.status();
    if (package.ok()) model.package = *std::move(package);
    models->push_back(std::move(model));
  }
  return error ? SystemError("cannot read", root, error) : absl::OkStatus();
}

// share/sightline/models beside the program's own folder; empty where the system does not say where
// the program lies.
std::string ShippedModels() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error) return {};
  return (program.parent_path().parent_path() / "share/sightline/models").string();
}

// Copies the companion that `spec` names into `folder`; its name there.
absl::StatusOr<std::string> CopyCompanion(const ModelSpec& spec, const fs::path& folder) {
  if (fs::path(spec.companion_file).extension() == ".onnx") {
    SL_ASSIGN_OR_RETURN(const OnnxFileInfo info, InspectOnnx(spec.companion_file));
    SL_RETURN_IF_ERROR(CheckSelfContained(info));
    SL_RETURN_IF_ERROR(MendOnnx(spec.companion_file, (folder / kDecoderFile).string()).status());
    return kDecoderFile;
  }
  constexpr uint64_t kMaxStatisticsBytes = uint64_t{1} << 30;
  SL_ASSIGN_OR_RETURN(const std::string bytes,
                      ReadWholeFile(spec.companion_file, kMaxStatisticsBytes));
  SL_RETURN_IF_ERROR(WriteWholeFile((folder / kStatisticsFile).string(), bytes));
  return kStatisticsFile;
}

absl::Status NoHome() {
  return FailedPrecondition(
      "there is no place for models: set SIGHTLINE_MODELS to a folder, or HOME");
}

}  // namespace

absl::Status CheckModelName(std::string_view name) {
  const auto good = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.' || c == '-';
  };
  if (name.empty() || name.size() > kMaxNameBytes || !std::ranges::all_of(name, good) ||
      std::isalnum(static_cast<unsigned char>(name[0])) == 0 || HasModelEnding(name)) {
    return InvalidArgument(
        "\"{}\" cannot be a model's name: 1 to {} letters, digits, \"_\", \".\" and \"-\" are "
        "possible, starting with a letter or digit and not ending as model files do",
        name.substr(0, 100), kMaxNameBytes);
  }
  return absl::OkStatus();
}

std::string ModelNameFromFile(const std::string& path) {
  std::string name;
  for (const char c : fs::path(path).stem().string()) {
    const auto byte = static_cast<unsigned char>(c);
    const bool good = byte < 0x80 && (std::isalnum(byte) != 0 || c == '-' || c == '.');
    if (good) {
      name += static_cast<char>(std::tolower(byte));
    } else if (!name.empty() && name.back() != '_') {
      name += '_';
    }
  }
  const size_t begin = std::min(name.find_first_not_of("_.-"), name.size());
  name = name.substr(begin, kMaxNameBytes);
  while (!name.empty() && !std::isalnum(static_cast<unsigned char>(name.back()))) name.pop_back();
  return CheckModelName(name).ok() ? name : "model";
}

ModelStore ModelStore::Default() {
  std::string root = EnvOr("SIGHTLINE_MODELS", "");
  if (root.empty()) {
    std::string data = EnvOr("XDG_DATA_HOME", "");
    // The specification asks to ignore relative paths there.
    if (!data.starts_with('/')) {
      const std::string home = EnvOr("HOME", "");
      data = home.empty() ? "" : home + "/.local/share";
    }
    if (!data.empty()) root = data + "/sightline/models";
  }
  std::error_code error;
  if (!root.empty()) root = fs::absolute(root, error).lexically_normal().string();
  return ModelStore(root, ShippedModels());
}

absl::StatusOr<std::vector<StoredModel>> ModelStore::List() const {
  if (root_.empty()) return NoHome();
  std::vector<StoredModel> models;
  SL_RETURN_IF_ERROR(ListFolder(root_, false, &models));
  if (!shipped_.empty()) SL_RETURN_IF_ERROR(ListFolder(shipped_, true, &models));
  std::ranges::sort(models, {}, &StoredModel::name);
  return models;
}

absl::Status ModelStore::NoSuchModel(const std::string& name) const {
  SL_ASSIGN_OR_RETURN(const std::vector<StoredModel> models, List());
  std::vector<std::string_view> known;
  for (const StoredModel& model : models) known.push_back(model.name);
  const std::string nearest = NearestWord(name, known);
  return NotFound("no model \"{}\" in {}{}; add one with: sightline models add FILE.onnx", name,
                  root_,
                  !nearest.empty() ? fmt::format(", did you mean \"{}\"?", nearest)
                  : known.empty()  ? std::string(", which has none")
                                   : fmt::format(", which has {}", fmt::join(known, ", ")));
}

bool ModelStore::IsShipped(const std::string& name) const {
  std::error_code error;
  return !shipped_.empty() && CheckModelName(name).ok() &&
         (root_.empty() || !fs::exists(fs::path(root_) / name, error)) &&
         fs::exists(fs::path(shipped_) / name / kModelYaml, error);
}

std::string ModelStore::FolderOf(const std::string& name) const {
  const std::string& root = IsShipped(name) ? shipped_ : root_;
  return root.empty() ? std::string() : (fs::path(root) / name).string();
}

std::string ModelStore::TuningFileOf(const std::string& name) const {
  if (!IsShipped(name)) {
    const std::string folder = FolderOf(name);
    return folder.empty() ? std::string() : (fs::path(folder) / kTuningYaml).string();
  }
  std::string cache = EnvOr("XDG_CACHE_HOME", "");
  if (!cache.starts_with('/')) {
    const std::string home = EnvOr("HOME", "");
    cache = home.empty() ? "" : home + "/.cache";
  }
  return cache.empty() ? std::string()
                       : (fs::path(cache) / "sightline/tuned" / (name + ".yaml")).string();
}

absl::StatusOr<ModelPackage> ModelStore::Find(const std::string& name) const {
  SL_RETURN_IF_ERROR(CheckModelName(name));
  const fs::path folder = FolderOf(name);
  if (folder.empty()) return NoHome();
  std::error_code error;
  if (!fs::exists(folder / kModelYaml, error)) return NoSuchModel(name);
  SL_ASSIGN_OR_RETURN(ModelPackage package,
                      LoadModelPackage(folder.string(), PackageOrigin::kStored));
  if (package.spec.name != name) {
    return InvalidArgument("{}: the name is \"{}\" but the folder's is \"{}\": make them equal",
                           (folder / kModelYaml).string(), package.spec.name, name);
  }
  return package;
}

absl::Status ModelStore::Remove(const std::string& name) const {
  if (root_.empty()) return NoHome();
  SL_RETURN_IF_ERROR(CheckModelName(name));
  if (IsShipped(name)) {
    return FailedPrecondition("{} came with the program, in {}, and is not in {}: it stays", name,
                              FolderOf(name), root_);
  }
  const fs::path folder = fs::path(root_) / name;
  std::error_code error;
  if (!fs::is_directory(folder, error)) return NoSuchModel(name);
  // Out of sight in one step first, so that nobody finds half a package.
  SL_ASSIGN_OR_RETURN(const WorkFolder work, WorkFolder::Create(root_));
  fs::rename(folder, work.path() / name, error);
  if (error) return SystemError("cannot remove", folder, error);
  SyncFolder(root_);
  return absl::OkStatus();
}

absl::StatusOr<AddedModel> ModelStore::Add(ModelPackage package, const std::string& model_file,
                                           bool replace,
                                           const std::map<std::string, std::string>& beside) const {
  if (root_.empty()) return NoHome();
  SL_RETURN_IF_ERROR(CheckModelName(package.spec.name));
  const ModelFormat format = FormatOf(model_file);
  if (format == ModelFormat::kOnnx) {
    SL_ASSIGN_OR_RETURN(const OnnxFileInfo info, InspectOnnx(model_file));
    SL_RETURN_IF_ERROR(CheckSelfContained(info));
  }
  const char* const file_name = format == ModelFormat::kTflite        ? kTfliteFile
                                : format == ModelFormat::kTorchScript ? kTorchScriptFile
                                                                      : kModelFile;
  const fs::path place = fs::path(root_) / package.spec.name;
  std::error_code error;
  if (!replace && fs::exists(place / kModelYaml, error)) {
    return FailedPrecondition(
        "there is already a model \"{}\" in {}: give another --name, or "
        "--replace it",
        package.spec.name, root_);
  }
  fs::create_directories(root_, error);
  if (error) return SystemError("cannot make", root_, error);
  RemoveForgotten(root_);

  SL_ASSIGN_OR_RETURN(const WorkFolder work, WorkFolder::Create(root_));
  const std::string copy = (work.path() / file_name).string();
  AddedModel added;
  if (format != ModelFormat::kOnnx) {
    SL_ASSIGN_OR_RETURN(const std::string bytes, ReadWholeFile(model_file, kMaxModelBytes));
    SL_RETURN_IF_ERROR(WriteWholeFile(copy, bytes));
  } else {
    SL_ASSIGN_OR_RETURN(added.weights_mended, MendOnnx(model_file, copy));
  }
  package.spec.file = file_name;
  package.spec.sha256 = FileSha256(copy);
  if (!package.spec.companion_file.empty()) {
    SL_ASSIGN_OR_RETURN(package.spec.companion_file, CopyCompanion(package.spec, work.path()));
    package.spec.companion_sha256 =
        FileSha256((work.path() / package.spec.companion_file).string());
  }
  const std::string yaml = FormatModelPackage(package);
  // What was written must be readable, or the next start would fail instead of this one.
  SL_RETURN_IF_ERROR(ParseModelPackage(yaml, kModelYaml).status());
  SL_RETURN_IF_ERROR(WriteWholeFile((work.path() / kModelYaml).string(), yaml));
  for (const auto& [name, content] : beside) {
    SL_RETURN_IF_ERROR(WriteWholeFile((work.path() / name).string(), content));
  }
  SyncFolder(work.path());
  SL_RETURN_IF_ERROR(MoveIntoPlace(work.path(), place, replace));
  SyncFolder(root_);
  package.spec.file = (place / file_name).string();
  if (!package.spec.companion_file.empty()) {
    package.spec.companion_file = (place / package.spec.companion_file).string();
  }
  added.package = std::move(package);
  return added;
}

}  // namespace sightline
