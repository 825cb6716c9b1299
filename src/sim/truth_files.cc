#include "sim/truth_files.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <set>
#include <string_view>
#include <utility>

#include "base/partial_file.h"
#include "base/whole_file.h"
#include "sim/crossings.h"
#include "sim/renderer.h"

namespace sightline::sim {
namespace {

namespace fs = std::filesystem;

// A text file that grows line by line.
class TextFile {
 public:
  static absl::StatusOr<std::unique_ptr<TextFile>> Open(const std::string& path) {
    SL_ASSIGN_OR_RETURN(std::unique_ptr<PartialFile> file, PartialFile::Open(path));
    return std::unique_ptr<TextFile>(new TextFile(path, std::move(file)));
  }
  std::string& text() { return text_; }
  absl::Status FlushWhenLong() {
    constexpr size_t kLong = 1 << 16;
    return text_.size() < kLong ? absl::OkStatus() : Flush();
  }
  absl::Status Finish() {
    SL_RETURN_IF_ERROR(Flush());
    return file_->Commit();
  }

 private:
  TextFile(std::string path, std::unique_ptr<PartialFile> file)
      : path_(std::move(path)), file_(std::move(file)) {}
  absl::Status Flush() {
    const int error = WriteAll(file_->fd(), text_);
    if (error != 0) return FileError(error, "writing to", path_);
    text_.clear();
    return absl::OkStatus();
  }

  const std::string path_;
  std::unique_ptr<PartialFile> file_;
  std::string text_;
};

int MotClassOf(const TruthObject& object) {
  switch (object.object_class) {
    case TruthClass::kPerson:
      return object.riding ? 2 : 1;
    case TruthClass::kBicycle:
      return 4;
    case TruthClass::kCar:
      return 3;
  }
  return 1;
}

std::string_view NameOf(TruthClass object_class) {
  constexpr std::string_view kNames[] = {"person", "bicycle", "car"};
  return kNames[static_cast<size_t>(object_class)];
}

// A name may hold anything; what would break a line of the file is left out.
std::string OneField(std::string_view text) {
  std::string field(text);
  for (char& c : field) {
    if (c == ',' || c == '"' || static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  return field;
}

void AppendBoxes(int64_t frame, const Truth& truth, std::string* text) {
  for (const TruthObject& object : truth.objects) {
    const Box& b = object.box_px;
    fmt::format_to(std::back_inserter(*text), "{},{},{:.2f},{:.2f},{:.2f},{:.2f},1,{},{:.4f}\n",
                   frame, object.id, b.x1, b.y1, b.width(), b.height(), MotClassOf(object),
                   object.visible);
  }
}

}  // namespace

absl::StatusOr<TruthSummary> WriteTruthFiles(const SimOptions& sim,
                                             const TruthFileOptions& options) {
  const fs::path folder(options.folder);
  std::vector<CrossingFinder> finders;
  TruthSummary summary;
  for (const NamedLine& line : options.lines) {
    if (line.a_px == line.b_px) {
      return InvalidArgument("line {}: both ends are the same point", line.name);
    }
    finders.emplace_back(line.a_px, line.b_px);
    summary.lines.push_back({.name = line.name});
  }
  SL_RETURN_IF_ERROR(MakeFolder((folder / "gt").string()));
  SL_ASSIGN_OR_RETURN(const std::unique_ptr<TextFile> boxes,
                      TextFile::Open((folder / "gt" / "gt.txt").string()));
  SL_ASSIGN_OR_RETURN(const std::unique_ptr<TextFile> crossings,
                      TextFile::Open((folder / "crossings.csv").string()));
  crossings->text() += "line,frame,time_s,id,class,direction\n";

  Renderer renderer(sim, sim.width, sim.height, /*pixels=*/false);
  Truth truth;
  std::set<uint64_t> ids;  // of this frame and of the last
  std::set<uint64_t> before;
  std::vector<Crossing> found;
  const int64_t frames = sim.FrameAtOrAfter(options.length_us);
  for (int64_t k = 0; k < frames; ++k) {
    if (options.stop && options.stop()) return Cancelled("stopped at frame {} of {}", k, frames);
    const int64_t time_us = sim.FrameTimeUs(k);
    renderer.Draw(time_us, nullptr, &truth);
    AppendBoxes(k + 1, truth, &boxes->text());
    summary.boxes += truth.objects.size();
    ids.clear();
    for (const TruthObject& object : truth.objects) {
      ids.insert(object.id);
      summary.objects += before.count(object.id) == 0 ? 1 : 0;
    }
    ids.swap(before);
    for (size_t i = 0; i < finders.size(); ++i) {
      found.clear();
      finders[i].Watch(k + 1, truth, &found);
      for (const Crossing& crossing : found) {
        ++(crossing.forward ? summary.lines[i].forward : summary.lines[i].backward);
        fmt::format_to(std::back_inserter(crossings->text()), "{},{},{:.6f},{},{},{}\n",
                       OneField(options.lines[i].name), crossing.frame,
                       static_cast<double>(time_us) * 1e-6, crossing.id,
                       NameOf(crossing.object_class), crossing.forward ? "forward" : "backward");
      }
    }
    SL_RETURN_IF_ERROR(boxes->FlushWhenLong());
    SL_RETURN_IF_ERROR(crossings->FlushWhenLong());
  }
  summary.frames = frames;
  SL_RETURN_IF_ERROR(boxes->Finish());
  SL_RETURN_IF_ERROR(crossings->Finish());
  SL_RETURN_IF_ERROR(WriteWholeFile(
      (folder / "seqinfo.ini").string(),
      fmt::format("[Sequence]\nname={}\nimDir=img1\nframeRate={}\nseqLength={}\nimWidth={}\n"
                  "imHeight={}\nimExt=.jpg\n",
                  OneField(options.name), sim.fps, frames, sim.width, sim.height)));
  return summary;
}

}  // namespace sightline::sim
