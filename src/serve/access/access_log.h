// The access log: one line of JSON for each request that is over.
//
//   {"time":"2026-01-31T12:00:00.123456Z","protocol":"http","method":"POST","route":"/v2/models/{model}/infer",
//    "model":"m","status":200,"bytes_in":600,"bytes_out":320,"ms":4.2,"queue_ms":0.3,"compute_ms":3.1,
//    "client":"127.0.0.1","key":"0f3a91c27be4","request_id":"...","trace_id":"..."}
//
// Routes are patterns and not what the client wrote: no query, no path, no header of a request is in it,
// but a model's name and a request's id, which are checked and cut.
//
// Threads: Add() from any, never blocks: a queue before the thread "access-log", which drops what does not
// fit and counts it. Lines that cannot be written are counted, too.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "serve/access/access_record.h"

namespace sightline::serve {

std::string AccessLine(const AccessRecord& record);  // with its "\n"

struct AccessLogStats {
  uint64_t written = 0;
  uint64_t dropped = 0;  // the queue was full
  uint64_t failed = 0;   // could not be written
};

class AccessLog {
 public:
  // `path`: "stdout", or a file, which is appended to and made with mode 0640. FailedPrecondition when it
  // cannot be opened.
  static absl::StatusOr<std::unique_ptr<AccessLog>> Open(const std::string& path,
                                                         size_t max_waiting = 8192);
  ~AccessLog();  // writes what waits; a reader that stands still has two seconds

  void Add(AccessRecord record) EXCLUDES(mutex_);
  // Opens the file anew before the next line, after another program has moved it away. Safe from any
  // thread, not from a signal handler.
  void Reopen() EXCLUDES(mutex_);
  AccessLogStats stats() const;

 private:
  AccessLog(std::string path, size_t max_waiting)
      : path_(std::move(path)), max_waiting_(max_waiting) {}
  absl::Status OpenFile();
  void Loop() EXCLUDES(mutex_);
  void Write(const std::vector<AccessRecord>& records);
  int WriteText(std::string_view text);  // errno; 0: all of it
  bool IsLate() EXCLUDES(mutex_);        // it is to end, and has waited for long enough

  const std::string path_;
  const size_t max_waiting_;
  // Of the thread.
  int fd_ = -1;
  bool is_file_ = false;
  bool failing_ = false;
  bool is_cut_ = false;  // the last line was not written to its end
  int64_t end_us_ = 0;
  Mutex mutex_;
  CondVar wake_;
  std::vector<AccessRecord> waiting_ GUARDED_BY(mutex_);
  bool reopen_ GUARDED_BY(mutex_) = false;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::atomic<uint64_t> written_{0}, dropped_{0}, failed_{0};
  std::thread thread_;
};

}  // namespace sightline::serve
