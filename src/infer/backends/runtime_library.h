// Finding and loading the shared library of an inference runtime. Internal to infer/backends/.
//
// Threads: reentrant.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/status.h"

namespace sightline {

// Where a library may be, in order. With `chosen` set, only that one counts: somebody asked for it.
struct RuntimeSearch {
  std::string chosen;
  std::vector<std::string> candidates;
};

// What is looked for, and in which words its absence is told.
struct RuntimeLibrary {
  std::string runtime;                    // "ONNX Runtime"
  std::string variable;                   // of the environment, with the path of the one to use
  std::vector<std::string> file_names;    // "libonnxruntime.so.1"; in the order of preference
  std::vector<std::string> subfolders{};  // of lib/ beside the program's bin/, after lib/ itself
  std::string built_with{};               // folder where ./dev setup put it; empty = none
  std::string remedy;                     // "run ./dev setup, or set ... to a library of ..."

  // $`variable`; lib/ beside the program's bin/ with its subfolders, lib/ below the program, the
  // folder of ./dev setup, the system's loader.
  RuntimeSearch DefaultSearch() const;

  // Loads the first library that is there, with symbols of its own (RTLD_LOCAL), and calls `use` with
  // its handle and path; it stays loaded. FailedPrecondition when there is none, or when the first
  // one that is there cannot be loaded or `use` refuses it. One that only the system's loader would
  // know and that `use` refuses counts as not there.
  absl::Status Load(
      const RuntimeSearch& search,
      const std::function<absl::Status(void* handle, const std::string& path)>& use) const;
};

// `*function` becomes the function of that name; false when the library has none.
bool FindFunction(void* handle, const char* name, void** function);

template <typename Function>
bool FindFunction(void* handle, const char* name, Function** function) {
  void* address = nullptr;
  const bool found = FindFunction(handle, name, &address);
  *function = reinterpret_cast<Function*>(address);
  return found;
}

}  // namespace sightline
