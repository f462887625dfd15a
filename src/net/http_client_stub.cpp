// The client of a build without libcurl.

#include "base/error.h"
#include "net/http_client.h"
#include "net/url.h"

namespace wan {

namespace {

[[noreturn]] void fail_without_curl() {
  fail(ErrorCode::kUnsupported,
       "this build speaks to no servers: it was made without libcurl; install libcurl4-openssl-dev and build "
       "anew");
}

}  // namespace

struct HttpClient::Handle {};

HttpClient::HttpClient() {
  fail_without_curl();
}
HttpClient::~HttpClient() = default;
HttpResponse HttpClient::get(const HttpRequest&, HttpSink*) {
  fail_without_curl();
}
HttpResponse HttpClient::post_json(const HttpRequest&, std::string_view) {
  fail_without_curl();
}
std::string HttpResponse::header(const std::string&) const {
  return {};
}
bool same_origin(const std::string&, const std::string&) {
  fail_without_curl();
}
std::string shown_url(const std::string&) {
  fail_without_curl();
}
std::string host_of(const std::string&) {
  fail_without_curl();
}
void check_url(const char*, const std::string&) {
  fail_without_curl();
}
bool is_open_to_others(const std::string&) {
  fail_without_curl();
}
std::string url_encoded(std::string_view, std::string_view) {
  fail_without_curl();
}

}  // namespace wan
