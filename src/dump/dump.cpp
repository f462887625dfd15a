#include "dump/dump.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/files.h"
#include "base/log.h"
#include "dump/dump_folder.h"
#include "json/json_text.h"
#include "ops/copy.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  WAN_CHECK(!error && is_folder(folder), kIo, "cannot create the folder {}: {}", folder.string(),
            error ? system_reason(error.value()) : "something else is there");
}

/// Host copy in f32.
Tensor to_host(ExecContext& ctx, const TensorView& view) {
  Tensor host(DType::kF32, view.shape());
  if (view.dtype() == DType::kF32 && view.is_contiguous()) {
    ctx.backend.download(view, host);
    return host;
  }
  const Tensor packed(ctx.backend.allocator(), DType::kF32, view.shape());
  copy(ctx, {view, packed});
  ctx.backend.download(packed, host);
  return host;
}

std::string tap_name(std::string_view layer, int call) {
  return fmt::format("{}.{:04}", layer, call);
}

std::span<const float> values_of(const Tensor& host) {
  return {host.as<float>(), static_cast<std::size_t>(host.elements())};
}

}  // namespace

DumpWriter::DumpWriter(fs::path folder, int steps)
    : folder_(std::move(folder)), digits_(std::max(2, static_cast<int>(std::to_string(steps - 1).size()))) {
  clear_dump_folder(folder_);
  make_folder(folder_);
}

DumpWriter::~DumpWriter() {
  if (finished_) return;
  try {
    write_manifest({});
  } catch (const std::exception& error) {  // a full disk: the run's own error tells it
    log(LogLevel::kDebug, error.what());
  }
}

void DumpWriter::begin_clip(int clip) {
  prefix_ = fmt::format("clip_{:02}_", clip);
}

void DumpWriter::integers(const std::string& name, std::span<const std::int64_t> values,
                          std::span<const std::int64_t> shape) {
  write_npy(path_of(name, "int64", shape), values, shape);
}

void DumpWriter::floats(const std::string& name, std::span<const float> values,
                        std::span<const std::int64_t> shape) {
  write_npy(path_of(name, "float32", shape), values, shape);
}

void DumpWriter::bytes(const std::string& name, std::span<const std::uint8_t> values,
                       std::span<const std::int64_t> shape) {
  NpyWriter file(path_of(name, "uint8", shape), NpyType::kU8, shape);
  file.append(values);
  file.finish();
}

void DumpWriter::planes(const std::string& name, const TensorView& frames) {
  const std::int64_t count = frames.dim(0);
  const std::int64_t pixels = frames.dim(1) * frames.dim(2);
  const std::int64_t shape[] = {3, count, frames.dim(1), frames.dim(2)};
  NpyWriter file(path_of(name, "float32", shape), NpyType::kF32, shape);
  std::vector<float> plane(static_cast<std::size_t>(pixels));
  for (std::int64_t channel = 0; channel < 3; ++channel)
    for (std::int64_t frame = 0; frame < count; ++frame) {
      const float* const from = frames.as<float>() + frame * pixels * 3 + channel;
      for (std::int64_t i = 0; i < pixels; ++i) plane[static_cast<std::size_t>(i)] = from[3 * i];
      file.write_at((channel * count + frame) * pixels, std::span<const float>(plane));
    }
  file.finish();
}

void DumpWriter::tensor(ExecContext& ctx, const std::string& name, const TensorView& view) {
  const auto shape = view.shape().extents();
  write_npy(path_of(name, "float32", shape), values_of(to_host(ctx, view)), shape);
}

void DumpWriter::step_tensor(ExecContext& ctx, int step, const char* what, const TensorView& view) {
  tensor(ctx, step_name(step, what), view);
}

void DumpWriter::step_timestep(int step, double timestep) {
  const std::int64_t shape[] = {1};
  const auto whole = static_cast<std::int64_t>(timestep);
  const auto value = static_cast<float>(timestep);
  if (static_cast<double>(whole) == timestep)
    integers(step_name(step, "timestep"), std::span(&whole, 1), shape);
  else
    floats(step_name(step, "timestep"), std::span(&value, 1), shape);
}

void DumpWriter::tap(ExecContext& ctx, std::string_view name, const TensorView& view) {
  const auto [call, first] = tap_calls_.try_emplace(std::string(name), 0);
  if (tap_calls_.size() == 1 && first) make_folder(folder_ / "taps");
  write_npy(folder_ / "taps" / (tap_name(name, call->second++) + ".npy"), values_of(to_host(ctx, view)),
            view.shape().extents());
}

void DumpWriter::begin_frames(std::int64_t count, std::int64_t height, std::int64_t width) {
  frame_count_ = count;
  frame_pixels_ = height * width;
  const std::int64_t planar[] = {3, count, height, width};
  const std::int64_t interleaved[] = {count, height, width, 3};
  float_frames_ =
      std::make_unique<NpyWriter>(path_of("frames_float", "float32", planar), NpyType::kF32, planar);
  byte_frames_ =
      std::make_unique<NpyWriter>(path_of("frames", "uint8", interleaved), NpyType::kU8, interleaved);
}

void DumpWriter::frames(std::int64_t first, std::span<const float> pixels,
                        std::span<const std::uint8_t> levels) {
  byte_frames_->append(levels);
  const auto plane_size = static_cast<std::size_t>(frame_pixels_);
  std::vector<float> plane(plane_size);
  const std::size_t count = pixels.size() / (3 * plane_size);
  for (std::size_t frame = 0; frame < count; ++frame) {
    for (std::size_t channel = 0; channel < 3; ++channel) {
      for (std::size_t i = 0; i < plane_size; ++i)
        plane[i] = std::clamp(pixels[(frame * plane_size + i) * 3 + channel], -1.0f, 1.0f);
      const auto index =
          static_cast<std::int64_t>(channel) * frame_count_ + first + static_cast<std::int64_t>(frame);
      float_frames_->write_at(index * frame_pixels_, std::span<const float>(plane));
    }
  }
}

void DumpWriter::finish(const std::vector<std::pair<std::string, std::string>>& settings) {
  if (float_frames_) float_frames_->finish();
  if (byte_frames_) byte_frames_->finish();
  write_manifest(settings);
  finished_ = true;
}

void DumpWriter::write_manifest(const std::vector<std::pair<std::string, std::string>>& settings) {
  nlohmann::ordered_json request = nlohmann::ordered_json::object();
  for (const auto& [key, value] : settings) request[key] = value;
  nlohmann::ordered_json files = nlohmann::ordered_json::object();
  for (const auto& [name, file] : files_) files[name] = {{"dtype", file.dtype}, {"shape", file.shape}};
  nlohmann::ordered_json manifest = {{"producer", "wan.cpp"}, {"settings", request}, {"files", files}};
  if (!tap_calls_.empty()) {
    auto& taps = manifest["taps"] = nlohmann::ordered_json::array();
    for (const auto& [name, calls] : tap_calls_)
      for (int call = 0; call < calls; ++call) taps.push_back(tap_name(name, call));
  }
  write_file_atomically(folder_ / "manifest.json", json_text(manifest, 2) + "\n");
}

fs::path DumpWriter::path_of(const std::string& name, const char* dtype,
                             std::span<const std::int64_t> shape) {
  files_.push_back({prefix_ + name, {dtype, {shape.begin(), shape.end()}}});
  return folder_ / (prefix_ + name + ".npy");
}

std::string DumpWriter::step_name(int step, const char* what) const {
  return fmt::format("step_{:0{}}_{}", step, digits_, what);
}

}  // namespace wan
