#include "media/sources/image_source.h"

#include <glob.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/object_pool.h"
#include "media/file_bytes.h"
#include "media/image_codec.h"
#include "media/sources/frame_selector.h"

namespace sightline {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

bool IsFolder(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_directory(path, ignored);
}
bool IsFile(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored);
}

absl::StatusOr<std::vector<std::string>> ListFolder(const std::string& path) {
  std::error_code error;
  std::vector<std::string> files;
  std::filesystem::directory_iterator entry(path, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::string file = entry->path().string();
    if (HasImageExtension(file) && IsFile(file)) files.push_back(file);
  }
  if (error) return Unavailable("{}: the folder cannot be read: {}", path, error.message());
  if (files.empty()) {
    return NotFound(
        "{}: no pictures in this folder (.jpg .png .webp .bmp .tif ...); folders inside it "
        "are not entered, and videos are given one by one",
        path);
  }
  return files;
}

absl::StatusOr<std::vector<std::string>> ListGlob(const std::string& pattern) {
  glob_t matches{};
  const int code = ::glob(pattern.c_str(), GLOB_NOSORT, nullptr, &matches);
  std::vector<std::string> files;
  size_t others = 0;
  for (size_t i = 0; code == 0 && i < matches.gl_pathc; ++i) {
    const std::string file = matches.gl_pathv[i];
    if (HasImageExtension(file) && IsFile(file)) {
      files.push_back(file);
    } else {
      ++others;
    }
  }
  ::globfree(&matches);
  if (code == GLOB_NOSPACE) return ResourceExhausted("{}: too many files match", pattern);
  if (!files.empty()) return files;
  if (others > 0) {
    return InvalidArgument(
        "{}: matches {} files, none of them a picture by its name; give videos one by "
        "one",
        pattern, others);
  }
  return NotFound("{}: nothing matches; check the path", pattern);
}

struct ImageMemory {
  DecodedImage image;
};

}  // namespace

bool NaturallyBefore(const std::string& a, const std::string& b) {
  size_t i = 0;
  size_t j = 0;
  while (i < a.size() && j < b.size()) {
    if (!IsDigit(a[i]) || !IsDigit(b[j])) {
      if (a[i] != b[j]) {
        return static_cast<unsigned char>(a[i]) < static_cast<unsigned char>(b[j]);
      }
      ++i;
      ++j;
      continue;
    }
    // Two numbers: without leading zeros the longer one is the greater.
    while (i < a.size() && a[i] == '0') ++i;
    while (j < b.size() && b[j] == '0') ++j;
    size_t i_end = i;
    size_t j_end = j;
    while (i_end < a.size() && IsDigit(a[i_end])) ++i_end;
    while (j_end < b.size() && IsDigit(b[j_end])) ++j_end;
    if (i_end - i != j_end - j) return i_end - i < j_end - j;
    const int order = a.compare(i, i_end - i, b, j, j_end - j);
    if (order != 0) return order < 0;
    i = i_end;
    j = j_end;
  }
  if (a.size() - i != b.size() - j) return a.size() - i < b.size() - j;
  return a < b;  // "01" and "1"
}

absl::StatusOr<std::vector<std::string>> ListPictures(const std::string& url) {
  std::vector<std::string> files;
  if (IsFile(url)) {
    files = {url};
  } else if (IsFolder(url)) {
    SL_ASSIGN_OR_RETURN(files, ListFolder(url));
  } else if (url.find_first_of("*?[") != std::string::npos) {
    SL_ASSIGN_OR_RETURN(files, ListGlob(url));
  } else {
    SL_RETURN_IF_ERROR(CheckReadableFile(url));
  }
  std::sort(files.begin(), files.end(), NaturallyBefore);
  return files;
}

class ImageSource::Impl {
 public:
  Impl(const SourceOptions& options, FrameLedger& ledger, const MediaLimits& limits, double fps)
      : options_(options),
        ledger_(ledger),
        limits_(limits),
        period_us_(1e6 / (fps > 0 && std::isfinite(fps) ? fps : kDefaultFps)),
        selector_(options.selection) {}

  absl::Status Open() {
    SL_ASSIGN_OR_RETURN(std::vector<std::string> found, ListPictures(options_.url));
    is_many_ = found.size() != 1 || found[0] != options_.url;
    list_ = std::make_shared<const std::vector<std::string>>(std::move(found));
    info_.container = "image";
    info_.fps = 1e6 / period_us_;
    info_.frames_estimate = static_cast<int64_t>(files().size());
    info_.duration_us = std::llround(period_us_ * static_cast<double>(files().size()));
    info_.clock = options_.start_utc_us ? ClockSource::kConfigured : ClockSource::kEpoch;
    if (files().size() == 1) return OpenOnly();
    Fingerprint();
    DescribeFirst();
    return absl::OkStatus();
  }

