// ${env:NAME} and ${file:PATH} in a text, and what of it may be shown. Private to pipeline/config.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "pipeline/config/config.h"

namespace sightline::config {

struct SecretSources {
  std::function<std::optional<std::string>(const std::string& name)> environment;
  std::string folder;  // where relative paths start
};

inline constexpr size_t kMaxSecretBytes = 64 * 1024;

// Replaces the references by what they name; $${ stands for a literal ${. A file's content loses
// one line end at its end. What is put into the user:password part of a URL is percent-encoded
// where the URL would break otherwise; escapes such as %40 stay as they are. InvalidArgument
// without any secret in it: unknown kind, missing variable or file, an empty value, one with line
// ends or other control characters.
absl::StatusOr<SecretText> ResolveSecrets(std::string_view text, const SecretSources& sources);

// True when the text holds a reference: for fields that take none.
bool HasReference(std::string_view text);

// scheme:// as RFC 3986, section 3.1, has it.
bool LooksLikeUrl(std::string_view text);

}  // namespace sightline::config
