// What connecting to a camera costs, phase by phase, and when its first frames come.
//
//   build/bin/live_connect URL [TIMES [FRAMES]]
//
// Connects so often, one after the other, and prints for each when every frame came (ms since the
// beginning of connecting, the frame's stream time in brackets), and what the steps took (in the log).
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/log.h"
#include "base/time.h"
#include "media/sources/live_stream.h"

int main(int argc, char** argv) {
  using namespace sightline;
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s URL [TIMES [FRAMES]]\n", argv[0]);
    return 2;
  }
  const int times = argc > 2 ? std::atoi(argv[2]) : 5;
  const int frames = argc > 3 ? std::atoi(argv[3]) : 15;
  SetUpLog("debug");
  for (int i = 0; i < times; ++i) {
    FrameLedger ledger;
    SourceOptions options;
    options.camera = std::make_shared<CameraInfo>(CameraInfo{.id = "camera", .source = "camera"});
    options.url = argv[1];
    const auto stream = LiveStream::Create(options, ledger);
    const int64_t begun_us = Clock::Real().NowMonotonicUs();
    absl::Status status = stream.ok() ? (*stream)->Connect() : stream.status();
    for (int n = 0; status.ok() && n < frames; ++n) {
      const auto frame = (*stream)->Next();
      status = frame.status();
      if (!frame.ok() || !frame->has_value()) break;
      const double ms = static_cast<double>(Clock::Real().NowMonotonicUs() - begun_us) * 1e-3;
      std::printf("%.0f (%lld) ", ms, static_cast<long long>((*frame)->meta.time.pts_us / 1000));
    }
    std::printf("\n");
    std::fflush(stdout);
    if (!status.ok()) {
      std::fprintf(stderr, "%.*s\n", static_cast<int>(MessageOf(status).size()),
                   MessageOf(status).data());
      return 1;
    }
  }
  return 0;
}
