// Video files of any container and codec that libav reads, as a FrameSource.
//
// Pixels. 8-bit 4:2:0, 4:2:2, 4:4:4, NV12, gray, BGR and RGB pictures are handed on by reference to
// the decoder's memory; anything else (10 bit, 4:1:1, palette, RGBA ...) is converted once: YUV to
// the nearest 8-bit YUV format, the rest to BGR24. Matrix and range are what the stream says; what
// it does not say is BT.601, limited range, at every size, which is what swscale and so OpenCV's
// VideoCapture assume. A rotation by quarter turns in the container (phones) is applied, as OpenCV
// and players do; a sample aspect ratio is not. The size may change in mid-stream: look at every
// frame's own.
//
// Time. See StreamClock: epochs, wraps, missing and mixed-up stamps. Capture time starts at
// options.start_utc_us, else at the container's creation_time, else in 1970; never today.
//
// The ledger. What counts as a frame is a picture, not a packet: the two fields of an interlaced
// picture may come in two packets, VP8 has packets that show nothing, MPEG-4 has packets that say
// "as before".
//   in       one for every picture that comes out of the decoder, for every packet that it refuses
//            with an error, and for every packet that was left out before decoding;
//   skipped  what the selection leaves out, decoded or not (also a damaged one: nothing was lost
//            by it);
//   dropped  (decode_error) selected and refused by the decoder, or in a format that cannot be
//            converted.
// A picture that the decoder mends (its neighbours' pixels in place of lost ones) counts as
// decoded. Packets at the beginning of a stream that was cut in mid-group, of which the decoder
// makes no picture without calling it an error, are no frames. Cut-off files end cleanly after what
// can be read, with one warning in the log. A file of which not one frame could be decoded ends in
// an error.
//
// Selection before decoding. Codecs in which every frame stands alone (MJPEG, PNG, ProRes, DV, raw
// ...): packets left out never reach the decoder. H.264 (progressive), HEVC, MPEG-1, MPEG-2 and
// MPEG-4 with stamps on every packet, on one decoding thread: the decoder is told to pass over the
// packet if nothing refers to it (B-frames, mostly). Everything else is decoded and then left out,
// untouched. The same frames come out either way.
//
// Safety. See Demuxer; sizes beyond MediaLimits are refused.
//
// Memory: one picture per Frame still held by anyone, the decoder's own references, and at most 64
// packets of look-ahead. Next() allocates nothing after warm-up beyond what libav does.
// Threads: as FrameSource; Frames may be released on any thread, also after the source is gone.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "media/media_limits.h"
#include "types/frame_source.h"

namespace sightline {

class RecordingInput;

class VideoFileSource : public FrameSource {
 public:
  struct Tuning {
    bool skip_before_decoding = true;  // off: only to check that it changes nothing
  };
  // options.url: a path (OpenSource strips file://). `ledger` must outlive the source.
  // Errors: see Demuxer::Open; Unimplemented when there is no decoder for the codec.
  static absl::StatusOr<std::unique_ptr<VideoFileSource>> Create(const SourceOptions& options,
                                                                 FrameLedger& ledger,
                                                                 const MediaLimits& limits = {});
  static absl::StatusOr<std::unique_ptr<VideoFileSource>> Create(const SourceOptions& options,
                                                                 FrameLedger& ledger,
                                                                 const MediaLimits& limits,
                                                                 const Tuning& tuning);
  // Of a recording that is open already. `name` stands for it in errors and in the log.
  static absl::StatusOr<std::unique_ptr<VideoFileSource>> Create(
      const SourceOptions& options, FrameLedger& ledger, const MediaLimits& limits,
      std::unique_ptr<RecordingInput> input, const std::string& name);
  ~VideoFileSource() override;

  const SourceInfo& info() const override;
  // Errors: Cancelled; DataLoss at the end of a file of which no frame could be decoded; what kept
  // the input from its end.
  absl::StatusOr<std::optional<Frame>> Next() override;
  void Cancel() override;

  // Packets that never cost a decoder's work because of the selection; for tests and `bench`.
  uint64_t packets_spared() const;

 private:
  class Impl;
  explicit VideoFileSource(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sightline
