#include "pipeline/config/secrets.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <fstream>

#include "base/ascii_text.h"
#include "base/redact.h"
#include "pipeline/config/document.h"

namespace sightline::config {
namespace {

constexpr std::string_view kMask = "***";

// Names of parameters whose values are no one's business, in lower case; matched as parts of the
// name, so that access_token and X-Amz-Signature are covered.
constexpr std::array<std::string_view, 10> kSecretParameters = {
    "pass", "pwd", "token", "secret", "key", "sig", "auth", "credential", "session", "jwt"};

// Length of "scheme" in "scheme://", or npos.
size_t SchemeLength(std::string_view text) {
  const size_t colon = text.find("://");
  if (colon == 0 || colon == std::string_view::npos) return std::string_view::npos;
  for (size_t i = 0; i < colon; ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const bool good =
        i == 0 ? std::isalpha(c) : std::isalnum(c) || c == '+' || c == '-' || c == '.';
    if (!good) return std::string_view::npos;
  }
  return colon;
}

bool IsPort(std::string_view text) {
  return !text.empty() && text.size() <= 5 &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c); });
}

// Where the password of "user:password@" stands in the text behind "scheme://"; empty when none. A
// password with a raw "/" breaks the URL, and is masked all the same.
std::string_view PasswordOf(std::string_view rest) {
  const std::string_view authority = rest.substr(0, rest.find_first_of("/?#"));
  size_t at = authority.rfind('@');
  if (at == std::string_view::npos) {
    const size_t colon = authority.rfind(':');
    if (colon == std::string_view::npos || IsPort(authority.substr(colon + 1))) return {};
    at = rest.rfind('@');
    if (at == std::string_view::npos) return {};
  }
  const size_t colon = rest.find(':');
  if (colon >= at) return {};
  return rest.substr(colon + 1, at - colon - 1);
}

bool IsSecretParameter(std::string_view name) {
  const std::string lower = AsciiLower(name);
  return std::any_of(kSecretParameters.begin(), kSecretParameters.end(),
                     [&](std::string_view part) { return lower.find(part) != std::string::npos; });
}

std::string MaskPasswords(std::string_view text) {
  std::string masked;
  while (true) {
    const size_t scheme = text.find("://");
    if (scheme == std::string_view::npos) return masked.append(text);
    masked.append(text.substr(0, scheme + 3));
    text.remove_prefix(scheme + 3);
    const std::string_view password = PasswordOf(text);
    if (password.empty()) continue;
    const auto begin = static_cast<size_t>(password.data() - text.data());
    masked.append(text.substr(0, begin)).append(kMask);
    text.remove_prefix(begin + password.size());
  }
}

// "a=b&token=c" with the values of secret parameters masked. Not only behind "?": cameras of some
// makers want them in the path ("/user=admin&password=x&channel=1").
std::string MaskParameters(std::string_view text) {
  std::string masked;
  size_t name = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    masked.push_back(text[i]);
    if (c == '=' && IsSecretParameter(text.substr(name, i - name))) {
      const size_t end = std::min(text.find_first_of("&;#?/", i), text.size());
      if (end > i + 1) masked.append(kMask);
      i = end - 1;
    }
    if (!std::isalnum(c) && c != '_' && c != '-' && c != '.') name = i + 1;
  }
  return masked;
}

absl::StatusOr<std::string> ReadSecretFile(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) {
    return NotFound("the file {} of ${{file:...}} is not there or may not be read", Quote(path));
  }
  if (!S_ISREG(info.st_mode)) {
    return InvalidArgument("{} of ${{file:...}} is no regular file", Quote(path));
  }
  std::ifstream in(path, std::ios::binary);
  std::string content(kMaxSecretBytes + 1, '\0');
  in.read(content.data(), static_cast<std::streamsize>(content.size()));
  if (in.bad() || !in.is_open()) {
    return InvalidArgument("the file {} of ${{file:...}} may not be read", Quote(path));
  }
  content.resize(static_cast<size_t>(in.gcount()));
  if (content.size() > kMaxSecretBytes) {
    return InvalidArgument("the file {} of ${{file:...}} has more than {} bytes", Quote(path),
                           kMaxSecretBytes);
  }
  if (!content.empty() && content.back() == '\n') content.pop_back();
  if (!content.empty() && content.back() == '\r') content.pop_back();
  return content;
}

