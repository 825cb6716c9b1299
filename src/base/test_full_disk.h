// For tests: a disk without room, as every writer of this program meets it.
//
// The header takes the place of the C library's write() in the program that includes it, so it belongs in
// tests only. Pipes, devices and what other libraries write past this name are not touched.
#pragma once

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

namespace sightline::test {

inline std::atomic<bool> disk_is_full{false};
inline std::atomic<size_t> room_bytes{0};

// While it lives regular files take a last piece of what is to be written and then nothing more, as on a
// disk that has just become full. One at a time.
class FullDisk {
 public:
  explicit FullDisk(size_t room = 1000) {
    room_bytes = room;
    disk_is_full = true;
  }
  ~FullDisk() { disk_is_full = false; }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;
};

}  // namespace sightline::test

extern "C" __attribute__((weak)) ssize_t write(int fd, const void* data, size_t size) {
  using namespace sightline::test;
  struct stat file {};
  if (disk_is_full && fstat(fd, &file) == 0 && S_ISREG(file.st_mode)) {
    size = std::min(size, room_bytes.exchange(0));
    if (size == 0) {
      errno = ENOSPC;
      return -1;
    }
  }
  return syscall(SYS_write, fd, data, size);
}
