// A live stream's container over the network (or from a device), opened by libav, and its one video
// stream. Internal to this module.
//
// Safety. Only the protocols that belong to the address' scheme may be used, whatever a playlist or
// a redirection says: never files, and nothing without TLS from an address with TLS. Certificates
// are verified unless TlsOptions says otherwise. libav's rtsps:// verifies nothing and cannot be told
// to, so its connections go through a TlsBridge. Basic authentication without TLS is stopped before
// the password leaves: libav shows each request to AvLogWatch before it is sent.
//
// Memory: libav's probing and reordering are bounded by options (live_input.cc).
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "media/av_internal.h"
#include "media/media_limits.h"
#include "media/sources/connect_phases.h"
#include "media/sources/live_address.h"
#include "media/sources/live_interrupt.h"
#include "media/sources/live_options.h"
#include "media/sources/tls_bridge.h"

namespace sightline {

// Threads: one; LiveInterrupt::Cancel() ends a running call.
class LiveInput {
 public:
  // `interrupt` and `options` must outlive the input. `name` is for errors.
  LiveInput(LiveAddress address, const LiveOptions& options, const MediaLimits& limits,
            std::string name, LiveInterrupt& interrupt)
      : address_(std::move(address)),
        options_(options),
        limits_(limits),
        name_(std::move(name)),
        interrupt_(interrupt) {}
  ~LiveInput();

  // To be called before Open(): read as a recording, from its beginning, with seeking.
  void ReadAsRecording() { as_recording_ = true; }

  // Connects and looks at the stream. Errors: see LiveStream::Connect.
  absl::Status Open();
  // The next packet of the video stream; false at the end. Errors: see LiveStream::Next.
  absl::StatusOr<bool> Read(AVPacket* packet);
  // The error of what has interrupted; OK when nothing has.
  absl::Status InterruptError() const;

  const AVStream& stream() const { return *stream_; }
  const char* container() const { return input_->iformat->name; }
  // False: the stamps are made up by libav from an assumed rate.
  bool has_stamps() const { return (input_->iformat->flags & AVFMT_NOTIMESTAMPS) == 0; }
  // Whether all of it is there already: the server states its length, or the playlist its
  // end.
  bool is_recording() const;
  const AVFormatContext& context() const { return *input_; }
  // When connecting came how far.
  const ConnectPhases& phases() const { return phases_; }
  // True where a parser gives a packet out when the next one begins, with that one's side data.
  bool hands_on_late() const;

 private:
  class Watch;
  struct Notes {
    bool unresolved = false;  // no such host
    bool untrusted = false;   // the server's certificate was refused
    bool set_up = false;      // RTSP: a stream was asked for
    bool no_video = false;    // RTSP: there was none to ask for
  };

  absl::StatusOr<std::string> PrepareUrl();
  absl::Status LookUp(const std::string& host);
  absl::Status OpenContainer(const std::string& url);
  bool IsDescribed() const;
  absl::Status Probe();
  int64_t NowUs() const;
  absl::Status ChooseStream();
  void SetOptions(AvDictionary* options) const;
  void SetTlsOptions(AVDictionary** options) const;
  absl::Status OpenError(int code) const;
  absl::Status HttpError(int code) const;
  absl::Status DeviceError(int code) const;
  std::string Protocols() const;
  static int OpenNested(AVFormatContext* context, AVIOContext** io, const char* url, int flags,
                        AVDictionary** options);

  const LiveAddress address_;
  const LiveOptions& options_;
  const MediaLimits limits_;
  const std::string name_;
  LiveInterrupt& interrupt_;
  Notes notes_;
  ConnectPhases phases_;
  bool as_recording_ = false;
  std::unique_ptr<TlsBridge> bridge_;  // outlives input_
  AvInputPtr input_;
  AVStream* stream_ = nullptr;  // owned by input_
  int damaged_reads_ = 0;       // in a row
};

}  // namespace sightline
