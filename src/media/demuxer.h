// A recording's container, opened safely, and its one video stream. Internal to this module.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "media/media_limits.h"
#include "media/recording_input.h"

namespace sightline {

// Safety: a file may refer to no other. Only the file protocol is allowed, and the demuxers of
// playlists, scripts and descriptions (HLS, DASH, concat, SDP, AviSynth ...) are not; picture sizes
// are checked against the limits before a decoder is opened.
//
// Threads: as RecordingInput.
class Demuxer final : public RecordingInput {
 public:
  // `path`: a local file. Errors are one sentence with the path: NotFound, DataLoss (empty,
  // garbage, cut off before the index), InvalidArgument (no video in it), ResourceExhausted (too
  // large a picture).
  static absl::StatusOr<std::unique_ptr<Demuxer>> Open(const std::string& path,
                                                       const MediaLimits& limits);

  // Places that cannot be read are passed over and logged once; a file that is cut off ends there.
  int Read(AVPacket* packet) override;
  void Cancel() override { cancelled_.store(true, std::memory_order_relaxed); }
  const AVStream& stream() const override { return *stream_; }
  SourceInfo Describe() const override { return DescribeRecording(*input_, *stream_); }
  absl::StatusOr<Hash128> Fingerprint() override;
  std::optional<int64_t> creation_utc_us() const override {
    return CreationTimeOf(*input_, *stream_);
  }

 private:
  explicit Demuxer(std::string path) : path_(std::move(path)) {}
  absl::Status ChooseStream(const MediaLimits& limits);

  std::string path_;
  std::atomic<bool> cancelled_{false};
  AvInputPtr input_;
  AVStream* stream_ = nullptr;  // owned by input_
  bool damage_logged_ = false;
};

}  // namespace sightline
