#include "infer/model_tuning.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <thread>

#include "base/whole_file.h"

namespace sightline {
namespace {

constexpr uint64_t kMaxYamlBytes = 64 << 10;
constexpr size_t kMaxTextBytes = 200;
constexpr int kMost = 1024;  // threads, instances, pictures a run

struct Refusal {
  YAML::Mark mark;
  std::string message;
};

std::string Text(const YAML::Node& node, std::string_view key) {
  if (!node.IsScalar() || node.Scalar().size() > kMaxTextBytes) {
    throw Refusal{node.Mark(),
                  fmt::format("`{}` is a text of at most {} bytes", key, kMaxTextBytes)};
  }
  return node.Scalar();
}

int Whole(const YAML::Node& node, std::string_view key) {
  int value = 0;
  if (!node.IsScalar() || !YAML::convert<int>::decode(node, value) || value < 1 || value > kMost) {
    throw Refusal{node.Mark(), fmt::format("`{}` is a whole number from 1 to {}", key, kMost)};
  }
  return value;
}

double Positive(const YAML::Node& node, std::string_view key) {
  double value = 0;
  if (!node.IsScalar() || !YAML::convert<double>::decode(node, value) || !std::isfinite(value) ||
      value < 0) {
    throw Refusal{node.Mark(), fmt::format("`{}` is a number from 0", key)};
  }
  return value;
}

// Calls `read(key, value)` for every entry of a map; `read` is false for a key that it does not know.
template <typename Read>
void ReadMap(const YAML::Node& node, std::string_view what, Read read) {
  if (!node.IsMap()) throw Refusal{node.Mark(), fmt::format("{} is a map", what)};
  std::map<std::string, int> seen;
  for (const auto& entry : node) {
    const std::string key = Text(entry.first, "key");
    if (++seen[key] > 1) throw Refusal{entry.first.Mark(), fmt::format("`{}` is repeated", key)};
    if (!read(key, entry.second)) {
      throw Refusal{entry.first.Mark(), fmt::format("`{}` is not known in {}", key, what)};
    }
  }
}

void ReadTuning(const YAML::Node& root, ModelTuning& tuning) {
  bool format = false, choice = false;
  ReadMap(root, "the file", [&](const std::string& key, const YAML::Node& node) {
    if (key == "format") {
      format = Whole(node, key) == 1;
    } else if (key == "model_sha256") {
      tuning.model_sha256 = Text(node, key);
    } else if (key == "machine") {
      ReadMap(node, key, [&](const std::string& inner, const YAML::Node& value) {
        if (inner == "cpu") tuning.machine.cpu = Text(value, inner);
        if (inner == "cores") tuning.machine.cores = Whole(value, inner);
        return inner == "cpu" || inner == "cores";
      });
    } else if (key == "versions") {
      ReadMap(node, key, [&](const std::string& inner, const YAML::Node& value) {
        tuning.versions[inner] = Text(value, inner);
        return true;
      });
    } else if (key == "choice") {
      choice = true;
      ReadMap(node, key, [&](const std::string& inner, const YAML::Node& value) {
        if (inner == "backend") {
          tuning.backend = Text(value, inner);
        } else if (inner == "threads") {
          tuning.threads = Whole(value, inner);
        } else if (inner == "instances") {
          tuning.instances = Whole(value, inner);
        } else if (inner == "batch") {
          tuning.batch = Whole(value, inner);
        } else {
          return false;
        }
        return true;
      });
    } else if (key == "measured") {
      ReadMap(node, key, [&](const std::string& inner, const YAML::Node& value) {
        if (inner == "cpu_ms") tuning.cpu_ms = Positive(value, inner);
        if (inner == "pictures_per_s") tuning.pictures_per_s = Positive(value, inner);
        return inner == "cpu_ms" || inner == "pictures_per_s";
      });
    } else {
      return false;
    }
    return true;
  });
  if (!format) throw Refusal{root.Mark(), "`format: 1` is expected"};
  if (!choice || tuning.backend.empty() || tuning.model_sha256.empty()) {
    throw Refusal{root.Mark(), "`model_sha256` and `choice` with its `backend` are needed"};
  }
}

// A plain scalar that YAML reads back as it is.
std::string Quoted(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) quoted += c;
  }
  return quoted + "\"";
}

}  // namespace

MachineInfo ThisMachine() {
  MachineInfo machine;
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line) && machine.cpu.empty();) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != line.npos) machine.cpu = line.substr(colon + 2);
  }
  if (machine.cpu.empty()) machine.cpu = "unknown";
  machine.cpu.resize(std::min(machine.cpu.size(), kMaxTextBytes));
  // Counts what the process is confined to, as hardware_concurrency() does here.
  machine.cores = std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMost);
  return machine;
}

absl::StatusOr<ModelTuning> ParseModelTuning(std::string_view yaml, const std::string& where) {
  if (yaml.size() > kMaxYamlBytes) {
    return ResourceExhausted("{}: longer than {} bytes", where, kMaxYamlBytes);
  }
  const auto at = [&](const YAML::Mark& mark, const std::string& message) {
    return InvalidArgument("{}:{}:{}: {}", where, mark.line + 1, mark.column + 1, message);
  };
  try {
    ModelTuning tuning;
    ReadTuning(YAML::Load(std::string(yaml)), tuning);
    return tuning;
  } catch (const Refusal& refusal) {
    return at(refusal.mark, refusal.message);
  } catch (const YAML::Exception& e) {
    return at(e.mark, e.msg);
  } catch (const std::exception& e) {
    return InvalidArgument("{}: {}", where, e.what());
  }
}

std::string FormatModelTuning(const ModelTuning& tuning) {
  std::string text = fmt::format(
      "# Written by `sightline models tune`; used where the configuration does not say otherwise.\n"
      "format: 1\n"
      "model_sha256: {}\n"
      "machine:\n  cpu: {}\n  cores: {}\n"
      "versions:\n",
      tuning.model_sha256, Quoted(tuning.machine.cpu), tuning.machine.cores);
  for (const auto& [name, version] : tuning.versions) {
    text += fmt::format("  {}: {}\n", name, Quoted(version));
  }
  if (tuning.versions.empty()) text.insert(text.size() - 1, " {}");
  return text + fmt::format(
                    "choice:\n  backend: {}\n  threads: {}\n  instances: {}\n  batch: {}\n"
                    "measured:\n  cpu_ms: {:.4g}\n  pictures_per_s: {:.4g}\n",
                    tuning.backend, tuning.threads, tuning.instances, tuning.batch, tuning.cpu_ms,
                    tuning.pictures_per_s);
}

absl::StatusOr<ModelTuning> ReadModelTuning(const std::string& path) {
  SL_ASSIGN_OR_RETURN(const std::string yaml, ReadWholeFile(path, kMaxYamlBytes));
  return ParseModelTuning(yaml, path);
}

std::string WhyTuningDoesNotHold(const ModelTuning& tuning, const std::string& model_sha256,
                                 const MachineInfo& machine) {
  if (tuning.model_sha256 != model_sha256) return "it was measured with another model file";
  if (tuning.machine.cpu != machine.cpu) {
    return fmt::format("it was measured on another processor: {}, this is {}", tuning.machine.cpu,
                       machine.cpu);
  }
  if (tuning.machine.cores != machine.cores) {
    return fmt::format("it was measured with {} cores, here are {}", tuning.machine.cores,
                       machine.cores);
  }
  return "";
}

}  // namespace sightline
