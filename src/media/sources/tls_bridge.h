// TLS for a library that can only do it without looking at certificates: a verified TLS connection
// to a server on one side, and a port of this machine's loopback on the other, at which the library
// finds what the server says in the clear.
//
// libav 5.1 opens rtsps:// without passing on any option: no verification, no authority of one's
// own, no client certificate. So rtsp:// to this port takes its place.
//
// The port takes one connection, from this user's own processes alone (on a shared machine others
// could otherwise use our client certificate), and is closed then.
//
// Standard: TLS 1.2 and 1.3, server identity by RFC 6125 (name) or by IP address.
// Threads: Open() blocks its caller; then one thread of its own until destruction.
// Memory: 32 KiB and OpenSSL's own. Cost: one copy more of every byte on its way.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "media/sources/live_options.h"

namespace sightline {

class TlsBridge {
 public:
  // Connects and shakes hands. `stop` is asked some ten times a second; true ends it. `name` is for
  // errors: Unavailable (unreachable, no TLS there), Unauthenticated (a certificate was refused, by
  // us or by the server), InvalidArgument (the files in `options`), Cancelled (stopped).
  static absl::StatusOr<std::unique_ptr<TlsBridge>> Open(const std::string& host, int port,
                                                         const TlsOptions& options,
                                                         const std::string& name,
                                                         const std::function<bool()>& stop);
  ~TlsBridge();
  int port() const;  // on 127.0.0.1
  // Why the connection broke, where TLS says so: in TLS 1.3 a server refuses our certificate only
  // after the handshake. OK while it stands, or where it was only closed. Threads: any.
  absl::Status error() const;

 private:
  class Impl;
  explicit TlsBridge(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sightline
