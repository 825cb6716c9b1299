#include "media/picture_decoder.h"

#include <utility>
#include <vector>

#include "base/allocation_scope.h"
#include "media/image_formats.h"

namespace sightline {
namespace {

enum class Codec { kJpeg, kPng, kWebp };

// Whether the last column (row) of the stored picture comes to lie first when it is turned upright.
bool ReversesX(Orientation orientation) {
  return orientation == Orientation::kMirror || orientation == Orientation::kRotate180 ||
         orientation == Orientation::kRotate90 || orientation == Orientation::kTransverse;
}
bool ReversesY(Orientation orientation) {
  return orientation == Orientation::kRotate180 || orientation == Orientation::kFlip ||
         orientation == Orientation::kTransverse || orientation == Orientation::kRotate270;
}

void Fit(std::vector<uint8_t>& memory, size_t bytes) {
  if (memory.capacity() > PictureDecoder::kKeptBytes && bytes <= PictureDecoder::kKeptBytes) {
    memory = {};
  }
  memory.resize(bytes);
}

ImageView BgrView(const std::vector<uint8_t>& memory, int width, int height) {
  return {.format = PixelFormat::kBgr24,
          .range = ColorRange::kFull,
          .width = width,
          .height = height,
          .planes = {memory.data(), nullptr, nullptr},
          .strides = {width * 3, 0, 0}};
}

}  // namespace

struct PictureDecoder::State {
  ByteSpan bytes;
  Codec codec = Codec::kJpeg;
  StoredImage stored;
  std::vector<uint8_t> bgr;
  std::vector<uint8_t> turned;
};

PictureDecoder::PictureDecoder() : state_(std::make_unique<State>()) {}
PictureDecoder::~PictureDecoder() = default;
PictureDecoder::PictureDecoder(PictureDecoder&&) noexcept = default;
PictureDecoder& PictureDecoder::operator=(PictureDecoder&&) noexcept = default;

absl::Status PictureDecoder::Open(ByteSpan bytes, const MediaLimits& limits) {
  const LibraryAllocations library;
  State& state = *state_;
  state.stored = {};
  if (bytes.empty()) return InvalidArgument("the picture is empty (0 bytes)");
  absl::StatusOr<StoredImage> stored;
  if (IsJpeg(bytes)) {
    state.codec = Codec::kJpeg;
    stored = ReadJpegHeader(bytes);
  } else if (IsPng(bytes)) {
    state.codec = Codec::kPng;
    stored = ReadPngHeader(bytes);
  } else if (IsWebp(bytes)) {
    state.codec = Codec::kWebp;
    stored = ReadWebpHeader(bytes);
  } else {
    return InvalidArgument("not a picture that is taken here: JPEG, PNG and WebP are");
  }
  if (!stored.ok()) return stored.status();
  if (stored->width > limits.max_image_side_px || stored->height > limits.max_image_side_px) {
    return ResourceExhausted("{}x{} pixels, more than {} a side are refused; scale it down first",
                             stored->width, stored->height, limits.max_image_side_px);
  }
  if (stored->width <= 0 || stored->height <= 0) return DataLoss("a picture without pixels");
  state.bytes = bytes;
  state.stored = *stored;
  return absl::OkStatus();
}

int PictureDecoder::width() const {
  const StoredImage& stored = state_->stored;
  return SwapsSides(stored.orientation) ? stored.height : stored.width;
}

int PictureDecoder::height() const {
  const StoredImage& stored = state_->stored;
  return SwapsSides(stored.orientation) ? stored.width : stored.height;
}

bool PictureDecoder::CanShrink() const { return state_->codec == Codec::kJpeg; }

absl::StatusOr<DecodedPicture> PictureDecoder::Decode(int step) {
  const LibraryAllocations library;
  State& state = *state_;
  if (state.stored.width <= 0) return FailedPrecondition("no picture was opened");
  if (step < 1 || step > kLargestStep || (step & (step - 1)) != 0 || (step > 1 && !CanShrink())) {
    return InvalidArgument("a picture of this kind cannot be decoded at 1/{} of its size", step);
  }
  StoredImage stored = state.stored;
  int width = (stored.width + step - 1) / step;
  int height = (stored.height + step - 1) / step;
  Fit(state.bgr, static_cast<size_t>(width) * height * 3);
  switch (state.codec) {
    case Codec::kJpeg:
      SL_RETURN_IF_ERROR(DecodeJpeg(state.bytes, stored, step, state.bgr.data()));
      break;
    case Codec::kPng:
      SL_RETURN_IF_ERROR(DecodePng(state.bytes, &stored, state.bgr.data()));
      break;
    case Codec::kWebp:
      SL_RETURN_IF_ERROR(DecodeWebp(state.bytes, stored, state.bgr.data()));
      break;
  }
  state.stored.orientation = stored.orientation;  // of a PNG it may stand behind the pixels
  DecodedPicture decoded;
  decoded.step = step;
  decoded.view = BgrView(state.bgr, width, height);
  decoded.width = this->width();
  decoded.height = this->height();
  if (stored.orientation == Orientation::kUpright) return decoded;
  Fit(state.turned, state.bgr.size());
  if (SwapsSides(stored.orientation)) std::swap(width, height);
  TurnUpright(decoded.view, stored.orientation, {state.turned.data(), nullptr, nullptr},
              {width * 3, 0, 0});
  decoded.view = BgrView(state.turned, width, height);
  if (ReversesX(stored.orientation)) decoded.offset_x = decoded.width - width * step;
  if (ReversesY(stored.orientation)) decoded.offset_y = decoded.height - height * step;
  return decoded;
}

}  // namespace sightline
