#include "media/open_source.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <utility>

#include "base/ascii_text.h"
#include "base/mutex.h"
#include "media/file_bytes.h"
#include "media/image_codec.h"
#include "media/sources/image_source.h"
#include "media/sources/video_file_source.h"

namespace sightline {
namespace {

struct Registry {
  Mutex mutex;
  std::map<std::string, SourceFactory, std::less<>> factories GUARDED_BY(mutex);
};

Registry& TheRegistry() {
  static Registry& registry = *new Registry;
  return registry;
}

// The scheme of "scheme://..." in lower case (RFC 3986, section 3.1); empty for a path.
std::string SchemeOf(std::string_view url) {
  const size_t end = url.find("://");
  if (end == std::string_view::npos || end == 0) return "";
  const std::string_view scheme = url.substr(0, end);
  if (std::isalpha(static_cast<unsigned char>(scheme[0])) == 0) return "";
  for (const char c : scheme) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '+' && c != '-' && c != '.')
      return "";
  }
  return AsciiLower(scheme);
}

// The path of a file:// URL (RFC 8089): no host or this one, percent-decoded.
absl::StatusOr<std::string> PathOfFileUrl(const std::string& url) {
  std::string_view rest = std::string_view(url).substr(7);
  if (rest.starts_with("localhost/")) rest.remove_prefix(9);
  if (!rest.starts_with("/")) {
    return InvalidArgument("{}: a file URL names a path on this machine: file:///folder/clip.mp4",
                           url);
  }
  std::string path;
  if (!PercentDecode(rest, &path) || rest.find("%00") != std::string_view::npos) {
    return InvalidArgument("{}: a % must be followed by two hexadecimal digits (%25 is %)", url);
  }
  return path;
}

bool IsVideoByName(const std::string& path) {
  const std::string extension = AsciiLower(std::filesystem::path(path).extension().string());
  return extension == ".mjpeg" || extension == ".mjpg" || extension == ".apng";
}

absl::StatusOr<std::unique_ptr<FrameSource>> OpenPath(const SourceOptions& options,
                                                      FrameLedger& ledger,
                                                      const MediaLimits& limits) {
  const std::string& path = options.url;
  if (path.empty())
    return InvalidArgument("the source is empty; give a file, a folder, a glob or a URL");
  std::error_code ignored;
  const bool exists = std::filesystem::exists(path, ignored);
  const bool folder = std::filesystem::is_directory(path, ignored);
  const bool glob = !exists && path.find_first_of("*?[") != std::string::npos;
  if (!folder && !glob) SL_RETURN_IF_ERROR(CheckReadableFile(path));
  if (folder || glob || IsStillPicture(path)) return ImageSource::Create(options, ledger, limits);
  auto video = VideoFileSource::Create(options, ledger, limits);
  // Named like a picture, and neither a picture nor a video: whoever named it meant a picture.
  if (!video.ok() && HasImageExtension(path) &&
      (absl::IsInvalidArgument(video.status()) || absl::IsDataLoss(video.status()))) {
    return DataLoss(
        "{}: not a picture that can be read (JPEG, PNG, WebP, BMP, TIFF, PNM, GIF ...), damaged or "
        "of another kind than its name says; open it in another program, or make it again",
        path);
  }
  return video;
}

}  // namespace

bool IsStillPicture(const std::string& path) {
  if (IsVideoByName(path)) return false;
  std::array<char, 32> start{};
  std::ifstream file(path, std::ios::binary);
  file.read(start.data(), start.size());
  const auto got = static_cast<size_t>(std::max<std::streamsize>(file.gcount(), 0));
  return LooksLikeImage({reinterpret_cast<const uint8_t*>(start.data()), got});
}

std::vector<std::string> LocalFilesOf(const std::string& url) {
  std::string path = url;
  if (const std::string scheme = SchemeOf(url); scheme == "file") {
    const absl::StatusOr<std::string> local = PathOfFileUrl(url);
    if (!local.ok()) return {};
    path = *local;
  } else if (!scheme.empty()) {
    return {};
  }
  return ListPictures(path).value_or(std::vector<std::string>());
}

void RegisterSourceScheme(std::string_view scheme, SourceFactory factory) {
  Registry& registry = TheRegistry();
  const MutexLock lock(registry.mutex);
  registry.factories[AsciiLower(scheme)] = std::move(factory);
}

absl::StatusOr<std::unique_ptr<FrameSource>> OpenSource(const SourceOptions& options,
                                                        FrameLedger& ledger,
                                                        const MediaLimits& limits) {
  const std::string scheme = SchemeOf(options.url);
  if (scheme.empty()) return OpenPath(options, ledger, limits);
  if (scheme == "file") {
    SourceOptions local = options;
    SL_ASSIGN_OR_RETURN(local.url, PathOfFileUrl(options.url));
    return OpenPath(local, ledger, limits);
  }
  SourceFactory factory;
  {
    Registry& registry = TheRegistry();
    const MutexLock lock(registry.mutex);
    const auto found = registry.factories.find(scheme);
    if (found != registry.factories.end()) factory = found->second;
  }
  if (factory) return factory(options, ledger);
  return Unimplemented(
      "{}:// sources cannot be opened yet; give a video file, a picture, a folder of "
      "pictures, a glob or a file:// URL",
      scheme);
}

}  // namespace sightline
