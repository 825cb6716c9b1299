// The address of a live stream, taken apart and checked before libav sees it. Internal to this
// module.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace sightline {

enum class LiveKind : uint8_t { kRtsp, kRtmp, kHttp, kUdp, kSrt, kDevice };

struct LiveAddress {
  LiveKind kind = LiveKind::kRtsp;
  bool tls = false;
  std::string url;          // as libav wants it; a device's path
  std::string credentials;  // "user:password" as written in the URL; empty: none
  std::string host;         // without brackets
  int port = 0;             // the scheme's own when the URL states none; 0: the scheme has none
  std::string rest;         // path and query, from the slash on
};

// Whether ParseLiveAddress knows the scheme ("rtsp"); case does not matter.
bool IsLiveScheme(std::string_view scheme);

// `shown`: the address for people, without secrets, for the errors, which are all InvalidArgument.
absl::StatusOr<LiveAddress> ParseLiveAddress(const std::string& url, std::string_view shown);

// Keeps the address' secrets out of the log and of errors from now on (base/redact.h).
void HideSecretsOf(const LiveAddress& address, std::string_view shown);

}  // namespace sightline
