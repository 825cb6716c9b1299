#include "cli/sources.h"

#include <memory>
#include <utility>

#include "media/open_source.h"
#include "media/sources/live_stream.h"
#include "sim/sim_source.h"

namespace sightline::cli {
namespace {

bool IsSimulated(const std::string& url) { return url.starts_with("sim://"); }

LiveOptions LiveOptionsOf(const LiveConfig& config) {
  LiveOptions live;
  live.rtsp_transport =
      config.transport == LiveTransport::kUdp ? RtspTransport::kUdp : RtspTransport::kTcp;
  live.tls.verify = config.verify_tls;
  live.tls.ca_file = config.ca_file.value_or("");
  live.tls.certificate_file = config.certificate_file.value_or("");
  live.tls.key_file = config.key_file.value_or("");
  live.allow_basic_without_tls = config.allow_basic;
  live.hardware = config.hardware;
  live.connect_timeout_us = config.connect_timeout_us;
  live.read_timeout_us = 0;  // whoever supervises the stream asks for signs of life
  return live;
}

absl::StatusOr<std::unique_ptr<LiveStream>> Connected(const SourceOptions& options,
                                                      const LiveOptions& live, FrameLedger& ledger) {
  SL_ASSIGN_OR_RETURN(std::unique_ptr<LiveStream> stream,
                      LiveStream::Create(options, ledger, {}, live));
  SL_RETURN_IF_ERROR(stream->Connect());
  return stream;
}

absl::StatusOr<ConnectSource> OpenSimulated(const SourceOptions& options, FrameLedger& ledger) {
  SL_ASSIGN_OR_RETURN(sim::SimOptions parsed, sim::ParseSimUrl(options.url));
  if (!parsed.paced) return ConnectSource();  // as fast as it is read: a recording
  const auto camera = std::make_shared<sim::SimCamera>(std::move(parsed));
  return ConnectSource([options, &ledger, camera](const ConnectRequest& request)
                           -> absl::StatusOr<std::unique_ptr<FrameSource>> {
    return sim::SimSource::Create(options, ledger, {.give_up = request.give_up, .camera = camera});
  });
}

}  // namespace

void RegisterSources() {
  RegisterSourceScheme("sim", [](const SourceOptions& options, FrameLedger& ledger) {
    return sim::SimSource::Create(options, ledger);
  });
}

absl::StatusOr<ConnectSource> OpenLive(const SourceOptions& options, const LiveConfig& config,
                                       FrameLedger& ledger) {
  if (IsSimulated(options.url)) return OpenSimulated(options, ledger);
  if (!IsLiveAddress(options.url)) return ConnectSource();
  const LiveOptions live = LiveOptionsOf(config);
  SL_RETURN_IF_ERROR(LiveStream::Create(options, ledger, {}, live).status());
  return ConnectSource([options, &ledger, live](const ConnectRequest& request)
                           -> absl::StatusOr<std::unique_ptr<FrameSource>> {
    LiveOptions now = live;
    now.give_up = request.give_up;
    now.last_capture_utc_us = request.last_capture_utc_us;
    return Connected(options, now, ledger);
  });
}

}  // namespace sightline::cli
