#include "net/http_client.h"

#include <curl/curl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <ctime>
#include <new>
#include <utility>

#include "base/ascii_text.h"
#include "base/mutex.h"
#include "base/redact.h"
#include "base/time.h"
#include "base/without_sigpipe.h"

namespace sightline::net {
namespace {

constexpr size_t kMaxUrlBytes = 8 * 1024;
constexpr size_t kMaxHeaders = 100;  // of a request
constexpr long kConnectionsALine = 2;

struct UrlFree {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
struct EasyFree {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct MultiFree {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};
struct ListFree {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using UrlPtr = std::unique_ptr<CURLU, UrlFree>;
using ListPtr = std::unique_ptr<curl_slist, ListFree>;

bool LibraryStarted() {
  static const bool started = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  return started;
}

// A connection's home: libcurl keeps connections in the multi handle, which also can be woken.
struct Line {
  std::unique_ptr<CURLM, MultiFree> multi;
  std::unique_ptr<CURL, EasyFree> easy;  // goes first
};

// One attempt, as libcurl's callbacks see it.
struct Transfer {
  const HttpRequest* request = nullptr;
  HttpResponse response;
  size_t head_bytes = 0;
  bool head_too_large = false;
  bool body_too_large = false;
  bool no_memory = false;
};

std::string_view Trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

size_t TakeHeader(char* data, size_t, size_t size, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  transfer.head_bytes += size;
  if (transfer.head_bytes > transfer.request->max_head_bytes) {
    transfer.head_too_large = true;
    return 0;
  }
  try {
    const std::string_view line(data, size);
    if (line.starts_with("HTTP/")) transfer.response.headers.clear();  // a new head, as after 100
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || colon == 0) return size;
    transfer.response.headers.push_back(
        {AsciiLower(Trimmed(line.substr(0, colon))), std::string(Trimmed(line.substr(colon + 1)))});
  } catch (const std::bad_alloc&) {
    transfer.no_memory = true;
    return 0;
  }
  return size;
}

size_t TakeBody(char* data, size_t, size_t size, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  if (size > transfer.request->max_answer_bytes - transfer.response.body.size()) {
    transfer.body_too_large = true;
    return 0;
  }
  try {
    transfer.response.body.append(data, size);
  } catch (const std::bad_alloc&) {
    transfer.no_memory = true;
    return 0;
  }
  return size;
}

absl::StatusOr<UrlPtr> ParseUrl(const std::string& url) {
  if (url.size() > kMaxUrlBytes) {
    return InvalidArgument("a URL of {} bytes; at most {} are sent", url.size(), kMaxUrlBytes);
  }
  for (const unsigned char c : url) {
    if (c <= 0x20 || c == 0x7F) {
      return InvalidArgument("a URL with a blank or a control character in it");
    }
  }
  UrlPtr parsed(curl_url());
  if (!parsed) return ResourceExhausted("no memory for a URL");
  if (curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), CURLU_NON_SUPPORT_SCHEME) !=
      CURLUE_OK) {
    return InvalidArgument("a URL that cannot be read; write http://HOST/... or https://HOST/...");
  }
  return parsed;
}

std::string PartOf(const UrlPtr& url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url.get(), part, &text, flags) != CURLUE_OK) return {};
  std::string copy = text;
  curl_free(text);
  return copy;
}

bool IsToken(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](unsigned char c) {
    return c > 0x20 && c < 0x7F &&
           std::string_view("\"(),/:;<=>?@[\\]{}").find(static_cast<char>(c)) ==
               std::string_view::npos;
  });
}

