#include <boost/beast/http/status.hpp>
#include <ctime>

#include "base/ascii_text.h"
#include "base/status.h"
#include "serve/http/response_head_internal.h"

namespace sightline::serve {
namespace {

// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, section 5.6.7), whatever the locale.
std::string HttpDate(std::time_t at) {
  constexpr std::string_view kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::string_view kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  std::tm utc{};
  gmtime_r(&at, &utc);
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", kDays[utc.tm_wday], utc.tm_mday,
                     kMonths[utc.tm_mon], utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
}

// Made once a second.
const std::string& HttpDateNow() {
  thread_local std::time_t made = 0;
  thread_local std::string text;
  const std::time_t now = std::time(nullptr);
  if (now != made) {
    text = HttpDate(now);
    made = now;
  }
  return text;
}

bool HasControls(std::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\t') || byte == 0x7F) return true;
  }
  return false;
}

bool IsToken(std::string_view text) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  for (const char c : text) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!letter && kMarks.find(c) == std::string_view::npos) return false;
  }
  return !text.empty();
}

bool SameName(std::string_view a, std::string_view b) {
  return a.size() == b.size() && AsciiLower(a) == AsciiLower(b);
}

void Append(std::string_view name, std::string_view value, std::string* to) {
  to->append(name).append(": ").append(value).append("\r\n");
}

}  // namespace

std::string ResponseHead(const HttpResponse& response, std::optional<size_t> length,
                         bool keep_alive) {
  const int status = response.status >= 200 && response.status <= 599 ? response.status : 500;
  const auto reason = boost::beast::http::obsolete_reason(
      boost::beast::http::int_to_status(static_cast<unsigned>(status)));
  std::string head;
  head.reserve(256);
  head.append("HTTP/1.1 ").append(std::to_string(status)).append(" ");
  head.append(reason.data(), reason.size()).append("\r\n");
  // What a handler says goes before what is said by default.
  const auto says = [&](std::string_view name, size_t from) {
    for (size_t i = from; i < response.headers.size(); ++i) {
      if (SameName(response.headers[i].first, name)) return true;
    }
    return false;
  };
  if (!says("Date", 0)) Append("Date", HttpDateNow(), &head);
  if (!HasControls(response.content_type) && !says("Content-Type", 0)) {
    Append("Content-Type", response.content_type, &head);
  }
  if (!says("Cache-Control", 0)) Append("Cache-Control", "no-store", &head);
  if (!says("X-Content-Type-Options", 0)) Append("X-Content-Type-Options", "nosniff", &head);
  for (size_t i = 0; i < response.headers.size(); ++i) {
    const auto& [name, value] = response.headers[i];
    if (!IsToken(name) || HasControls(value) || says(name, i + 1)) continue;
    if (SameName(name, "Content-Length") || SameName(name, "Transfer-Encoding") ||
        SameName(name, "Connection")) {
      continue;
    }
    Append(name, value, &head);
  }
  if (!keep_alive) head.append("Connection: close\r\n");
  // RFC 9110, 8.6: none where there is no body by definition.
  if (length && status != 204 && status != 304)
    Append("Content-Length", std::to_string(*length), &head);
  return head.append("\r\n");
}

}  // namespace sightline::serve
