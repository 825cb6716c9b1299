// What the answers of a loaded model depend on, for the keys of caches.
// Threads: reentrant. Cost: reads the file.
#pragma once

#include <string>
#include <string_view>

#include "serve/inference/served_model.h"

namespace sightline::serve {

// A hash of the file's bytes, the labels, the runtime and its providers. UniqueContent() where the file
// cannot be read or says that weights lie in other files.
std::string ModelContent(const ModelVersionOptions& options, std::string_view backend);
// What nothing else has, in this process or another one.
std::string UniqueContent();

}  // namespace sightline::serve
