// Recordings on HTTP servers: files of a stated length, and HLS playlists with an end.
//
// Decided by what is there, not by its name: the server states how long a recording is, and it is
// neither a still picture nor multipart MJPEG. It is read as a file is (VideoFileSource): from its first frame to its
// last, nothing dropped, a broken connection resumed where it broke. The fingerprint is a hash of
// the length and of the first packets, so that the same recording has the same ids every time,
// whatever its address.
//
// Threads: as FrameSource.
#pragma once

#include <memory>
#include <string>

#include "media/media_limits.h"
#include "media/sources/live_options.h"
#include "types/frame_source.h"

namespace sightline {

// http:// and https://; case does not matter.
bool IsHttpAddress(const std::string& url);

// Null when what answers there is live. `ledger` must outlive the source. Errors: those of
// LiveStream::Create and Connect(); those of VideoFileSource::Create. `live` says how the server is
// reached; connect_timeout_us is for all of the opening.
absl::StatusOr<std::unique_ptr<FrameSource>> OpenHttpRecording(const SourceOptions& options,
                                                               FrameLedger& ledger,
                                                               const MediaLimits& limits = {},
                                                               const LiveOptions& live = {});

}  // namespace sightline
