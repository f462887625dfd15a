#include "engine/rank_connection.h"

#include "base/error.h"

namespace wan {

void RankConnection::abort(const Error& cause) const noexcept {
  all->abort(cause);
  for (const auto* const each : {&group, &within, &across})
    if (*each) (*each)->abort(cause);
}

double RankConnection::waited_seconds() const {
  double seconds = 0;
  for (const auto* const each : {&all, &group, &within, &across})
    if (*each) seconds += (*each)->waited_seconds();
  return seconds;
}

Links parse_p2p(const std::string& p2p) {
  if (p2p == "auto") return Links::kAuto;
  if (p2p == "on") return Links::kDirect;
  if (p2p == "off") return Links::kHost;
  fail(ErrorCode::kInvalidArgument, "`p2p` {}: expected on, off or auto", p2p);
}

std::vector<RankConnection> connect_devices(std::span<ComputeDevice* const> devices, const RankLayout& layout,
                                            const EngineOptions& options) {
  const auto timeout = std::chrono::duration_cast<std::chrono::milliseconds>(options.rank_timeout);
  const Links links = parse_p2p(options.p2p);
  std::vector<RankConnection> connections;
  for (auto& all : make_local_communicators(devices, timeout, links))
    connections.push_back({.layout = layout, .all = std::move(all)});
  if (layout.groups == 1) return connections;
  const auto size = static_cast<std::size_t>(layout.sequence);
  for (std::size_t first = 0; first < devices.size(); first += size) {
    auto group = make_local_communicators(devices.subspan(first, size), timeout, links);
    for (std::size_t i = 0; i < size; ++i) connections[first + i].group = std::move(group[i]);
  }
  return connections;
}

}  // namespace wan
