#include "store/jsonl_sink.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "base/whole_file.h"
#include "store/jsonl_format.h"
#include "store/jsonl_line_filter.h"

namespace sightline {
namespace {

// Where the last whole line of the file ends.
absl::StatusOr<int64_t> EndOfLastLine(int fd, int64_t size_bytes, const std::string& file) {
  char block[4096];
  int64_t end = size_bytes;
  while (end > 0) {
    const int64_t start = std::max<int64_t>(0, end - static_cast<int64_t>(sizeof block));
    const ssize_t n = pread(fd, block, static_cast<size_t>(end - start), start);
    if (n != end - start) return FileError(n < 0 ? errno : EIO, "reading", file);
    for (int64_t i = n; i > 0; --i) {
      if (block[i - 1] == '\n') return start + i;
    }
    end = start;
  }
  return 0;
}

}  // namespace

JsonlSink::JsonlSink(const JsonlSinkOptions& options, std::string file, int fd,
                     std::unique_ptr<PartialFile> partial)
    : options_(options), file_(std::move(file)), fd_(fd), partial_(std::move(partial)) {
  buffer_.reserve(static_cast<size_t>(options_.flush_bytes) + 64 * 1024);
}

JsonlSink::~JsonlSink() {
  if (partial_ == nullptr && fd_ >= 0) close(fd_);
}

absl::StatusOr<std::unique_ptr<JsonlSink>> JsonlSink::Create(const JsonlSinkOptions& options) {
  if (options.path.empty()) return InvalidArgument("the JSON lines output needs a path");
  if (options.flush_bytes < 1 || options.flush_bytes > (int64_t{1} << 30) || options.flush_ms < 0) {
    return InvalidArgument("{}: flush_bytes must be 1 to 2^30 and flush_ms not negative",
                           options.path);
  }
  if (!options.append) {
    SL_ASSIGN_OR_RETURN(std::unique_ptr<PartialFile> partial,
                        PartialFile::Open(options.path, options.finished));
    const std::string file = partial->file();
    const int fd = partial->fd();
    return std::unique_ptr<JsonlSink>(new JsonlSink(options, file, fd, std::move(partial)));
  }
  const std::string& file = options.path;
  const int fd = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return FileError(errno, "opening", file);
  auto sink = std::unique_ptr<JsonlSink>(new JsonlSink(options, file, fd, nullptr));

  struct stat info {};
  if (fstat(fd, &info) != 0) return FileError(errno, "opening", file);
  if (!S_ISREG(info.st_mode)) return sink;  // a pipe or a device: nothing to cut
  SL_RETURN_IF_ERROR(LockForWriting(fd, file));
  SL_ASSIGN_OR_RETURN(sink->size_bytes_, EndOfLastLine(fd, info.st_size, file));
  if (sink->size_bytes_ == info.st_size) {
    if (lseek(fd, 0, SEEK_END) < 0) return FileError(errno, "opening", file);
    return sink;
  }
  if (sink->size_bytes_ == 0) {
    return FailedPrecondition(
        "{} holds no whole line, so it is no file of JSON lines to append to; "
        "choose another path or move it away",
        file);
  }
  Log().warn("{}: its last line is unfinished, as after a crash; cut off {} bytes", file,
             info.st_size - sink->size_bytes_);
  if (ftruncate(fd, sink->size_bytes_) != 0 || lseek(fd, 0, SEEK_END) < 0) {
    return FileError(errno, "opening", file);
  }
  return sink;
}

absl::Status JsonlSink::Fail(int error, std::string_view doing) {
  failure_ = FileError(error, doing, file_);
  return failure_;
}

absl::Status JsonlSink::Write(const FrameResult& result) {
  if (!failure_.ok()) return failure_;
  if (SL_BUG_IF(closed_ || result.detection_ids.size() != result.detections.items.size(),
                "a frame without ids, or after Close, reached the JSON lines sink")) {
    return MakeError(absl::StatusCode::kInternal, "{}: a frame that cannot be written", file_);
  }
  if (result.frame.meta.camera) SL_RETURN_IF_ERROR(BeginLife(*result.frame.meta.camera));
  if (result.end_of_stream && result.events.empty()) return absl::OkStatus();
  BeforeLine();
  const FrameTime& time = result.frame.meta.time;
  const bool live = options_.append && !result.end_of_stream &&
                    (time.clock == ClockSource::kSender || time.clock == ClockSource::kArrival);
  std::optional<int64_t> latency_us;
  if (live) latency_us = options_.clock->NowUtcUs() - time.capture_utc_us;
  AppendFrameLine(result, buffer_, latency_us);
  return AfterLine();
}

absl::Status JsonlSink::WriteCameraState(const CameraStateChange& change) {
  if (!failure_.ok()) return failure_;
  if (SL_BUG_IF(closed_, "a change of state after Close reached the JSON lines sink")) {
    return MakeError(absl::StatusCode::kInternal, "{}: a change of state after the end", file_);
  }
  BeforeLine();
  AppendCameraStateLine(change, buffer_);
  return AfterLine();
}

// There is nothing to write, but a reading without a single frame is known by it.
absl::Status JsonlSink::WriteLedger(const CameraInfo& camera, const FrameCounts& /*counts*/) {
  if (!failure_.ok()) return failure_;
  return BeginLife(camera);
}

absl::Status JsonlSink::BeginLife(const CameraInfo& camera) {
  if (partial_ == nullptr || partial_->direct() || closed_) return absl::OkStatus();
  const auto known = lives_.find(camera.id);
  if (known != lives_.end() && known->second.number == camera.life) return absl::OkStatus();
  if (known == lives_.end() || known->second.number < camera.replaces_from) {
    lives_[camera.id] = {camera.life, size_bytes_ + static_cast<int64_t>(buffer_.size())};
    return absl::OkStatus();
  }
  known->second.number = camera.life;
  return DropLines(camera.id, known->second.begin_bytes);
}

absl::Status JsonlSink::DropLines(const std::string& camera_id, int64_t begin_bytes) {
  std::vector<int64_t*> marks;
  for (auto& [id, life] : lives_) {
    if (life.begin_bytes > begin_bytes) marks.push_back(&life.begin_bytes);
  }
  const int64_t file_begin = std::min(begin_bytes, size_bytes_);
  JsonlLineFilter filter(camera_id, begin_bytes, std::move(marks));
  if (const int error = DropLinesInFile(fd_, filter, file_begin, &size_bytes_); error != 0) {
    return Fail(error, "rewriting");
  }
  std::string waiting;
  const auto passed = static_cast<size_t>(std::max<int64_t>(0, begin_bytes - file_begin));
  waiting.assign(buffer_, 0, passed);
  filter.Add(std::string_view(buffer_).substr(passed), &waiting);
  buffer_.assign(waiting);  // its memory stays as large as it was
  return absl::OkStatus();
}

void JsonlSink::BeforeLine() {
  if (buffer_.empty()) first_waiting_us_ = options_.clock->NowMonotonicUs();
}

absl::Status JsonlSink::AfterLine() {
  return static_cast<int64_t>(buffer_.size()) >= options_.flush_bytes ? Flush() : FlushIfDue();
}

absl::Status JsonlSink::FlushIfDue() {
  if (!failure_.ok()) return failure_;
  const int64_t waited_us = options_.clock->NowMonotonicUs() - first_waiting_us_;
  if (buffer_.empty() || waited_us < options_.flush_ms * int64_t{1000}) return absl::OkStatus();
  return Flush();
}

absl::Status JsonlSink::Flush() {
  failure_ = WriteOrWait(options_.wait.get(), [this] { return TryFlush(); });
  return failure_;
}

absl::Status JsonlSink::TryFlush() {
  int64_t written = 0;
  const int error = WriteAll(fd_, buffer_, &written);
  if (error == 0) {
    size_bytes_ += written;
    buffer_.clear();
    return absl::OkStatus();
  }
  KeepTheRest(written);
  return FileError(error, "writing to", file_);
}

// The whole lines that did fit stay, a torn one is cut off and goes with the rest.
void JsonlSink::KeepTheRest(int64_t written) {
  const size_t line_end =
      std::string_view(buffer_).substr(0, static_cast<size_t>(written)).rfind('\n');
  const size_t whole = line_end == std::string_view::npos ? 0 : line_end + 1;
  const int64_t size = size_bytes_ + static_cast<int64_t>(whole);
  const bool has_places = partial_ == nullptr || !partial_->direct();
  const bool cut = has_places && ftruncate(fd_, size) == 0 && lseek(fd_, size, SEEK_SET) == size;
  if (has_places && !cut && errno != EINVAL) {  // EINVAL: a pipe or a device
    Log().warn("{}: its last line may be unfinished ({})", file_, std::strerror(errno));
  }
  // What cannot be taken back is not written twice.
  const size_t done = cut ? whole : static_cast<size_t>(written);
  size_bytes_ += static_cast<int64_t>(done);
  buffer_.erase(0, done);
}

absl::Status JsonlSink::Close() {
  if (closed_ || !failure_.ok()) return failure_;
  SL_RETURN_IF_ERROR(Flush());
  closed_ = true;
  if (partial_ != nullptr) {
    fd_ = -1;
    return failure_ = partial_->Commit();
  }
  // EINVAL, EROFS: pipes and devices cannot be synced.
  if (fsync(fd_) != 0 && errno != EINVAL && errno != EROFS) return Fail(errno, "syncing");
  if (close(std::exchange(fd_, -1)) != 0) return Fail(errno, "closing");
  return absl::OkStatus();
}

absl::Status JsonlSink::Abandon() {
  if (partial_ == nullptr) return Close();
  closed_ = true;
  fd_ = -1;
  partial_->Discard();
  return failure_;
}

}  // namespace sightline
