// What a server tells one client again and again: as server-sent events, or over a WebSocket where the
// client asks for that (RFC 6455) on the same path.
//
//   server.RouteFeed("/v1/cameras/{id}/results", [&](const HttpRequest& request, const auto& feed) {
//     cameras.Add(request.Parameter("id"), feed);
//     return std::nullopt;
//   });
//   feed->Send(std::make_shared<const FeedMessage>(FeedMessage{.data = json}));
//
// A client that reads too slowly loses the oldest of what waits for it (HttpServerOptions.feed_*), which is
// counted; it holds up nobody else. Silent feeds are kept alive: by comments, or by pings that must be
// answered. What clients send over a WebSocket is read and thrown away.
// Threads: any, at any time, also after the end of the client and of the server.
// Source: HTML living standard, "Server-sent events"; RFC 6455.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace sightline::serve {

struct FeedMessage {
  // Of server-sent events alone; no line ends in them.
  std::string event = {};  // its type; empty: "message"
  std::string id = {};     // what the client names after it lost its connection ("Last-Event-ID")
  std::string data = {};   // UTF-8
};

class HttpFeed {
 public:
  virtual ~HttpFeed() = default;
  // Immutable, so that many clients share it. False when the client is gone or the feed is at its end.
  virtual bool Send(std::shared_ptr<const FeedMessage> message) = 0;
  // Nothing comes after what waits.
  virtual void End() = 0;
  virtual bool open() const = 0;
  // How many messages this client lost.
  virtual uint64_t lost() const = 0;
};

}  // namespace sightline::serve
