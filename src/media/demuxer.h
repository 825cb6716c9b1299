// A recording's container, opened safely, and its one video stream. Internal to this module.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "base/status.h"
#include "media/av_internal.h"
#include "media/media_limits.h"
#include "types/frame_source.h"

namespace sightline {

// Safety: a file may refer to no other. Only the file protocol is allowed, and the demuxers of
// playlists, scripts and descriptions (HLS, DASH, concat, SDP, AviSynth ...) are not; picture sizes
// are checked against the limits before a decoder is opened.
//
// Threads: one; `cancelled` may be set from any thread and makes a running call return soon.
class Demuxer {
 public:
  // `path`: a local file. Errors are one sentence with the path: NotFound, DataLoss (empty,
  // garbage, cut off before the index), InvalidArgument (no video in it), ResourceExhausted (too
  // large a picture).
  static absl::StatusOr<std::unique_ptr<Demuxer>> Open(const std::string& path,
                                                       const MediaLimits& limits,
                                                       const std::atomic<bool>& cancelled);

  // Reads the next packet of the video stream with at least one byte. 0, AVERROR_EOF at the end
  // (also where the file is cut off), or AVERROR_EXIT when cancelled. Places that cannot be read
  // are passed over and logged once.
  int Read(AVPacket* packet);

  const AVStream& stream() const { return *stream_; }
  // Container, codec, sizes, rates; neither clock nor fingerprint.
  SourceInfo Describe() const;
  // The container's creation time, when it states a believable one.
  std::optional<int64_t> creation_utc_us() const;

 private:
  explicit Demuxer(std::string path) : path_(std::move(path)) {}
  absl::Status ChooseStream(const MediaLimits& limits);

  std::string path_;
  AvInputPtr input_;
  AVStream* stream_ = nullptr;  // owned by input_
  bool damage_logged_ = false;
};

}  // namespace sightline
