#include "serve/inference/model_content.h"

#include <random>

#include "base/uuid.h"
#include "infer/onnx_file.h"
#include "serve/cache/cache_key.h"

namespace sightline::serve {

std::string UniqueContent() {
  std::random_device random;
  CacheKeyHasher hasher;
  for (int i = 0; i < 8; ++i) hasher.Add(random());
  return "unique " + ToHex(hasher.Finish());
}

std::string ModelContent(const ModelVersionOptions& options, std::string_view backend) {
  const std::string sha256 = FileSha256(options.file);
  if (sha256.empty()) return UniqueContent();
  if (const auto info = InspectOnnx(options.file); info.ok() && info->has_external_data()) {
    return UniqueContent();
  }
  CacheKeyHasher hasher;
  hasher.Add(sha256).Add(backend);
  hasher.Add(static_cast<uint64_t>(options.settings.providers.size()));
  for (const std::string& provider : options.settings.providers) hasher.Add(provider);
  if (options.labels != nullptr) {
    hasher.Add(static_cast<uint64_t>(options.labels->names.size()));
    for (const std::string& name : options.labels->names) hasher.Add(name);
  }
  return ToHex(hasher.Finish());
}

}  // namespace sightline::serve
