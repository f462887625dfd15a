// Hugging Face and its mirrors (HF_ENDPOINT).

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "download/hub.h"
#include "json/json_reader.h"
#include "json/strict_json.h"
#include "net/url.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

constexpr const char* kOwnEndpoint = "https://huggingface.co";
constexpr int kMostPages = 1000;
constexpr int kJsonDepth = 16;

/// What the user has logged in with. It is a token of Hugging Face alone: mirrors are given what HF_TOKEN says, and nothing else.
std::string login_token() {
  const std::string cache = environment_or("XDG_CACHE_HOME", environment_or("HOME", "") + "/.cache");
  const fs::path home = environment_or("HF_HOME", cache + "/huggingface");
  std::ifstream file(environment_or("HF_TOKEN_PATH", (home / "token").string()));
  std::string token;
  file >> token;
  return token;
}

std::string endpoint_of_environment() {
  std::string endpoint = environment_or("HF_ENDPOINT", kOwnEndpoint);
  check_url("HF_ENDPOINT", endpoint);
  return endpoint;
}

std::string token_for(const std::string& endpoint) {
  const std::string given = environment_or("HF_TOKEN", "");
  return given.empty() && same_origin(endpoint, kOwnEndpoint) ? login_token() : given;
}

/// The address that "Link: <...>; rel="next"" names; empty for none.
std::string next_page(const HttpResponse& answer) {
  std::istringstream links(answer.header("link"));
  for (std::string link; std::getline(links, link, ',');) {
    const std::size_t begin = link.find('<');
    const std::size_t end = link.find('>');
    if (begin < end && end != std::string::npos && link.find("rel=\"next\"", end) != std::string::npos)
      return link.substr(begin + 1, end - begin - 1);
  }
  return {};
}

class HuggingFace final : public Hub {
 public:
  explicit HuggingFace(const std::string& endpoint)
      : Hub(same_origin(endpoint, kOwnEndpoint) ? "Hugging Face" : host_of(endpoint), endpoint,
            token_for(endpoint), "HF_TOKEN") {}

  HubListing list(Connection& connection, const std::string& repository,
                  const std::string& revision) const override {
    const std::string api = endpoint() + "/api/models/" + url_encoded(repository, "/");
    const std::string asked = url_encoded(revision.empty() ? "main" : revision);
    HubListing listing;
    const nlohmann::json info = answer(connection, api + "/revision/" + asked, repository).document;
    listing.commit = JsonReader(info, title()).at("sha").text();
    std::string url = api + "/tree/" + url_encoded(listing.commit) + "?recursive=true";
    for (int pages = 0; !url.empty(); ++pages) {
      WAN_CHECK(pages < kMostPages, kBadFile, "{} lists {} without an end; try again later", title(),
                repository);
      const Page page = answer(connection, url, repository);
      for (const JsonReader& entry : JsonReader(page.document, title()).elements())
        if (entry.at("type").text() == "file") listing.files.push_back(as_file(entry));
      url = page.next;
    }
    return listing;
  }

  std::string file_url(const std::string& repository, const std::string& commit,
                       const std::string& path) const override {
    return fmt::format("{}/{}/resolve/{}/{}", endpoint(), url_encoded(repository, "/"), url_encoded(commit),
                       url_encoded(path, "/"));
  }

 private:
  struct Page {
    nlohmann::json document;
    std::string next;
  };

  Page answer(Connection& connection, const std::string& url, const std::string& repository) const {
    const HttpResponse answer = connection.ask(url);
    if (!answer.ok()) fail_with(answer, repository, "repository " + repository);
    return {parse_strict_json(
                answer.body, host_of(url), kJsonDepth,
                "it may be a proxy's or a network's sign-in page; check HF_ENDPOINT and https_proxy"),
            next_page(answer)};
  }

  static DownloadFile as_file(const JsonReader& entry) {
    DownloadFile file{.path = entry.at("path").text(), .size = entry.at("size").size()};
    if (const auto large = entry.find("lfs")) {
      file.size = large->at("size").size();
      file.sha256 = large->at("oid").text();
    } else if (const auto object = entry.find("oid")) {
      file.git_sha1 = object->text();
    }
    return file;
  }
};

}  // namespace

std::unique_ptr<Hub> hugging_face() {
  WAN_CHECK(environment_or("HF_HUB_OFFLINE", "0") == "0", kInvalidArgument,
            "HF_HUB_OFFLINE is set, so that nothing is downloaded; unset it");
  return std::make_unique<HuggingFace>(endpoint_of_environment());
}

}  // namespace wan
