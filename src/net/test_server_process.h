// For tests: a server of tests/servers in Python, as a process on a port of the system's choice. It
// ends with this object, whatever it is doing.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

extern char** environ;

namespace sightline::net::test {

class ServerProcess {
 public:
  // `script`: its name in tests/servers.
  explicit ServerProcess(const std::string& script, std::vector<std::string> arguments = {}) {
    int input[2];
    int output[2];
    if (::pipe2(input, O_CLOEXEC) != 0 || ::pipe2(output, O_CLOEXEC) != 0) return;
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, input[0], 0);
    ::posix_spawn_file_actions_adddup2(&actions, output[1], 1);
    arguments.insert(arguments.begin(),
                     {"python3", std::string(SIGHTLINE_SOURCE_DIR) + "/tests/servers/" + script});
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    if (::posix_spawnp(&pid_, "python3", &actions, nullptr, argv.data(), environ) != 0) pid_ = -1;
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(input[0]);
    ::close(output[1]);
    input_ = input[1];
    constexpr int kDeadlineMs = 60'000;
    std::string line;
    char c = 0;
    pollfd one{output[0], POLLIN, 0};
    while (::poll(&one, 1, kDeadlineMs) > 0 && ::read(output[0], &c, 1) == 1 && c != '\n')
      line += c;
    ::close(output[0]);
    if (line.rfind("PORT ", 0) == 0) port_ = std::atoi(line.c_str() + 5);
  }
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;
  ~ServerProcess() {
    if (pid_ > 0) ::kill(pid_, SIGKILL);
    if (input_ >= 0) ::close(input_);
    if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
  }

  bool started() const { return port_ > 0; }
  std::string Url(const std::string& path, const std::string& scheme = "http") const {
    return scheme + "://127.0.0.1:" + std::to_string(port_) + path;
  }

 private:
  pid_t pid_ = -1;
  int input_ = -1;
  int port_ = 0;
};
#define SKIP_UNLESS_STARTED(server)                              \
  if (!(server).started())                                       \
  GTEST_SKIP() << "the test's server did not start: is python3 " \
                  "installed?"

}  // namespace sightline::net::test
