#include "cli/calibrate/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/thread.h"
#include "base/time.h"
#include "base/whole_file.h"

namespace sightline::cli {
namespace {

constexpr size_t kKeptWords = 8 << 10;
constexpr size_t kShownWords = 2 << 10;
constexpr int kAskEveryMs = 200;
constexpr int kCannotStart = 127;  // as shells have it

struct Pipe {
  int read = -1;
  int write = -1;
  ~Pipe() {
    for (const int end : {read, write}) {
      if (end >= 0) close(end);
    }
  }
  bool Open() {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) return false;
    read = ends[0];
    write = ends[1];
    return true;
  }
};

// In the child, where only what is safe after fork() may be called.
[[noreturn]] void Become(char* const* arguments, const Pipe& in, const Pipe& out, const Pipe& err,
                         int failed, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(kCannotStart);  // it died before that was asked for
  signal(SIGPIPE, SIG_DFL);
  signal(SIGXFSZ, SIG_DFL);
  signal(SIGINT, SIG_DFL);
  signal(SIGTERM, SIG_DFL);
  dup2(in.read, STDIN_FILENO);
  dup2(out.write, STDOUT_FILENO);
  dup2(err.write, STDERR_FILENO);
  execvp(arguments[0], arguments);
  const int error = errno;
  const ssize_t ignored = write(failed, &error, sizeof error);
  static_cast<void>(ignored);
  _exit(kCannotStart);
}

int CodeOf(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status)
                           : 128 + (WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ChildProcess>> ChildProcess::Start(
    const std::vector<std::string>& arguments, std::function<bool()> stop) {
  std::vector<char*> words;
  words.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments)
    words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  Pipe in;
  Pipe out;
  Pipe err;
  Pipe failed;  // says why the program could not be started; closed by a start that works
  if (!in.Open() || !out.Open() || !err.Open() || !failed.Open()) {
    return FileError(errno, "making a pipe for", arguments[0]);
  }
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) return ResourceExhausted("{} cannot be started: too many processes", arguments[0]);
  if (pid == 0) Become(words.data(), in, out, err, failed.write, parent);
  close(std::exchange(failed.write, -1));
  int error = 0;
  ssize_t got = 0;
  do {
    got = read(failed.read, &error, sizeof error);
  } while (got < 0 && errno == EINTR);
  if (got > 0) {
    waitpid(pid, nullptr, 0);
    return NotFound("{} cannot be started: {}", arguments[0],
                    std::generic_category().message(error));
  }
  const std::string name = std::filesystem::path(arguments[0]).filename().string();
  std::unique_ptr<ChildProcess> child(
      new ChildProcess(name, pid, std::exchange(in.write, -1), std::exchange(out.read, -1),
                       std::exchange(err.read, -1), std::move(stop)));
  SL_RETURN_IF_ERROR(child->StartReader());
  return child;
}

ChildProcess::ChildProcess(std::string name, pid_t pid, int input, int output, int errors,
                           std::function<bool()> stop)
    : name_(std::move(name)),
      pid_(pid),
      input_(input),
      output_(output),
      errors_(errors),
      stop_(std::move(stop)) {
  fcntl(input_, F_SETFL, O_NONBLOCK);
  fcntl(output_, F_SETFL, O_NONBLOCK);
}

absl::Status ChildProcess::StartReader() {
  SL_ASSIGN_OR_RETURN(reader_, StartThread("child errors", [this] { ReadErrors(); }));
  return absl::OkStatus();
}

ChildProcess::~ChildProcess() {
  CloseInput();
  if (!reaped_) {
    kill(pid_, SIGKILL);
    Reap();
  }
  ending_ = true;  // also when its start failed half-way
  if (reader_.joinable()) reader_.join();
  close(output_);
  close(errors_);
}

void ChildProcess::CloseInput() {
  if (input_ >= 0) close(std::exchange(input_, -1));
}

// Its group, too: an installer has children of its own. They are killed before the process is
// reaped, while the group's number is certainly its own.
void ChildProcess::Reap() {
  siginfo_t info{};
  while (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT) < 0 && errno == EINTR) {
  }
  kill(-pid_, SIGKILL);
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  reaped_ = true;
  exit_code_ = CodeOf(status);
  // All that it said is known when this is done.
  ending_ = true;
  if (reader_.joinable()) reader_.join();
}

