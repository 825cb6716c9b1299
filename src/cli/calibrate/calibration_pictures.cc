#include "cli/calibrate/calibration_pictures.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/uuid.h"
#include "base/whole_file.h"
#include "cli/eval_model.h"
#include "evaluate/class_names.h"
#include "evaluate/picture_split.h"

namespace sightline::cli {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostFiles = 200'000;
constexpr uint64_t kMostPictureBytes = uint64_t{256} << 20;

// Every picture of a folder and those below, by path.
absl::StatusOr<evaluate::LabelledPictures> PicturesOf(const std::string& folder) {
  const evaluate::PictureAccess access = PictureFileAccess();
  std::vector<std::string> paths;
  std::error_code error;
  fs::recursive_directory_iterator at(folder, fs::directory_options::skip_permission_denied, error);
  if (error) return NotFound("{}: {}", folder, error.message());
  for (const fs::recursive_directory_iterator end; at != end && !error; at.increment(error)) {
    std::error_code ignored;
    if (!at->is_regular_file(ignored) || !access.is_picture(at->path().string())) continue;
    if (paths.size() == kMostFiles) {
      return ResourceExhausted("{} holds more than {} pictures: give a part of them", folder,
                               kMostFiles);
    }
    paths.push_back(at->path().string());
  }
  if (paths.empty()) return NotFound("{}: no picture is in it", folder);
  std::ranges::sort(paths);
  evaluate::LabelledPictures pictures{.format = ""};
  for (std::string& path : paths) {
    evaluate::LabelledPicture picture;
    picture.id = static_cast<int64_t>(pictures.pictures.size());
    picture.name = fs::path(path).filename().string();
    picture.path = std::move(path);
    pictures.pictures.push_back(std::move(picture));
  }
  return pictures;
}

absl::StatusOr<evaluate::LabelledPictures> Find(const PictureWishes& wishes, bool* labelled) {
  *labelled = false;
  if (wishes.unlabelled) return PicturesOf(wishes.images);
  auto truth = evaluate::ReadLabelledPictures(
      wishes.images, {.format = wishes.format, .split = wishes.split}, PictureFileAccess());
  std::error_code error;
  const bool none = truth.status().code() == absl::StatusCode::kNotFound;
  if (none && wishes.format == "auto" && wishes.split.empty() &&
      fs::is_directory(wishes.images, error)) {
    return PicturesOf(wishes.images);
  }
  if (none) return truth.status();
  if (!truth.ok()) {
    return WithContext(truth.status(), "--images (--unlabelled leaves the labels alone)");
  }
  SL_RETURN_IF_ERROR(evaluate::KeepClasses(wishes.classes, &*truth));
  *labelled = true;
  return truth;
}

absl::StatusOr<Hash128> ContentOf(const evaluate::LabelledPicture& picture) {
  // Decoded, too: what cannot be read shall show itself before the work begins.
  SL_RETURN_IF_ERROR(ReadLabelledPicture(picture).status());
  SL_ASSIGN_OR_RETURN(const std::string bytes, ReadWholeFile(picture.path, kMostPictureBytes));
  return HashString(bytes);
}

evaluate::LabelledPictures Part(const evaluate::LabelledPictures& all,
                                const std::vector<size_t>& positions,
                                const std::vector<size_t>& readable) {
  evaluate::LabelledPictures part{.format = all.format,
                                  .class_names = all.class_names,
                                  .numbered_classes = all.numbered_classes};
  for (const size_t position : positions) part.pictures.push_back(all.pictures[readable[position]]);
  return part;
}

}  // namespace

absl::StatusOr<CalibrationPictures> GatherPictures(
    const PictureWishes& wishes, const std::function<bool()>& stop,
    const std::function<void(size_t, size_t)>& progress) {
  CalibrationPictures gathered;
  SL_ASSIGN_OR_RETURN(const evaluate::LabelledPictures all, Find(wishes, &gathered.labelled));
  std::vector<Hash128> contents;
  std::vector<size_t> readable;
  for (size_t i = 0; i < all.pictures.size(); ++i) {
    if (stop()) return Cancelled("stopped");
    const absl::StatusOr<Hash128> content = ContentOf(all.pictures[i]);
    if (content.ok()) {
      contents.push_back(*content);
      readable.push_back(i);
    } else if (gathered.unreadable++ == 0) {
      gathered.first_unreadable = MessageOf(content.status());
    }
    progress(i + 1, all.pictures.size());
  }
  if (gathered.unreadable * 10 > all.pictures.size()) {
    return DataLoss("{} of {} pictures cannot be read, of which the first: {}", gathered.unreadable,
                    all.pictures.size(), gathered.first_unreadable);
  }
  const evaluate::PictureSplit split =
      evaluate::SplitPictures(contents, wishes.calibration_share, wishes.most, wishes.seed);
  gathered.copies = split.copies;
  gathered.beyond = split.beyond;
  const size_t usable = split.work.size() + split.judge.size();
  if (usable < kLeastPictures || split.work.empty() || split.judge.empty()) {
    return FailedPrecondition(
        "{}: {} different pictures are too few: {} are the least, 500 to 1,000 are wanted, of what "
        "the cameras see",
        wishes.images, usable, kLeastPictures);
  }
  gathered.work = Part(all, split.work, readable);
  gathered.judge = Part(all, split.judge, readable);
  return gathered;
}

}  // namespace sightline::cli
