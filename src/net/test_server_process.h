// For tests: a server of tests/servers in Python, as a process on a port of the system's choice. It
// ends with this object, whatever it is doing.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/test_server_program.h"

namespace sightline::net::test {

class ServerProcess : public sightline::test::ServerProgram {
 public:
  // `script`: its name in tests/servers.
  explicit ServerProcess(const std::string& script, const std::vector<std::string>& arguments = {})
      : ServerProgram(Command(script, arguments)) {}
  std::string Url(const std::string& path, const std::string& scheme = "http") const {
    return scheme + "://127.0.0.1:" + std::to_string(port()) + path;
  }

 private:
  static std::vector<std::string> Command(const std::string& script,
                                          const std::vector<std::string>& arguments) {
    std::vector<std::string> command = {
        "python3", std::string(SIGHTLINE_SOURCE_DIR) + "/tests/servers/" + script};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return command;
  }
};
#define SKIP_UNLESS_STARTED(server)                              \
  if (!(server).started())                                       \
  GTEST_SKIP() << "the test's server did not start: is python3 " \
                  "installed?"

}  // namespace sightline::net::test
