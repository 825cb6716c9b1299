#include "base/child_call.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <string>

#include "base/whole_file.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SIGHTLINE_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SIGHTLINE_SANITIZED 1
#endif
#endif

namespace sightline {
namespace {

constexpr size_t kMaxWords =
    60'000;  // fits into a pipe, so that the child never waits for a reader

void LimitMemory(int64_t bytes) {
#ifdef SIGHTLINE_SANITIZED
  (void)bytes;
#else
  // The first number of statm is the address space in pages.
  unsigned long long pages = 0;
  FILE* const statm = std::fopen("/proc/self/statm", "re");
  if (statm == nullptr) return;
  const bool known = std::fscanf(statm, "%llu", &pages) == 1;
  std::fclose(statm);
  if (!known) return;
  const rlim_t most =
      pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + static_cast<rlim_t>(bytes);
  const rlimit limit{most, most};
  setrlimit(RLIMIT_AS, &limit);
#endif
}

constexpr int kAnswerFd = 3;  // of a program that was begun anew

void WriteAnswer(int out, const absl::Status& status) {
  std::string answer(1, static_cast<char>(status.code()));
  answer += MessageOf(status).substr(0, kMaxWords);
  WriteAll(out, answer);
}

[[noreturn]] void BeChild(int out, const std::function<absl::Status()>& work,
                          const ChildLimits& limits) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  LimitMemory(limits.memory_bytes);
  absl::Status status;
  try {
    status = work();
  } catch (const std::bad_alloc&) {
    status = ResourceExhausted("it needs more memory than it may have, {} MiB",
                               limits.memory_bytes >> 20);
  } catch (const std::exception& e) {
    status = Internal("{}", e.what());
  }
  WriteAnswer(out, status);
  _exit(0);
}

// Nothing here takes a lock: other threads may have held any when the process was copied.
[[noreturn]] void BeProgram(int out, char* const* arguments, const ChildLimits& limits) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
#ifndef SIGHTLINE_SANITIZED
  const rlimit memory{static_cast<rlim_t>(limits.memory_bytes),
                      static_cast<rlim_t>(limits.memory_bytes)};
  setrlimit(RLIMIT_AS, &memory);
#else
  (void)limits;
#endif
  if (out == kAnswerFd) {
    fcntl(out, F_SETFD, 0);
  } else {
    dup2(out, kAnswerFd);  // without its O_CLOEXEC
  }
  execv("/proc/self/exe", arguments);
  const char failed[] = {
      static_cast<char>(absl::StatusCode::kUnavailable), 'n', 'o', ' ', 'e', 'x', 'e', 'c'};
  if (write(kAnswerFd, failed, sizeof failed) < 0) _exit(1);
  _exit(0);
}

using Clock = std::chrono::steady_clock;

// What the child wrote until it closed its end or has given all that an answer can be; false when the
// time was over before.
bool ReadAnswer(int in, Clock::time_point end, std::string* answer) {
  std::string buffer(4096, '\0');
  while (answer->size() < 1 + kMaxWords) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    if (left <= 0) return false;
    pollfd ready{.fd = in, .events = POLLIN, .revents = 0};
    const int found = poll(&ready, 1, static_cast<int>(left));
    if (found < 0 && errno == EINTR) continue;
    if (found <= 0) return false;
    const ssize_t got = read(in, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return true;
    answer->append(buffer.data(), static_cast<size_t>(got));
  }
  answer->resize(1 + kMaxWords);
  return true;
}

// False when the child had to be killed at `end`.
bool WaitFor(pid_t child, Clock::time_point end, int* wait_status) {
  while (true) {
    const pid_t ended = waitpid(child, wait_status, WNOHANG);
    if (ended == child || (ended < 0 && errno != EINTR)) return true;
    if (Clock::now() >= end) break;
    poll(nullptr, 0, 1);  // a sleep of a millisecond; nothing tells of this child alone
  }
  kill(child, SIGKILL);
  while (waitpid(child, wait_status, 0) < 0 && errno == EINTR) {
  }
  return false;
}

absl::Status WordsOfEnd(int wait_status) {
  if (WIFSIGNALED(wait_status)) {
    // From outside: Ctrl-C and service managers mean the whole group.
    if (WTERMSIG(wait_status) == SIGINT || WTERMSIG(wait_status) == SIGTERM) {
      return Cancelled("it was told to end ({})", strsignal(WTERMSIG(wait_status)));
    }
    return DataLoss("it crashed ({})", strsignal(WTERMSIG(wait_status)));
  }
  return DataLoss("it ended by itself with exit code {}", WEXITSTATUS(wait_status));
}

// Forks; `be_child` gets the end to write to and never returns.
template <typename BeChildFunction>
ChildAnswer InChild(const ChildLimits& limits, const BeChildFunction& be_child) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return {Unavailable("no pipe to a child process: {}", std::strerror(errno))};
  }
  const FileHandle in(ends[0]);
  const pid_t child = fork();
  if (child < 0) {
    close(ends[1]);
    return {Unavailable("no child process: {}", std::strerror(errno))};
  }
  if (child == 0) be_child(ends[1]);
  close(ends[1]);
  std::string answer;
  const auto end = Clock::now() + std::chrono::milliseconds(limits.wall_ms);
  const bool read = ReadAnswer(in.get(), end, &answer);
  // A child that has answered has nothing left to do. One that closed its end without a word has the
  // rest of its time to end, as how it ends is the answer then.
  int wait_status = 0;
  const bool answered = read && !answer.empty();
  const bool ended = WaitFor(child, read && !answered ? end : Clock::now(), &wait_status);
  if (!answered && !(read && ended)) {
    return {DeadlineExceeded("it did not end within {} s", limits.wall_ms / 1000.0), true};
  }
  if (answer.empty()) return {WordsOfEnd(wait_status), true};
  const auto code = static_cast<absl::StatusCode>(answer[0]);
  if (code == absl::StatusCode::kOk) return {};
  return {absl::Status(code, answer.substr(1))};
}

}  // namespace

ChildAnswer CallInChild(const std::function<absl::Status()>& work, const ChildLimits& limits) {
  return InChild(limits, [&](int out) { BeChild(out, work, limits); });
}

ChildAnswer CallThisProgram(const std::vector<std::string>& arguments, const ChildLimits& limits) {
  std::string name = program_invocation_name;
  std::vector<std::string> copies = arguments;
  std::vector<char*> pointers = {name.data()};
  for (std::string& argument : copies) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  return InChild(limits, [&](int out) { BeProgram(out, pointers.data(), limits); });
}

void AnswerParent(const absl::Status& status) {
  struct stat its {};
  if (fstat(kAnswerFd, &its) != 0 || !S_ISFIFO(its.st_mode)) return;
  WriteAnswer(kAnswerFd, status);
  _exit(0);
}

}  // namespace sightline
