// libav's error codes of a connection as sentences and kinds that a supervisor can act upon.
#include <cerrno>

#include "media/av_log.h"
#include "media/sources/live_input.h"

namespace sightline {

absl::Status LiveInput::HttpError(int code) const {
  switch (code) {
    case AVERROR_HTTP_UNAUTHORIZED:
      if (address_.credentials.empty()) {
        return Unauthenticated(
            "{}: the camera wants a user name and a password; put them into its "
            "address",
            name_);
      }
      return Unauthenticated(
          "{}: the camera refuses the user name or the password; correct them in its "
          "address",
          name_);
    case AVERROR_HTTP_FORBIDDEN:
      return PermissionDenied(
          "{}: the camera forbids this user to see the stream (403); allow it there", name_);
    case AVERROR_HTTP_NOT_FOUND:
      return Unavailable("{}: the camera knows no stream of that path (404); check the address",
                         name_);
    case AVERROR_HTTP_SERVER_ERROR:
      return Unavailable("{}: the camera reports an error of its own (5xx); restart it if it stays",
                         name_);
    case AVERROR_HTTP_BAD_REQUEST:
    case AVERROR_HTTP_OTHER_4XX:
      return Unavailable("{}: the camera does not accept the request (4xx); check the address",
                         name_);
    default:
      return absl::OkStatus();
  }
}

absl::Status LiveInput::DeviceError(int code) const {
  switch (AVUNERROR(code)) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
      return Unavailable("{}: there is no such device; plug it in, or see ls /dev/video*", name_);
    case EACCES:
    case EPERM:
      return PermissionDenied("{}: this user may not open the device; add it to the group video",
                              name_);
    case EBUSY:
      return Unavailable("{}: another program is using the device; stop it", name_);
    case ENOTTY:
    case EINVAL:
      return Unimplemented("{}: not a device that gives pictures; choose another /dev/video",
                           name_);
    default:
      return Unavailable("{}: the device cannot be opened: {}", name_, AvErrorText(code));
  }
}

absl::Status LiveInput::OpenError(int code) const {
  const absl::Status interrupted = InterruptError();
  if (!interrupted.ok()) return interrupted;
  if (bridge_ && !bridge_->error().ok()) return bridge_->error();
  if (notes_.untrusted) {
    return Unauthenticated(
        "{}: its certificate is not trusted, or is another host's; name the authority "
        "that signed it as the camera's ca_file",
        name_);
  }
  if (notes_.unresolved) {
    return Unavailable(
        "{}: there is no host of that name, or no name server answers; check the "
        "address",
        name_);
  }
  if (address_.kind == LiveKind::kDevice) return DeviceError(code);
  if (notes_.no_video) {
    return Unimplemented("{}: the stream has no video; choose another path of the camera", name_);
  }
  const absl::Status http = HttpError(code);
  if (!http.ok()) return http;
  switch (code) {
    case AVERROR(ENOMEM):
      return ResourceExhausted("{}: no memory to open it", name_);
    case AVERROR(ETIMEDOUT):
      return DeadlineExceeded("{}: no answer; check that the camera is on and reachable", name_);
    case AVERROR(ECONNREFUSED):
      return Unavailable(
          "{}: nothing listens there (connection refused); check the port, or wait "
          "until the camera is up",
          name_);
    case AVERROR(EHOSTUNREACH):
    case AVERROR(ENETUNREACH):
      return Unavailable("{}: there is no way to that host; check the network", name_);
    case AVERROR_PROTOCOL_NOT_FOUND:
      return Unimplemented("{}: this machine's libavformat does not speak that protocol", name_);
    case AVERROR_STREAM_NOT_FOUND:
      return Unimplemented("{}: the stream has no video; choose another path of the camera", name_);
    case AVERROR_EOF:
    case AVERROR(EIO):
    case AVERROR(ECONNRESET):
    case AVERROR(EPIPE):
      return Unavailable(
          "{}: the connection was closed before any video came ({}); check address "
          "and port",
          name_, AvErrorText(code));
    case AVERROR_INVALIDDATA:
      return Unavailable("{}: what answers there is no video stream; check address and port",
                         name_);
    default:
      return Unavailable("{}: cannot be opened: {}", name_, AvErrorText(code));
  }
}

}  // namespace sightline
