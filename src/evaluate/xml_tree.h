// Small XML files as a tree: elements, their text, and where they stand.
//
// Read are elements, text, CDATA, comments and the five named and the numeric entities; attributes
// are passed over. A document type with declarations of its own is refused: nothing that an
// annotation needs, and the way in for entity bombs. Source: W3C, XML 1.0 (fifth edition).
// Threads: reentrant. Cost: one pass; memory a few times the text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace sightline::evaluate {

struct XmlElement {
  std::string name;
  std::string text;  // without the blanks around it; that of its children is theirs
  size_t line = 0;   // of its start tag, from 1
  std::vector<XmlElement> children;

  // The first child of that name, or null.
  const XmlElement* Child(std::string_view child) const;
};

// The root element. InvalidArgument as "line N: ..."; for more than 64 levels, too.
absl::StatusOr<XmlElement> ParseXml(std::string_view text);

}  // namespace sightline::evaluate
