#include "media/image_codec.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/allocation_scope.h"
#include "base/whole_file.h"
#include "media/file_bytes.h"
#include "media/image_formats.h"

namespace sightline {
namespace {

enum class Codec { kJpeg, kPng, kWebp, kLibav };

struct Opened {
  Codec codec = Codec::kLibav;
  std::string format;
  StoredImage stored;
};

// The format and, but for Codec::kLibav, the header.
absl::StatusOr<Opened> Open(ByteSpan bytes, const MediaLimits& limits) {
  if (bytes.empty()) return InvalidArgument("the picture is empty (0 bytes)");
  Opened opened;
  absl::StatusOr<StoredImage> stored;
  if (IsJpeg(bytes)) {
    opened.codec = Codec::kJpeg;
    opened.format = "jpeg";
    stored = ReadJpegHeader(bytes);
  } else if (IsPng(bytes)) {
    opened.codec = Codec::kPng;
    opened.format = "png";
    stored = ReadPngHeader(bytes);
  } else if (IsWebp(bytes)) {
    opened.codec = Codec::kWebp;
    opened.format = "webp";
    stored = ReadWebpHeader(bytes);
  } else {
    opened.format = StillFormatByLibav(bytes);
    if (opened.format.empty()) {
      return InvalidArgument(
          "not a picture that can be read (JPEG, PNG, WebP, BMP, TIFF, PNM, GIF ...)");
    }
    return opened;
  }
  if (!stored.ok()) return stored.status();
  opened.stored = *stored;
  if (opened.stored.width > limits.max_image_side_px ||
      opened.stored.height > limits.max_image_side_px) {
    return ResourceExhausted("{}x{} pixels, more than {} a side are refused; scale it down first",
                             opened.stored.width, opened.stored.height, limits.max_image_side_px);
  }
  if (opened.stored.width <= 0 || opened.stored.height <= 0)
    return DataLoss("a picture without pixels");
  return opened;
}

void Turn(Orientation orientation, DecodedImage* image) {
  if (orientation == Orientation::kUpright) return;
  std::vector<uint8_t> turned(image->bgr.size());
  const ImageView view = image->view();
  if (SwapsSides(orientation)) std::swap(image->width, image->height);
  TurnUpright(view, orientation, {turned.data(), nullptr, nullptr}, {image->width * 3, 0, 0});
  image->bgr = std::move(turned);
}

}  // namespace

bool LooksLikeImage(ByteSpan first_bytes) {
  const auto starts = [&](std::string_view magic) {
    return first_bytes.size() >= magic.size() &&
           std::memcmp(first_bytes.data(), magic.data(), magic.size()) == 0;
  };
  using namespace std::string_view_literals;
  if (IsJpeg(first_bytes) || IsPng(first_bytes) || IsWebp(first_bytes)) return true;
  for (const std::string_view magic : {"BM"sv, "II*\0"sv, "MM\0*"sv, "\0\0\0\x0cjP  "sv,
                                       "\xff\x4f\xff\x51"sv, "qoif"sv, "8BPS"sv}) {
    if (starts(magic)) return true;
  }
  // PNM: "P1" to "P7" and white space.
  return first_bytes.size() >= 3 && first_bytes[0] == 'P' && first_bytes[1] >= '1' &&
         first_bytes[1] <= '7' &&
         (first_bytes[2] == '\n' || first_bytes[2] == ' ' || first_bytes[2] == '\r' ||
          first_bytes[2] == '\t');
}

bool HasImageExtension(std::string_view path) {
  constexpr std::array<std::string_view, 17> kExtensions = {
      "jpg", "jpeg", "jpe", "png", "webp", "bmp", "dib", "tif", "tiff",
      "pbm", "pgm",  "ppm", "pnm", "pam",  "jp2", "gif", "qoi"};
  const size_t dot = path.rfind('.');
  if (dot == std::string_view::npos) return false;
  std::string extension(path.substr(dot + 1));
  for (char& c : extension) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return std::find(kExtensions.begin(), kExtensions.end(), extension) != kExtensions.end();
}

absl::StatusOr<ImageHeader> ReadImageHeader(ByteSpan bytes, const MediaLimits& limits) {
  SL_ASSIGN_OR_RETURN(const Opened opened, Open(bytes, limits));
  if (opened.codec == Codec::kLibav) {
    SL_ASSIGN_OR_RETURN(const DecodedImage image, DecodeImage(bytes, limits));
    return ImageHeader{opened.format, image.width, image.height};
  }
  ImageHeader header{opened.format, opened.stored.width, opened.stored.height};
  if (SwapsSides(opened.stored.orientation)) std::swap(header.width, header.height);
  return header;
}

absl::Status DecodeImageInto(ByteSpan bytes, const MediaLimits& limits, DecodedImage* image) {
  const LibraryAllocations library;
  SL_ASSIGN_OR_RETURN(Opened opened, Open(bytes, limits));
  StoredImage& stored = opened.stored;
  image->bgr.resize(static_cast<size_t>(stored.width) * stored.height * 3);
  switch (opened.codec) {
    case Codec::kJpeg:
      SL_RETURN_IF_ERROR(DecodeJpeg(bytes, stored, /*step=*/1, image->bgr.data()));
      break;
    case Codec::kPng:
      SL_RETURN_IF_ERROR(DecodePng(bytes, &stored, image->bgr.data()));
      break;
    case Codec::kWebp:
      SL_RETURN_IF_ERROR(DecodeWebp(bytes, stored, image->bgr.data()));
      break;
    case Codec::kLibav:
      SL_RETURN_IF_ERROR(DecodeByLibav(bytes, opened.format, limits, &stored, &image->bgr));
      break;
  }
  image->width = stored.width;
  image->height = stored.height;
  Turn(stored.orientation, image);
  return absl::OkStatus();
}

absl::StatusOr<DecodedImage> DecodeImage(ByteSpan bytes, const MediaLimits& limits) {
  DecodedImage image;
  SL_RETURN_IF_ERROR(DecodeImageInto(bytes, limits, &image));
  return image;
}

absl::StatusOr<DecodedImage> ReadImage(const std::string& path, const MediaLimits& limits) {
  std::vector<uint8_t> bytes;
  SL_RETURN_IF_ERROR(ReadFileBytes(path, limits.max_image_file_bytes, &bytes));
  absl::StatusOr<DecodedImage> image = DecodeImage(bytes, limits);
  if (!image.ok()) return WithContext(image.status(), path);
  return image;
}

absl::Status WriteImage(const std::string& path, const ImageView& image, int jpeg_quality) {
  std::string extension = path.substr(std::min(path.size(), path.rfind('.')));
  for (char& c : extension) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  absl::StatusOr<std::vector<uint8_t>> bytes;
  if (extension == ".png") {
    bytes = EncodePng(image);
  } else if (extension == ".jpg" || extension == ".jpeg") {
    bytes = EncodeJpeg(image, jpeg_quality);
  } else {
    return InvalidArgument("{}: pictures are written as .png, .jpg or .jpeg", path);
  }
  if (!bytes.ok()) return WithContext(bytes.status(), path);
  return WriteWholeFile(path, *bytes);
}

}  // namespace sightline
