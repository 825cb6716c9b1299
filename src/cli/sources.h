// Which sources this program knows beyond files: live streams and simulated cameras.
#pragma once

#include "base/status.h"
#include "pipeline/config/config.h"
#include "pipeline/supervised_source.h"
#include "types/frame_source.h"

namespace sightline::cli {

// Makes every scheme known to OpenSource(); once, before the first source is opened.
void RegisterSources();

// As EngineFactories::open_live.
absl::StatusOr<ConnectSource> OpenLive(const SourceOptions& options, const LiveConfig& live,
                                       FrameLedger& ledger);

}  // namespace sightline::cli
