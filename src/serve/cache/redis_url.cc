#include "serve/cache/redis_url.h"

#include <charconv>

#include "base/redact.h"

namespace sightline::serve {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

bool Unescape(std::string_view text, std::string& to) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      to += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return false;
    const int high = HexDigit(text[i + 1]), low = HexDigit(text[i + 2]);
    if (high < 0 || low < 0) return false;
    to += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return true;
}

bool Number(std::string_view text, int least, int most, int& to) {
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), to);
  return error == std::errc() && stop == text.data() + text.size() && to >= least && to <= most;
}

absl::Status Wrong(std::string_view what) {
  return InvalidArgument(
      "the URL of the cache {}: redis://[[USER:]PASSWORD@]HOST[:PORT][/DATABASE], or rediss:// "
      "with "
      "TLS",
      what);
}

}  // namespace

std::string RedisUrl::Shown() const {
  return fmt::format("{}://{}:{}/{}", tls ? "rediss" : "redis", host, port, database);
}

absl::StatusOr<RedisUrl> ParseRedisUrl(std::string_view url) {
  constexpr std::string_view kPlain = "redis://", kTls = "rediss://";
  RedisUrl parsed;
  parsed.tls = url.starts_with(kTls);
  if (!parsed.tls && !url.starts_with(kPlain)) {
    return Wrong("does not begin with redis:// or rediss://");
  }
  url.remove_prefix(parsed.tls ? kTls.size() : kPlain.size());
  if (const size_t at = url.rfind('@'); at != std::string_view::npos) {
    const std::string_view login = url.substr(0, at);
    url.remove_prefix(at + 1);
    const size_t colon = login.find(':');
    const bool has_user = colon != std::string_view::npos;
    const std::string_view password = has_user ? login.substr(colon + 1) : login;
    HideSecret(password, "***");
    if ((has_user && !Unescape(login.substr(0, colon), parsed.user)) ||
        !Unescape(password, parsed.password)) {
      return Wrong("has an escape that is none");
    }
    HideSecret(parsed.password, "***");
  }
  if (const size_t slash = url.find('/'); slash != std::string_view::npos) {
    const std::string_view database = url.substr(slash + 1);
    if (!database.empty() && !Number(database, 0, 1 << 16, parsed.database)) {
      return Wrong("has a database that is no number");
    }
    url = url.substr(0, slash);
  }
  std::string_view host = url, port;
  if (url.starts_with('[')) {
    const size_t end = url.find(']');
    if (end == std::string_view::npos) return Wrong("has a [ without ]");
    host = url.substr(1, end - 1);
    port = url.substr(end + 1);
  } else if (const size_t colon = url.find(':'); colon != std::string_view::npos) {
    host = url.substr(0, colon);
    port = url.substr(colon);
  }
  if (host.empty()) return Wrong("names no host");
  if (!port.empty() && (port[0] != ':' || !Number(port.substr(1), 1, 65535, parsed.port))) {
    return Wrong("has a port that is none");
  }
  parsed.host = host;
  return parsed;
}

}  // namespace sightline::serve
