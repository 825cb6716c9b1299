// Which sources this program knows beyond files: live streams and simulated cameras.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/status.h"
#include "pipeline/config/config.h"
#include "pipeline/config/parse.h"
#include "pipeline/supervised_source.h"
#include "types/frame_source.h"

namespace sightline::cli {

// Makes every scheme known to OpenSource(); once, before the first source is opened.
void RegisterSources();

// As EngineFactories::open_live. Whether an http:// address is live is asked of its server, for at
// most 3 s; one that does not answer is taken for a camera that is off.
absl::StatusOr<ConnectSource> OpenLive(const SourceOptions& options, const LiveConfig& live,
                                       FrameLedger& ledger);

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
