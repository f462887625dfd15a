#include "net/curl_library.h"

#include <dlfcn.h>

#include <type_traits>

#include "base/error.h"

namespace wan {

namespace {

/// The same interface with one TLS library or another.
constexpr const char* kNames[] = {"libcurl.so.4", "libcurl-gnutls.so.4", "libcurl-nss.so.4"};

Curl load() {
  for (const char* const name : kNames) {
    void* const library = ::dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) continue;
    Curl curl;
    const auto find = [&](const char* function_name, auto& function) {
      function =
          reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(library, function_name));
      return function != nullptr;
    };
    const bool whole =
        find("curl_global_init", curl.global_init) && find("curl_easy_init", curl.easy_init) &&
        find("curl_easy_cleanup", curl.easy_cleanup) && find("curl_easy_reset", curl.easy_reset) &&
        find("curl_easy_setopt", curl.easy_setopt) && find("curl_easy_perform", curl.easy_perform) &&
        find("curl_easy_getinfo", curl.easy_getinfo) && find("curl_easy_strerror", curl.easy_strerror) &&
        find("curl_slist_append", curl.slist_append) && find("curl_slist_free_all", curl.slist_free_all) &&
        find("curl_url", curl.url) && find("curl_url_set", curl.url_set) &&
        find("curl_url_get", curl.url_get) && find("curl_url_cleanup", curl.url_cleanup) &&
        find("curl_free", curl.free);
    WAN_CHECK(whole, kUnsupported, "libcurl ({}) is too old; 7.66 is the first that can be used", name);
    WAN_CHECK(curl.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK, kUnsupported,
              "libcurl ({}) does not start; install it anew", name);
    return curl;
  }
  fail(ErrorCode::kUnsupported,
       "libcurl, which speaks to servers, is not installed on this machine; on Debian: apt-get install "
       "libcurl4");
}

}  // namespace

const Curl& curl_library() {
  static const Curl library = load();
  return library;
}

}  // namespace wan
