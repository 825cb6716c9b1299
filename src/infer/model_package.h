// A model package: a folder with the model file and model.yaml, which says everything that the
// engine has to know about it (docs/model_packages.md lists the keys).
//
// model.yaml is read strictly: unknown and repeated keys, wrong types and impossible values are
// refused as "model.yaml:7:3: reason", with the nearest valid key. At most 1 MiB.
//
// Threads: reentrant.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "types/model_spec.h"

namespace sightline {

inline constexpr char kModelYaml[] = "model.yaml";
inline constexpr char kModelFile[] = "model.onnx";
// The names of companions in a package.
inline constexpr char kDecoderFile[] = "decoder.onnx";
inline constexpr char kStatisticsFile[] = "statistics.bin";
inline constexpr char kTfliteFile[] = "model.tflite";
inline constexpr char kTorchScriptFile[] = "model.torchscript";
inline constexpr char kTuningYaml[] = "tune.yaml";

struct ModelPackage {
  ModelSpec spec;
  std::vector<std::string> why;  // what the recognition rests on, for people
};

// Where a package's folder comes from, and with it which links among its files are taken. Symbolic
// ones never are.
enum class PackageOrigin {
  // Any folder: hard links are refused, too.
  kForeign,
  // The store, or what came with the program: `models add` wrote a copy of its own, or a package
  // manager did. Hard links there are made by backups and by systems that keep equal files once, and
  // the checksum shows when the content is another.
  kStored
};

// Reads FOLDER/model.yaml, a labels file if it names one, and checks the model file and its companion
// against the sha256 that the package states. spec.file and spec.companion_file are absolute.
// NotFound, InvalidArgument for what is wrong in the YAML and for links, DataLoss when a file is not
// the one that was added.
// Cost: reading the model file once, about 2 ms a MB.
absl::StatusOr<ModelPackage> LoadModelPackage(const std::string& folder,
                                              PackageOrigin origin = PackageOrigin::kForeign);

// The same without the check of the model file's content. For lists.
absl::StatusOr<ModelPackage> PeekModelPackage(const std::string& folder,
                                              PackageOrigin origin = PackageOrigin::kForeign);
// The package in the folder of a model file; NotFound when there is none, or it is another file's.
absl::StatusOr<ModelPackage> PeekPackageBeside(const std::string& model_file);

// The YAML alone; nothing is opened; spec.labels is never null. The files are as the text says.
// `where` stands in front of errors. A labels file is not read: its name comes back in
// `labels_file`, which may be null when none is expected.
absl::StatusOr<ModelPackage> ParseModelPackage(std::string_view yaml, const std::string& where,
                                               std::string* labels_file = nullptr);

// The YAML of a package; ParseModelPackage gives the same package back.
std::string FormatModelPackage(const ModelPackage& package);

// One name per line; a line may be empty in between (that class then has no name), not at the end.
// Windows line ends are taken. InvalidArgument for what is no text, or beyond 100,000 names or 200
// bytes a name.
absl::StatusOr<std::shared_ptr<const LabelSet>> ReadLabels(const std::string& path);

// Changes what the YAML names and nothing else; no key is required. For descriptions that people
// write by hand. A labels file is looked for in `labels_folder`.
absl::Status ApplyModelYaml(std::string_view yaml, const std::string& where,
                            const std::string& labels_folder, ModelPackage& package);

// Changes one value of the package as if model.yaml held it: key "confidence", "input.resize",
// "nms.iou", "labels"; the value in YAML ("[0, 0, 0]"). For --set. InvalidArgument as in parsing.
absl::Status SetInModelPackage(std::string_view key, std::string_view value, ModelPackage& package);

}  // namespace sightline
