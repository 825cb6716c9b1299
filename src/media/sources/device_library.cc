#include "media/sources/device_library.h"

#include <dlfcn.h>

namespace sightline {
namespace {

// libavdevice's versions go with libavformat's.
std::string LibraryName() { return fmt::format("libavdevice.so.{}", LIBAVFORMAT_VERSION_MAJOR); }

bool RegisterDevices() {
  // Kept for good: libavformat has its tables from then on.
  void* library = ::dlopen(LibraryName().c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return false;
  using Register = void (*)();
  const auto register_all = reinterpret_cast<Register>(::dlsym(library, "avdevice_register_all"));
  if (register_all != nullptr) register_all();
  return register_all != nullptr;
}

}  // namespace

absl::StatusOr<const AVInputFormat*> VideoDeviceFormat(const std::string& name) {
  static const bool registered = RegisterDevices();
  const AVInputFormat* format = registered ? av_find_input_format("video4linux2") : nullptr;
  if (format != nullptr) return format;
  return Unimplemented(
      "{}: local devices need {} with Video4Linux; install it (Debian: libavdevice59)", name,
      LibraryName());
}

}  // namespace sightline
