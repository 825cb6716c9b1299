// The configuration's keys for editors and for people, made from the same table as the parser.
//
// Threads: reentrant. Cost: milliseconds.
#pragma once

#include <string>

namespace sightline {

// JSON Schema, draft 2020-12, indented by two spaces, with a line end. It says what one key can
// say: names, types, ranges, choices, what is required. Rules between keys (unique names, polygons
// that do not cross themselves, models that exist) are `sightline check`'s.
std::string ConfigJsonSchema();

// The reference in docs/configuration.md: one table for each map of the file.
std::string ConfigMarkdown();

}  // namespace sightline
