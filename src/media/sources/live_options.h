// How a live stream is reached: what a camera's configuration may say beyond its address.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>

#include "base/time.h"

namespace sightline {

class NameLookup;

enum class RtspTransport : uint8_t {
  kTcp,  // interleaved: nothing is lost on the way, and it passes firewalls
  kUdp   // RTP over UDP: late packets are lost instead of waited for
};

// For rtsps://, rtmps:// and https://. Files are PEM.
struct TlsOptions {
  bool verify = true;            // off: anyone in between can read and change the stream
  std::string ca_file;           // who may vouch for the camera; empty: those the system trusts
  std::string certificate_file;  // what we show to a camera that asks who we are (mTLS)
  std::string key_file;          // of the certificate
};

struct LiveOptions {
  RtspTransport rtsp_transport = RtspTransport::kTcp;
  TlsOptions tls;
  // Basic authentication shows the password to whoever listens. Without TLS it is refused, unless
  // the network is trusted by this.
  bool allow_basic_without_tls = false;
  // Until the first packet of video, and then between two until the first picture; 0 = never.
  int64_t connect_timeout_us = 10'000'000;
  int64_t read_timeout_us = 10'000'000;  // without a packet of video; 0 = never
  // "none", "auto", or what ProbeHardwareDecoders() names; where that cannot be had, software.
  std::string hardware = "none";
  // Asked often by a blocking call, on the caller's own thread; true ends the call.
  std::function<bool()> give_up;
  const Clock* clock = &Clock::Real();  // for arrival times and timeouts
  NameLookup* names = nullptr;          // null: the system's; for tests
  // Of the last frame of an earlier connection to the same camera: capture times rise over them.
  int64_t last_capture_utc_us = std::numeric_limits<int64_t>::min();
};

}  // namespace sightline
