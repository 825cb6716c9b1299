// libav's own words: into our log at debug level instead of raw on standard error.
#pragma once

#include <string>
#include <string_view>

namespace sightline {

// Routes libav's messages (warnings and errors) to Log() at debug level, for the whole process.
// Every entry of this module calls it; further calls cost one atomic load. Threads: safe.
void RouteAvLog();

// Some of what libav's network code says is told nowhere else: the request that it is about to send,
// why a name or a certificate was refused. While a watch lives, it sees those messages of the thread
// that made it, before libav goes on. Watches of one thread nest; the innermost sees.
//
// Threads: made, called and destroyed on one thread.
class AvLogWatch {
 public:
  AvLogWatch();
  AvLogWatch(const AvLogWatch&) = delete;
  AvLogWatch& operator=(const AvLogWatch&) = delete;
  // `format` is libav's printf format, by which messages are told apart; `text` is made only for
  // those wanted. It may hold secrets.
  virtual bool Wants(std::string_view format) const = 0;
  virtual void OnMessage(std::string_view format, std::string_view text) = 0;

 protected:
  ~AvLogWatch();

 private:
  AvLogWatch* outer_;
};

// libav's sentence for one of its error codes ("Invalid data found when processing input").
std::string AvErrorText(int code);

}  // namespace sightline
