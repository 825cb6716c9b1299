#include "track/mot_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <system_error>

#include "base/status.h"

namespace sightline {
namespace {

constexpr size_t kColumns = 7;
constexpr size_t kMaxRows = 20'000'000;
// A year of 30 frames/s.
constexpr double kMaxFrame = 1e9;
constexpr std::array<std::string_view, kColumns> kColumnNames = {
    "frame", "id", "x", "y", "width", "height", "confidence"};

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r";
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

// What an error shows of a line: printable, not long.
std::string Shown(std::string_view text) {
  constexpr size_t kMaxShown = 40;
  std::string shown;
  for (const char c : text.substr(0, kMaxShown)) shown += c >= ' ' && c < 127 ? c : '?';
  return text.size() > kMaxShown ? shown + "..." : shown;
}

absl::StatusOr<double> ParseNumber(std::string_view field, std::string_view name, size_t line) {
  const std::string_view text = Trim(field);
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [parsed_to, error] = std::from_chars(text.data(), end, value);
  if (text.empty() || error != std::errc() || parsed_to != end || !std::isfinite(value)) {
    return InvalidArgument("line {}: {} is \"{}\", expected a number", line, name, Shown(text));
  }
  return value;
}

absl::StatusOr<MotRow> ParseLine(std::string_view line, size_t number) {
  std::array<double, kColumns> values{};
  std::string_view rest = line;
  for (size_t column = 0; column < kColumns; ++column) {
    const size_t comma = rest.find(',');
    if (comma == std::string_view::npos && column + 1 < kColumns) {
      return InvalidArgument(
          "line {}: {} columns in \"{}\", expected frame,id,x,y,width,height,confidence", number,
          column + 1, Shown(line));
    }
    SL_ASSIGN_OR_RETURN(values[column],
                        ParseNumber(rest.substr(0, comma), kColumnNames[column], number));
    rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
  }
  if (values[0] < 1 || values[0] > kMaxFrame || values[0] != std::floor(values[0])) {
    return InvalidArgument("line {}: frame is {}, expected a whole number from 1 to {}", number,
                           values[0], kMaxFrame);
  }
  MotRow row;
  row.frame = static_cast<int64_t>(values[0]);
  row.detection.box_px = {static_cast<float>(values[2]), static_cast<float>(values[3]),
                          static_cast<float>(values[2] + values[4]),
                          static_cast<float>(values[3] + values[5])};
  row.detection.confidence = static_cast<float>(values[6]);
  return row;
}

class File {
 public:
  explicit File(int descriptor) : descriptor_(descriptor) {}
  ~File() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

std::string ErrorText(int error) { return std::strerror(error); }

absl::Status WriteAll(int descriptor, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t written = write(descriptor, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int error = errno;
      if (error == ENOSPC || error == EDQUOT) {
        return ResourceExhausted("{}: the disk is full; nothing was written there", path);
      }
      return Unavailable("{}: cannot write: {}", path, ErrorText(error));
    }
    text.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status WriteAsItIs(const std::string& path, std::string_view text) {
  const File file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (file.get() < 0) return InvalidArgument("{}: cannot open: {}", path, ErrorText(errno));
  return WriteAll(file.get(), text, path);
}

absl::Status WriteBesideAndRename(const std::string& path, std::string_view text) {
  std::string temporary = path + ".XXXXXX";
  const File file(mkostemp(temporary.data(), O_CLOEXEC));
  if (file.get() < 0) {
    return InvalidArgument("{}: cannot write here: {}", path, ErrorText(errno));
  }
  absl::Status status = WriteAll(file.get(), text, path);
  const mode_t mask = umask(0);
  umask(mask);
  if (status.ok() && (fchmod(file.get(), 0666 & ~mask) != 0 || fsync(file.get()) != 0 ||
                      rename(temporary.c_str(), path.c_str()) != 0)) {
    status = Unavailable("{}: cannot write: {}", path, ErrorText(errno));
  }
  if (!status.ok()) unlink(temporary.c_str());
  return status;
}

}  // namespace

absl::StatusOr<std::vector<MotRow>> ParseMotDetections(std::string_view text) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text.substr(0, kByteOrderMark.size()) == kByteOrderMark) {
    text.remove_prefix(kByteOrderMark.size());
  }
  std::vector<MotRow> rows;
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    const std::string_view line = Trim(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (line.empty()) continue;
    SL_ASSIGN_OR_RETURN(const MotRow row, ParseLine(line, number));
    if (rows.size() == kMaxRows) {
      return ResourceExhausted("line {}: more than {} detections; split the file", number,
                               kMaxRows);
    }
    rows.push_back(row);
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [](const MotRow& a, const MotRow& b) { return a.frame < b.frame; });
  return rows;
}

absl::StatusOr<std::vector<MotRow>> ReadMotDetections(const std::string& path) {
  const File file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) {
    const int error = errno;
    if (error == ENOENT) return NotFound("no file {}", path);
    return InvalidArgument("{}: cannot read: {}", path, ErrorText(error));
  }
  std::string text;
  std::array<char, 65536> buffer;
  // 20 million rows of 100 bytes; a bound for what is no such file at all, such as /dev/zero.
  constexpr size_t kMaxBytes = size_t{2} << 30;
  for (;;) {
    const ssize_t got = read(file.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return InvalidArgument("{}: cannot read: {}", path, ErrorText(errno));
    if (got == 0) break;
    text.append(buffer.data(), static_cast<size_t>(got));
    if (text.size() > kMaxBytes) return ResourceExhausted("{}: larger than 2 GiB", path);
  }
  auto rows = ParseMotDetections(text);
  if (!rows.ok()) return WithContext(rows.status(), path);
  return rows;
}

void AppendMotTracks(int64_t frame, const Tracks& tracks, std::string* text) {
  for (const TrackedObject& object : tracks.items) {
    fmt::format_to(std::back_inserter(*text), "{},{},{:.2f},{:.2f},{:.2f},{:.2f},{:g},-1,-1,-1\n",
                   frame, object.track_id, object.box_px.x1, object.box_px.y1,
                   object.box_px.width(), object.box_px.height(), object.confidence);
  }
}

absl::Status WriteWholeFile(const std::string& path, std::string_view text) {
  struct stat info {};
  if (stat(path.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode)) return InvalidArgument("{} is a folder, expected a file", path);
    if (!S_ISREG(info.st_mode)) return WriteAsItIs(path, text);
    // Renaming would replace a link by a file.
    std::error_code error;
    const std::filesystem::path real = std::filesystem::canonical(path, error);
    if (!error) return WriteBesideAndRename(real.string(), text);
  }
  return WriteBesideAndRename(path, text);
}

}  // namespace sightline
