// PNG by libpng. Its errors are long jumps: the functions that call it hold plain data alone.
#include <png.h>

#include <array>
#include <csetjmp>
#include <cstring>
#include <string>
#include <vector>

#include "base/log.h"
#include "media/image_formats.h"

namespace sightline {
namespace {

constexpr size_t kAnyBytes = SIZE_MAX;
// libpng inflates all that stands behind the last row, a thousandfold of what is read. Beside two rows so
// much may be read for the end of the stream: buffers, checksums and small chunks (chosen).
constexpr size_t kEndBytes = 16 << 10;

// What travels through libpng's callbacks.
struct PngReader {
  const uint8_t* data = nullptr;
  size_t size = 0;
  size_t at = 0;
  bool cut_off = false;
  // What may still be read; kAnyBytes but while the last row is.
  size_t rest_bytes = kAnyBytes;
  std::array<char, 128> error{};
};

void OnError(png_structp png, png_const_charp message) {
  auto* reader = static_cast<PngReader*>(png_get_error_ptr(png));
  if (reader != nullptr) {
    std::strncpy(reader->error.data(), message, reader->error.size() - 1);
  }
  png_longjmp(png, 1);
}

void OnWarning(png_structp, png_const_charp message) { Log().debug("libpng: {}", message); }

void OnRead(png_structp png, png_bytep to, size_t size) {
  auto* reader = static_cast<PngReader*>(png_get_io_ptr(png));
  if (reader->size - reader->at < size) {
    reader->cut_off = true;
    png_error(png, "the file ends too early");
  }
  if (reader->rest_bytes != kAnyBytes) {
    if (size > reader->rest_bytes) png_error(png, "there is more data than pixels");
    reader->rest_bytes -= size;
  }
  std::memcpy(to, reader->data + reader->at, size);
  reader->at += size;
}

struct PngHandles {
  png_structp png = nullptr;
  png_infop info = nullptr;
};

bool MakeReader(PngReader* reader, PngHandles* handles) {
  handles->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, reader, &OnError, &OnWarning);
  if (handles->png == nullptr) return false;
  handles->info = png_create_info_struct(handles->png);
  if (handles->info == nullptr) {
    png_destroy_read_struct(&handles->png, nullptr, nullptr);
    return false;
  }
  png_set_read_fn(handles->png, reader, &OnRead);
  // Sizes are checked by us; text and profiles that inflate to more than this are bombs (chosen).
  png_set_user_limits(handles->png, 0x7fffffff, 0x7fffffff);
  png_set_chunk_malloc_max(handles->png, 8 << 20);
  png_set_chunk_cache_max(handles->png, 128);
  return true;
}

bool ReadHeaderOnly(PngHandles handles, png_uint_32* width, png_uint_32* height) {
  if (setjmp(png_jmpbuf(handles.png)) != 0) return false;
  png_read_info(handles.png, handles.info);
  *width = png_get_image_width(handles.png, handles.info);
  *height = png_get_image_height(handles.png, handles.info);
  return true;
}

// png_read_image(), which reads only so much behind the pixels. Between setjmp() and its end.
void ReadRows(PngHandles handles, int passes, png_uint_32 height, size_t stored_row_bytes,
              png_bytep* rows) {
  auto* reader = static_cast<PngReader*>(png_get_io_ptr(handles.png));
  for (int pass = 0; pass < passes; ++pass) {
    for (png_uint_32 y = 0; y < height; ++y) {
      if (pass + 1 == passes && y + 1 == height) {
        reader->rest_bytes = 2 * stored_row_bytes + kEndBytes;
      }
      png_read_row(handles.png, rows[y], nullptr);
    }
  }
  reader->rest_bytes = kAnyBytes;
}

// The transformations of OpenCV's reader for a colour picture of 8 bits.
bool ReadPixels(PngHandles handles, png_uint_32 width, png_uint_32 height, uint8_t* bgr,
                png_bytep* rows, png_bytep* exif, png_uint_32* exif_size) {
  if (setjmp(png_jmpbuf(handles.png)) != 0) return false;
  png_structp png = handles.png;
  png_read_info(png, handles.info);
  const int color = png_get_color_type(png, handles.info);
  const int depth = png_get_bit_depth(png, handles.info);
  if (depth == 16) png_set_strip_16(png);
  png_set_strip_alpha(png);
  if (color == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
  if ((color & PNG_COLOR_MASK_COLOR) == 0) {
    if (depth < 8) png_set_expand_gray_1_2_4_to_8(png);
    png_set_gray_to_rgb(png);
  }
  png_set_bgr(png);
  const int passes = png_set_interlace_handling(png);
  const size_t stored_row_bytes = png_get_rowbytes(png, handles.info);
  png_read_update_info(png, handles.info);
  if (png_get_image_width(png, handles.info) != width ||
      png_get_image_height(png, handles.info) != height ||
      png_get_rowbytes(png, handles.info) != size_t{width} * 3) {
    png_error(png, "an unknown layout of pixels");
  }
  for (png_uint_32 y = 0; y < height; ++y) rows[y] = bgr + size_t{y} * width * 3;
  ReadRows(handles, passes, height, stored_row_bytes, rows);
  png_read_end(png, handles.info);
  png_get_eXIf_1(png, handles.info, exif_size, exif);
  return true;
}

// Whether the samples are single numbers.
bool IsOneSample(PngHandles handles, bool* one_sample) {
  if (setjmp(png_jmpbuf(handles.png)) != 0) return false;
  png_read_info(handles.png, handles.info);
  const int color = png_get_color_type(handles.png, handles.info);
  *one_sample = color == PNG_COLOR_TYPE_GRAY || color == PNG_COLOR_TYPE_PALETTE;
  return true;
}

// After IsOneSample. `rows` lead into width * height samples of 2 bytes, in whose first half 8-bit
// samples come to lie.
bool ReadNumbers(PngHandles handles, png_uint_32 width, png_uint_32 height, uint8_t* samples,
                 png_bytep* rows, bool* wide) {
  if (setjmp(png_jmpbuf(handles.png)) != 0) return false;
  png_structp png = handles.png;
  const int depth = png_get_bit_depth(png, handles.info);
  *wide = depth == 16;
  if (depth == 16) png_set_swap(png);  // to the order of x86 and Arm
  if (depth < 8) png_set_packing(png);
  const int passes = png_set_interlace_handling(png);
  const size_t stored_row_bytes = png_get_rowbytes(png, handles.info);
  png_read_update_info(png, handles.info);
  const size_t row_bytes = size_t{width} * (*wide ? 2 : 1);
  if (png_get_image_width(png, handles.info) != width ||
      png_get_image_height(png, handles.info) != height ||
      png_get_rowbytes(png, handles.info) != row_bytes) {
    png_error(png, "an unknown layout of pixels");
  }
  for (png_uint_32 y = 0; y < height; ++y) rows[y] = samples + size_t{y} * row_bytes;
  ReadRows(handles, passes, height, stored_row_bytes, rows);
  png_read_end(png, handles.info);
  return true;
}

absl::Status PngError(const PngReader& reader) {
  if (reader.cut_off) return DataLoss("truncated PNG: {}", reader.error.data());
  return DataLoss("damaged PNG: {}", reader.error.data());
}

struct PngWriter {
  std::vector<uint8_t>* bytes;
  std::array<char, 128> error{};
};

void OnWrite(png_structp png, png_bytep data, size_t size) {
  auto* writer = static_cast<PngWriter*>(png_get_io_ptr(png));
  try {
    writer->bytes->insert(writer->bytes->end(), data, data + size);
  } catch (const std::bad_alloc&) {
    writer = nullptr;
  }
  if (writer == nullptr) png_error(png, "no memory");
}
void OnWriteError(png_structp png, png_const_charp message) {
  auto* writer = static_cast<PngWriter*>(png_get_error_ptr(png));
  if (writer != nullptr) std::strncpy(writer->error.data(), message, writer->error.size() - 1);
  png_longjmp(png, 1);
}
void OnFlush(png_structp) {}

bool WritePixels(png_structp png, png_infop info, const ImageView& image) {
  if (setjmp(png_jmpbuf(png)) != 0) return false;
  png_set_IHDR(png, info, static_cast<png_uint_32>(image.width),
               static_cast<png_uint_32>(image.height), 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_set_compression_level(png, 3);  // chosen: near level 6 in size on photographs, twice as fast
  png_write_info(png, info);
  png_set_bgr(png);
  for (int y = 0; y < image.height; ++y) {
    png_write_row(png, image.planes[0] + static_cast<int64_t>(y) * image.strides[0]);
  }
  png_write_end(png, info);
  return true;
}

}  // namespace

bool IsPng(ByteSpan bytes) { return bytes.size() >= 8 && png_sig_cmp(bytes.data(), 0, 8) == 0; }

absl::StatusOr<StoredImage> ReadPngHeader(ByteSpan bytes) {
  PngReader reader{.data = bytes.data(), .size = bytes.size()};
  PngHandles handles;
  if (!MakeReader(&reader, &handles)) return ResourceExhausted("no memory for a PNG decoder");
  png_uint_32 width = 0;
  png_uint_32 height = 0;
  const bool ok = ReadHeaderOnly(handles, &width, &height);
  StoredImage header{static_cast<int>(width), static_cast<int>(height)};
  if (ok) {
    png_uint_32 exif_size = 0;
    png_bytep exif = nullptr;
    if (png_get_eXIf_1(handles.png, handles.info, &exif_size, &exif) != 0 && exif != nullptr) {
      header.orientation = OrientationOfExif({exif, exif_size});
    }
  }
  png_destroy_read_struct(&handles.png, &handles.info, nullptr);
  if (!ok) return PngError(reader);
  return header;
}

absl::Status DecodePng(ByteSpan bytes, StoredImage* header, uint8_t* bgr) {
  PngReader reader{.data = bytes.data(), .size = bytes.size()};
  PngHandles handles;
  std::vector<png_bytep> rows(static_cast<size_t>(header->height));
  if (!MakeReader(&reader, &handles)) return ResourceExhausted("no memory for a PNG decoder");
  png_bytep exif = nullptr;
  png_uint_32 exif_size = 0;
  const bool ok =
      ReadPixels(handles, static_cast<png_uint_32>(header->width),
                 static_cast<png_uint_32>(header->height), bgr, rows.data(), &exif, &exif_size);
  if (ok && exif != nullptr) header->orientation = OrientationOfExif({exif, exif_size});
  png_destroy_read_struct(&handles.png, &handles.info, nullptr);
  return ok ? absl::OkStatus() : PngError(reader);
}

absl::Status DecodePngNumbers(ByteSpan bytes, const StoredImage& header, uint16_t* numbers) {
  PngReader reader{.data = bytes.data(), .size = bytes.size()};
  PngHandles handles;
  const size_t count = static_cast<size_t>(header.width) * static_cast<size_t>(header.height);
  std::vector<png_bytep> rows(static_cast<size_t>(header.height));
  if (!MakeReader(&reader, &handles)) return ResourceExhausted("no memory for a PNG decoder");
  auto* const samples = reinterpret_cast<uint8_t*>(numbers);
  bool one_sample = false;
  bool wide = false;
  bool ok = IsOneSample(handles, &one_sample);
  if (ok && one_sample) {
    ok = ReadNumbers(handles, static_cast<png_uint_32>(header.width),
                     static_cast<png_uint_32>(header.height), samples, rows.data(), &wide);
  }
  png_destroy_read_struct(&handles.png, &handles.info, nullptr);
  if (!ok) return PngError(reader);
  if (!one_sample) {
    return InvalidArgument(
        "a PNG of colours; label maps are grey or palette PNG files whose samples "
        "are class numbers");
  }
  // From the end, because the narrow samples stand in the first half of the wide ones.
  for (size_t i = wide ? 0 : count; i-- > 0;) numbers[i] = samples[i];
  return absl::OkStatus();
}

absl::StatusOr<std::vector<uint8_t>> EncodePng(const ImageView& image) {
  constexpr int kMaxSide = 65535;
  if (image.format != PixelFormat::kBgr24 || image.width <= 0 || image.height <= 0 ||
      image.width > kMaxSide || image.height > kMaxSide) {
    return InvalidArgument("PNG wants a BGR picture of 1 to {} pixels a side, not {} {}x{}",
                           kMaxSide, ToString(image.format), image.width, image.height);
  }
  std::vector<uint8_t> bytes;
  PngWriter writer{.bytes = &bytes};
  png_structp png =
      png_create_write_struct(PNG_LIBPNG_VER_STRING, &writer, &OnWriteError, &OnWarning);
  png_infop info = png != nullptr ? png_create_info_struct(png) : nullptr;
  if (info == nullptr) {
    png_destroy_write_struct(&png, nullptr);
    return ResourceExhausted("no memory for a PNG encoder");
  }
  png_set_write_fn(png, &writer, &OnWrite, &OnFlush);
  const bool ok = WritePixels(png, info, image);
  png_destroy_write_struct(&png, &info);
  if (!ok) return Internal("PNG encoding failed: {}", writer.error.data());
  return bytes;
}

}  // namespace sightline
