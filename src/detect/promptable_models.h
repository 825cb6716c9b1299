// Which ONNX files are the two of a promptable segmenter (see promptable_segmenter.h), by the names
// of their inputs and outputs: nothing is run. Threads: reentrant.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "infer/onnx_file.h"
#include "types/model_spec.h"

namespace sightline {

inline constexpr std::string_view kLayoutTransformers = "transformers";
inline constexpr std::string_view kLayoutSegmentAnything = "segment_anything";

// The decoder's inputs that take what the encoder gives, in the order of spec.output_names.
std::vector<std::string_view> PromptableEmbeddings(std::string_view layout);

// What to say of a file that is one of the two and was given alone; "" for any other.
std::string PromptableHint(const OnnxFileInfo& file);

// The description of the two together: family, layout, preparation, names. `file` and
// `companion_file` are their paths. InvalidArgument, with what was seen, when they are not such.
absl::StatusOr<ModelSpec> DescribePromptable(const OnnxFileInfo& encoder,
                                             const OnnxFileInfo& decoder);

}  // namespace sightline
