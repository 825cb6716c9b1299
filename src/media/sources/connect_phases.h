// Where the time goes while a live stream is connected. Internal to this module.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sightline {

// Moments by a monotonic clock, us; 0: not come to (RTSP's requests: of other protocols never).
struct ConnectPhases {
  int64_t begun_us = 0;
  int64_t first_request_us = 0;  // the connection stands: name looked up, TCP, TLS
  int64_t describe_us = 0;       // the last of each is sent: one that is refused comes again
  int64_t setup_us = 0;
  int64_t play_us = 0;
  int64_t opened_us = 0;  // the server has agreed, or the container's header is read
  int64_t known_us = 0;   // the codec is known
  int64_t first_packet_us = 0;
  int64_t first_picture_us = 0;

  // libav is about to send this.
  void OnRequest(std::string_view text, int64_t now_us);
  // "connection 1 ms, DESCRIBE 12 ms, ..., first picture 40 ms; 61 ms in all".
  std::string Describe() const;
};

}  // namespace sightline
