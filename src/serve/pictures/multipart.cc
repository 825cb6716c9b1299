#include "serve/pictures/multipart.h"

#include <algorithm>
#include <optional>

#include "base/ascii_text.h"

namespace sightline::serve {
namespace {

constexpr size_t kLongestBoundary = 70;  // RFC 2046
constexpr std::string_view kLineEnd = "\r\n";

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// The value of `; key=value` or `; key="value"` behind a header's first word; nullopt without that key.
std::optional<std::string> ParameterOf(std::string_view header, std::string_view key) {
  size_t at = std::min(header.find(';'), header.size());
  while (at < header.size()) {
    ++at;  // the semicolon
    const size_t equals = header.find('=', at);
    if (equals == std::string_view::npos) return std::nullopt;
    const std::string_view name = Trimmed(header.substr(at, equals - at));
    std::string value;
    at = equals + 1;
    while (at < header.size() && (header[at] == ' ' || header[at] == '\t')) ++at;
    if (at < header.size() && header[at] == '"') {
      for (++at; at < header.size() && header[at] != '"'; ++at) {
        if (header[at] == '\\' && at + 1 < header.size()) ++at;
        value += header[at];
      }
      if (at >= header.size()) return std::nullopt;  // no closing quote
      at = std::min(header.find(';', at), header.size());
    } else {
      const size_t end = std::min(header.find(';', at), header.size());
      value = Trimmed(header.substr(at, end - at));
      at = end;
    }
    if (SameWord(name, key)) return value;
  }
  return std::nullopt;
}

absl::Status ReadHeaders(std::string_view headers, FormPart& part) {
  bool named = false;
  while (!headers.empty()) {
    const size_t end = std::min(headers.find(kLineEnd), headers.size());
    const std::string_view line = headers.substr(0, end);
    headers.remove_prefix(std::min(headers.size(), end + kLineEnd.size()));
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || colon == 0) {
      return InvalidArgument("a part's header line has no name");
    }
    const std::string_view value = Trimmed(line.substr(colon + 1));
    if (SameWord(line.substr(0, colon), "content-type")) part.type = value;
    if (SameWord(line.substr(0, colon), "content-transfer-encoding") &&
        !SameWord(value, "binary") && !SameWord(value, "8bit") && !SameWord(value, "7bit")) {
      return InvalidArgument("a part is encoded for mail: send its bytes as they are");
    }
    if (!SameWord(line.substr(0, colon), "content-disposition")) continue;
    const std::string_view kind = Trimmed(value.substr(0, std::min(value.find(';'), value.size())));
    const auto name = ParameterOf(value, "name");
    if (!SameWord(kind, "form-data") || !name) {
      return InvalidArgument("a part's Content-Disposition is not form-data with a name");
    }
    named = true;
    part.name = *name;
    const auto file_name = ParameterOf(value, "filename");
    part.is_file = file_name.has_value();
    part.file_name = file_name.value_or("");
  }
  return named ? absl::OkStatus() : InvalidArgument("a part has no Content-Disposition");
}

}  // namespace

absl::StatusOr<std::string> BoundaryOf(std::string_view content_type) {
  const auto boundary = ParameterOf(content_type, "boundary");
  const auto is_good = [](char c) { return c > ' ' && c < 127; };
  if (!boundary || boundary->empty() || boundary->size() > kLongestBoundary ||
      !std::ranges::all_of(*boundary, is_good)) {
    return InvalidArgument("the Content-Type multipart/form-data names no proper boundary");
  }
  return *boundary;
}

absl::StatusOr<std::vector<FormPart>> ReadFormParts(std::string_view body,
                                                    std::string_view boundary) {
  const std::string mark = "--" + std::string(boundary);
  const std::string next = std::string(kLineEnd) + mark;
  std::vector<FormPart> parts;
  size_t at = 0;
  if (!body.starts_with(mark)) {
    at = body.find(next);
    if (at == std::string_view::npos)
      return InvalidArgument("the form's first boundary is missing");
    at += kLineEnd.size();
  }
  while (true) {
    at += mark.size();
    if (body.substr(at).starts_with("--")) return parts;
    while (at < body.size() && (body[at] == ' ' || body[at] == '\t')) ++at;
    if (!body.substr(at).starts_with(kLineEnd)) {
      return InvalidArgument("the form is cut off, or its boundary is part of another line");
    }
    at += kLineEnd.size();
    if (parts.size() == kMostFormParts) {
      return InvalidArgument("more than {} parts in the form", kMostFormParts);
    }
    // From the line end before them on: there may be none.
    const size_t head_end = body.substr(0, std::min(body.size(), at + kMostPartHeaderBytes))
                                .find("\r\n\r\n", at - kLineEnd.size());
    if (head_end == std::string_view::npos) {
      return InvalidArgument("a part's headers do not end within {} bytes", kMostPartHeaderBytes);
    }
    FormPart part;
    SL_RETURN_IF_ERROR(ReadHeaders(body.substr(at, std::max(at, head_end) - at), part));
    const size_t begin = head_end + 4;
    // An empty part: its line end is that of the headers.
    const size_t end = body.find(next, begin - kLineEnd.size());
    if (end == std::string_view::npos) return InvalidArgument("the form is cut off: it has no end");
    part.content = body.substr(begin, end > begin ? end - begin : 0);
    parts.push_back(std::move(part));
    at = end + kLineEnd.size();
  }
}

}  // namespace sightline::serve
