// An RTSP server (RFC 2326) for streams that somebody else encodes.
//
// The interface of a library that is loaded at run time (load_rtsp_server.h): the program itself
// needs none of what is behind it. Both come from one build, so the interface is C++; errors are
// sentences, empty when all is well, so that it needs no library of ours.
//
// Threads: every function may be called from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace sightline::sim {

// How a stream meets its viewers.
enum class Admission : uint8_t {
  kOpen,
  kCut,    // viewers are sent away, and who comes is told 503 Service Unavailable
  kRefuse  // the same with 401 Unauthorized
};

enum class RtspCodec : uint8_t { kH264, kH265, kMjpeg };

struct CodedPicture {
  std::span<const uint8_t> bytes;  // as StreamEncoder makes them
  int width = 0;                   // px
  int height = 0;                  // px
  int64_t pts_us = 0;
  bool key = false;
};

class RtspServer {
 public:
  struct Options {
    std::string address = "127.0.0.1";  // to listen on
    int port = 0;                       // 0: any that is free
    std::string user;                   // empty: whoever comes may look
    std::string password;               // asked for by digest authentication (RFC 2617)
  };
  virtual ~RtspServer() = default;

  // A stream at rtsp://ADDRESS:PORT/`path`; before Start(). Streams are numbered from 0. RTP time
  // stamps begin at 0 when the machine's monotonic clock was `born_monotonic_us`, and sender reports
  // say which time of day belongs to them.
  virtual std::string AddStream(const std::string& path, RtspCodec codec,
                                int64_t born_monotonic_us) = 0;
  virtual std::string Start() = 0;
  virtual int port() const = 0;

  // Whether somebody is watching, or about to.
  virtual bool Watched(size_t stream) const = 0;
  // One picture to everybody who watches. Nothing waits: the oldest of 32 pictures makes room when the network is behind.
  virtual void Send(size_t stream, const CodedPicture& picture) = 0;
  virtual void Admit(size_t stream, Admission admission) = 0;
};

// What the loaded library offers.
inline constexpr char kRtspServerSymbol[] = "sightline_make_rtsp_server";
// Null with `error` set when it cannot work on this machine.
using MakeRtspServer = RtspServer* (*)(const RtspServer::Options& options, std::string* error);

}  // namespace sightline::sim
