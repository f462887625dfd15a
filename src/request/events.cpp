#include "wan/events.h"

#include <nlohmann/json.hpp>

#include "json/json_text.h"

namespace wan {

namespace {

using Json = nlohmann::ordered_json;

Json describe(const PhaseStarted& event) {
  return {{"event", "phase_started"}, {"phase", phase_name(event.phase)}, {"total", event.total}};
}

/// "devices", where they are several: what is said of rank 0's alone has members of its own.
void add_devices(Json& json, const std::vector<DeviceUse>& devices) {
  if (devices.size() < 2) return;
  for (const DeviceUse& use : devices) {
    Json device = {{"name", use.name}, {"used", use.used}, {"peak", use.peak}, {"total", use.total}};
    if (use.utilization) device["utilization"] = *use.utilization;
    json["devices"].push_back(std::move(device));
  }
}

Json describe(const PhaseProgress& event) {
  Json json = {{"event", "progress"},
               {"phase", phase_name(event.phase)},
               {"done", event.done},
               {"total", event.total},
               {"seconds", event.seconds}};
  if (event.step > 0) {
    json["step"] = event.step;
    json["steps"] = event.steps;
    json["timestep"] = event.timestep;
    json["flops_per_second"] = event.flops_per_second;
  }
  if (event.waited) {
    json["waited"] = event.waited->first;
    json["waited_longest"] = event.waited->longest;
  }
  if (!event.devices.empty()) {
    const DeviceUse& first = event.devices.front();
    json["device_memory"] = {{"used", first.used}, {"peak", first.peak}, {"total", first.total}};
    if (first.utilization) json["device_utilization"] = *first.utilization;
  }
  add_devices(json, event.devices);
  return json;
}

Json describe(const PhaseFinished& event) {
  return {{"event", "phase_finished"}, {"phase", phase_name(event.phase)}, {"seconds", event.seconds}};
}

Json describe(const Notice& event) {
  return {{"event", "notice"}, {"message", event.message}};
}

Json describe(const RunSettings& event) {
  Json values = Json::object();
  for (const auto& [key, value] : event.values) values[key] = value;
  return {{"event", "settings"}, {"values", values}};
}

Json describe(const PromptExtended& event) {
  return {
      {"event", "prompt_extended"}, {"given", event.given}, {"prompt", event.prompt}, {"model", event.model}};
}

Json describe(const Finished& event) {
  Json phases = Json::array();
  for (const PhaseTime& time : event.phases)
    phases.push_back({{"phase", phase_name(time.phase)}, {"seconds", time.seconds}});
  Json json = {{"event", "finished"},
               {"save_file", event.save_file},
               {"frames", event.frames},
               {"seconds", event.seconds},
               {"peak_host_bytes", event.peak_host_bytes},
               {"peak_device_bytes", event.peak_device_bytes},
               {"flops_per_second", event.flops_per_second},
               {"phases", phases}};
  add_devices(json, event.devices);
  return json;
}

}  // namespace

const char* phase_name(Phase phase) {
  switch (phase) {
    case Phase::kDownload:
      return "download";
    case Phase::kExtend:
      return "extend";
    case Phase::kPreprocess:
      return "preprocess";
    case Phase::kLoad:
      return "load";
    case Phase::kAudio:
      return "audio";
    case Phase::kImage:
      return "image";
    case Phase::kText:
      return "text";
    case Phase::kHighNoise:
      return "high_noise";
    case Phase::kLowNoise:
      return "low_noise";
    case Phase::kDenoise:
      return "denoise";
    case Phase::kDecode:
      return "decode";
    case Phase::kEncode:
      break;
  }
  return "encode";
}

std::string to_json(const Event& event) {
  const Json json = std::visit([](const auto& e) { return describe(e); }, event);
  return json_text(json);
}

}  // namespace wan
