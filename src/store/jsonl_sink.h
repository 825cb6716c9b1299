// Results as a file of JSON lines, one line a frame (jsonl_format.h).
//
// Recordings (append = false): the lines grow in `<path>.partial`, which Close() renames to `path`;
// so a file called `path` is always whole, and an older one stays until then. A run that dies
// leaves the .partial with the lines so far; the next run starts it anew.
// When a recording is read again within a run (CameraInfo::replaces_from), the lines of its earlier
// readings are taken out of the .partial: one pass over the file.
// Live cameras (append = true): the lines go to the end of `path` itself. A last line that a crash
// has left unfinished is cut off first, and a warning says so.
//
// One run at a time writes a file (base/partial_file.h): a second one is refused by Create(), with
// Unavailable. A pipe or a device is written to as it is.
//
// Only whole lines stay in the file, also when the disk is full: what was begun and did not fit is
// cut off; with `wait` it is written again when there is room. Errors are those of FileError() in
// base/whole_file.h, one line with the path, and sticky.
//
// Threads: one at a time (ResultSink). Memory: a buffer of flush_bytes plus one line. Nothing is
// allocated per frame after warm-up.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/output_wait.h"
#include "base/partial_file.h"
#include "base/status.h"
#include "base/time.h"
#include "types/result_sink.h"

namespace sightline {

struct JsonlSinkOptions {
  std::string path;
  bool append = false;
  std::shared_ptr<FinishedFiles> finished = {};  // of the run: not replaced, but set aside
  int64_t flush_bytes = 256 * 1024;              // chosen: some 1,000 frames of two objects
  int flush_ms = 500;                            // chosen: what a live reader does not notice
  const Clock* clock = &Clock::Real();
  std::shared_ptr<OutputWait> wait = nullptr;  // null: a full disk is an error at once
};

class JsonlSink final : public ResultSink {
 public:
  static absl::StatusOr<std::unique_ptr<JsonlSink>> Create(const JsonlSinkOptions& options);
  ~JsonlSink() override;  // without Close(), what waits is lost as in a crash

  std::string_view name() const override { return "jsonl"; }
  absl::Status Write(const FrameResult& result) override;
  absl::Status WriteCameraState(const CameraStateChange& change) override;
  absl::Status WriteLedger(const CameraInfo& camera, const FrameCounts& counts) override;
  absl::Status FlushIfDue() override;
  // Writes what waits, syncs it to the disk and, for recordings, renames the file.
  absl::Status Close() override;
  // A recording's lines are thrown away; an earlier file stays.
  absl::Status Abandon() override;

 private:
  JsonlSink(const JsonlSinkOptions& options, std::string file, int fd,
            std::unique_ptr<PartialFile> partial);
  absl::Status BeginLife(const CameraInfo& camera);
  absl::Status DropLines(const std::string& camera_id, int64_t begin_bytes);
  void BeforeLine();
  absl::Status AfterLine();
  absl::Status Flush();
  absl::Status TryFlush();
  void KeepTheRest(int64_t written);
  absl::Status Fail(int error, std::string_view doing);

  const JsonlSinkOptions options_;
  const std::string file_;  // the one being written
  int fd_;
  std::unique_ptr<PartialFile> partial_;  // null when appending; owns fd_
  int64_t size_bytes_ = 0;                // of whole lines in the file
  struct Life {
    uint32_t number = 0;      // CameraInfo::life
    int64_t begin_bytes = 0;  // of its lines, with those that the next may replace
  };
  std::map<std::string, Life, std::less<>> lives_;  // by camera; none when appending
  int64_t first_waiting_us_ = 0;
  std::string buffer_;
  absl::Status failure_;
  bool closed_ = false;
};

}  // namespace sightline
