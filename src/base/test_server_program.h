// For tests: a server as a process of its own that says "PORT n" on its first line, n being a port of
// the system's choice on this machine's loopback. It ends with this object, whatever it is doing.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

extern char** environ;

namespace sightline::test {

class ServerProgram {
 public:
  // `command`: the program, a path or a name to be looked for in PATH, and its arguments. Its standard
  // input stays open as long as this object is there.
  explicit ServerProgram(std::vector<std::string> command) {
    int input[2];
    int output[2];
    if (::pipe2(input, O_CLOEXEC) != 0 || ::pipe2(output, O_CLOEXEC) != 0) return;
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, input[0], 0);
    ::posix_spawn_file_actions_adddup2(&actions, output[1], 1);
    std::vector<char*> argv;
    for (std::string& argument : command) argv.push_back(argument.data());
    argv.push_back(nullptr);
    if (::posix_spawnp(&pid_, argv[0], &actions, nullptr, argv.data(), environ) != 0) pid_ = -1;
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(input[0]);
    ::close(output[1]);
    input_ = input[1];
    ReadPort(output[0]);
    ::close(output[0]);
  }
  ServerProgram(const ServerProgram&) = delete;
  ServerProgram& operator=(const ServerProgram&) = delete;
  ~ServerProgram() {
    Signal(SIGKILL);  // works on a stopped one, too
    if (input_ >= 0) ::close(input_);
    if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
  }

  bool started() const { return port_ > 0; }
  int port() const { return port_; }
  pid_t pid() const { return pid_; }
  void Signal(int number) {
    if (pid_ > 0) ::kill(pid_, number);
  }

 private:
  // Or the end, when it cannot start. A first start of some takes long: GStreamer lists its plugins.
  void ReadPort(int fd) {
    constexpr int kDeadlineMs = 60'000;
    std::string line;
    char c = 0;
    pollfd one{fd, POLLIN, 0};
    while (::poll(&one, 1, kDeadlineMs) > 0 && ::read(fd, &c, 1) == 1 && c != '\n') line += c;
    if (line.rfind("PORT ", 0) == 0) port_ = std::atoi(line.c_str() + 5);
  }

  pid_t pid_ = -1;
  int input_ = -1;
  int port_ = 0;
};

}  // namespace sightline::test
