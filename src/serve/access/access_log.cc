#include "serve/access/access_log.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/json_text.h"
#include "base/log.h"
#include "base/redact.h"
#include "base/thread.h"
#include "base/time.h"
#include "base/whole_file.h"
#include "serve/access/api_key.h"

namespace sightline::serve {
namespace {

constexpr int kLookMs = 100;           // whether it is to end
constexpr int64_t kEndUs = 2'000'000;  // at the end for a reader that stands still; chosen

double Ms(int64_t us) { return std::round(static_cast<double>(us)) / 1000; }

}  // namespace

std::string AccessLine(const AccessRecord& record) {
  nlohmann::ordered_json line = {{"time", FormatUtc(record.began_utc_us)},
                                 {"protocol", record.protocol}};
  const auto text = [&](const char* name, const std::string& value) {
    if (!value.empty()) line[name] = WithoutSecrets(WithoutKeys(value));
  };
  text("method", record.method);
  text("route", record.route);
  text("model", record.model);
  line["status"] = record.status;
  if (!record.complete) line["complete"] = false;
  text("refused", record.refused);
  line["bytes_in"] = record.received_bytes;
  line["bytes_out"] = record.sent_bytes;
  line["ms"] = Ms(record.took_us);
  if (record.submitted_us >= 0 && record.computing_us >= record.submitted_us) {
    line["queue_ms"] = Ms(record.computing_us - record.submitted_us);
  }
  if (record.computing_us >= 0 && record.computed_us >= record.computing_us) {
    line["compute_ms"] = Ms(record.computed_us - record.computing_us);
  }
  text("client", record.client);
  text("key", record.key_id);
  text("request_id", record.request_id);
  text("trace_id", record.trace_id);
  return JsonText(line) + "\n";
}

absl::StatusOr<std::unique_ptr<AccessLog>> AccessLog::Open(const std::string& path,
                                                           size_t max_waiting) {
  std::unique_ptr<AccessLog> log(new AccessLog(path, max_waiting));
  SL_RETURN_IF_ERROR(log->OpenFile());
  SL_ASSIGN_OR_RETURN(log->thread_, StartThread("access-log", [raw = log.get()] { raw->Loop(); }));
  return log;
}

AccessLog::~AccessLog() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  wake_.NotifyAll();
  if (thread_.joinable()) thread_.join();
  if (fd_ >= 0) close(fd_);
}

absl::Status AccessLog::OpenFile() {
  // Without waiting for somebody to read, where it is a FIFO.
  constexpr int kHow = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  const int fd = path_ == "stdout" ? dup(STDOUT_FILENO) : open(path_.c_str(), kHow, 0640);
  if (fd < 0) return FileError(errno, "opening", path_);
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
  struct stat about {};
  is_file_ = fstat(fd, &about) == 0 && S_ISREG(about.st_mode);
  return absl::OkStatus();
}

void AccessLog::Add(AccessRecord record) {
  bool wake = false;
  {
    const MutexLock lock(mutex_);
    if (waiting_.size() >= max_waiting_) {
      dropped_.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    wake = waiting_.empty();
    waiting_.push_back(std::move(record));
  }
  if (wake) wake_.NotifyOne();
}

void AccessLog::Reopen() {
  {
    const MutexLock lock(mutex_);
    reopen_ = true;
  }
  wake_.NotifyOne();
}

void AccessLog::Loop() {
  std::vector<AccessRecord> taken;
  while (true) {
    bool reopen = false;
    bool stopping = false;
    {
      const MutexLock lock(mutex_);
      while (waiting_.empty() && !reopen_ && !stopping_) wake_.Wait(mutex_);
      taken.swap(waiting_);
      reopen = std::exchange(reopen_, false);
      stopping = stopping_;
    }
    if (reopen) {
      const absl::Status status = OpenFile();
      if (!status.ok()) Log().error("the access log goes on as it was: {}", MessageOf(status));
    }
    Write(taken);
    taken.clear();
    if (stopping) {
      const MutexLock lock(mutex_);
      if (waiting_.empty()) return;
    }
  }
}

bool AccessLog::IsLate() {
  {
    const MutexLock lock(mutex_);
    if (!stopping_) return false;
  }
  const int64_t now_us = Clock::Real().NowMonotonicUs();
  if (end_us_ == 0) end_us_ = now_us + kEndUs;
  return now_us >= end_us_;
}

int AccessLog::WriteText(std::string_view text) {
  if (std::exchange(is_cut_, false)) {  // what comes now is not to be glued to half a line
    if (const int error = WriteText("\n"); error != 0) {
      is_cut_ = true;
      return error;
    }
  }
  bool began = false;
  while (!text.empty()) {
    // So much a pipe takes without blocking when it takes anything (pipe(7)).
    const size_t most = is_file_ ? text.size() : std::min<size_t>(text.size(), PIPE_BUF);
    pollfd file{fd_, POLLOUT, 0};
    int error = 0;
    ssize_t wrote = 0;
    if (poll(&file, 1, kLookMs) == 0) {
      error = IsLate() ? ETIMEDOUT : 0;
    } else if (wrote = write(fd_, text.data(), most); wrote < 0) {
      error = errno == EINTR || errno == EAGAIN ? 0 : errno;
      wrote = 0;
    }
    began |= wrote > 0;
    text.remove_prefix(static_cast<size_t>(wrote));
    if (error == 0) continue;
    is_cut_ = began;
    return error;
  }
  return 0;
}

void AccessLog::Write(const std::vector<AccessRecord>& records) {
  // A few lines at a time: one call for many, and no text of megabytes.
  constexpr size_t kAtOnce = size_t{64} * 1024;
  std::string text;
  size_t lines = 0;
  const auto flush = [&] {
    if (lines == 0) return;
    const int error = WriteText(text);
    (error == 0 ? written_ : failed_).fetch_add(lines, std::memory_order_relaxed);
    if ((error != 0) != std::exchange(failing_, error != 0)) {
      if (error != 0) {
        Log().error("the access log {} cannot be written: {}", path_, std::strerror(error));
      } else {
        Log().info("the access log {} is written again", path_);
      }
    }
    text.clear();
    lines = 0;
  };
  for (const AccessRecord& record : records) {
    text += AccessLine(record);
    ++lines;
    if (text.size() >= kAtOnce) flush();
  }
  flush();
}

AccessLogStats AccessLog::stats() const {
  return {written_.load(std::memory_order_relaxed), dropped_.load(std::memory_order_relaxed),
          failed_.load(std::memory_order_relaxed)};
}

}  // namespace sightline::serve
