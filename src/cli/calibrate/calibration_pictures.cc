#include "cli/calibrate/calibration_pictures.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <string_view>
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

// What can be read of the pictures, and its contents.
struct Readable {
  evaluate::LabelledPictures all;
  std::vector<size_t> positions;  // in `all`
  std::vector<Hash128> contents;  // of each position
};

absl::StatusOr<Readable> ReadableOf(evaluate::LabelledPictures all,
                                    const std::function<bool()>& stop,
                                    const std::function<void(size_t, size_t)>& progress,
                                    CalibrationPictures* gathered) {
  Readable readable{.all = std::move(all)};
  const size_t count = readable.all.pictures.size();
  size_t unreadable = 0;
  std::string first;  // of these; `gathered` keeps the first of all folders
  for (size_t i = 0; i < count; ++i) {
    if (stop()) return Cancelled("stopped");
    const absl::StatusOr<Hash128> content = ContentOf(readable.all.pictures[i]);
    if (content.ok()) {
      readable.contents.push_back(*content);
      readable.positions.push_back(i);
    } else {
      ++unreadable;
      if (unreadable == 1) first = MessageOf(content.status());
      if (gathered->unreadable++ == 0) gathered->first_unreadable = first;
    }
    progress(i + 1, count);
  }
  if (unreadable * 10 > count) {
    return DataLoss("{} of {} pictures cannot be read, of which the first: {}", unreadable, count,
                    first);
  }
  return readable;
}

evaluate::LabelledPictures Part(const Readable& readable, const std::vector<size_t>& chosen) {
  evaluate::LabelledPictures part{.format = readable.all.format,
                                  .class_names = readable.all.class_names,
                                  .numbered_classes = readable.all.numbered_classes};
  for (const size_t i : chosen) {
    part.pictures.push_back(readable.all.pictures[readable.positions[i]]);
  }
  return part;
}

absl::Status TooFew(const std::string& folder, size_t usable, std::string_view besides = "") {
  return FailedPrecondition(
      "{}: {} different pictures{} are too few: {} are the least, 500 to 1,000 are wanted, of what "
      "the cameras see",
      folder, usable, besides, kLeastPictures);
}

// Leaves out what has the bytes of a picture that judges.
void LeaveOutThose(const std::vector<Hash128>& judging, Readable* readable, size_t* copies) {
  const std::set<Hash128> taken(judging.begin(), judging.end());
  size_t kept = 0;
  for (size_t i = 0; i < readable->contents.size(); ++i) {
    if (taken.contains(readable->contents[i])) {
      ++*copies;
      continue;
    }
    readable->contents[kept] = readable->contents[i];
    readable->positions[kept++] = readable->positions[i];
  }
  readable->contents.resize(kept);
  readable->positions.resize(kept);
}

// All of `images` judge, and others calibrate.
absl::Status GatherApart(const PictureWishes& wishes, const Readable& judging,
                         const std::function<bool()>& stop,
                         const std::function<void(size_t, size_t)>& progress,
                         CalibrationPictures* gathered) {
  const evaluate::PictureSplit judge =
      evaluate::SplitPictures(judging.contents, 0, wishes.most, wishes.seed);
  if (judge.judge.size() < kLeastPictures) return TooFew(wishes.images, judge.judge.size());
  SL_ASSIGN_OR_RETURN(evaluate::LabelledPictures all, PicturesOf(wishes.calibration_images));
  SL_ASSIGN_OR_RETURN(Readable working, ReadableOf(std::move(all), stop, progress, gathered));
  // Of those beyond the most, too: a picture of one folder never works for the other.
  LeaveOutThose(judging.contents, &working, &gathered->copies);
  const evaluate::PictureSplit work =
      evaluate::SplitPictures(working.contents, 1, wishes.most, wishes.seed);
  if (work.work.size() < kLeastPictures) {
    return TooFew(wishes.calibration_images, work.work.size(), ", without those that judge,");
  }
  gathered->copies += judge.copies + work.copies;
  gathered->beyond = judge.beyond + work.beyond;
  gathered->work = Part(working, work.work);
  gathered->judge = Part(judging, judge.judge);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CalibrationPictures> GatherPictures(
    const PictureWishes& wishes, const std::function<bool()>& stop,
    const std::function<void(size_t, size_t)>& progress) {
  CalibrationPictures gathered;
  SL_ASSIGN_OR_RETURN(evaluate::LabelledPictures all, Find(wishes, &gathered.labelled));
  SL_ASSIGN_OR_RETURN(const Readable readable,
                      ReadableOf(std::move(all), stop, progress, &gathered));
  if (!wishes.calibration_images.empty()) {
    SL_RETURN_IF_ERROR(GatherApart(wishes, readable, stop, progress, &gathered));
    return gathered;
  }
  const evaluate::PictureSplit split = evaluate::SplitPictures(
      readable.contents, wishes.calibration_share, wishes.most, wishes.seed);
  gathered.copies = split.copies;
  gathered.beyond = split.beyond;
  const size_t usable = split.work.size() + split.judge.size();
  if (usable < kLeastPictures || split.work.empty() || split.judge.empty()) {
    return TooFew(wishes.images, usable);
  }
  gathered.work_labelled = gathered.labelled;
  gathered.work = Part(readable, split.work);
  gathered.judge = Part(readable, split.judge);
  return gathered;
}

}  // namespace sightline::cli
