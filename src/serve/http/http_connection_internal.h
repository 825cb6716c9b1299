// What HttpServer and its connections ask of each other. Internal to serve/http.
//
// Threads: everything on the server's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>

#include "serve/http/body_memory.h"
#include "serve/http/http_server.h"

namespace sightline::serve {

struct FeedCounts;

// Lives as long as an operation of its own is under way.
class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  virtual ~HttpConnection() = default;
  // Closes now, or once the answer on its way is sent.
  virtual void EndWhenAnswered() = 0;
  virtual void Close() = 0;
  // The time of SetAlarm() came. Ends no connection before it returns.
  virtual void OnAlarm(int64_t now_us) = 0;
  // The answer of an asynchronous handler.
  virtual void SendLater(HttpResponse&&) {}
  // What somebody asked for by HttpConnectionHost::Waker().
  virtual void OnWake() {}

  size_t place = 0;  // among the server's, which keeps it
};

class HttpConnectionHost {
 public:
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

  virtual ~HttpConnectionHost() = default;
  virtual const HttpServerOptions& options() const = 0;
  virtual const Router& router() const = 0;
  virtual bool stopping() const = 0;
  virtual int64_t NowUs() const = 0;
  virtual void Answered(int status) = 0;
  virtual void TimedOut() = 0;
  virtual void HandshakeFailed() = 0;
  virtual void CountAsleep(int change) = 0;
  // More than three quarters of the places are taken.
  virtual bool IsCrowded() const = 0;
  virtual const std::shared_ptr<FeedCounts>& feed_counts() const = 0;
  // Of every connection, at its beginning and end.
  virtual void Began(HttpConnection& connection) = 0;
  virtual void Ended(HttpConnection& connection) = 0;
  // Calls OnAlarm() then or soon after; an earlier wish is forgotten.
  virtual void SetAlarm(HttpConnection& connection, int64_t at_us) = 0;
  // Of bodies. Who has taken a block of it calls TidyBodies(), which sees to it that it is given back one day.
  virtual BodyMemory& bodies() = 0;
  virtual void TidyBodies() = 0;
  // Room for answers that wait; false when there is none.
  virtual bool TakeAnswerRoom(size_t bytes) = 0;
  virtual void GiveAnswerRoom(size_t bytes) = 0;
  // Keeps the connection until its answer comes, which is given to SendLater().
  virtual HttpReply Wait(std::shared_ptr<HttpConnection> connection) = 0;
  // A function for any thread and any time, by which OnWake() is called on the server's.
  virtual std::function<void()> Waker(std::weak_ptr<HttpConnection> connection) = 0;
};

}  // namespace sightline::serve
