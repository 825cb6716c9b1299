#include "cli/calibrate/python_place.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <system_error>

#include "base/partial_file.h"
#include "base/uuid.h"
#include "base/whole_file.h"
#include "cli/calibrate/child_process.h"

namespace sightline::cli {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMostRequirements = 64 << 10;
constexpr int64_t kInstallTimeUs = int64_t{1'800'000'000};  // of slow networks
constexpr int64_t kLookTimeUs = 120'000'000;
constexpr const char* kWholeMark = "installed";  // written last

std::string EnvOr(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

absl::StatusOr<fs::path> CacheFolder() {
  const std::string cache = EnvOr("XDG_CACHE_HOME");
  // The specification asks to ignore relative paths there.
  if (cache.starts_with('/')) return fs::path(cache) / "sightline";
  const std::string home = EnvOr("HOME");
  if (!home.empty()) return fs::path(home) / ".cache" / "sightline";
  return FailedPrecondition(
      "there is no place for the Python packages: set HOME or XDG_CACHE_HOME, or give --python");
}

struct Ran {
  int exit_code = 0;
  std::string words;
};

absl::StatusOr<Ran> RunToEnd(const std::vector<std::string>& arguments, int64_t timeout_us,
                             const std::function<bool()>& stop) {
  SL_ASSIGN_OR_RETURN(const std::unique_ptr<ChildProcess> child,
                      ChildProcess::Start(arguments, stop));
  Ran ran;
  SL_ASSIGN_OR_RETURN(ran.exit_code, child->Wait(timeout_us));
  ran.words = child->LastWords();
  return ran;
}

// -I in each call: what lies in the working folder, or in PYTHONPATH, is no module of ours.

// Whether an interpreter can do it, in its own words if not.
absl::Status CheckPython(const std::string& python, const std::function<bool()>& stop) {
  const auto ran = RunToEnd(
      {python, "-I", "-c",
       "import sys\n"
       "if sys.version_info < (3, 10): sys.exit('Python 3.10 or newer is needed, this is ' + "
       "sys.version.split()[0])\n"
       "import numpy, onnx, onnxruntime.quantization"},
      kLookTimeUs, stop);
  if (!ran.ok()) return WithContext(ran.status(), "--python");
  if (ran->exit_code == 0) return absl::OkStatus();
  return FailedPrecondition(
      "--python {}: it needs Python 3.10 and the packages of tools/int8/requirements.txt: {}",
      python, ran->words);
}

absl::Status MakeEnvironment(const fs::path& place, const std::string& requirements,
                             const std::function<bool()>& stop) {
  const auto venv =
      RunToEnd({"python3", "-I", "-m", "venv", "--clear", place.string()}, kLookTimeUs, stop);
  if (venv.status().code() == absl::StatusCode::kNotFound) {
    return FailedPrecondition(
        "making INT8 models needs Python 3: install python3 and python3-venv, or name an "
        "interpreter by --python");
  }
  if (!venv.ok()) return venv.status();
  std::error_code error;
  const std::string python = (place / "bin/python").string();
  if (venv->exit_code != 0 || !fs::exists(python, error)) {
    return FailedPrecondition(
        "python3 -m venv failed in {}: {}; on Debian and Ubuntu it comes with: apt install "
        "python3-venv. --python names another interpreter",
        place.string(), venv->words);
  }
  SL_ASSIGN_OR_RETURN(const Ran pip, RunToEnd({python, "-I", "-m", "pip", "install", "--no-input",
                                               "--disable-pip-version-check", "--only-binary",
                                               ":all:", "-r", requirements},
                                              kInstallTimeUs, stop));
  if (pip.exit_code == 0) return absl::OkStatus();
  return Unavailable(
      "the Python packages could not be installed: {}; this needs a network (or pip's own "
      "configuration of a mirror) once, or --python with an interpreter that has them",
      pip.words);
}

}  // namespace

absl::StatusOr<Int8Tools> FindInt8Tools() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error) return NotFound("the system does not say where the program lies: {}", error.message());
  const fs::path folder = program.parent_path().parent_path() / "share/sightline/tools/int8";
  Int8Tools tools{(folder / "quantize.py").string(), (folder / "requirements.txt").string()};
  for (const std::string& file : {tools.script, tools.requirements}) {
    if (!fs::is_regular_file(file, error)) {
      return NotFound("{} is missing, which comes with the program: install it anew", file);
    }
  }
  return tools;
}

absl::StatusOr<std::string> PythonForInt8(const std::string& python, const Int8Tools& tools,
                                          const std::function<bool()>& stop,
                                          const std::function<void(const std::string&)>& say) {
  if (!python.empty()) {
    SL_RETURN_IF_ERROR(CheckPython(python, stop));
    return python;
  }
  SL_ASSIGN_OR_RETURN(const std::string requirements,
                      ReadWholeFile(tools.requirements, kMostRequirements));
  SL_ASSIGN_OR_RETURN(const fs::path cache, CacheFolder());
  SL_RETURN_IF_ERROR(MakeFolder(cache.string()));
  const fs::path place = cache / fmt::format("int8-{:016x}", HashString(requirements).high);
  const std::string interpreter = (place / "bin/python").string();
  const std::string mark = (place / kWholeMark).string();
  std::error_code error;
  if (fs::exists(mark, error) && fs::exists(interpreter, error)) return interpreter;
  const std::string lock = place.string() + ".lock";
  const FileHandle handle(open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (handle.get() < 0) return FileError(errno, "writing", lock);
  SL_RETURN_IF_ERROR(LockForWriting(handle.get(), lock));
  if (fs::exists(mark, error) && fs::exists(interpreter, error)) return interpreter;
  say(fmt::format("installing onnx, onnxruntime and numpy into {} (once, about 60 MB)",
                  place.string()));
  if (const absl::Status made = MakeEnvironment(place, tools.requirements, stop); !made.ok()) {
    fs::remove_all(place, error);  // no half of one is left behind
    return made;
  }
  SL_RETURN_IF_ERROR(WriteWholeFile(mark, requirements));
  return interpreter;
}

}  // namespace sightline::cli
