// ModelScope (MODELSCOPE_ENDPOINT).

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "download/hub.h"
#include "json/json_reader.h"
#include "json/strict_json.h"
#include "net/url.h"

namespace wan {

namespace {

constexpr const char* kOwnScope = "https://www.modelscope.cn";
constexpr int kScopeDepth = 16;

class ModelScope final : public Hub {
 public:
  explicit ModelScope(const std::string& endpoint)
      : Hub(same_origin(endpoint, kOwnScope) ? "ModelScope" : host_of(endpoint), endpoint,
            environment_or("MODELSCOPE_API_TOKEN", ""), "MODELSCOPE_API_TOKEN") {}

  HubListing list(Connection& connection, const std::string& repository,
                  const std::string& revision) const override {
    HubListing listing{.commit = revision.empty() ? "master" : revision, .files = {}};
    const std::string url =
        fmt::format("{}/api/v1/models/{}/repo/files?Revision={}&Recursive=true", endpoint(),
                    url_encoded(repository, "/"), url_encoded(listing.commit));
    const HttpResponse answer = connection.ask(url);
    if (!answer.ok()) fail_with(answer, repository, "repository " + repository);
    const nlohmann::json document = parse_strict_json(
        answer.body, host_of(url), kScopeDepth,
        "it may be a proxy's or a network's sign-in page; check MODELSCOPE_ENDPOINT and https_proxy");
    const JsonReader reader(document, title());
    WAN_CHECK(reader.at("Code").size() == 200, kInvalidArgument,
              "{} has no {} that this user may see (code {}): check its name and revision; for a private one "
              "give a "
              "token in MODELSCOPE_API_TOKEN",
              title(), repository, reader.at("Code").size());
    for (const JsonReader& entry : reader.at("Data").at("Files").elements()) {
      if (entry.at("Type").text() != "blob") continue;
      DownloadFile file{.path = entry.at("Path").text(), .size = entry.at("Size").size()};
      if (const auto sum = entry.find("Sha256")) file.sha256 = sum->text();
      listing.files.push_back(std::move(file));
    }
    return listing;
  }

  std::string file_url(const std::string& repository, const std::string& commit,
                       const std::string& path) const override {
    return fmt::format("{}/models/{}/resolve/{}/{}", endpoint(), url_encoded(repository, "/"),
                       url_encoded(commit), url_encoded(path, "/"));
  }
};

}  // namespace

std::unique_ptr<Hub> model_scope() {
  const std::string endpoint = environment_or("MODELSCOPE_ENDPOINT", kOwnScope);
  check_url("MODELSCOPE_ENDPOINT", endpoint);
  return std::make_unique<ModelScope>(endpoint);
}

}  // namespace wan