absl::StatusOr<std::string> Lookup(std::string_view reference, const SecretSources& sources) {
  const size_t colon = reference.find(':');
  const std::string_view kind = reference.substr(0, colon);
  const std::string name(colon == std::string_view::npos ? "" : reference.substr(colon + 1));
  if ((kind != "env" && kind != "file") || name.empty()) {
    return InvalidArgument(
        "${{{}}} is no reference; write ${{env:NAME}} or ${{file:PATH}}, or $${{ for a literal ${{",
        reference.substr(0, 40));
  }
  std::string value;
  if (kind == "env") {
    std::optional<std::string> found = sources.environment(name);
    if (!found) {
      return InvalidArgument(
          "the environment variable {} is not set; export it, or use "
          "${{file:PATH}}",
          Quote(name));
    }
    value = std::move(*found);
  } else {
    std::filesystem::path path(name);
    if (path.is_relative()) path = std::filesystem::path(sources.folder) / path;
    SL_ASSIGN_OR_RETURN(value, ReadSecretFile(path.string()));
  }
  if (value.empty()) return InvalidArgument("${{{}}} is empty", reference);
  for (const unsigned char c : value) {
    if (c < 0x20 || c == 0x7F) {
      return InvalidArgument("the value of ${{{}}} holds a line end or another control character",
                             reference);
    }
  }
  return value;
}

// For the user:password part of a URL.
std::string PercentEncode(std::string_view value) {
  std::string encoded;
  for (size_t i = 0; i < value.size(); ++i) {
    const auto c = static_cast<unsigned char>(value[i]);
    const bool escape = c == '%' && i + 2 < value.size() &&
                        std::isxdigit(static_cast<unsigned char>(value[i + 1])) &&
                        std::isxdigit(static_cast<unsigned char>(value[i + 2]));
    if ((std::string_view(" /?#@[]\"<>\\^`{|}%").find(static_cast<char>(c)) !=
             std::string_view::npos &&
         !escape) ||
        c >= 0x80) {
      encoded += fmt::format("%{:02X}", c);
    } else {
      encoded.push_back(static_cast<char>(c));
    }
  }
  return encoded;
}

// A reference's index between these two stands for it while the text around it is looked at; the
// text itself holds no control characters.
constexpr char kOpen = '\x01';
constexpr char kClose = '\x02';

// True when what comes between `before` and `after` is in a URL's user:password part.
bool InUserInfo(std::string_view before, std::string_view after) {
  const size_t scheme = SchemeLength(before);
  if (scheme == std::string_view::npos) return false;
  if (before.substr(scheme + 3).find_first_of("/?#@") != std::string_view::npos) return false;
  const size_t end = after.find_first_of("/?#@");
  return end != std::string_view::npos && after[end] == '@';
}

// One ${...} of the text.
struct Reference {
  std::string_view text;
  std::string value;
};

// The pattern with every placeholder replaced by replace(index, text before, text behind).
template <typename Replace>
std::string Fill(std::string_view pattern, const Replace& replace) {
  std::string filled;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != kOpen) {
      filled += pattern[i];
      continue;
    }
    const size_t close = pattern.find(kClose, i);
    const size_t index = std::stoul(std::string(pattern.substr(i + 1, close - i - 1)));
    filled += replace(index, pattern.substr(0, i), pattern.substr(close + 1));
    i = close;
  }
  return filled;
}

}  // namespace

bool HasReference(std::string_view text) { return text.find("${") != std::string_view::npos; }

bool LooksLikeUrl(std::string_view text) { return SchemeLength(text) != std::string_view::npos; }

absl::StatusOr<SecretText> ResolveSecrets(std::string_view text, const SecretSources& sources) {
  std::string pattern;
  std::vector<Reference> references;
  for (size_t i = 0; i < text.size();) {
    if (text.substr(i, 3) == "$${") {
      pattern += "${";
      i += 3;
    } else if (text.substr(i, 2) == "${") {
      const size_t end = text.find('}', i);
      if (end == std::string_view::npos) {
        return InvalidArgument("a ${{ without its }}; write $${{ for a literal ${{");
      }
      SL_ASSIGN_OR_RETURN(std::string value, Lookup(text.substr(i + 2, end - i - 2), sources));
      pattern += fmt::format("{}{}{}", kOpen, references.size(), kClose);
      HideSecret(value, text.substr(i, end + 1 - i));
      references.push_back({text.substr(i, end + 1 - i), std::move(value)});
      i = end + 1;
    } else {
      if (static_cast<unsigned char>(text[i]) < 0x20) {
        return InvalidArgument("the text holds a line end or another control character");
      }
      pattern += text[i++];
    }
  }
  const std::string value =
      Fill(pattern, [&](size_t index, std::string_view before, std::string_view after) {
        const std::string& part = references[index].value;
        return InUserInfo(before, after) ? PercentEncode(part) : part;
      });
  const std::string shown =
      Fill(MaskSecrets(pattern), [&](size_t index, std::string_view, std::string_view) {
        return std::string(references[index].text);
      });
  return SecretText(value, shown);
}

}  // namespace sightline::config

namespace sightline {

std::string MaskSecrets(std::string_view url) {
  if (url.find("://") == std::string_view::npos) return std::string(url);
  return config::MaskParameters(config::MaskPasswords(url));
}

std::ostream& operator<<(std::ostream& out, const SecretText& text) { return out << text.shown(); }

}  // namespace sightline
