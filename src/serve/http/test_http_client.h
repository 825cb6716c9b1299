// A client of raw sockets for the tests of servers: says what it is told, well-formed or not.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace sightline::serve {

class RawClient {
 public:
  // `from`: its own address, one of 127.0.0.0/8.
  static RawClient Tcp(uint16_t port, int receive_buffer_bytes = 0, const char* from = nullptr) {
    RawClient client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (from != nullptr) {
      sockaddr_in own{};
      own.sin_family = AF_INET;
      EXPECT_EQ(inet_pton(AF_INET, from, &own.sin_addr), 1);
      EXPECT_EQ(bind(client.fd_, reinterpret_cast<sockaddr*>(&own), sizeof(own)), 0);
    }
    if (receive_buffer_bytes > 0) {
      setsockopt(client.fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof(int));
    }
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client.connected_ = connect(client.fd_, reinterpret_cast<sockaddr*>(&to), sizeof(to)) == 0;
    return client;
  }
  static RawClient Unix(const std::string& path) {
    RawClient client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    std::strncpy(to.sun_path, path.c_str(), sizeof(to.sun_path) - 1);
    client.connected_ = connect(client.fd_, reinterpret_cast<sockaddr*>(&to), sizeof(to)) == 0;
    return client;
  }
  RawClient(RawClient&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)),
        connected_(other.connected_),
        rest_(std::move(other.rest_)) {}
  RawClient& operator=(RawClient&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(connected_, other.connected_);
    std::swap(rest_, other.rest_);
    return *this;
  }
  ~RawClient() {
    if (fd_ >= 0) close(fd_);
  }

  bool connected() const { return connected_; }

  // False when the other side has closed.
  bool Say(std::string_view text) {
    while (!text.empty()) {
      const ssize_t sent = send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      text.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }
  // Answers that take longer are none.
  void SetPatience(int seconds) {
    const timeval patience{.tv_sec = seconds, .tv_usec = 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  }
  void EndSaying() { shutdown(fd_, SHUT_WR); }

  // Everything until the other side closes.
  std::string HearAll() {
    while (HearMore()) {
    }
    return std::exchange(rest_, {});
  }

  // Up to and with `mark`; what came when the other side closed.
  std::string HearUntil(std::string_view mark) {
    size_t at;
    while ((at = rest_.find(mark)) == std::string::npos) {
      if (!HearMore()) return std::exchange(rest_, {});
    }
    const std::string heard = rest_.substr(0, at + mark.size());
    rest_.erase(0, heard.size());
    return heard;
  }
  // So many bytes.
  std::string HearBytes(size_t count) {
    while (rest_.size() < count && HearMore()) {
    }
    const std::string heard = rest_.substr(0, count);
    rest_.erase(0, heard.size());
    return heard;
  }

  // The next answer: head, and as much body as it announces; what came when the other side closed.
  std::string HearAnswer(bool to_head = false) {
    size_t end;
    while ((end = rest_.find("\r\n\r\n")) == std::string::npos) {
      if (!HearMore()) return std::exchange(rest_, {});
    }
    end += 4;
    const size_t length = rest_.find("\r\nContent-Length: ");
    if (!to_head && length < end) end += std::stoul(rest_.substr(length + 18));
    while (rest_.size() < end && HearMore()) {
    }
    const std::string answer = rest_.substr(0, end);
    rest_.erase(0, end);
    return answer;
  }

  std::string Ask(std::string_view request) {
    return Say(request) ? HearAnswer() : std::string("(closed)");
  }
  std::string Get(std::string_view path) {
    return Ask("GET " + std::string(path) + " HTTP/1.1\r\nHost: test\r\n\r\n");
  }

 private:
  explicit RawClient(int fd) : fd_(fd) {}
  bool HearMore() {
    char bytes[4096];
    const ssize_t got = recv(fd_, bytes, sizeof(bytes), 0);
    if (got <= 0) return false;
    rest_.append(bytes, static_cast<size_t>(got));
    return true;
  }

  int fd_;
  bool connected_ = false;
  std::string rest_;
};

inline int StatusOf(std::string_view answer) {
  return answer.starts_with("HTTP/1.1 ") ? std::atoi(answer.data() + 9) : 0;
}
inline std::string BodyOf(std::string_view answer) {
  const size_t end = answer.find("\r\n\r\n");
  return end == std::string_view::npos ? "" : std::string(answer.substr(end + 4));
}

}  // namespace sightline::serve
