// One door to every kind of frame source.
//
// What a URL may be:
//   a video file       any container that libav reads, animated GIF included
//   a picture          told by its first bytes, not by its name; but *.mjpeg, *.mjpg and *.apng
//                      are videos
//   a folder           its pictures (see ImageSource)
//   a glob             pictures ("shots/*.jpg"), unless a file of exactly that name exists
//   file:///path       any of these, percent-encoded
//   scheme://...       what a factory is registered for; otherwise refused
//
// Threads: all functions here may be called from any thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "media/media_limits.h"
#include "types/frame_source.h"

namespace sightline {

// `ledger` must outlive the source. Errors are one sentence with the path or, for other schemes,
// with the scheme alone: such URLs carry passwords.
absl::StatusOr<std::unique_ptr<FrameSource>> OpenSource(const SourceOptions& options,
                                                        FrameLedger& ledger,
                                                        const MediaLimits& limits = {});

// The files of this machine that a source reads: the file itself, the pictures of a folder or glob in
// their order; also through a file:// URL. Empty for other schemes and where nothing is.
std::vector<std::string> LocalFilesOf(const std::string& url);
// Whether the file would be read as a still picture (else as a video).
bool IsStillPicture(const std::string& path);

// How sources that are no files come in: the program registers one factory a scheme ("rtsp", "sim")
// before it opens any source. A later registration of the same scheme replaces the earlier one.
using SourceFactory =
    std::function<absl::StatusOr<std::unique_ptr<FrameSource>>(const SourceOptions&, FrameLedger&)>;
void RegisterSourceScheme(std::string_view scheme, SourceFactory factory);

}  // namespace sightline
