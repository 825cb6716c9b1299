#include "media/sources/decode_mode_internal.h"

#include "media/sources/frame_selector.h"

namespace sightline {
namespace {

bool HasDisposableFrames(AVCodecID codec) {
  switch (codec) {
    case AV_CODEC_ID_H264:
    case AV_CODEC_ID_HEVC:
    case AV_CODEC_ID_MPEG1VIDEO:
    case AV_CODEC_ID_MPEG2VIDEO:
    case AV_CODEC_ID_MPEG4:
      return true;
    default:
      return false;
  }
}

}  // namespace

DecodeMode ChooseDecodeMode(const AVCodecParameters& parameters, const AVCodec& codec,
                            const SourceOptions& options) {
  if (FrameSelector(options.selection).keeps_all()) return DecodeMode::kPlain;
  const AVCodecDescriptor* descriptor = avcodec_descriptor_get(parameters.codec_id);
  const bool stands_alone =
      parameters.codec_id == AV_CODEC_ID_PNG ||  // libav's list of properties leaves it out
      (descriptor != nullptr && (descriptor->props & AV_CODEC_PROP_INTRA_ONLY) != 0);
  const bool progressive = parameters.field_order == AV_FIELD_PROGRESSIVE;
  const bool maybe_fields = !progressive && parameters.field_order != AV_FIELD_UNKNOWN;
  if (stands_alone && !maybe_fields && (codec.capabilities & AV_CODEC_CAP_DELAY) == 0) {
    return DecodeMode::kIntra;
  }
  if (!HasDisposableFrames(parameters.codec_id) || options.decode_threads > 1)
    return DecodeMode::kPlain;
  // H.264 puts each field of an interlaced picture into a packet of its own; the others do not.
  if (parameters.codec_id == AV_CODEC_ID_H264 && !progressive) return DecodeMode::kPlain;
  return DecodeMode::kPlanned;
}

}  // namespace sightline
