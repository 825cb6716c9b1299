// The report of a run: one PNG per camera, drawn when the sink is closed, that a non-expert
// understands at a glance. What is gathered meanwhile is bounded (report_data.h), however long the
// run.
//
// With several cameras their ids go into the file names: report.png becomes report-door.png.
// Errors: those of the encoder and of WriteWholeFile (base/whole_file.h), from Close(); a frame
// whose pixels cannot be read is not shown, and warned about once. Threads: one at a time
// (ResultSink). Cost: about 30 ns per object and frame; 150 ms per camera at the end.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/finished_files.h"
#include "base/output_wait.h"
#include "base/status.h"
#include "base/time.h"
#include "observe/report_data.h"
#include "types/result_sink.h"

namespace sightline {

// A picture (packed or strided kBgr24) to the bytes of a PNG file.
using PngEncoder = std::function<absl::StatusOr<std::vector<uint8_t>>(const ImageView& bgr)>;

struct ReportCamera {
  std::string camera_id;
  std::string title;   // empty: the camera's id
  std::string source;  // clip or address, without secrets
  std::string model;
  RulesForSize rules;
};

struct ReportSinkOptions {
  std::string path;  // "out/report.png"
  std::vector<ReportCamera> cameras;
  PngEncoder encode_png;
  std::shared_ptr<FinishedFiles> finished = {};  // of the run: not replaced, but set aside
  std::shared_ptr<OutputWait> wait = {};         // null: a full disk is an error at once
  const Clock* clock = &Clock::Real();           // for the speed that the report states
};

// The file of one camera's report: `report` itself when it is the only one, else with its id.
std::string ReportPathOf(const std::string& report, const std::string& camera_id, size_t cameras);

class ReportSink final : public ResultSink {
 public:
  // InvalidArgument without path, cameras or encoder, or when a camera is there twice.
  static absl::StatusOr<std::unique_ptr<ReportSink>> Create(ReportSinkOptions options);

  std::string_view name() const override { return "report"; }
  bool wants_pixels() const override { return true; }
  absl::Status Write(const FrameResult& result) override;
  absl::Status WriteTrack(const TrackSummary& track) override;
  absl::Status WriteLedger(const CameraInfo& camera, const FrameCounts& counts) override;
  absl::Status Close() override;
  absl::Status Abandon() override;  // draws nothing

  // The file that a camera's report goes to.
  std::string PathOf(const std::string& camera_id) const;

 private:
  struct Camera {
    ReportCamera about;
    ReportData data;
    std::optional<uint32_t> rules_version = {};  // that its data is counted by
  };
  explicit ReportSink(ReportSinkOptions options);
  Camera* Find(const CameraInfo* camera);
  void KeepPicture(const FrameResult& result, ReportData& data);
  absl::Status WriteReport(const Camera& camera, double wall_s);

  ReportSinkOptions options_;
  std::map<std::string, Camera, std::less<>> cameras_;
  std::vector<uint8_t> bgr_;
  int64_t started_us_ = 0;
  bool warned_ = false;
  bool closed_ = false;
};

}  // namespace sightline
