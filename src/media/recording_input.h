// Where the packets of a recording come from: a file (Demuxer) or an HTTP server (HttpRecording).
// Internal to this module.
#pragma once

#include <optional>

#include "base/status.h"
#include "base/uuid.h"
#include "media/av_internal.h"
#include "types/frame_source.h"

namespace sightline {

// Threads: one; Cancel() may come from any and makes a running call return soon.
class RecordingInput {
 public:
  virtual ~RecordingInput() = default;

  // The next packet of the video stream with at least one byte. 0, AVERROR_EOF at the end (also of
  // what can be had of it), or AVERROR_EXIT when cancelled.
  virtual int Read(AVPacket* packet) = 0;
  // After AVERROR_EOF: why it was not the recording's own end; OK when it was.
  virtual absl::Status end() const { return absl::OkStatus(); }
  virtual void Cancel() = 0;

  virtual const AVStream& stream() const = 0;
  // Container, codec, sizes, rates; neither clock nor fingerprint.
  virtual SourceInfo Describe() const = 0;
  // As SourceInfo::fingerprint.
  virtual absl::StatusOr<Hash128> Fingerprint() = 0;
  // The container's creation time, when it states a believable one.
  virtual std::optional<int64_t> creation_utc_us() const = 0;
};

// What both have in common.
SourceInfo DescribeRecording(const AVFormatContext& input, const AVStream& stream);
std::optional<int64_t> CreationTimeOf(const AVFormatContext& input, const AVStream& stream);

}  // namespace sightline
