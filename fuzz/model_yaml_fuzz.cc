// Any bytes as model.yaml: read or refused, never a crash, a hang or a leak. What is read can be
// written, and reads back as the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "infer/model_package.h"
#include "infer/model_store.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sightline;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::string labels_file;
  const auto package = ParseModelPackage(text, "model.yaml", &labels_file);
  if (!package.ok()) return 0;
  const ModelSpec& spec = package->spec;
  if (!CheckModelName(spec.name).ok() || spec.file.find('/') != std::string::npos) std::abort();
  if (spec.labels == nullptr || spec.input.width < 1 || spec.output_names.empty()) std::abort();
  const std::string yaml = FormatModelPackage(*package);
  const auto again = ParseModelPackage(yaml, "model.yaml");
  if (!again.ok() || FormatModelPackage(*again) != yaml) std::abort();
  return 0;
}
