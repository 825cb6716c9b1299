#include "media/sources/live_address.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/ascii_text.h"
#include "base/redact.h"

namespace sightline {
namespace {

// libav keeps these in fixed buffers and cuts off what is longer.
constexpr size_t kMaxUrlBytes = 1000;
constexpr size_t kMaxCredentialBytes = 127;

struct Scheme {
  std::string_view name;
  LiveKind kind;
  bool tls;
  int port;
};
constexpr Scheme kSchemes[] = {
    {"rtsp", LiveKind::kRtsp, false, 554},  {"rtsps", LiveKind::kRtsp, true, 322},
    {"rtmp", LiveKind::kRtmp, false, 1935}, {"rtmps", LiveKind::kRtmp, true, 443},
    {"http", LiveKind::kHttp, false, 80},   {"https", LiveKind::kHttp, true, 443},
    {"udp", LiveKind::kUdp, false, 0},      {"srt", LiveKind::kSrt, false, 0},
    {"v4l2", LiveKind::kDevice, false, 0},
};

const Scheme* FindScheme(std::string_view name) {
  const std::string lower = AsciiLower(name);
  for (const Scheme& scheme : kSchemes) {
    if (scheme.name == lower) return &scheme;
  }
  return nullptr;
}

// "host", "host:port", "[v6]" or "[v6]:port" into `address`; false when it is none of them.
bool ParseHost(std::string_view text, LiveAddress* address) {
  std::string_view port;
  bool has_port = false;
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == std::string_view::npos) return false;
    address->host = text.substr(1, end - 1);
    const std::string_view after = text.substr(end + 1);
    if (!after.empty() && after[0] != ':') return false;
    has_port = !after.empty();
    if (has_port) port = after.substr(1);
  } else {
    const size_t colon = text.find(':');
    address->host = text.substr(0, colon);
    has_port = colon != std::string_view::npos;
    if (has_port) port = text.substr(colon + 1);
  }
  if (!has_port) return true;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address->port);
  return error == std::errc() && end == port.data() + port.size() && address->port > 0 &&
         address->port <= 65535;
}

absl::StatusOr<LiveAddress> ParseDevice(std::string_view path, std::string_view shown) {
  if (!path.starts_with("/dev/")) {
    return InvalidArgument("{}: a local device is given as /dev/video0 or v4l2:///dev/video0",
                           shown);
  }
  LiveAddress address;
  address.kind = LiveKind::kDevice;
  address.url = path;
  return address;
}

}  // namespace

bool IsLiveScheme(std::string_view scheme) { return FindScheme(scheme) != nullptr; }

absl::StatusOr<LiveAddress> ParseLiveAddress(const std::string& url, std::string_view shown) {
  if (url.size() > kMaxUrlBytes) {
    return InvalidArgument("{}: the address is {} bytes long, more than {} cannot be used", shown,
                           url.size(), kMaxUrlBytes);
  }
  // A line break would end up in the middle of a request.
  if (std::ranges::any_of(url, [](unsigned char c) { return c <= ' ' || c == 127; })) {
    return InvalidArgument(
        "{}: the address holds a space or a control character; write it as %20 and the like",
        shown);
  }
  const size_t colon = url.find("://");
  if (colon == std::string::npos) return ParseDevice(url, shown);
  const Scheme* scheme = FindScheme(std::string_view(url).substr(0, colon));
  if (scheme == nullptr) {
    return InvalidArgument(
        "{}: no live stream's address; those begin with rtsp://, rtsps://, rtmp://, rtmps://, "
        "http://, https://, udp:// or srt://, or are a device such as /dev/video0",
        shown);
  }
  const std::string_view after = std::string_view(url).substr(colon + 3);
  if (scheme->kind == LiveKind::kDevice) return ParseDevice(after, shown);
  const size_t slash = std::min(after.find_first_of("/?#"), after.size());
  std::string_view authority = after.substr(0, slash);
  LiveAddress address;
  address.kind = scheme->kind;
  address.tls = scheme->tls;
  address.port = scheme->port;
  address.rest = after.substr(slash);
  const size_t at = authority.rfind('@');
  if (at != std::string_view::npos) {
    address.credentials = authority.substr(0, at);
    authority.remove_prefix(at + 1);
  }
  if (address.credentials.size() > kMaxCredentialBytes) {
    return InvalidArgument(
        "{}: user name and password have {} bytes together, more than {} cannot be used", shown,
        address.credentials.size(), kMaxCredentialBytes);
  }
  if (!address.credentials.empty() && address.credentials.find(':') == std::string::npos) {
    address.credentials += ':';  // libav sends a user without a password only so
  }
  const bool may_listen = scheme->port == 0;  // udp://:5000 waits on every address
  if (!ParseHost(authority, &address) || (address.host.empty() && !may_listen)) {
    return InvalidArgument(
        "{}: the address names no host, or not as host:port (a port is 1 to 65535; write / ? # @ "
        "in a password as %2F %3F %23 %40)",
        shown);
  }
  if (may_listen && address.port == 0) {
    return InvalidArgument("{}: {}:// needs a port, such as {}://host:5000", shown, scheme->name,
                           scheme->name);
  }
  address.url = fmt::format("{}://{}{}{}{}", scheme->name, address.credentials,
                            at == std::string_view::npos ? "" : "@", authority, address.rest);
  return address;
}

void HideSecretsOf(const LiveAddress& address, std::string_view shown) {
  HideSecret(address.url, shown);
  const size_t colon = address.credentials.find(':');
  if (colon == std::string::npos) return;
  const std::string_view password = std::string_view(address.credentials).substr(colon + 1);
  if (password.empty()) return;
  HideSecret(address.credentials, "***");
  HideSecret(password, "***");
  std::string decoded;
  PercentDecode(password, &decoded);  // what is no escape is meant as it stands
  HideSecret(decoded, "***");
}

}  // namespace sightline