  absl::StatusOr<std::optional<Frame>> Next() {
    for (; next_ < files().size(); ++next_) {
      if (cancelled_.load(std::memory_order_relaxed)) {
        return Cancelled("{}: cancelled", options_.url);
      }
      const FrameTime time = TimeOf(next_);
      ledger_.CountIn();
      if (const std::optional<SkipReason> reason = selector_.Consider(next_, time)) {
        ledger_.CountSkipped(*reason);
        continue;
      }
      std::shared_ptr<ImageMemory> memory = std::move(first_);
      if (!memory) {
        memory = pool_.Acquire();
        const absl::Status status = Decode(files()[next_], &memory->image);
        if (!status.ok()) {
          ledger_.CountDropped(DropReason::kDecodeError);
          LogBad(status);
          continue;
        }
      }
      Frame frame;
      frame.image = memory->image.view();
      frame.meta = {.camera = options_.camera,
                    .ordinal = next_,
                    .time = time,
                    .width = frame.image.width,
                    .height = frame.image.height,
                    // Shares the list, so that nothing is allocated.
                    .picture = is_many_ ? std::shared_ptr<const std::string>(list_, &files()[next_])
                                        : nullptr};
      frame.pixels = std::move(memory);
      ++next_;
      return std::optional<Frame>(std::move(frame));
    }
    return std::optional<Frame>();
  }

  void Cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  const SourceInfo& info() const { return info_; }

 private:
  const std::vector<std::string>& files() const { return *list_; }

  absl::Status Decode(const std::string& path, DecodedImage* image) {
    SL_RETURN_IF_ERROR(ReadFileBytes(path, limits_.max_image_file_bytes, &bytes_));
    return WithContext(DecodeImageInto(bytes_, limits_, image), path);
  }

  // The only picture is decoded at once, so that its error is the source's.
  absl::Status OpenOnly() {
    first_ = pool_.Acquire();
    SL_RETURN_IF_ERROR(Decode(files()[0], &first_->image));
    SL_ASSIGN_OR_RETURN(const ImageHeader header, ReadImageHeader(bytes_, limits_));
    info_.codec = header.format;
    info_.width = first_->image.width;
    info_.height = first_->image.height;
    info_.fingerprint = HashBytes(bytes_);
    return absl::OkStatus();
  }

  // All names and sizes, and the content of some: reading ten million pictures twice would cost more
  // than it tells, but cameras that store under the same names and uncompressed must not be taken
  // for the same recording.
  void Fingerprint() {
    constexpr size_t kLookedInto = 64;
    const size_t step = std::max<size_t>(files().size() / kLookedInto, 1);
    size_t index = 0;
    Hash128 hash = FieldHasher().Add(files().size()).Finish();
    for (const std::string& file : files()) {
      std::error_code ignored;
      const std::uintmax_t size = std::filesystem::file_size(file, ignored);
      const std::string name = std::filesystem::path(file).filename().string();
      hash = FieldHasher().Add(hash).Add(name).Add(size).Finish();
      if (index++ % step != 0) continue;
      // A file that cannot be read counts as such when its turn comes.
      if (const auto content = FingerprintFile(file); content.ok()) {
        hash = FieldHasher().Add(hash).Add(*content).Finish();
      }
    }
    info_.fingerprint = hash;
  }

  // What the first readable picture is like; looks at a few only.
  void DescribeFirst() {
    constexpr size_t kTries = 8;
    for (size_t i = 0; i < std::min(files().size(), kTries); ++i) {
      if (!ReadFileBytes(files()[i], limits_.max_image_file_bytes, &bytes_).ok()) continue;
      const absl::StatusOr<ImageHeader> header = ReadImageHeader(bytes_, limits_);
      if (!header.ok()) continue;
      info_.codec = header->format;
      info_.width = header->width;
      info_.height = header->height;
      return;
    }
  }

  FrameTime TimeOf(size_t index) const {
    const int64_t pts_us = std::llround(period_us_ * static_cast<double>(index));
    return {.pts_us = pts_us,
            .epoch = 0,
            .capture_utc_us = options_.start_utc_us.value_or(0) + pts_us,
            .clock = info_.clock};
  }

  void LogBad(const absl::Status& status) {
    constexpr int kNamed = 20;  // chosen: a folder of rubbish must not flood the log
    if (++bad_ <= kNamed) Log().warn("{}; left out", MessageOf(status));
    if (bad_ == kNamed) Log().warn("{}: further bad pictures are only counted", options_.url);
  }

  const SourceOptions options_;
  FrameLedger& ledger_;
  const MediaLimits limits_;
  const double period_us_;
  FrameSelector selector_;
  std::atomic<bool> cancelled_{false};
  SourceInfo info_;
  std::shared_ptr<const std::vector<std::string>> list_;
  bool is_many_ = false;  // a folder or a glob
  size_t next_ = 0;
  int bad_ = 0;
  std::vector<uint8_t> bytes_;
  ObjectPool<ImageMemory> pool_;
  std::shared_ptr<ImageMemory> first_;
};

ImageSource::ImageSource(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ImageSource::~ImageSource() = default;

absl::StatusOr<std::unique_ptr<ImageSource>> ImageSource::Create(const SourceOptions& options,
                                                                 FrameLedger& ledger,
                                                                 const MediaLimits& limits,
                                                                 double fps) {
  auto impl = std::make_unique<Impl>(options, ledger, limits, fps);
  SL_RETURN_IF_ERROR(impl->Open());
  return std::unique_ptr<ImageSource>(new ImageSource(std::move(impl)));
}

const SourceInfo& ImageSource::info() const { return impl_->info(); }
absl::StatusOr<std::optional<Frame>> ImageSource::Next() { return impl_->Next(); }
void ImageSource::Cancel() { impl_->Cancel(); }

}  // namespace sightline
