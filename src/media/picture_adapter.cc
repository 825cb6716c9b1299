#include "media/picture_adapter.h"

extern "C" {
#include <libavutil/imgutils.h>
#include <libavutil/pixdesc.h>
}

#include <optional>

#include "base/allocation_scope.h"

namespace sightline {
namespace {

// Our name for a libav format whose planes can be used as they are. The alpha plane of YUVA is left
// aside.
std::optional<PixelFormat> SameFormat(int format) {
  switch (format) {
    case AV_PIX_FMT_YUV420P:
    case AV_PIX_FMT_YUVJ420P:
    case AV_PIX_FMT_YUVA420P:
      return PixelFormat::kI420;
    case AV_PIX_FMT_YUV422P:
    case AV_PIX_FMT_YUVJ422P:
    case AV_PIX_FMT_YUVA422P:
      return PixelFormat::kI422;
    case AV_PIX_FMT_YUV444P:
    case AV_PIX_FMT_YUVJ444P:
    case AV_PIX_FMT_YUVA444P:
      return PixelFormat::kI444;
    case AV_PIX_FMT_NV12:
      return PixelFormat::kNv12;
    case AV_PIX_FMT_BGR24:
      return PixelFormat::kBgr24;
    case AV_PIX_FMT_RGB24:
      return PixelFormat::kRgb24;
    case AV_PIX_FMT_GRAY8:
      return PixelFormat::kGray8;
    default:
      return std::nullopt;
  }
}

// The nearest of our formats that keeps what the picture holds: chroma no coarser than it was.
PixelFormat NearestFormat(const AVPixFmtDescriptor& descriptor) {
  constexpr uint64_t kNotYuv = AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL | AV_PIX_FMT_FLAG_BAYER;
  if ((descriptor.flags & kNotYuv) != 0) return PixelFormat::kBgr24;
  if (descriptor.nb_components <= 2) return PixelFormat::kGray8;
  const bool full_height = descriptor.log2_chroma_h == 0;
  const bool full_width = descriptor.log2_chroma_w == 0;
  if (full_width) return PixelFormat::kI444;                     // 4:4:4 and 4:4:0
  return full_height ? PixelFormat::kI422 : PixelFormat::kI420;  // 4:2:2 and 4:1:1; 4:2:0 and 4:1:0
}

bool HasPlainRows(const AVFrame& frame, int planes) {
  for (int i = 0; i < planes; ++i) {
    if (frame.data[i] == nullptr || frame.linesize[i] <= 0) return false;  // bottom-up bitmaps
  }
  return true;
}

}  // namespace

AVPixelFormat LibavFormat(PixelFormat format) {
  switch (format) {
    case PixelFormat::kI420:
      return AV_PIX_FMT_YUV420P;
    case PixelFormat::kI422:
      return AV_PIX_FMT_YUV422P;
    case PixelFormat::kI444:
      return AV_PIX_FMT_YUV444P;
    case PixelFormat::kNv12:
      return AV_PIX_FMT_NV12;
    case PixelFormat::kBgr24:
      return AV_PIX_FMT_BGR24;
    case PixelFormat::kRgb24:
      return AV_PIX_FMT_RGB24;
    case PixelFormat::kGray8:
      return AV_PIX_FMT_GRAY8;
  }
  return AV_PIX_FMT_NONE;
}

void PictureMemory::Allocate(PixelFormat format, int width, int height) {
  constexpr size_t kAlign = 64;
  const auto align = [](size_t n) { return (n + kAlign - 1) / kAlign * kAlign; };
  const int plane_count = PlaneCount(format);
  size_t total = kAlign;
  for (int i = 0; i < plane_count; ++i) {
    strides[i] = static_cast<int>(align(static_cast<size_t>(PlaneRowBytes(format, i, width))));
    total += static_cast<size_t>(strides[i]) * static_cast<size_t>(PlaneRows(format, i, height));
  }
  // swscale may read and write a few bytes beyond a row's end.
  total += kAlign;
  if (bytes.size() < total) bytes.resize(total);
  uint8_t* at =
      bytes.data() + (kAlign - reinterpret_cast<uintptr_t>(bytes.data()) % kAlign) % kAlign;
  planes = {};
  for (int i = 0; i < plane_count; ++i) {
    planes[i] = at;
    at += static_cast<int64_t>(strides[i]) * PlaneRows(format, i, height);
  }
}

ColorMatrix MatrixOf(const AVFrame& frame) {
  switch (frame.colorspace) {
    case AVCOL_SPC_BT709:
    case AVCOL_SPC_SMPTE240M:
    case AVCOL_SPC_BT2020_NCL:
    case AVCOL_SPC_BT2020_CL:
      return ColorMatrix::kBt709;
    default:
      return ColorMatrix::kBt601;
  }
}

ColorRange RangeOf(const AVFrame& frame) {
  switch (frame.format) {
    case AV_PIX_FMT_YUVJ420P:
    case AV_PIX_FMT_YUVJ422P:
    case AV_PIX_FMT_YUVJ444P:
    case AV_PIX_FMT_YUVJ440P:
    case AV_PIX_FMT_YUVJ411P:
    case AV_PIX_FMT_GRAY8:
      return ColorRange::kFull;
    default:
      break;
  }
  return frame.color_range == AVCOL_RANGE_JPEG ? ColorRange::kFull : ColorRange::kLimited;
}

SwsContextPtr MakeConverter(int width, int height, AVPixelFormat from, AVPixelFormat to,
                            ColorMatrix matrix, ColorRange range) {
  const LibraryAllocations library;
  SwsContextPtr scaler(sws_getContext(width, height, from, width, height, to,
                                      SWS_BICUBIC | SWS_ACCURATE_RND | SWS_BITEXACT, nullptr,
                                      nullptr, nullptr));
  if (!scaler) return nullptr;
  const int* coefficients =
      sws_getCoefficients(matrix == ColorMatrix::kBt709 ? SWS_CS_ITU709 : SWS_CS_ITU601);
  // RGB and gray have all 256 values, whatever the YUV side says.
  const auto range_of = [range](AVPixelFormat format) {
    const AVPixFmtDescriptor* descriptor = av_pix_fmt_desc_get(format);
    const bool yuv = descriptor != nullptr && descriptor->nb_components >= 3 &&
                     (descriptor->flags & AV_PIX_FMT_FLAG_RGB) == 0;
    return !yuv || range == ColorRange::kFull ? 1 : 0;
  };
  // Fails for pairs that have no colour conversion (RGB to RGB), which then need none.
  sws_setColorspaceDetails(scaler.get(), coefficients, range_of(from), coefficients, range_of(to),
                           0, 1 << 16, 1 << 16);
  return scaler;
}

absl::StatusOr<PictureAdapter::Picture> PictureAdapter::Adapt(AVFrame* frame) {
  Picture picture;
  const std::optional<PixelFormat> same = SameFormat(frame->format);
  if (same && HasPlainRows(*frame, PlaneCount(*same))) {
    std::shared_ptr<PictureMemory> memory = pool_.Acquire();
    if (!memory->frame) return ResourceExhausted("no memory for a picture");
    picture.image = {.format = *same,
                     .matrix = MatrixOf(*frame),
                     .range = RangeOf(*frame),
                     .width = frame->width,
                     .height = frame->height};
    for (int i = 0; i < PlaneCount(*same); ++i) {
      picture.image.planes[i] = frame->data[i];
      picture.image.strides[i] = frame->linesize[i];
    }
    const LibraryAllocations library;
    av_frame_unref(memory->frame.get());
    av_frame_move_ref(memory->frame.get(), frame);
    picture.memory = std::move(memory);
  } else {
    SL_ASSIGN_OR_RETURN(picture, Convert(*frame));
    av_frame_unref(frame);
  }
  if (orientation_ == Orientation::kUpright) return picture;
  return Turn(picture);
}

absl::StatusOr<PictureAdapter::Picture> PictureAdapter::Convert(const AVFrame& frame) {
  const auto from = static_cast<AVPixelFormat>(frame.format);
  const AVPixFmtDescriptor* descriptor = av_pix_fmt_desc_get(from);
  if (descriptor == nullptr) return Unimplemented("the decoder gave an unknown pixel format");
  if ((descriptor->flags & AV_PIX_FMT_FLAG_HWACCEL) != 0) {
    return Unimplemented("pictures of format {} live on a device", descriptor->name);
  }
  const PixelFormat to = NearestFormat(*descriptor);
  const ColorRange range = to == PixelFormat::kGray8 ? ColorRange::kFull : RangeOf(frame);
  const Key key{frame.width, frame.height, frame.format, MatrixOf(frame), range};
  if (!scaler_ || !(key == key_)) {
    scaler_ = MakeConverter(key.width, key.height, from, LibavFormat(to), key.matrix, key.range);
    key_ = key;
  }
  if (!scaler_) {
    return Unimplemented("pixel format {} cannot be converted; re-encode the clip as yuv420p",
                         descriptor->name);
  }
  std::shared_ptr<PictureMemory> memory = pool_.Acquire();
  memory->Allocate(to, frame.width, frame.height);
  const LibraryAllocations library;
  std::array<uint8_t*, 4> planes{memory->planes[0], memory->planes[1], memory->planes[2], nullptr};
  std::array<int, 4> strides{memory->strides[0], memory->strides[1], memory->strides[2], 0};
  const int rows = sws_scale(scaler_.get(), frame.data, frame.linesize, 0, frame.height,
                             planes.data(), strides.data());
  if (rows != frame.height) {
    return Unimplemented("a picture of format {} could not be converted", descriptor->name);
  }
  Picture picture;
  picture.image = {.format = to,
                   .matrix = key.matrix,
                   .range = key.range,
                   .width = frame.width,
                   .height = frame.height};
  for (int i = 0; i < PlaneCount(to); ++i) {
    picture.image.planes[i] = memory->planes[i];
    picture.image.strides[i] = memory->strides[i];
  }
  picture.memory = std::move(memory);
  return picture;
}

PictureAdapter::Picture PictureAdapter::Turn(const Picture& picture) {
  std::shared_ptr<PictureMemory> memory = pool_.Acquire();
  Picture turned;
  turned.image = picture.image;
  ImageView source = picture.image;
  const bool swap = SwapsSides(orientation_);
  if (swap) std::swap(turned.image.width, turned.image.height);
  // 4:2:2 on its side would be 4:4:0: every other line of the chroma goes, which makes it 4:2:0.
  if (swap && source.format == PixelFormat::kI422) {
    source.format = turned.image.format = PixelFormat::kI420;
    source.strides[1] *= 2;
    source.strides[2] *= 2;
  }
  memory->Allocate(turned.image.format, turned.image.width, turned.image.height);
  TurnUpright(source, orientation_, memory->planes, memory->strides);
  for (int i = 0; i < PlaneCount(turned.image.format); ++i) {
    turned.image.planes[i] = memory->planes[i];
    turned.image.strides[i] = memory->strides[i];
  }
  turned.memory = std::move(memory);
  return turned;
}

}  // namespace sightline
