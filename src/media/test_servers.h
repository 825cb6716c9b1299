// For this module's tests: cameras to connect to, all on ports of the system's choice on this
// machine's loopback, none of which outlives its test.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/test_server_program.h"

namespace sightline::test {

// tests/servers/rtsp_server.cc, as a process.
class RtspServer : public ServerProgram {
 public:
  explicit RtspServer(const std::vector<std::string>& arguments = {})
      : ServerProgram(Command(arguments)) {}
  // "rtsp://CREDENTIALS@127.0.0.1:PORT/live"
  std::string Url(const std::string& credentials = "", const std::string& scheme = "rtsp",
                  const std::string& path = "/live") const {
    return scheme + "://" + credentials + (credentials.empty() ? "" : "@") +
           "127.0.0.1:" + std::to_string(port()) + path;
  }

 private:
  static std::vector<std::string> Command(const std::vector<std::string>& arguments) {
    std::vector<std::string> command = {std::string(SIGHTLINE_BINARY_DIR) + "/bin/rtsp_server"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return command;
  }
};
#define SKIP_UNLESS_STARTED(server)                                                         \
  if (!(server).started())                                                                  \
  GTEST_SKIP() << "no RTSP server: libgstrtspserver-1.0-dev and gstreamer1.0-plugins-good " \
                  "and -bad were not there when this was built"

// A TCP server that serves each connection by a function, on a thread of its own. When the server is
// taken down, connections are shut, so that whatever the function waits for ends.
class TcpServer {
 public:
  explicit TcpServer(std::function<void(int fd)> serve) : serve_(std::move(serve)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* any = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(::bind(listener_, any, size), 0);
    EXPECT_EQ(::listen(listener_, 16), 0);
    EXPECT_EQ(::getsockname(listener_, any, &size), 0);
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { Run(); });
  }
  TcpServer(const TcpServer&) = delete;
  TcpServer& operator=(const TcpServer&) = delete;
  ~TcpServer() {
    stopping_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    ::close(listener_);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      for (const int fd : connections_) ::shutdown(fd, SHUT_RDWR);
    }
    for (std::thread& thread : threads_) thread.join();
    for (const int fd : connections_) ::close(fd);
  }
  int port() const { return port_; }
  int accepted() const { return accepted_; }
  bool stopping() const { return stopping_; }

 private:
  void Run() {
    for (;;) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      ++accepted_;
      const std::lock_guard<std::mutex> lock(mutex_);
      connections_.push_back(fd);
      threads_.emplace_back([this, fd] {
        serve_(fd);
        ::shutdown(fd, SHUT_RDWR);
      });
    }
  }

  const std::function<void(int)> serve_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> stopping_{false};
  std::atomic<int> accepted_{0};
  std::mutex mutex_;
  std::list<int> connections_;
  std::list<std::thread> threads_;
  std::thread acceptor_;
};

inline bool SendAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

// Up to and with the empty line that ends a request's head; empty at the end of the connection.
inline std::string ReadHead(int fd) {
  std::string head;
  char c = 0;
  while (!head.ends_with("\r\n\r\n")) {
    if (::recv(fd, &c, 1, 0) != 1) return "";
    head += c;
  }
  return head;
}

// Files out of memory and endless MJPEG, over HTTP. Everything is set before the first request.
class HttpServer {
 public:
  struct Content {
    std::string type;
    std::string body;
    int parts = 0;  // multipart MJPEG: `body` so often; -1 until the viewer leaves
  };

  HttpServer() : server_([this](int fd) { Serve(fd); }) {}
  void Add(const std::string& path, const std::string& type, const std::string& body) {
    contents_[path] = {type, body, 0};
  }
  void AddMjpeg(const std::string& path, const std::string& jpeg, int parts) {
    contents_[path] = {"", jpeg, parts};
  }
  // Parts of a file are sent when they are asked for; the first answer of all breaks off half-way.
  void AllowRanges() { ranges_ = true; }
  void BreakOnce() { break_once_ = true; }
  // Every request is answered by a wish for basic authentication.
  void WantBasic() { wants_basic_ = true; }
  std::string Url(const std::string& path, const std::string& credentials = "") const {
    return "http://" + credentials + (credentials.empty() ? "" : "@") +
           "127.0.0.1:" + std::to_string(server_.port()) + path;
  }
  bool saw_authorization() const { return saw_authorization_; }

 private:
  void Serve(int fd) {
    const std::string head = ReadHead(fd);
    if (head.find("Authorization:") != std::string::npos) {
      saw_authorization_ = true;
    } else if (wants_basic_) {
      SendAll(fd,
              "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"camera\"\r\n"
              "Content-Length: 0\r\nConnection: close\r\n\r\n");
      return;
    }
    const size_t begin = head.find(' ') + 1;
    const auto found = contents_.find(head.substr(begin, head.find_first_of(" ?", begin) - begin));
    if (found == contents_.end()) {
      SendAll(fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
      return;
    }
    const Content& content = found->second;
    if (content.parts == 0 && ranges_) return ServeRange(fd, head, content);
    if (content.parts == 0) {
      SendAll(fd, "HTTP/1.1 200 OK\r\nContent-Type: " + content.type +
                      "\r\nContent-Length: " + std::to_string(content.body.size()) +
                      "\r\nConnection: close\r\n\r\n" + content.body);
      return;
    }
    bool going = SendAll(fd,
                         "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; "
                         "boundary=frame\r\nConnection: close\r\n\r\n");
    for (int i = 0; going && i != content.parts; ++i) {
      going =
          SendAll(fd, "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: " +
                          std::to_string(content.body.size()) + "\r\n\r\n" + content.body + "\r\n");
    }
  }

  void ServeRange(int fd, const std::string& head, const Content& content) {
    const size_t range = head.find("Range: bytes=");
    const size_t from = range == std::string::npos ? 0 : std::stoull(head.substr(range + 13));
    const std::string size = std::to_string(content.body.size());
    std::string body = from < content.body.size() ? content.body.substr(from) : "";
    const std::string length = std::to_string(body.size());
    if (break_once_.exchange(false)) body.resize(body.size() / 2);
    SendAll(fd, "HTTP/1.1 206 Partial Content\r\nAccept-Ranges: bytes\r\nContent-Type: " +
                    content.type + "\r\nContent-Range: bytes " + std::to_string(from) + "-" +
                    std::to_string(content.body.size() - 1) + "/" + size +
                    "\r\nContent-Length: " + length + "\r\n\r\n" + body);
  }

  std::map<std::string, Content> contents_;
  bool ranges_ = false;
  std::atomic<bool> break_once_{false};
  bool wants_basic_ = false;
  std::atomic<bool> saw_authorization_{false};
  TcpServer server_;
};

}  // namespace sightline::test
