// Reads requests of HTTP/1 straight into an HttpRequest. Internal to serve/http.
#pragma once

#include <boost/beast/http/basic_parser.hpp>
#include <limits>
#include <string>
#include <string_view>

#include "base/ascii_text.h"
#include "serve/http/http_message.h"

namespace sightline::serve {

// Of one request. Path and query stay in target(); headers come with names in lower case.
class RequestParser final : public boost::beast::http::basic_parser</*isRequest=*/true> {
 public:
  RequestParser(HttpRequest& request, size_t max_head_bytes) : request_(request) {
    header_limit(static_cast<uint32_t>(max_head_bytes));
    // The body's limit is the route's, which the head tells. (Beast 1.74 takes "none" for zero.)
    body_limit(std::numeric_limits<uint64_t>::max());
  }

  const std::string& target() const { return target_; }
  int version() const { return version_; }  // 10 or 11
  int hosts() const { return hosts_; }      // how many Host headers

 private:
  using Text = boost::beast::string_view;
  using ErrorCode = boost::beast::error_code;
  using Size = boost::optional<uint64_t>;
  static std::string_view View(Text text) { return {text.data(), text.size()}; }

  void on_request_impl(boost::beast::http::verb, Text method, Text target, int version,
                       ErrorCode&) override {
    request_.method = View(method);
    target_ = View(target);
    version_ = version;
  }
  void on_response_impl(int, Text, int, ErrorCode&) override {}
  void on_field_impl(boost::beast::http::field field, Text name, Text value, ErrorCode&) override {
    if (is_header_done()) return;  // of a trailer: the gate has seen the head without it
    if (field == boost::beast::http::field::host) ++hosts_;
    request_.headers.emplace_back(AsciiLower(View(name)), View(value));
  }
  void on_header_impl(ErrorCode&) override {}
  void on_body_init_impl(const Size&, ErrorCode&) override {}
  size_t on_body_impl(Text body, ErrorCode&) override {
    request_.body.text().append(body.data(), body.size());
    return body.size();
  }
  void on_chunk_header_impl(uint64_t, Text, ErrorCode&) override {}
  size_t on_chunk_body_impl(uint64_t, Text body, ErrorCode&) override {
    request_.body.text().append(body.data(), body.size());
    return body.size();
  }
  void on_finish_impl(ErrorCode&) override {}

  HttpRequest& request_;
  std::string target_;
  int version_ = 0;
  int hosts_ = 0;
};

}  // namespace sightline::serve