void ChildProcess::ReadErrors() {
  std::array<char, 4096> bytes{};
  while (true) {
    // Whoever left the group may hold the pipe open.
    pollfd ready{errors_, POLLIN, 0};
    if (poll(&ready, 1, kAskEveryMs) == 0) {
      if (ending_) return;
      continue;
    }
    const ssize_t got = read(errors_, bytes.data(), bytes.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;
    const MutexLock lock(mutex_);
    words_.append(bytes.data(), static_cast<size_t>(got));
    if (words_.size() > kKeptWords) words_.erase(0, words_.size() - kKeptWords);
  }
}

std::string ChildProcess::LastWords() const {
  std::string words;
  {
    const MutexLock lock(mutex_);
    words = words_.size() > kShownWords ? words_.substr(words_.size() - kShownWords) : words_;
  }
  for (char& c : words) {
    if (c == '\n' || c == '\r' || c == '\t') c = ' ';
  }
  std::erase_if(words, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  while (words.ends_with(' ')) words.pop_back();
  return words;
}

absl::Status ChildProcess::WaitFor(int descriptor, int16_t events, int64_t deadline_us) const {
  while (true) {
    if (stop_ && stop_()) return Cancelled("stopped while waiting for {}", name_);
    pollfd ready{descriptor, events, 0};
    const int count = poll(&ready, 1, kAskEveryMs);
    if (count > 0) return absl::OkStatus();
    if (count < 0 && errno != EINTR) return FileError(errno, "waiting for", name_);
    if (Clock::Real().NowMonotonicUs() > deadline_us) {
      return DeadlineExceeded("{} did not answer in time", name_);
    }
  }
}

// Why nothing comes any more.
absl::Status ChildProcess::Ended() {
  constexpr int64_t kPatienceUs = 5'000'000;
  const absl::StatusOr<int> code = Wait(kPatienceUs);
  const std::string words = LastWords();
  std::string how = "closed its output";
  if (code.ok()) {
    how = *code > 128 ? fmt::format("was killed by signal {}{}", *code - 128,
                                    *code == 128 + SIGKILL ? " (too little memory?)" : "")
                      : fmt::format("ended with exit code {}", *code);
  }
  return Unavailable("{} {}{}{}", name_, how, words.empty() ? "" : ": ", words);
}

absl::Status ChildProcess::Write(std::string_view text, int64_t timeout_us) {
  return Write(AsBytes(text), timeout_us);
}

absl::Status ChildProcess::Write(std::span<const uint8_t> bytes, int64_t timeout_us) {
  const int64_t deadline_us = Clock::Real().NowMonotonicUs() + timeout_us;
  while (!bytes.empty()) {
    if (input_ < 0) return Ended();
    SL_RETURN_IF_ERROR(WaitFor(input_, POLLOUT, deadline_us));
    const ssize_t written = write(input_, bytes.data(), bytes.size());
    if (written > 0) {
      bytes = bytes.subspan(static_cast<size_t>(written));
    } else if (written < 0 && errno != EAGAIN && errno != EINTR) {
      return Ended();
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ChildProcess::ReadLine(size_t most_bytes, int64_t timeout_us) {
  const int64_t deadline_us = Clock::Real().NowMonotonicUs() + timeout_us;
  std::array<char, 65536> bytes;
  while (true) {
    const size_t end = read_.find('\n');
    if (end != std::string::npos) {
      std::string line = read_.substr(0, end);
      read_.erase(0, end + 1);
      return line;
    }
    if (read_.size() > most_bytes) {
      return ResourceExhausted("{} answered with a line of more than {} bytes", name_, most_bytes);
    }
    SL_RETURN_IF_ERROR(WaitFor(output_, POLLIN, deadline_us));
    const ssize_t got = read(output_, bytes.data(), bytes.size());
    if (got > 0) {
      read_.append(bytes.data(), static_cast<size_t>(got));
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
      return Ended();
    }
  }
}

absl::StatusOr<int> ChildProcess::Wait(int64_t timeout_us) {
  CloseInput();
  const int64_t deadline_us = Clock::Real().NowMonotonicUs() + timeout_us;
  std::array<char, 65536> bytes;
  bool open = true;
  while (!reaped_) {
    siginfo_t info{};
    const auto pid = static_cast<id_t>(pid_);
    if (waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid_) {
      Reap();
      break;
    }
    if (stop_ && stop_()) return Cancelled("stopped while waiting for {}", name_);
    if (Clock::Real().NowMonotonicUs() > deadline_us) {
      return DeadlineExceeded("{} did not end in time", name_);
    }
    pollfd ready{open ? output_ : -1, POLLIN, 0};
    constexpr int kLookEveryMs = 20;
    if (poll(&ready, 1, kLookEveryMs) > 0) {
      const ssize_t got = read(output_, bytes.data(), bytes.size());
      if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) open = false;
    }
  }
  return exit_code_;
}

}  // namespace sightline::cli
