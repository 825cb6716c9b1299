// Which sources this program knows beyond files: live streams and simulated cameras.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "pipeline/config/config.h"
#include "pipeline/config/parse.h"
#include "pipeline/supervised_source.h"
#include "types/frame_source.h"

namespace sightline::cli {

// Makes every scheme known to OpenSource(); once, before the first source is opened.
void RegisterSources();

// What HTTP servers say of the addresses that are opened next: a recording, or live. Each is given at
// most 3 s; one that does not answer is taken for a camera that is off.
// Threads: one at a time.
class HttpLook {
 public:
  // Asks for all cameras at once, which takes as long as the slowest answer; beyond kAtOnce cameras that
  // are off in turns. What was learned before is forgotten.
  void Ask(std::span<const CameraConfig* const> cameras);
  // Takes what was learned of a camera's address; without it, asks now.
  bool IsRecording(const SourceOptions& options, const LiveConfig& live);

  static constexpr size_t kAtOnce = 64;  // chosen: threads that mostly wait, a few descriptors each

 private:
  std::map<std::pair<std::string, std::string>, bool> recordings_;  // by camera and address
};

// As EngineFactories::open_live.
absl::StatusOr<ConnectSource> OpenLive(const SourceOptions& options, const LiveConfig& live,
                                       FrameLedger& ledger, HttpLook& look);

// As EngineFactories::open_source.
absl::StatusOr<std::unique_ptr<FrameSource>> OpenRecording(const SourceOptions& options,
                                                           const LiveConfig& live,
                                                           FrameLedger& ledger);

// Anything, for reading it once: a live camera that goes away is an error. `give_up` ends what waits.
absl::StatusOr<std::unique_ptr<FrameSource>> OpenOnce(const SourceOptions& options,
                                                      FrameLedger& ledger,
                                                      std::function<bool()> give_up);

// What is wrong with the cameras' addresses, and with their models for such sources. Connects to
// nothing, reads no file.
std::vector<ConfigError> CheckSources(const Config& config);

}  // namespace sightline::cli
