#include "sim/rtsp/load_rtsp_server.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "base/allocation_scope.h"

namespace sightline::sim {
namespace {

namespace fs = std::filesystem;

constexpr char kFile[] = "libsightline_rtsp_server.so";
constexpr char kAdvice[] =
    "it needs GStreamer's RTSP server and its plugins (Debian: libgstrtspserver-1.0-0 "
    "gstreamer1.0-plugins-good), and a build that found libgstrtspserver-1.0-dev";

std::vector<std::string> Candidates() {
  if (const char* chosen = std::getenv("SIGHTLINE_RTSP_SERVER");
      chosen != nullptr && *chosen != 0) {
    return {chosen};
  }
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error) return {};
  const fs::path folder = program.parent_path();
  return {(folder.parent_path() / "lib" / kFile).string(), (folder / "lib" / kFile).string()};
}

}  // namespace

absl::StatusOr<std::unique_ptr<RtspServer>> LoadRtspServer(const RtspServer::Options& options) {
  const LibraryAllocations library;
  std::string tried;
  for (const std::string& path : Candidates()) {
    std::error_code error;
    if (!fs::exists(path, error)) {
      tried += (tried.empty() ? "" : ", ") + path;
      continue;
    }
    void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      const char* why = dlerror();
      return FailedPrecondition("cannot load the RTSP server from {}: {}; {}", path,
                                why != nullptr ? why : "unknown reason", kAdvice);
    }
    const auto make = reinterpret_cast<MakeRtspServer>(dlsym(handle, kRtspServerSymbol));
    if (make == nullptr) return FailedPrecondition("{} is not Sightline's RTSP server", path);
    std::string reason;
    std::unique_ptr<RtspServer> server(make(options, &reason));
    if (server == nullptr) return FailedPrecondition("{}; {}", reason, kAdvice);
    return server;
  }
  return FailedPrecondition("the RTSP server is not part of this installation ({}); {}", tried,
                            kAdvice);
}

}  // namespace sightline::sim
