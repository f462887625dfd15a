// HttpClient against servers of our own: bodies, redirects and who is told the token, what goes wrong on the way, asking again.

#include "net/http_client.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "net/retries.h"
#include "net/url.h"
#include "support/expect_error.h"
#include "support/scripted_server.h"

namespace wan::test {
namespace {

/// Keeps what it is given, and throws at the byte `limit`.
class KeepingSink final : public HttpSink {
 public:
  explicit KeepingSink(std::size_t limit = 1000) : limit_(limit) {}
  void begin(const HttpResponse& head) override { status = head.status; }
  void write(std::span<const std::byte> piece) override {
    text.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    WAN_CHECK(text.size() < limit_, kIo, "the disk is full");
  }
  int status = 0;
  std::string text;

 private:
  std::size_t limit_;
};

HttpRequest request_for(const std::string& url) {
  HttpRequest request{.url = url};
  request.credentials = {.origin = url, .bearer = "secret"};
  request.limits.connect_seconds = 5;
  request.limits.stall_seconds = 5;
  return request;
}

bool tells_token(const std::string& asked) {
  return asked.find("Authorization: Bearer secret") != std::string::npos;
}

class HttpClientTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* proxy : {"http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"})
      ::unsetenv(proxy);
  }
  HttpClient client_;
};

TEST_F(HttpClientTest, GivesStatusHeadersAndBody) {
  const ScriptedServer server(
      {http_answer("200 OK", "hello", "X-Repo-Commit: abc \r\n"), http_answer("404 Not Found", "no")});
  const HttpResponse answer = client_.get(request_for(server.url("/a")));
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "hello");
  EXPECT_EQ(answer.header("x-repo-commit"), "abc");
  EXPECT_EQ(answer.url, server.url("/a"));
  EXPECT_TRUE(tells_token(server.asked().at(0)));
  KeepingSink sink;
  const HttpResponse missing = client_.get(request_for(server.url("/b")), &sink);
  EXPECT_EQ(missing.status, 404);
  EXPECT_EQ(missing.body, "no") << "a sink takes what was asked for alone";
  EXPECT_EQ(sink.status, 0);
}

TEST_F(HttpClientTest, StreamsIntoASinkWhoseErrorsComeThrough) {
  const ScriptedServer server({http_answer("206 Partial Content", "lo", "Content-Range: bytes 3-4/5\r\n"),
                               http_answer("200 OK", ""), http_answer("200 OK", "hello")});
  HttpRequest request = request_for(server.url());
  request.headers = {{"Range", "bytes=3-"}};
  KeepingSink sink;
  EXPECT_EQ(client_.get(request, &sink).header("content-range"), "bytes 3-4/5");
  EXPECT_EQ(sink.text, "lo");
  EXPECT_NE(server.asked().at(0).find("Range: bytes=3-\r\n"), std::string::npos);
  KeepingSink empty;
  client_.get(request, &empty);
  EXPECT_EQ(empty.status, 200) << "an empty body begins too";
  KeepingSink full(3);
  expect_error(ErrorCode::kIo, "the disk is full", [&] { client_.get(request, &full); });
}

TEST_F(HttpClientTest, UndoesCompression) {
  const std::string packed(
      "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xcb\x48\xcd\xc9\xc9\x07\x00\x86\xa6\x10\x36"
      "\x05\x00\x00\x00",
      25);
  const ScriptedServer server({http_answer("200 OK", packed, "Content-Encoding: gzip\r\n")});
  EXPECT_EQ(client_.get(request_for(server.url())).body, "hello");
}

