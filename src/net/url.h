#pragma once
// Addresses of servers, read by the library that connects to them: two readers may see two hosts in one address.

#include <string>
#include <string_view>

namespace wan {

/// Scheme, host and port are the same: "https://a/x" and "https://A:443/y". False for what is no address.
bool same_origin(const std::string& a, const std::string& b);

/// For messages, without name, password, query and fragment, which may hold secrets: "https://cdn.example/repos/x".
std::string shown_url(const std::string& url);

/// The host alone, for messages: "huggingface.co".
std::string host_of(const std::string& url);

/// Throws InvalidArgument unless it is an address of http or https without a name or password in it. `what` begins the message: "`url`",
/// "HF_ENDPOINT".
void check_url(const char* what, const std::string& url);

/// Whether what is sent there can be read on the way: http, but to this machine itself.
bool is_open_to_others(const std::string& url);

/// A path, or a value of a query, as a part of an address: all but letters, digits, "-._~" and `kept` become %XX.
std::string url_encoded(std::string_view text, std::string_view kept = "");

}  // namespace wan
