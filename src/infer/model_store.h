// Where model packages live on this machine: one folder per model,
// ROOT/NAME/{model.yaml,model.onnx}, or model.tflite or model.torchscript.
//
// ROOT is $SIGHTLINE_MODELS, else $XDG_DATA_HOME/sightline/models, else
// ~/.local/share/sightline/models (XDG Base Directory Specification 0.8). Packages are added and
// replaced whole or not at all; readers never see half of one.
//
// Packages that came with the program lie in share/sightline/models beside its bin/, in a build
// folder as in an installation. They are found when ROOT has none of that name, and never changed.
//
// Threads: safe; several processes may use one store.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "infer/model_package.h"

namespace sightline {

// One entry of the store. A broken package is listed too, with what is wrong with it.
struct StoredModel {
  std::string name;
  std::string folder;
  bool shipped = false;  // came with the program
  absl::Status status;   // when not OK, `package` is empty
  ModelPackage package;  // as PeekModelPackage() reads it
};

struct AddedModel {
  ModelPackage package;
  int weights_mended = 0;  // see MendOnnx()
};

class ModelStore {
 public:
  // `shipped`: the folder of packages that came with the program; empty when there are none.
  explicit ModelStore(std::string root, std::string shipped = {})
      : root_(std::move(root)), shipped_(std::move(shipped)) {}
  static ModelStore Default();

  const std::string& root() const { return root_; }  // empty when there is no home folder

  // By name; those of the program, too, where the store has none of that name.
  absl::StatusOr<std::vector<StoredModel>> List() const;

  // The package of that name, checked as LoadModelPackage() does. NotFound with the nearest name.
  absl::StatusOr<ModelPackage> Find(const std::string& name) const;

  // Where the package of that name lies, or would be added: nothing is opened but the folders.
  std::string FolderOf(const std::string& name) const;

  // Where `models tune` keeps what it found for the package of that name: tune.yaml in its folder;
  // for one that came with the program $XDG_CACHE_HOME/sightline/tuned/NAME.yaml, else
  // ~/.cache/... Empty when there is no home folder. The file need not be there.
  std::string TuningFileOf(const std::string& name) const;

  // Puts a copy of `model_file`, mended, and its description into the store under
  // package.spec.name; file and sha256 of the spec are set here, and those of the companion that the
  // spec names (copied as decoder.onnx, mended, where it is an ONNX file, else as statistics.bin). A
  // name that is taken is refused unless `replace`. A model whose weights lie in other files is
  // refused. `beside`: further files of the package, by name, such as a report; nothing reads them.
  absl::StatusOr<AddedModel> Add(ModelPackage package, const std::string& model_file, bool replace,
                                 const std::map<std::string, std::string>& beside = {}) const;

  // Takes the package of that name out of the store. NotFound as Find(); FailedPrecondition for one
  // that came with the program.
  absl::Status Remove(const std::string& name) const;

 private:
  absl::Status NoSuchModel(const std::string& name) const;
  bool IsShipped(const std::string& name) const;  // and not in the store
  std::string root_;
  std::string shipped_;
};

// 1 to 50 of [A-Za-z0-9_.-], starting with a letter or digit, not ending as model files do
// (HasModelEnding): a name must not look like a path or an option.
absl::Status CheckModelName(std::string_view name);

// A valid name out of a file's: "/tmp/YOLOX Nano.onnx" -> "yolox_nano".
std::string ModelNameFromFile(const std::string& path);

}  // namespace sightline
