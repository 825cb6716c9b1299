// `sightline doctor`: what this machine can do, what is missing, and the command that adds it.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "base/json_text.h"
#include "cli/commands.h"
#include "cli/composition.h"
#include "cli/standard_output.h"
#include "infer/model_store.h"
#include "infer/model_tuning.h"
#include "media/hardware_decode.h"
#include "media/probe.h"

namespace sightline::cli {
namespace {

struct Finding {
  std::string what;
  std::string value;
  bool ok = true;
  std::string fix;  // a command, when there is one
};

std::string CpuFeatures() {
  std::string text;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const auto add = [&](bool there, const char* name) {
    if (there) text += (text.empty() ? "" : " ") + std::string(name);
  };
  add(__builtin_cpu_supports("sse4.2"), "sse4.2");
  add(__builtin_cpu_supports("avx2"), "avx2");
  add(__builtin_cpu_supports("fma"), "fma");
  add(__builtin_cpu_supports("avx512f"), "avx512f");
  add(__builtin_cpu_supports("avx512bw"), "avx512bw");
  add(__builtin_cpu_supports("avx512vnni"), "avx512vnni");
#endif
  return text.empty() ? "none known" : text;
}

Finding Disk(const std::string& path) {
  struct statvfs info {};
  if (statvfs(path.c_str(), &info) != 0) return {"disk", path + ": not readable", false, ""};
  const double free_gb = static_cast<double>(info.f_bavail) * info.f_frsize / 1e9;
  return {"disk", fmt::format("{:.1f} GB free at {}", free_gb, path), free_gb > 1,
          free_gb > 1 ? "" : "free some space, or choose another place with --out"};
}

// What `live: {hardware: auto}` would get. None is no fault: software decodes everything.
Finding HardwareDecoding() {
  std::string usable;
  std::string missing;
  for (const HardwareAbility& ability : ProbeHardwareDecoders()) {
    if (ability.usable) usable += " " + ability.name;
    if (!ability.usable)
      missing += fmt::format("{}{}: {}", missing.empty() ? "" : "; ", ability.name, ability.why);
  }
  if (usable.empty()) usable = " none, software decodes";
  return {"hardware",
          fmt::format("decoding by:{}{}", usable, missing.empty() ? "" : " (" + missing + ")")};
}

// A backend that nothing needs may be missing.
Finding Inference(const BackendEntry& entry) {
  const absl::StatusOr<InferenceBackend*> backend = entry.get();
  if (backend.ok()) {
    std::string providers;
    for (const std::string& name : (*backend)->providers()) providers += " " + name;
    return {"inference", fmt::format("{} {}, providers:{}", (*backend)->name(),
                                     (*backend)->version(), providers)};
  }
  return {"inference",
          fmt::format("{}: {}", entry.needed ? "missing" : "not there, and not needed",
                      MessageOf(backend.status())),
          !entry.needed, std::string(entry.install)};
}

std::vector<Finding> Examine() {
  std::vector<Finding> found;
  found.push_back(
      {"cpu", fmt::format("{}, {} cores", ThisMachine().cpu, std::thread::hardware_concurrency())});
  found.push_back({"features", CpuFeatures()});
  const double memory_gb =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGE_SIZE) / 1e9;
  found.push_back({"memory", fmt::format("{:.1f} GB", memory_gb), memory_gb > 1,
                   memory_gb > 1 ? "" : "models and pictures want at least 1 GB"});
  found.push_back(Disk(std::filesystem::current_path().string()));

  for (const BackendEntry& entry : Backends()) found.push_back(Inference(entry));
  const MediaAbilities media = ProbeMedia();
  const auto add_codecs = [&](const char* what, const std::vector<CodecAbility>& codecs) {
    std::string there, missing;
    for (const CodecAbility& codec : codecs) {
      (codec.available() ? there : missing) += " " + codec.codec;
    }
    found.push_back({what,
                     (there.empty() ? " none" : there).substr(1) +
                         (missing.empty() ? "" : "; missing:" + missing),
                     missing.empty(), missing.empty() ? "" : "./dev setup (FFmpeg's libavcodec)"});
  };
  add_codecs("decoders", media.decoders);
  add_codecs("encoders", media.encoders);
  found.push_back(HardwareDecoding());
  const std::string cascade = "/usr/share/opencv4/haarcascades/haarcascade_frontalface_default.xml";
  const bool faces = std::filesystem::exists(cascade);
  found.push_back({"faces", faces ? cascade : "no cascades for --model faces", faces,
                   faces ? "" : "apt-get install opencv-data"});
  const absl::StatusOr<std::vector<StoredModel>> models = ModelStore::Default().List();
  if (models.ok()) {
    std::string names;
    for (const StoredModel& model : *models) names += " " + model.name;
    found.push_back(
        {"models", fmt::format("{} (built in){}", fmt::join(kBuiltInModels, " "), names)});
  } else {
    found.push_back({"models", std::string(MessageOf(models.status())), false, ""});
  }
  return found;
}

}  // namespace

void AddDoctorCommand(CLI::App& app, int& exit_code) {
  CLI::App* doctor = app.add_subcommand(
      "doctor", "Say what this machine can do, what is missing, and the command that adds it");
  auto json = std::make_shared<bool>(false);
  doctor->add_flag("--json", *json, "one JSON object");
  doctor->callback([json, &exit_code] {
    const std::vector<Finding> findings = Examine();
    bool all_ok = true;
    nlohmann::json lines = nlohmann::json::array();
    for (const Finding& finding : findings) {
      all_ok = all_ok && finding.ok;
      if (*json) {
        lines.push_back({{"what", finding.what},
                         {"value", finding.value},
                         {"ok", finding.ok},
                         {"fix", finding.fix}});
      } else {
        PrintOut("{} {:<10} {}{}\n", finding.ok ? "ok  " : "MISS", finding.what, finding.value,
                 finding.fix.empty() ? "" : "\n                -> " + finding.fix);
      }
    }
    if (*json) PrintOut("{}\n", JsonText(nlohmann::json{{"ok", all_ok}, {"findings", lines}}, 2));
    exit_code = all_ok ? 0 : 1;
  });
}

}  // namespace sightline::cli
