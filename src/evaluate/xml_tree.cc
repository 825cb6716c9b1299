#include "evaluate/xml_tree.h"

#include <algorithm>
#include <cstdint>

#include "base/number_lines.h"
#include "evaluate/text_lines.h"

namespace sightline::evaluate {
namespace {

constexpr size_t kMostDepth = 64;  // chosen; annotations have 4

bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
bool EndsName(char c) { return IsBlank(c) || c == '>' || c == '/' || c == '<' || c == '='; }

void AppendUtf8(uint32_t code, std::string* text) {
  if (code < 0x80) {
    *text += static_cast<char>(code);
  } else if (code < 0x800) {
    *text += static_cast<char>(0xC0 | code >> 6);
    *text += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    *text += static_cast<char>(0xE0 | code >> 12);
    *text += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    *text += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    *text += static_cast<char>(0xF0 | code >> 18);
    *text += static_cast<char>(0x80 | (code >> 12 & 0x3F));
    *text += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    *text += static_cast<char>(0x80 | (code & 0x3F));
  }
}

bool AppendEntity(std::string_view name, std::string* text) {
  if (name == "lt") return *text += '<', true;
  if (name == "gt") return *text += '>', true;
  if (name == "amp") return *text += '&', true;
  if (name == "quot") return *text += '"', true;
  if (name == "apos") return *text += '\'', true;
  if (!name.starts_with('#')) return false;
  name.remove_prefix(1);
  const bool hex = name.starts_with('x');
  if (hex) name.remove_prefix(1);
  uint32_t code = 0;
  const auto [end, error] =
      std::from_chars(name.data(), name.data() + name.size(), code, hex ? 16 : 10);
  if (error != std::errc() || end != name.data() + name.size() || code == 0 || code > 0x10FFFF ||
      (code >= 0xD800 && code < 0xE000)) {
    return false;
  }
  AppendUtf8(code, text);
  return true;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {
    if (text_.starts_with("\xEF\xBB\xBF")) at_ = 3;
  }

  absl::StatusOr<XmlElement> Parse() {
    XmlElement document;
    std::vector<XmlElement*> open = {&document};
    while (at_ < text_.size()) {
      if (text_[at_] != '<') {
        SL_RETURN_IF_ERROR(TakeText(open.size() == 1, &open.back()->text));
      } else if (Starts("<!--")) {
        SL_RETURN_IF_ERROR(SkipPast("-->", "a comment"));
      } else if (Starts("<?")) {
        SL_RETURN_IF_ERROR(SkipPast("?>", "a processing instruction"));
      } else if (Starts("<![CDATA[")) {
        SL_RETURN_IF_ERROR(TakeCdata(&open.back()->text));
      } else if (Starts("<!")) {
        SL_RETURN_IF_ERROR(SkipDocumentType());
      } else if (Starts("</")) {
        SL_RETURN_IF_ERROR(Close(&open));
      } else {
        SL_RETURN_IF_ERROR(Open(&open));
      }
    }
    if (open.size() > 1) {
      return Wrong("the text ends within <{}> of line {}", ShownText(open.back()->name),
                   open.back()->line);
    }
    if (document.children.empty()) return Wrong("no element");
    if (document.children.size() > 1) return Wrong("more than one root element");
    XmlElement root = std::move(document.children[0]);
    return root;
  }

 private:
  template <typename... Args>
  absl::Status Wrong(fmt::format_string<Args...> format, Args&&... args) const {
    return InvalidArgument("line {}: {}", line_, fmt::format(format, std::forward<Args>(args)...));
  }
  bool Starts(std::string_view with) const { return text_.substr(at_).starts_with(with); }
  void Advance(size_t to) {
    line_ += static_cast<size_t>(std::count(text_.begin() + static_cast<ptrdiff_t>(at_),
                                            text_.begin() + static_cast<ptrdiff_t>(to), '\n'));
    at_ = to;
  }
  absl::Status SkipPast(std::string_view end, const char* what) {
    const size_t found = text_.find(end, at_);
    if (found == std::string_view::npos) return Wrong("{} without end", what);
    Advance(found + end.size());
    return absl::OkStatus();
  }
  absl::Status SkipDocumentType() {
    const size_t end = text_.find('>', at_);
    if (end == std::string_view::npos) return Wrong("a document type without end");
    if (text_.substr(at_, end - at_).find('[') != std::string_view::npos) {
      return Wrong("a document type with declarations is not read");
    }
    Advance(end + 1);
    return absl::OkStatus();
  }
  absl::Status TakeCdata(std::string* into) {
    const size_t begin = at_ + 9;
    const size_t end = text_.find("]]>", begin);
    if (end == std::string_view::npos) return Wrong("CDATA without end");
    into->append(text_.substr(begin, end - begin));
    Advance(end + 3);
    return absl::OkStatus();
  }
  absl::Status TakeText(bool outside, std::string* into) {
    const size_t end = std::min(text_.find('<', at_), text_.size());
    std::string_view part = text_.substr(at_, end - at_);
    if (outside && !Trim(part).empty()) {
      return Wrong("\"{}\" is no XML", ShownText(Trim(part)));
    }
    while (!part.empty()) {
      const size_t entity = part.find('&');
      into->append(part.substr(0, entity));
      if (entity == std::string_view::npos) break;
      part.remove_prefix(entity + 1);
      const size_t semicolon = part.find(';');
      if (semicolon > 12 || !AppendEntity(part.substr(0, semicolon), into)) {
        return Wrong("&{} is no entity that is known", ShownText(part.substr(0, 12)));
      }
      part.remove_prefix(semicolon + 1);
    }
    Advance(end);
    return absl::OkStatus();
  }
  std::string_view Name(size_t from) const {
    size_t end = from;
    while (end < text_.size() && !EndsName(text_[end])) ++end;
    return text_.substr(from, end - from);
  }
  absl::Status Close(std::vector<XmlElement*>* open) {
    const std::string_view name = Name(at_ + 2);
    const size_t end = text_.find('>', at_);
    if (end == std::string_view::npos) return Wrong("a tag without end");
    if (open->size() == 1) return Wrong("</{}> closes nothing", ShownText(name));
    if (name != open->back()->name) {
      return Wrong("</{}> closes <{}> of line {}", ShownText(name), ShownText(open->back()->name),
                   open->back()->line);
    }
    open->back()->text = std::string(Trim(open->back()->text));
    open->pop_back();
    Advance(end + 1);
    return absl::OkStatus();
  }
  absl::Status Open(std::vector<XmlElement*>* open) {
    const std::string_view name = Name(at_ + 1);
    if (name.empty()) return Wrong("a < that begins no tag");
    size_t end = at_ + 1 + name.size();
    for (char quote = 0; end < text_.size() && (quote != 0 || text_[end] != '>'); ++end) {
      if (quote == 0 && text_[end] == '<') return Wrong("<{}> has no end", ShownText(name));
      if (quote != 0) {
        if (text_[end] == quote) quote = 0;
      } else if (text_[end] == '"' || text_[end] == '\'') {
        quote = text_[end];
      }
    }
    if (end >= text_.size()) return Wrong("<{}> has no end", ShownText(name));
    if (open->size() > kMostDepth) return Wrong("nested deeper than {}", kMostDepth);
    std::vector<XmlElement>& siblings = open->back()->children;
    siblings.push_back({.name = std::string(name), .text = {}, .line = line_, .children = {}});
    // The pointers in `open` are to ancestors, whose own lists do not grow meanwhile.
    if (text_[end - 1] != '/') open->push_back(&siblings.back());
    Advance(end + 1);
    return absl::OkStatus();
  }

  const std::string_view text_;
  size_t at_ = 0;
  size_t line_ = 1;
};

}  // namespace

const XmlElement* XmlElement::Child(std::string_view child) const {
  const auto found = std::find_if(children.begin(), children.end(),
                                  [&](const XmlElement& one) { return one.name == child; });
  return found == children.end() ? nullptr : &*found;
}

absl::StatusOr<XmlElement> ParseXml(std::string_view text) { return Parser(text).Parse(); }

}  // namespace sightline::evaluate
