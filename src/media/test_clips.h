// For this module's tests: temporary folders, clips made with the ffmpeg program, and what is in
// them.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "media/sources/video_file_source.h"

namespace sightline::test {

class TempDir {
 public:
  TempDir() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "sightline-media-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline bool HaveFfmpeg() {
  static const bool have = std::system("ffmpeg -version >/dev/null 2>&1") == 0;
  return have;
}
#define SKIP_WITHOUT_FFMPEG() \
  if (!::sightline::test::HaveFfmpeg()) GTEST_SKIP() << "the ffmpeg program is not installed"

inline bool Ffmpeg(const std::string& arguments) {
  return std::system(("ffmpeg -nostdin -v error -y " + arguments).c_str()) == 0;
}

// A moving test picture of `frames` frames at 25 a second.
inline std::string TestPicture(const std::string& size, int frames, const std::string& more = "") {
  return "-f lavfi -i testsrc2=size=" + size + ":rate=25" + more + " -frames:v " +
         std::to_string(frames) + " ";
}

inline std::string FirstLineOf(const std::string& command) {
  std::array<char, 4096> line{};
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return "";
  if (std::fgets(line.data(), line.size(), pipe) == nullptr) line[0] = '\0';
  ::pclose(pipe);
  return line.data();
}

inline int CountFramesByFfprobe(const std::string& path) {
  return std::atoi(FirstLineOf("ffprobe -v quiet -select_streams v:0 -count_frames -show_entries "
                               "stream=nb_read_frames -of csv=p=0 '" +
                               path + "'")
                       .c_str());
}

inline std::vector<uint8_t> Bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline void Write(const std::string& path, const std::vector<uint8_t>& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
}

// The picture's samples without padding, plane after plane, as ffmpeg's rawvideo has them.
inline std::vector<uint8_t> Packed(const ImageView& image) {
  const int half_w = (image.width + 1) / 2;
  const int half_h = (image.height + 1) / 2;
  std::array<std::pair<int, int>, 3> planes{};  // bytes a row, rows
  switch (image.format) {
    case PixelFormat::kI420:
      planes = {{{image.width, image.height}, {half_w, half_h}, {half_w, half_h}}};
      break;
    case PixelFormat::kI422:
      planes = {{{image.width, image.height}, {half_w, image.height}, {half_w, image.height}}};
      break;
    case PixelFormat::kI444:
      planes = {
          {{image.width, image.height}, {image.width, image.height}, {image.width, image.height}}};
      break;
    case PixelFormat::kNv12:
      planes = {{{image.width, image.height}, {2 * half_w, half_h}}};
      break;
    case PixelFormat::kBgr24:
    case PixelFormat::kRgb24:
      planes = {{{image.width * 3, image.height}}};
      break;
    case PixelFormat::kGray8:
      planes = {{{image.width, image.height}}};
      break;
  }
  std::vector<uint8_t> packed;
  for (int i = 0; i < 3; ++i) {
    for (int y = 0; y < planes[i].second; ++y) {
      const uint8_t* row = image.planes[i] + static_cast<int64_t>(y) * image.strides[i];
      packed.insert(packed.end(), row, row + planes[i].first);
    }
  }
  return packed;
}

struct SeenFrame {
  FrameMeta meta;
  PixelFormat format{};
  ColorMatrix matrix{};
  ColorRange range{};
  Hash128 pixels;
};

struct Seen {
  absl::Status status;
  SourceInfo info;
  std::vector<SeenFrame> frames;
  FrameCounts counts;
  uint64_t spared = 0;
};

inline SourceOptions OptionsFor(const std::string& url) {
  SourceOptions options;
  options.camera = std::make_shared<CameraInfo>(CameraInfo{.id = "test", .source = url});
  options.url = url;
  return options;
}

// Reads a source to its end. Every frame counts as processed, so that the ledger's law can be
// checked.
inline void Drain(FrameSource& source, FrameLedger& ledger, Seen* seen) {
  seen->info = source.info();
  for (;;) {
    absl::StatusOr<std::optional<Frame>> next = source.Next();
    if (!next.ok()) seen->status = next.status();
    if (!next.ok() || !next->has_value()) break;
    const Frame& frame = **next;
    seen->frames.push_back({frame.meta, frame.image.format, frame.image.matrix, frame.image.range,
                            HashBytes(Packed(frame.image))});
    EXPECT_EQ(frame.meta.width, frame.image.width);
    EXPECT_EQ(frame.meta.height, frame.image.height);
    ledger.CountProcessed();
  }
  seen->counts = ledger.Snapshot();
}

inline Seen ReadVideo(const SourceOptions& options, const VideoFileSource::Tuning& tuning = {}) {
  Seen seen;
  FrameLedger ledger;
  auto source = VideoFileSource::Create(options, ledger, MediaLimits{}, tuning);
  seen.status = source.status();
  if (!source.ok()) return seen;
  Drain(**source, ledger, &seen);
  seen.spared = (*source)->packets_spared();
  return seen;
}

inline Seen ReadVideo(const std::string& path) { return ReadVideo(OptionsFor(path)); }

// The laws that hold for whatever was read: every frame accounted for, numbers and times rising.
inline void ExpectLaws(const Seen& seen) {
  EXPECT_EQ(seen.counts.in_flight(), 0);
  EXPECT_EQ(seen.counts.processed, seen.frames.size());
  for (size_t i = 0; i < seen.frames.size(); ++i) {
    const FrameMeta& now = seen.frames[i].meta;
    EXPECT_LT(now.ordinal, seen.counts.frames_in);
    if (i == 0) continue;
    const FrameMeta& before = seen.frames[i - 1].meta;
    EXPECT_LT(before.ordinal, now.ordinal);
    EXPECT_LT(before.time.capture_utc_us, now.time.capture_utc_us);
    EXPECT_LE(before.time.epoch, now.time.epoch);
    if (before.time.epoch == now.time.epoch) {
      EXPECT_LT(before.time.pts_us, now.time.pts_us);
    }
  }
}

// Hashes of the frames that the ffmpeg program makes of a clip, in the given pixel format.
inline std::vector<Hash128> FramesByFfmpeg(const std::string& path, const std::string& pixel_format,
                                           size_t frame_bytes, const std::string& scratch) {
  std::vector<Hash128> hashes;
  if (!Ffmpeg("-i '" + path + "' -an -vsync passthrough -f rawvideo -pix_fmt " + pixel_format +
              " '" + scratch + "'")) {
    return hashes;
  }
  const std::vector<uint8_t> raw = Bytes(scratch);
  for (size_t at = 0; at + frame_bytes <= raw.size(); at += frame_bytes) {
    hashes.push_back(HashBytes({raw.data() + at, frame_bytes}));
  }
  return hashes;
}

}  // namespace sightline::test
