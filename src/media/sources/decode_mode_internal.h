// Which packets of a codec need not be decoded when the selection leaves their frames out. Internal
// to this module.
#pragma once

#include "media/av_internal.h"
#include "types/frame_source.h"

namespace sightline {

// How the selection meets the codec.
enum class DecodeMode {
  kPlain,   // decode everything, then select
  kIntra,   // every packet is a picture of its own: select packets
  kPlanned  // B-frames: foretell, and let the decoder pass over what nothing refers to
};

DecodeMode ChooseDecodeMode(const AVCodecParameters& parameters, const AVCodec& codec,
                            const SourceOptions& options);

}  // namespace sightline