absl::Status CheckHeaders(const HttpRequest& request) {
  if (!IsToken(request.method) || request.method.size() > 20) {
    return InvalidArgument("an HTTP method that is none");
  }
  if (request.headers.size() > kMaxHeaders) {
    return InvalidArgument("{} headers; at most {} are sent", request.headers.size(), kMaxHeaders);
  }
  for (const HttpHeader& header : request.headers) {
    if (!IsToken(header.name)) return InvalidArgument("a header's name that is none");
    const bool good = std::ranges::all_of(
        header.value, [](unsigned char c) { return c == '\t' || (c >= 0x20 && c != 0x7F); });
    if (!good) {
      return InvalidArgument(
          "the value of the header {} holds a line end or another control character", header.name);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ListPtr> HeaderList(const HttpRequest& request) {
  ListPtr list;
  const auto add = [&](const std::string& line) {
    curl_slist* longer = curl_slist_append(list.get(), line.c_str());
    if (longer == nullptr) return false;
    (void)list.release();
    list.reset(longer);
    return true;
  };
  // What libcurl would add by itself: a second's wait before large bodies, and a form's type.
  bool good = add("Expect:");
  const bool typed = std::ranges::any_of(request.headers, [](const HttpHeader& header) {
    return AsciiLower(header.name) == "content-type";
  });
  if (!typed) good = good && add("Content-Type:");
  for (const HttpHeader& header : request.headers) {
    // libcurl wants empty values written so.
    const std::string_view value = Trimmed(header.value);
    good = good && add(value.empty() ? header.name + ";" : header.name + ": " + std::string(value));
  }
  if (!good) return ResourceExhausted("no memory for a request");
  return list;
}

absl::Status FailureOf(CURLcode code, const char* details, const Transfer& transfer) {
  const std::string why =
      ShownText(WithoutSecrets(details[0] != '\0' ? details : curl_easy_strerror(code)), 200);
  const HttpRequest& request = *transfer.request;
  if (transfer.no_memory) return ResourceExhausted("no memory is left for the answer");
  if (transfer.head_too_large) {
    return ResourceExhausted("the answer's head has more than {} bytes", request.max_head_bytes);
  }
  if (transfer.body_too_large) {
    return ResourceExhausted("the answer has more than {} bytes", request.max_answer_bytes);
  }
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
      return DeadlineExceeded("took too long: {}", why);
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_SSL_CONNECT_ERROR:
      return Unavailable("{}", why);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
      return Unauthenticated("its certificate is not trusted: {}; name its authority with ca_file",
                             why);
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
      return DataLoss("what it answers is no HTTP: {}", why);
    case CURLE_OUT_OF_MEMORY:
      return ResourceExhausted("no memory is left for the request");
    case CURLE_URL_MALFORMAT:
      return InvalidArgument("the URL cannot be sent: {}", why);
    default:
      return FailedPrecondition("{}", why);
  }
}

absl::Status CheckReadable(const std::string& file, std::string_view what) {
  if (file.empty() || ::access(file.c_str(), R_OK) == 0) return absl::OkStatus();
  return FailedPrecondition("{} {} is not there or may not be read", what, file);
}

}  // namespace

const std::string* HttpResponse::Find(std::string_view name) const {
  const auto found = std::ranges::find(headers, name, &HttpHeader::name);
  return found == headers.end() ? nullptr : &found->value;
}

absl::StatusOr<std::string> OriginOf(const std::string& url) {
  SL_ASSIGN_OR_RETURN(const UrlPtr parsed, ParseUrl(url));
  const std::string scheme = AsciiLower(PartOf(parsed, CURLUPART_SCHEME));
  const std::string host = AsciiLower(PartOf(parsed, CURLUPART_HOST));
  if ((scheme != "http" && scheme != "https") || host.empty()) {
    return InvalidArgument("a URL of another kind; write http://HOST/... or https://HOST/...");
  }
  const std::string port = PartOf(parsed, CURLUPART_PORT, CURLU_NO_DEFAULT_PORT);
  // Made of what a URL allows, and yet nothing that a terminal would obey.
  return ShownText(port.empty() ? fmt::format("{}://{}", scheme, host)
                                : fmt::format("{}://{}:{}", scheme, host, port),
                   300);
}

class HttpClient::Impl {
 public:
  explicit Impl(const HttpClientOptions& options) : options_(options) {}

  absl::StatusOr<HttpResponse> Fetch(const HttpRequest& request) {
    SL_RETURN_IF_ERROR(CheckHeaders(request));
    SL_ASSIGN_OR_RETURN(std::string origin, OriginOf(request.url));
    const std::string& shown = options_.unix_socket.empty() ? origin : options_.unix_socket;
    const int64_t end_us = Clock::Real().NowMonotonicUs() + request.timeout_us;
    HttpRequest now = request;
    for (int redirects = 0;; ++redirects) {
      now.timeout_us = end_us - Clock::Real().NowMonotonicUs();
      Transfer transfer{.request = &now};
      std::string elsewhere;
      const absl::Status done = Attempt(now, &transfer, &elsewhere);
      if (!done.ok()) return WithContext(done, shown);
      if (request.max_redirects <= 0 || elsewhere.empty()) return std::move(transfer.response);
      if (redirects == request.max_redirects) {
        return PermissionDenied("{}: redirects more than {} times", origin, request.max_redirects);
      }
      const absl::StatusOr<std::string> next = OriginOf(elsewhere);
      if (!next.ok() || *next != origin) {
        return PermissionDenied(
            "{}: redirects to {}, where the request's credentials are not sent; if that is right, "
            "give that address",
            origin, next.ok() ? *next : "what is no HTTP address");
      }
      // RFC 9110, section 15.4: 307 and 308 keep the method; the others become a GET, as browsers
      // and libcurl do it.
      const int status = transfer.response.status;
      if (status != 307 && status != 308 && now.method != "HEAD") {
        now.method = "GET";
        now.body = {};
        std::erase_if(now.headers, [](const HttpHeader& header) {
          return AsciiLower(header.name).starts_with("content-");
        });
      }
      now.url = elsewhere;
    }
  }

  uint64_t connections_made() const { return connections_.load(std::memory_order_relaxed); }

 private:
  absl::StatusOr<std::unique_ptr<Line>> TakeLine() {
    {
      const MutexLock lock(mutex_);
      if (!idle_.empty()) {
        std::unique_ptr<Line> line = std::move(idle_.back());
        idle_.pop_back();
        return line;
      }
    }
    auto line = std::make_unique<Line>();
    line->multi.reset(curl_multi_init());
    line->easy.reset(curl_easy_init());
    if (!line->multi || !line->easy) return ResourceExhausted("no memory for a connection");
    curl_multi_setopt(line->multi.get(), CURLMOPT_MAXCONNECTS, kConnectionsALine);
    return line;
  }
  void GiveBack(std::unique_ptr<Line> line) {
    {
      const MutexLock lock(mutex_);
      if (idle_.size() < options_.max_idle_connections) idle_.push_back(std::move(line));
    }
    // Beyond those kept it is closed here, without the lock.
    const WithoutSigpipe spared;
    line.reset();
  }

  void SetUp(CURL* easy, const HttpRequest& request, Transfer* transfer, char* details) const {
    curl_easy_reset(easy);  // connections stay
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, details);
    curl_easy_setopt(easy, CURLOPT_URL, request.url.c_str());
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "sightline");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);  // else a slow name server outlasts the timeout
    const auto milliseconds = [](int64_t us) {
      return static_cast<long>(std::clamp<int64_t>(us / 1000, 1, 1'000'000'000));
    };
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, milliseconds(options_.connect_timeout_us));
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, milliseconds(request.timeout_us));
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &TakeHeader);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &TakeBody);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    if (!options_.unix_socket.empty()) {
      curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, options_.unix_socket.c_str());
    }
    if (!options_.use_environment_proxy) curl_easy_setopt(easy, CURLOPT_PROXY, "");
    const TlsOptions& tls = options_.tls;
    if (!tls.ca_file.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, tls.ca_file.c_str());
    if (!tls.certificate_file.empty()) {
      curl_easy_setopt(easy, CURLOPT_SSLCERT, tls.certificate_file.c_str());
      curl_easy_setopt(easy, CURLOPT_SSLKEY, tls.key_file.c_str());
    }
    const std::string& method = request.method;
    if (method == "HEAD") {
      curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    } else if (!request.body.empty() || method == "POST" || method == "PUT" || method == "PATCH") {
      curl_easy_setopt(easy, CURLOPT_POST, 1L);
      curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                       static_cast<curl_off_t>(request.body.size()));
      curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.body.empty() ? "" : request.body.data());
      curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method.c_str());
    } else {
      curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
      curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method.c_str());
    }
  }

  // One request without redirects; *elsewhere is where it redirects to, empty: nowhere.
  absl::Status Attempt(const HttpRequest& request, Transfer* transfer, std::string* elsewhere) {
    if (request.timeout_us <= 0) return DeadlineExceeded("took too long");
    SL_ASSIGN_OR_RETURN(std::unique_ptr<Line> line, TakeLine());
    SL_ASSIGN_OR_RETURN(const ListPtr headers, HeaderList(request));
    const WithoutSigpipe spared;
    CURL* const easy = line->easy.get();
    CURLM* const multi = line->multi.get();
    char details[CURL_ERROR_SIZE] = "";
    SetUp(easy, request, transfer, details);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers.get());
    if (curl_multi_add_handle(multi, easy) != CURLM_OK) {
      return FailedPrecondition("libcurl takes no request");
    }
    const CURLcode code = Run(multi, request);
    if (code == CURLE_OK) ReadResult(easy, request, transfer, elsewhere);
    long os_error = 0;
    curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os_error);
    long made = 0;
    curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &made);
    connections_.fetch_add(static_cast<uint64_t>(std::max(0L, made)), std::memory_order_relaxed);
    curl_multi_remove_handle(multi, easy);  // closes the connection unless the answer is whole
    curl_easy_reset(easy);                  // nothing of this request's is pointed to any more
    GiveBack(std::move(line));
    if (code == CURLE_ABORTED_BY_CALLBACK) return Cancelled("asked to stop");
    if (code == CURLE_COULDNT_CONNECT && !options_.unix_socket.empty()) {
      if (os_error == ECONNREFUSED || os_error == ENOENT || os_error == ENOTDIR) {
        return NotFound("nobody listens there");
      }
      if (os_error == EACCES || os_error == EPERM) {
        return PermissionDenied("it belongs to another user");
      }
    }
    return code == CURLE_OK ? absl::OkStatus() : FailureOf(code, details, *transfer);
  }

  static CURLcode Run(CURLM* multi, const HttpRequest& request) {
    const CancelSignal::Listener listener(request.cancel, [multi] { curl_multi_wakeup(multi); });
    while (true) {
      if (request.cancel != nullptr && request.cancel->cancelled()) {
        return CURLE_ABORTED_BY_CALLBACK;
      }
      int running = 0;
      if (curl_multi_perform(multi, &running) != CURLM_OK) return CURLE_OUT_OF_MEMORY;
      if (running == 0) break;
      // No longer than until libcurl's own next timeout.
      if (curl_multi_poll(multi, nullptr, 0, 1000, nullptr) != CURLM_OK) return CURLE_OUT_OF_MEMORY;
    }
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi, &left)) {
      if (message->msg == CURLMSG_DONE) return message->data.result;
    }
    return CURLE_RECV_ERROR;
  }

  static void ReadResult(CURL* easy, const HttpRequest& request, Transfer* transfer,
                         std::string* elsewhere) {
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    transfer->response.status = static_cast<int>(status);
    if (transfer->response.Find("retry-after") != nullptr) {
      curl_off_t seconds = 0;
      curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &seconds);
      constexpr curl_off_t kMost = kLongestDurationUs / 1'000'000;
      transfer->response.retry_after_us =
          std::clamp<curl_off_t>(seconds, 0, kMost) * int64_t{1'000'000};
    }
    const char* redirect = nullptr;
    curl_easy_getinfo(easy, CURLINFO_REDIRECT_URL, &redirect);
    if (redirect != nullptr && request.max_redirects > 0) *elsewhere = redirect;
  }

  const HttpClientOptions options_;
  std::atomic<uint64_t> connections_{0};
  Mutex mutex_;
  // The last one used is the first to be used again, so that the others grow old and are closed.
  std::vector<std::unique_ptr<Line>> idle_ GUARDED_BY(mutex_);
};