TEST_F(HttpClientTest, TellsTheTokenToItsOwnHostAlone) {
  const ScriptedServer other({http_answer("200 OK", "from there")});
  const ScriptedServer server(
      {http_answer("307 Moved", "", "Location: /renamed\r\n"),
       http_answer("302 Found", "", "Location: " + other.url("/file?signature=x") + "\r\n")});
  const HttpResponse answer = client_.get(request_for(server.url("/old")));
  EXPECT_EQ(answer.body, "from there");
  EXPECT_EQ(answer.url, other.url("/file?signature=x"));
  const std::vector<std::string> asked = server.asked();
  ASSERT_EQ(asked.size(), 2u);
  EXPECT_TRUE(asked[1].starts_with("GET /renamed ")) << asked[1];
  EXPECT_TRUE(tells_token(asked[0]) && tells_token(asked[1]));
  EXPECT_FALSE(tells_token(other.asked().at(0)));
  EXPECT_EQ(other.asked().at(0).find("secret"), std::string::npos);
}

TEST_F(HttpClientTest, FollowsNoCircleAndRedirectsNoPost) {
  std::deque<std::string> circle(20, http_answer("302 Found", "", "Location: /again\r\n"));
  const ScriptedServer server(circle);
  expect_error(ErrorCode::kIo, "redirects in a circle", [&] { client_.get(request_for(server.url())); });
  EXPECT_EQ(server.asked().size(), 11u);
  expect_error(ErrorCode::kIo, "/again now; use that address",
               [&] { client_.post_json(request_for(server.url()), "{}"); });
  const ScriptedServer away({http_answer("302 Found", "", "Location: file:///etc/passwd\r\n")});
  expect_error(ErrorCode::kInvalidArgument, "the address that a server redirects to",
               [&] { client_.get(request_for(away.url())); });
}

TEST_F(HttpClientTest, PostsJson) {
  const ScriptedServer server(
      {http_answer("200 OK", "{\"answer\": 1}"), http_answer("401 No", "{\"error\": 1}")});
  EXPECT_EQ(client_.post_json(request_for(server.url("/v1")), "{\"q\": 0}").body, "{\"answer\": 1}");
  const std::string asked = server.asked().at(0);
  EXPECT_TRUE(asked.starts_with("POST /v1 ")) << asked;
  EXPECT_TRUE(asked.ends_with("\r\n\r\n{\"q\": 0}")) << asked;
  EXPECT_NE(asked.find("Content-Type: application/json\r\n"), std::string::npos);
  EXPECT_TRUE(tells_token(asked));
  EXPECT_EQ(client_.post_json(request_for(server.url("/v1")), "{}").body, "{\"error\": 1}");
}

TEST_F(HttpClientTest, RefusesWhatWouldSayMoreThanAskedFor) {
  HttpRequest request = request_for("http://127.0.0.1:1/");
  request.credentials.bearer = "a\r\nX-More: b";
  expect_error(ErrorCode::kInvalidArgument, "the header Authorization has a line break",
               [&] { client_.get(request); });
  for (const char* url :
       {"", "example.org", "ftp://example.org/", "https://", "file:///etc/passwd", "http://a b/"})
    expect_error(ErrorCode::kInvalidArgument, "the address: expected an address such as",
                 [&] { client_.get(request_for(url)); });
  expect_error(ErrorCode::kInvalidArgument, "holds a name or password",
               [&] { client_.get(request_for("http://me:word@127.0.0.1:1/")); });
}

TEST_F(HttpClientTest, SaysWhatWentWrong) {
  const auto lost = [&](const std::string& part, const HttpRequest& request, bool may_pass) {
    try {
      client_.get(request);
      ADD_FAILURE() << "no error; expected " << part;
    } catch (const TransferError& error) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
      EXPECT_EQ(error.may_pass(), may_pass) << error.what();
    }
  };
  lost("cannot reach 127.0.0.1 (", request_for("http://127.0.0.1:1/"), true);
  lost("cannot find the host nowhere.invalid", request_for("http://nowhere.invalid/"), true);
  const std::string cut = http_answer("200 OK", "hello world");
  const ScriptedServer server(
      {cut.substr(0, cut.size() - 4), "", http_answer("200 OK", "hello world"), "nonsense"});
  lost("the transfer from 127.0.0.1 broke off (", request_for(server.url()), true);
  HttpRequest impatient = request_for(server.url());
  impatient.limits.stall_seconds = 0.1;
  lost("127.0.0.1 has sent nothing for", impatient, true);
  HttpRequest small = request_for(server.url());
  small.limits.most_body_bytes = 10;
  lost("sends more than 10 bytes", small, false);
  lost("broke off", request_for(server.url()), true);
}

