// One video stream of an opened container: what it says of itself, its decoder, and its decoded
// pictures as Frames. Shared by recordings and live streams; internal to this module.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "media/av_internal.h"
#include "media/media_limits.h"
#include "media/orientation.h"
#include "media/picture_adapter.h"
#include "types/frame_source.h"

namespace sightline {

// Average frames a second, else the smallest step's; 0 when neither is believable.
double FrameRateOf(const AVStream& stream);
// What the container says about turning the pictures by quarters.
Orientation OrientationOf(const AVStream& stream);
// A stamp that is there.
std::optional<int64_t> StampOf(int64_t value);
// Codec, upright size and frame rate into `info`.
void DescribeTrack(const AVStream& stream, SourceInfo* info);

// A decoder for the stream, not opened yet: its threads, limits and time base are set.
// Errors: Unimplemented without a decoder for the codec, ResourceExhausted. `name` is for them.
absl::StatusOr<AvCodecContextPtr> MakeVideoDecoder(const AVStream& stream,
                                                   const MediaLimits& limits, int threads,
                                                   const std::string& name);
// DataLoss when it cannot start.
absl::Status OpenVideoDecoder(AVCodecContext* decoder, const std::string& name);

// Takes the picture out of `picture` (which is then blank). Errors: beyond the limits, or a format
// that cannot be converted.
absl::StatusOr<Frame> MakeFrame(AVFrame* picture, PictureAdapter& adapter,
                                const MediaLimits& limits, std::shared_ptr<const CameraInfo> camera,
                                uint64_t ordinal, const FrameTime& time);

}  // namespace sightline
