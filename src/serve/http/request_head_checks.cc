#include <algorithm>
#include <string>

#include "base/ascii_text.h"
#include "serve/http/request_head_checks_internal.h"

namespace sightline::serve {
namespace {

// Those that only ask (RFC 9110, section 9.2.1).
bool IsSafeMethod(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "OPTIONS";
}

bool IsBase64(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
         c == '/';
}

}  // namespace

bool HasFoldedHeader(std::string_view lines) {
  return lines.find("\r\n ") != std::string_view::npos ||
         lines.find("\r\n\t") != std::string_view::npos;
}

std::optional<HttpResponse> RefusalOfHead(const HttpRequest& head, int version, int hosts) {
  if (version >= 11 && hosts != 1) {
    return ErrorResponse(400, "a request of HTTP/1.1 has one Host header");
  }
  bool coded = false, other_coding = false, sized = false;
  for (const auto& [name, value] : head.headers) {
    if (name == "content-length") sized = true;
    if (name != "transfer-encoding") continue;
    other_coding |= coded || AsciiLower(value) != "chunked";
    coded = true;
  }
  if (coded && version < 11) return ErrorResponse(400, "HTTP/1.0 has no Transfer-Encoding");
  if (coded && sized) {
    return ErrorResponse(400, "a request has Transfer-Encoding or Content-Length, not both");
  }
  if (other_coding) {
    return ErrorResponse(501, "of transfer codings only \"chunked\" is known, alone and once");
  }
  if (!IsSafeMethod(head.method) && IsOfAnotherSite(head)) {
    return ErrorResponse(403,
                         "a page of another site (Origin is not Host) may change nothing here");
  }
  return std::nullopt;
}

bool IsOfAnotherSite(const HttpRequest& head) {
  const std::string_view origin = head.Header("origin");
  if (origin.empty()) return false;
  const size_t scheme = origin.find("://");
  const std::string_view host =
      scheme == std::string_view::npos ? origin : origin.substr(scheme + 3);
  return AsciiLower(host) != AsciiLower(head.Header("host"));
}

bool IsWebSocketKey(std::string_view key) {
  return key.size() == 24 && key.ends_with("==") &&
         std::all_of(key.begin(), key.end() - 2, IsBase64);
}

}  // namespace sightline::serve
