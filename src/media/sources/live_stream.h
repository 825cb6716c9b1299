// One attempt at one camera: a live stream over the network or from a local device, as a FrameSource.
//
// What an address may be:
//   rtsp:// rtsps://     H.264, H.265, MJPEG and whatever else libav decodes; RTP interleaved in TCP
//                        or over UDP (rtsps: TCP)
//   rtmp:// rtmps://     FLV
//   http:// https://     MJPEG (multipart), HLS, MPEG-TS, FLV, or any other container that streams
//   udp:// srt://        MPEG-TS
//   /dev/videoN          Video4Linux, also as v4l2:///dev/videoN
// Only the video is taken; sound and data are discarded unread where the protocol allows.
//
// Passwords. Digest authentication is used wherever it is offered. Basic authentication is refused
// without TLS (Unauthenticated) before the password is sent, also where an attacker takes digest
// out of the server's offer; LiveOptions can allow it. Secrets of the address are kept out of the
// log and of errors (base/redact.h). Characters that mean something in a URL are percent-encoded.
//
// Time. Stream time as for recordings (StreamClock): a step back or far ahead starts a new epoch,
// counters that wrap (33 bits in MPEG-TS, 32 in RTP) do not. Streams without stamps of their own
// (MJPEG over HTTP) take those of their arrival. Capture time is the sender's from RTSP sender
// reports (ClockSource::kSender), where they are within a minute of this machine's clock, else that
// of the packet's arrival (kArrival); within an epoch it is strictly increasing. See LiveClock.
//
// The ledger. As for recordings (VideoFileSource): in, skipped, dropped(decode_error). Also, for
// codecs in which frames build on others: packets before the first key frame are dropped
// (no_key_frame) undecoded, or skipped where the selection leaves them out anyway. Of codecs in
// which every frame stands alone, packets left out by the selection are not decoded.
//
// Connecting. What the server describes (RTSP, multipart MJPEG) is not looked at first: frames come
// as they arrive. Other containers are read until the codec is known, a second of them at most, and
// these frames come at once. How long each step took is in the log (debug).
//
// Delay. The decoder holds nothing back that the stream does not make it. libav hands on an RTP
// frame of H.264 or H.265 when the next one begins: its capture time is right, its delay is a frame.
//
// Limits of libav 5.1: everything that waits is polled ten times a second, but the second look-up of
// a host's name (docs/decisions/live_streams.md). HLS: EXT-X-PROGRAM-DATE-TIME is not read.
//
// Memory: libav's queues are bounded by options (live_input.cc); the decoder's pictures; one picture
// per Frame still held by anyone.
// Threads: as FrameSource: Connect() and Next() on one thread, Cancel() and parameters_changed() on
// any. rtsps:// has one thread more (TlsBridge).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "media/hardware_decode.h"
#include "media/media_limits.h"
#include "media/sources/live_options.h"
#include "types/frame_source.h"

namespace sightline {

// Whether the address is one that LiveStream takes, by its scheme; case does not matter.
bool IsLiveAddress(const std::string& url);

class LiveStream final : public FrameSource {
 public:
  // Cheap: checks the address and the options and touches no network. InvalidArgument, with a
  // sentence, otherwise. `ledger` must outlive the stream.
  static absl::StatusOr<std::unique_ptr<LiveStream>> Create(const SourceOptions& options,
                                                            FrameLedger& ledger,
                                                            const MediaLimits& limits = {},
                                                            const LiveOptions& live = {});
  ~LiveStream() override;

  // Blocks until the stream's video is known: codec and size. To be called once, before Next().
  // Errors, each one sentence with the camera's shown address:
  //   Unauthenticated   password wrong or missing, only basic without TLS, a certificate refused
  //   PermissionDenied  403; a device that this user may not open
  //   Unavailable       unknown host, refused, reset, closed, 404, 5xx, garbage
  //   DeadlineExceeded  no packet of video within connect_timeout_us
  //   Unimplemented     no video in it, no decoder for it, too large a picture
  //   Cancelled         by Cancel() or give_up
  absl::Status Connect();

  // The next selected frame; nullopt at the end of the stream. Errors: Unavailable (the connection
  // broke), DeadlineExceeded (no packet of video within read_timeout_us), Cancelled; all for good.
  absl::StatusOr<std::optional<Frame>> Next() override;
  void Cancel() override;

  // After Connect(). `live` is set, the fingerprint zero; `clock` is kArrival, each frame says its
  // own.
  const SourceInfo& info() const override;
  // After Connect(): whether it is no live stream but a recording, whole on its HTTP server.
  bool is_recording() const;
  // After Connect(): what decodes.
  const HardwareChoice& hardware() const;

  // How often size, pixel format or codec have changed in mid-stream.
  uint64_t parameters_changed() const;

 private:
  class Impl;
  explicit LiveStream(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sightline
