// One connection of HttpServer, from its first request to its last. Internal to serve/http.
//
// Threads: everything on the server's.
#pragma once

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <memory>
#include <optional>

#include "serve/http/http_gate.h"
#include "serve/http/http_server.h"

namespace sightline::serve {

class HttpSession;

// What a connection asks of its server.
class HttpSessionHost {
 public:
  virtual ~HttpSessionHost() = default;
  virtual const HttpServerOptions& options() const = 0;
  virtual const Router& router() const = 0;
  virtual bool stopping() const = 0;
  virtual void Answered(int status) = 0;
  virtual void Ended(HttpSession* session) = 0;
  // Room for bodies; false when there is none.
  virtual bool TakeRoom(size_t bytes) = 0;
  virtual void GiveRoom(size_t bytes) = 0;
  // Keeps the session until its answer comes, which is sent by SendLater().
  virtual HttpReply Wait(std::shared_ptr<HttpSession> session) = 0;
};

// Lives as long as an operation of its own is under way.
class HttpSession final : public std::enable_shared_from_this<HttpSession> {
 public:
  using Protocol = boost::asio::generic::stream_protocol;  // TCP and Unix sockets alike
  using Socket = Protocol::socket;

  // `refused`: the server is full, which is all that it answers.
  HttpSession(HttpSessionHost& host, Socket&& socket, bool from_unix_socket, bool refused);
  ~HttpSession();

  void Start();
  // Closes now, or once the answer on its way is sent.
  void EndWhenAnswered();
  void Close();
  // The answer of an asynchronous handler.
  void SendLater(HttpResponse&& response);

 private:
  using ErrorCode = boost::beast::error_code;

  void AwaitRequest();
  void ReadHead();
  void OnHead(ErrorCode error);
  // Asks the gate; true when it refused, and its answer is on its way.
  bool IsRefusedByGate(bool has_body);
  // Tells the gate that the request is over, if there is one.
  void EndExchange();
  void ReadBody();
  void ReadRest(size_t length);
  void ReadChunks();
  void OnBody(ErrorCode error);
  void Answer();
  void Refuse(int status, std::string_view message);
  void RefuseBroken(ErrorCode error);
  void RefuseFull();
  void Send(HttpResponse&& response, bool keep_alive, bool head_only);
  void OnSent(ErrorCode error, size_t bytes, bool keep_alive);
  // Room for so many bytes in all; false, and none more than before, when there is not so much.
  bool NeedRoom(size_t bytes);
  // Gives back what is beyond.
  void ShrinkRoom(size_t bytes);
  void Linger();

  HttpSessionHost& host_;
  boost::beast::basic_stream<Protocol> stream_;
  boost::beast::flat_buffer buffer_;
  std::optional<boost::beast::http::request_parser<boost::beast::http::string_body>> parser_;
  Router::Found route_;
  HttpRequest request_;
  std::optional<HttpExchange> exchange_;  // from Admit() to Ended()
  int64_t began_us_ = 0;                  // the first byte of the request came
  std::string client_;                    // asked for once
  const bool from_unix_socket_;
  const bool refused_;
  bool answering_ = false;   // an answer is on its way, or will be
  bool keep_alive_ = false;  // of the request that is being answered
  bool head_only_ = false;
  size_t room_bytes_ = 0;  // taken for the body
  bool first_ = true;      // no request came yet
  size_t lingered_bytes_ = 0;
};

}  // namespace sightline::serve
