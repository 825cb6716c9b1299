#include "cli/drawn_output.h"

#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include "cli/composition.h"
#include "media/image_codec.h"
#include "media/open_source.h"
#include "observe/annotate.h"
#include "vision/color.h"

namespace sightline::cli {

namespace fs = std::filesystem;

namespace {

// The name without its last extension; something printable for what has none.
std::string StemOf(const std::string& file) {
  fs::path path(file);
  if (!path.has_filename()) path = path.parent_path();  // "folder/"
  const std::string stem = path.stem().string();
  return stem.empty() || stem.find('*') != std::string::npos ? "picture" : stem;
}

}  // namespace

absl::StatusOr<std::unique_ptr<DrawnFolder>> DrawnFolder::Create(
    const std::string& folder, const std::vector<std::string>& inputs, const std::string& model) {
  auto drawn = std::make_unique<DrawnFolder>();
  if (folder.empty()) return drawn;
  std::vector<std::string> files;
  for (const std::string& input : inputs) {
    const std::vector<std::string> some = LocalFilesOf(input);
    files.insert(files.end(), some.begin(), some.end());
  }
  // Only what stands in the folder, by whatever name or link, can be written over.
  std::error_code error;
  std::vector<std::pair<FileKey, std::string>> there;
  for (fs::directory_iterator at(folder, error); !error && at != fs::directory_iterator();
       at.increment(error)) {
    there.emplace_back(FileKey(at->path().string()), at->path().filename().string());
  }
  std::map<std::string, std::string> protected_names;  // and whose they are
  for (size_t i = 0; i <= files.size() && !there.empty(); ++i) {
    const std::string& file = i < files.size() ? files[i] : model;
    const FileKey key(file);
    for (const auto& [one, name] : there) {
      if (key.exists() && one == key) protected_names[name] = file;
    }
  }
  for (const std::string& file : files) {
    if (protected_names.empty()) break;
    const std::string name = StemOf(file) + (IsStillPicture(file) ? ".jpg" : ".mp4");
    const auto found = protected_names.find(name);
    if (found == protected_names.end()) continue;
    return InvalidArgument(
        "what is drawn of {} would be written over {}; nothing was written; choose another folder "
        "with --out",
        file, found->second);
  }
  fs::create_directories(folder, error);
  if (error || !fs::is_directory(folder)) {
    return FailedPrecondition(
        "cannot make the folder {} for the pictures; choose another with --out", folder);
  }
  drawn->folder_ = folder;
  for (const auto& [name, file] : protected_names) drawn->taken_.insert(name);
  return drawn;
}

std::string DrawnFolder::PathFor(const std::string& file, const std::string& extension) {
  const std::string stem = StemOf(file);
  std::string name = stem + extension;
  for (int n = 1; !taken_.insert(name).second; ++n)
    name = fmt::format("{}-{}{}", stem, n, extension);
  return (fs::path(folder_) / name).string();
}

DrawnOutput::DrawnOutput(DrawnFolder* folder, std::string input, const SourceInfo& source)
    : folder_(folder),
      input_(std::move(input)),
      video_(source.container != "image"),
      fps_(source.fps) {}

absl::Status DrawnOutput::Add(const Frame& frame, const Detections& detections) {
  if (!folder_->wanted()) return absl::OkStatus();
  std::vector<uint8_t> bgr;
  SL_RETURN_IF_ERROR(ToBgr(frame.image, &bgr));
  const int width = frame.image.width;
  const int height = frame.image.height;
  AnnotateDetections(detections,
                     {.data = bgr.data(), .width = width, .height = height, .stride = width * 3});
  const ImageView view{.format = PixelFormat::kBgr24,
                       .range = ColorRange::kFull,
                       .width = width,
                       .height = height,
                       .planes = {bgr.data(), nullptr, nullptr},
                       .strides = {width * 3, 0, 0}};
  if (!video_) {
    const std::string& file = frame.meta.picture ? *frame.meta.picture : input_;
    return WriteImage(folder_->PathFor(file, ".jpg"), view);
  }
  if (!writer_) {
    SL_ASSIGN_OR_RETURN(
        writer_, OpenVideo(folder_->PathFor(input_, ".mp4"), width, height, fps_, /*crf=*/23));
  }
  return writer_->Write(view, frame.meta.time.pts_us);
}

absl::Status DrawnOutput::Close() { return writer_ ? writer_->Close() : absl::OkStatus(); }

}  // namespace sightline::cli
