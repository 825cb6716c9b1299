// JPEG by libjpeg-turbo's TurboJPEG interface.
#include <turbojpeg.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "media/image_formats.h"

namespace sightline {
namespace {

struct TurboDestroy {
  void operator()(void* handle) const { tjDestroy(handle); }
};
using TurboHandle = std::unique_ptr<void, TurboDestroy>;

struct Segments {
  ByteSpan exif;         // of the APP1 segment, empty when there is none
  size_t pixels_at = 0;  // where the first scan begins; 0 when there is none
};

// Walks the segments in front of the pixels (T.81, annex B).
Segments WalkSegments(ByteSpan bytes) {
  constexpr std::string_view kExif("Exif\0\0", 6);
  Segments found;
  size_t at = 2;
  while (at + 4 <= bytes.size() && bytes[at] == 0xff) {
    const uint8_t marker = bytes[at + 1];
    if (marker == 0xff) {  // fill byte
      ++at;
      continue;
    }
    if (marker == 0xda) found.pixels_at = at;
    if (marker == 0xd9 || marker == 0xda) break;
    const size_t length = size_t{bytes[at + 2]} << 8 | bytes[at + 3];
    if (length < 2 || at + 2 + length > bytes.size()) break;
    const ByteSpan segment = bytes.subspan(at + 4, length - 2);
    if (marker == 0xe1 && found.exif.empty() && segment.size() > kExif.size() &&
        std::memcmp(segment.data(), kExif.data(), kExif.size()) == 0) {
      found.exif = segment.subspan(kExif.size());
    }
    at += 2 + length;
  }
  return found;
}

// Whether the end marker stands behind the pixels. The decoder's last warning may hide the one that
// the file ended too early, above all with progressive files.
bool IsCutOff(ByteSpan bytes) {
  const size_t pixels_at = WalkSegments(bytes).pixels_at;
  for (size_t at = bytes.size(); pixels_at > 0 && at >= pixels_at + 2; --at) {
    if (bytes[at - 2] == 0xff && bytes[at - 1] == 0xd9) return false;
  }
  return pixels_at > 0;
}

// Each scan of a file that has several is a walk over all coefficients, which a few bytes can ask for.
// Photographs saved as progressive have 10 scans, CMYK ones 18. More than kUsualScans are taken where
// the picture is so small that they cost no more than so many of 4096x4096 (both chosen: measured 11 ms
// a scan of that size).
constexpr uint64_t kUsualScans = 20;
constexpr uint64_t kMostScannedPixels = kUsualScans * 4096 * 4096;

bool IsProgressive(uint8_t frame_marker) { return (frame_marker & 0x03) == 0x02; }
bool IsFrameMarker(uint8_t marker) {
  return (marker & 0xf0) == 0xc0 && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

// The scans up to the end marker, found as the decoder finds them: whatever stands between segments is
// passed over. 1 at once for a file whose first scan is its only one. Stops beyond `most`.
uint64_t CountScans(ByteSpan bytes, uint64_t most) {
  uint64_t scans = 0;
  uint8_t frame_marker = 0, frame_components = 0;
  size_t at = 2;
  while (at + 1 < bytes.size()) {
    const void* const found = std::memchr(bytes.data() + at, 0xff, bytes.size() - 1 - at);
    if (found == nullptr) break;
    at = static_cast<size_t>(static_cast<const uint8_t*>(found) - bytes.data());
    const uint8_t marker = bytes[at + 1];
    if (marker == 0xff) {  // fill byte
      ++at;
      continue;
    }
    at += 2;
    // Stuffed bytes, and markers that have no length: restarts and those that the decoder passes over.
    if (marker < 0xc0 || (marker >= 0xd0 && marker <= 0xd8)) continue;
    if (marker == 0xd9 || at + 2 > bytes.size()) break;
    const size_t length = size_t{bytes[at]} << 8 | bytes[at + 1];
    if (length < 2 || length > bytes.size() - at) break;
    if (IsFrameMarker(marker) && length >= 8) {
      frame_marker = marker;
      frame_components = bytes[at + 7];
    }
    if (marker == 0xda && length >= 3) {
      ++scans;
      const bool is_only = !IsProgressive(frame_marker) && bytes[at + 2] == frame_components;
      if (scans > most || (scans == 1 && is_only)) break;
    }
    at += length;
  }
  return scans;
}

absl::Status CheckScans(ByteSpan bytes, int width, int height) {
  // As many as the decoder walks over: whole blocks, of the coarsest sampling.
  const auto whole = [](int side) { return (static_cast<uint64_t>(side) + 31) / 32 * 32; };
  const uint64_t most = std::max(kUsualScans, kMostScannedPixels / (whole(width) * whole(height)));
  if (CountScans(bytes, most) <= most) return absl::OkStatus();
  return ResourceExhausted(
      "a JPEG of more than {} scans over {}x{} pixels is refused: decoding it would take too long; "
      "save it with the usual 10 or fewer",
      most, width, height);
}

struct JpegParts {
  int width = 0;
  int height = 0;
  int colorspace = 0;
};

absl::StatusOr<JpegParts> ReadParts(tjhandle turbo, ByteSpan bytes) {
  JpegParts parts;
  int subsampling = 0;
  if (tjDecompressHeader3(turbo, bytes.data(), bytes.size(), &parts.width, &parts.height,
                          &subsampling, &parts.colorspace) != 0 &&
      (tjGetErrorCode(turbo) != TJERR_WARNING || parts.width <= 0)) {
    return DataLoss("damaged JPEG: {}", tjGetErrorStr2(turbo));
  }
  if (parts.width <= 0 || parts.height <= 0) return DataLoss("damaged JPEG: no size in its header");
  return parts;
}

// As OpenCV does it: each ink takes its part of what black leaves. `cmyk` is inverted, as Adobe
// stores it.
void CmykToBgr(const uint8_t* cmyk, size_t pixels, uint8_t* bgr) {
  for (size_t i = 0; i < pixels; ++i, cmyk += 4, bgr += 3) {
    const int k = cmyk[3];
    for (int c = 0; c < 3; ++c) {
      bgr[2 - c] = static_cast<uint8_t>(k - ((255 - cmyk[c]) * k >> 8));
    }
  }
}

}  // namespace

bool IsJpeg(ByteSpan bytes) {
  return bytes.size() >= 3 && bytes[0] == 0xff && bytes[1] == 0xd8 && bytes[2] == 0xff;
}

// Each picture has a decoder of its own, for a microsecond: one that is used again goes on with the
// tables of the picture before, and stays in the middle of a header that was damaged.
absl::StatusOr<StoredImage> ReadJpegHeader(ByteSpan bytes) {
  const TurboHandle turbo(tjInitDecompress());
  if (!turbo) return ResourceExhausted("no memory for a JPEG decoder");
  SL_ASSIGN_OR_RETURN(const JpegParts parts, ReadParts(turbo.get(), bytes));
  SL_RETURN_IF_ERROR(CheckScans(bytes, parts.width, parts.height));
  return StoredImage{parts.width, parts.height, OrientationOfExif(WalkSegments(bytes).exif)};
}

absl::Status DecodeJpeg(ByteSpan bytes, const StoredImage& header, int step, uint8_t* bgr) {
  const TurboHandle handle(tjInitDecompress());
  if (!handle) return ResourceExhausted("no memory for a JPEG decoder");
  const tjhandle turbo = handle.get();
  SL_ASSIGN_OR_RETURN(const JpegParts parts, ReadParts(turbo, bytes));
  if (IsCutOff(bytes)) return DataLoss("truncated JPEG: it has no end");
  const int width = (header.width + step - 1) / step;
  const int height = (header.height + step - 1) / step;
  const bool cmyk = parts.colorspace == TJCS_CMYK || parts.colorspace == TJCS_YCCK;
  std::vector<uint8_t> inks;
  if (cmyk) inks.resize(static_cast<size_t>(width) * height * 4);
  // LIMITSCANS: beside CheckScans() of the header, the library's own bound of 500.
  const int code =
      tjDecompress2(turbo, bytes.data(), bytes.size(), cmyk ? inks.data() : bgr, width,
                    width * (cmyk ? 4 : 3), height, cmyk ? TJPF_CMYK : TJPF_BGR, TJFLAG_LIMITSCANS);
  if (code != 0) {
    const std::string_view text = tjGetErrorStr2(turbo);
    const bool cut_off = text.find("remature end") != std::string_view::npos;
    if (tjGetErrorCode(turbo) != TJERR_WARNING || cut_off) {
      return DataLoss("{} JPEG: {}", cut_off ? "truncated" : "damaged", text);
    }
    Log().debug("JPEG with a flaw: {}",
                text);  // stray bytes between segments: the picture is whole
  }
  if (cmyk) CmykToBgr(inks.data(), inks.size() / 4, bgr);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<uint8_t>> EncodeJpeg(const ImageView& image, int quality) {
  constexpr int kMaxSide = 65535;
  if (image.format != PixelFormat::kBgr24 || image.width <= 0 || image.height <= 0 ||
      image.width > kMaxSide || image.height > kMaxSide) {
    return InvalidArgument("JPEG wants a BGR picture of 1 to {} pixels a side, not {} {}x{}",
                           kMaxSide, ToString(image.format), image.width, image.height);
  }
  const TurboHandle turbo(tjInitCompress());
  if (!turbo) return ResourceExhausted("no memory for a JPEG encoder");
  std::vector<uint8_t> bytes(tjBufSize(image.width, image.height, TJSAMP_420));
  unsigned char* data = bytes.data();
  unsigned long size = bytes.size();  // NOLINT(google-runtime-int): TurboJPEG's type
  if (tjCompress2(turbo.get(), image.planes[0], image.width, image.strides[0], image.height,
                  TJPF_BGR, &data, &size, TJSAMP_420, std::clamp(quality, 1, 100),
                  TJFLAG_NOREALLOC) != 0) {
    return Internal("JPEG encoding failed: {}", tjGetErrorStr2(turbo.get()));
  }
  bytes.resize(size);
  return bytes;
}

}  // namespace sightline