TEST_F(HttpClientTest, StopsWhenItIsTold) {
  const ScriptedServer server({""});
  std::atomic<bool> cancelled = false;
  std::thread stop([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    cancelled = true;
  });
  HttpRequest request = request_for(server.url());
  request.limits.stall_seconds = 60;
  request.cancelled = &cancelled;
  expect_error(ErrorCode::kCancelled, "stopped while speaking to 127.0.0.1", [&] { client_.get(request); });
  stop.join();
}

TEST_F(HttpClientTest, GoesThroughTheProxyOfTheEnvironment) {
  const ScriptedServer proxy({http_answer("200 OK", "by proxy")});
  ::setenv("http_proxy", proxy.url().c_str(), 1);
  EXPECT_EQ(client_.get(request_for("http://models.invalid/x")).body, "by proxy");
  ::unsetenv("http_proxy");
  EXPECT_TRUE(proxy.asked().at(0).starts_with("GET http://models.invalid/x ")) << proxy.asked().at(0);
}

TEST_F(HttpClientTest, AsksAgainWhatMayPass) {
  const ScriptedServer server({http_answer("503 Busy", ""), "x",
                               http_answer("429 Slow", "", "Retry-After: 1\r\n"),
                               http_answer("200 OK", "hello"), http_answer("404 None", ""),
                               http_answer("429 Slow", "", "Retry-After: 900\r\n")});
  std::vector<double> waits;
  const RetryPolicy policy{.attempts = 4,
                           .first_wait = 0.01,
                           .longest_wait = 5,
                           .waiting = [&](const std::string&, double seconds) { waits.push_back(seconds); }};
  const auto ask = [&] { return client_.get(request_for(server.url())); };
  EXPECT_EQ(with_retries(policy, nullptr, ask).body, "hello");
  EXPECT_EQ(waits, (std::vector<double>{0.01, 0.02, 1}));
  EXPECT_EQ(with_retries(policy, nullptr, ask).status, 404);
  const HttpResponse later = with_retries(policy, nullptr, ask);
  EXPECT_EQ(later.status, 429);
  EXPECT_EQ(later.retry_after, 900);
  EXPECT_EQ(server.asked().size(), 6u);
  const std::atomic<bool> cancelled = true;
  expect_error(ErrorCode::kCancelled, "stopped", [&] { wait_seconds(60, &cancelled); });
}

TEST(Urls, AreComparedAndShownAsTheyAreConnectedTo) {
  EXPECT_TRUE(same_origin("https://huggingface.co/a", "https://HuggingFace.co:443/b?c"));
  for (const char* other :
       {"http://huggingface.co/", "https://huggingface.co:444/", "https://huggingface.co.evil.org/",
        "https://huggingface.co@evil.org/", "https://evil.org/#@huggingface.co/", "nonsense", ""})
    EXPECT_FALSE(same_origin("https://huggingface.co/", other)) << other;
  EXPECT_EQ(shown_url("https://me:word@cdn.org:8443/a/b?Signature=x#y"), "https://cdn.org:8443/a/b");
  EXPECT_EQ(url_encoded("a b/ü?#%", "/"), "a%20b/%C3%BC%3F%23%25");
  EXPECT_TRUE(is_open_to_others("http://10.0.0.1/"));
  EXPECT_FALSE(is_open_to_others("http://127.0.0.1:8000/") || is_open_to_others("https://10.0.0.1/"));
}

}  // namespace
}  // namespace wan::test