HttpClient::HttpClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpClient::~HttpClient() {
  const WithoutSigpipe spared;
  impl_.reset();
}

absl::StatusOr<std::unique_ptr<HttpClient>> HttpClient::Create(const HttpClientOptions& options) {
  if (!LibraryStarted()) return FailedPrecondition("libcurl cannot be started");
  if (options.unix_socket.size() >= sizeof sockaddr_un{}.sun_path) {
    return NotFound("{}: nobody listens there: no socket has so long a path", options.unix_socket);
  }
  SL_RETURN_IF_ERROR(CheckReadable(options.tls.ca_file, "the file of authorities"));
  SL_RETURN_IF_ERROR(CheckReadable(options.tls.certificate_file, "the certificate"));
  SL_RETURN_IF_ERROR(CheckReadable(options.tls.key_file, "the key"));
  if (options.tls.certificate_file.empty() != options.tls.key_file.empty()) {
    return FailedPrecondition("a certificate goes with its key; give both or none");
  }
  return std::unique_ptr<HttpClient>(new HttpClient(std::make_unique<Impl>(options)));
}

absl::StatusOr<HttpResponse> HttpClient::Fetch(const HttpRequest& request) {
  return impl_->Fetch(request);
}

uint64_t HttpClient::connections_made() const { return impl_->connections_made(); }

}  // namespace sightline::net
