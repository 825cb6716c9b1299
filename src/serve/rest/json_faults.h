// What people most often send that looks like JSON and is none, in words to be put behind those of a parser.
#pragma once

#include <string>
#include <string_view>

namespace sightline::serve {

// "; NaN is no JSON: ..." or the like for a text that a parser has refused; "" where it is nothing of that
// kind. Threads: reentrant. Cost: one pass.
std::string LikelyJsonFault(std::string_view text);

}  // namespace sightline::serve
