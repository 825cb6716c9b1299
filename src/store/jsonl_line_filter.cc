#include "store/jsonl_line_filter.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/whole_file.h"
#include "store/jsonl_format.h"

namespace sightline {
namespace {

std::string LineStartOf(std::string_view camera_id) {
  std::string start;
  AppendLineStart(camera_id, start);
  return start;
}

}  // namespace

JsonlLineFilter::JsonlLineFilter(std::string_view camera_id, int64_t begin,
                                 std::vector<int64_t*> marks)
    : line_start_(LineStartOf(camera_id)), at_(begin), marks_(std::move(marks)) {
  std::sort(marks_.begin(), marks_.end(),
            [](const int64_t* a, const int64_t* b) { return *a > *b; });
}

void JsonlLineFilter::PassMarks() {
  for (; !marks_.empty() && *marks_.back() <= at_; marks_.pop_back()) {
    *marks_.back() -= removed_bytes_;
  }
}

void JsonlLineFilter::Add(std::string_view text, std::string* kept) {
  while (!text.empty()) {
    const size_t end = text.find('\n');
    line_ += text.substr(0, end == std::string_view::npos ? end : end + 1);
    if (end == std::string_view::npos) return;
    text.remove_prefix(end + 1);
    PassMarks();
    at_ += static_cast<int64_t>(line_.size());
    if (line_.starts_with(line_start_)) {
      removed_bytes_ += static_cast<int64_t>(line_.size());
    } else {
      *kept += line_;
    }
    line_.clear();
  }
  PassMarks();
}

int DropLinesInFile(int fd, JsonlLineFilter& filter, int64_t begin, int64_t* end) {
  std::string block(size_t{256} * 1024, '\0');
  std::string kept;
  // What stays moves towards the beginning, so it is never written over what is still to be read.
  if (lseek(fd, begin, SEEK_SET) < 0) return errno;
  int64_t written = 0;
  for (int64_t at = begin; at < *end;) {
    const auto wanted = std::min<int64_t>(*end - at, static_cast<int64_t>(block.size()));
    const ssize_t got = pread(fd, block.data(), static_cast<size_t>(wanted), at);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return got < 0 ? errno : EIO;
    at += got;
    kept.clear();
    filter.Add({block.data(), static_cast<size_t>(got)}, &kept);
    if (const int error = WriteAll(fd, kept, &written); error != 0) return error;
  }
  *end = begin + written;
  return ftruncate(fd, *end) == 0 ? 0 : errno;
}

}  // namespace sightline
