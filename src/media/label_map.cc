#include "media/label_map.h"

#include "base/whole_file.h"
#include "media/image_formats.h"

namespace sightline {
namespace {

absl::StatusOr<DecodedLabels> Decode(ByteSpan bytes, const MediaLimits& limits) {
  if (!IsPng(bytes)) return InvalidArgument("no PNG; label maps are PNG files of class numbers");
  SL_ASSIGN_OR_RETURN(const StoredImage header, ReadPngHeader(bytes));
  if (header.width > limits.max_image_side_px || header.height > limits.max_image_side_px) {
    return ResourceExhausted("{} x {} px; at most {} a side are read", header.width, header.height,
                             limits.max_image_side_px);
  }
  DecodedLabels labels{.width = header.width, .height = header.height, .classes = {}};
  labels.classes.resize(static_cast<size_t>(header.width) * static_cast<size_t>(header.height));
  SL_RETURN_IF_ERROR(DecodePngNumbers(bytes, header, labels.classes.data()));
  return labels;
}

}  // namespace

absl::StatusOr<DecodedLabels> ReadLabelMap(const std::string& path, const MediaLimits& limits) {
  SL_ASSIGN_OR_RETURN(const std::string bytes, ReadWholeFile(path, limits.max_image_file_bytes));
  absl::StatusOr<DecodedLabels> labels = Decode(AsBytes(bytes), limits);
  if (!labels.ok()) return WithContext(labels.status(), path);
  return labels;
}

}  // namespace sightline
