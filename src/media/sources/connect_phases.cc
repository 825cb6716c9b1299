#include "media/sources/connect_phases.h"

#include <fmt/format.h>

#include <utility>

namespace sightline {

void ConnectPhases::OnRequest(std::string_view text, int64_t now_us) {
  if (first_request_us == 0) first_request_us = now_us;
  const auto is = [text](std::string_view method) {  // the text is "Sending:", then the request
    const size_t at = text.find(method);
    return at != std::string_view::npos && (at == 0 || text[at - 1] == '\n');
  };
  if (is("DESCRIBE ")) describe_us = now_us;
  if (is("SETUP ")) setup_us = now_us;
  if (is("PLAY ")) play_us = now_us;
}

std::string ConnectPhases::Describe() const {
  std::string text;
  int64_t last_us = begun_us;
  const auto add = [&](std::string_view what, int64_t until_us) {
    if (until_us == 0) return;
    text += fmt::format("{} {:.1f} ms, ", what, static_cast<double>(until_us - last_us) * 1e-3);
    last_us = until_us;
  };
  // Each phase ends where the next one is seen to begin.
  add("connection", first_request_us);
  add("OPTIONS", describe_us);
  add("DESCRIBE", setup_us);
  add("SETUP", play_us);
  add(play_us != 0 ? "PLAY" : "header", opened_us);
  add("looking at it", known_us);
  add("first packet", first_packet_us);
  add("first picture", first_picture_us);
  return text + fmt::format("{:.1f} ms in all", static_cast<double>(last_us - begun_us) * 1e-3);
}

}  // namespace sightline
