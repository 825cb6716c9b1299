// The parts of a multipart/form-data body, as browsers and curl -F send them.
//
// Strict: a part without a name, a header that is none, a missing end are errors; what stands before the
// first and behind the last boundary is left out. Nothing is copied. Threads: reentrant.
// Source: RFC 7578, RFC 2046 (section 5.1).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace sightline::serve {

struct FormPart {
  std::string name;
  std::string file_name;     // "" where it has none
  std::string_view type;     // as written; "" where it has none
  std::string_view content;  // in the body
  bool is_file = false;      // has a file name, be it empty
};

inline constexpr size_t kMostFormParts = 64;
inline constexpr size_t kMostPartHeaderBytes = 8 * 1024;

// The boundary that a Content-Type header names; InvalidArgument without a proper one.
absl::StatusOr<std::string> BoundaryOf(std::string_view content_type);

// InvalidArgument with what is wrong. Cost: a pass over the body.
absl::StatusOr<std::vector<FormPart>> ReadFormParts(std::string_view body,
                                                    std::string_view boundary);

}  // namespace sightline::serve
