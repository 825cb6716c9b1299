// Still pictures as a FrameSource: one file, a folder, or what a glob matches.
//
// Order: natural ("img2.jpg" before "img10.jpg": runs of digits compare as numbers, everything else
// byte by byte), folders not entered. Of a folder the files count whose names end as pictures do; a
// glob's matches count the same way. One frame a picture, in 8-bit BGR, upright.
//
// Each frame of a folder or glob says in FrameMeta::picture which file it is.
//
// Time: picture n stands at n / fps seconds of stream time (25 a second unless said otherwise), in
// one epoch. Capture time starts at options.start_utc_us, else in 1970.
//
// The ledger: every file counts as `in`. What the selection leaves out is not even read. A picture
// that cannot be read or decoded is dropped(decode_error) and named in the log, and the next one
// follows; but a single picture that was asked for by name is an error of Create.
//
// Memory: pooled pictures, bounded by the frames that are held; one file's bytes; the list of
// names. Threads: as FrameSource; Cancel() takes effect between pictures.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "media/media_limits.h"
#include "types/frame_source.h"

namespace sightline {

class ImageSource : public FrameSource {
 public:
  static constexpr double kDefaultFps = 25;  // chosen: folders are mostly clips taken apart

  // options.url: a path or a glob (*, ?, [...]). `ledger` must outlive the source.
  // Errors: NotFound (no such file or folder, or nothing in it), DataLoss, ResourceExhausted, ...
  static absl::StatusOr<std::unique_ptr<ImageSource>> Create(const SourceOptions& options,
                                                             FrameLedger& ledger,
                                                             const MediaLimits& limits = {},
                                                             double fps = kDefaultFps);
  ~ImageSource() override;

  const SourceInfo& info() const override;
  absl::StatusOr<std::optional<Frame>> Next() override;
  void Cancel() override;

 private:
  class Impl;
  explicit ImageSource(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The files behind a path (any file, as it is), a folder or a glob (pictures), in order. Errors as of
// Create, without looking into the files.
absl::StatusOr<std::vector<std::string>> ListPictures(const std::string& url);

// Whether the order of file names puts `a` before `b`: natural, as above.
bool NaturallyBefore(const std::string& a, const std::string& b);

}  // namespace sightline
