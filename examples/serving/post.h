// One POST over libcurl, on a connection that stays open for the next.
#pragma once

#include <curl/curl.h>

#include <stdexcept>
#include <string>
#include <vector>

struct Answer {
  long status = 0;
  std::string json_length;  // Inference-Header-Content-Length, where there is one
  std::string body;
};

class Poster {
 public:
  Poster() : curl_(curl_easy_init()) {
    if (curl_ == nullptr) throw std::runtime_error("libcurl cannot be used");
  }
  ~Poster() { curl_easy_cleanup(curl_); }
  Poster(const Poster&) = delete;
  Poster& operator=(const Poster&) = delete;

  // Throws std::runtime_error when there is no answer.
  Answer Post(const std::string& url, const std::vector<std::string>& headers,
              const std::string& body) {
    Answer answer;
    curl_slist* list = nullptr;
    for (const std::string& header : headers) list = curl_slist_append(list, header.c_str());
    list = curl_slist_append(list, "Expect:");  // sends the body at once
    curl_easy_setopt(curl_, CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl_, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(curl_, CURLOPT_POSTFIELDS, body.data());
    curl_easy_setopt(curl_, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    curl_easy_setopt(curl_, CURLOPT_TIMEOUT, 60L);
    curl_easy_setopt(curl_, CURLOPT_HEADERFUNCTION, TakeHeader);
    curl_easy_setopt(curl_, CURLOPT_HEADERDATA, &answer);
    curl_easy_setopt(curl_, CURLOPT_WRITEFUNCTION, TakeBody);
    curl_easy_setopt(curl_, CURLOPT_WRITEDATA, &answer);
    const CURLcode code = curl_easy_perform(curl_);
    curl_slist_free_all(list);
    if (code != CURLE_OK) throw std::runtime_error(url + ": " + curl_easy_strerror(code));
    curl_easy_getinfo(curl_, CURLINFO_RESPONSE_CODE, &answer.status);
    return answer;
  }

 private:
  static size_t TakeBody(const char* bytes, size_t, size_t count, void* answer) {
    static_cast<Answer*>(answer)->body.append(bytes, count);
    return count;
  }
  static size_t TakeHeader(const char* bytes, size_t, size_t count, void* answer) {
    const std::string line(bytes, count), name = "inference-header-content-length:";
    std::string lower = line.substr(0, name.size());
    for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    if (lower == name) static_cast<Answer*>(answer)->json_length = line.substr(name.size());
    return count;
  }

  CURL* curl_;
};
