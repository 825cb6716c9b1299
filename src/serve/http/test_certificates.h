// Certificates for the tests of servers, made by the openssl program.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace sightline::serve {

// In a folder: an authority, and what it signs. Each NAME has NAME.pem and NAME.key.
class TestCertificates {
 public:
  explicit TestCertificates(std::string folder) : folder_(std::move(folder)) {
    std::filesystem::create_directories(folder_);
  }

  std::string Pem(const std::string& name) const { return folder_ + "/" + name + ".pem"; }
  std::string Key(const std::string& name) const { return folder_ + "/" + name + ".key"; }

  void MakeAuthority(const std::string& name) const {
    Run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "
        "/CN=" +
        name + " -keyout " + Key(name) + " -out " + Pem(name));
  }
  void Make(const std::string& name, const std::string& authority) const {
    Run("openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost "
        "-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout " +
        Key(name) + " -out " + folder_ + "/" + name + ".csr");
    Run("openssl x509 -req -days 2 -copy_extensions copy -in " + folder_ + "/" + name +
        ".csr -CA " + Pem(authority) + " -CAkey " + Key(authority) + " -CAcreateserial -out " +
        Pem(name));
  }
  static void Run(const std::string& command) {
    ASSERT_EQ(std::system((command + " >/dev/null 2>&1").c_str()), 0) << command;
  }

 private:
  const std::string folder_;
};

}  // namespace sightline::serve
