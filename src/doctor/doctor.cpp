#include "wan/doctor.h"

#include <algorithm>
#include <memory>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/device_facts.h"
#include "base/error.h"
#include "base/files.h"
#include "doctor/diagnosis.h"
#include "doctor/disk_speed.h"
#include "doctor/host_facts.h"
#include "doctor/link_tests.h"
#include "engine/backend_factory.h"
#include "engine/loaded_models.h"
#include "published/layouts.h"
#include "tasks/task.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

DoctorCuda look_for_cuda() {
  const CudaVersions versions = cuda_versions();
  return {.built = versions.built,
          .reason = cuda_device_count() > 0 ? "" : cuda_unusable_reason(0),
          .driver = versions.driver,
          .driver_cuda = versions.driver_cuda,
          .runtime = versions.runtime,
          .cudnn = versions.cudnn,
          .cudnn_built = versions.cudnn_built,
          .nccl = versions.nccl,
          .nccl_reason = versions.nccl_reason,
          .cards = count_nvidia_cards()};
}

DoctorGpu look_at_gpu(int index) {
  const CudaDeviceInfo info = cuda_device_info(index);
  const CudaBusFacts bus = cuda_bus_facts(index);
  return {.index = index,
          .name = info.name,
          .bus = bus.address,
          .capability = fmt::format("{}.{}", info.compute_major, info.compute_minor),
          .memory = info.total_bytes,
          .free = info.free_bytes,
          .unusable = cuda_unusable_reason(index),
          .pcie_generation = bus.pcie_generation,
          .pcie_width = bus.pcie_width,
          .pcie_most = bus.pcie_most,
          .nvlinks = bus.nvlinks};
}

/// Uploads, every pair both ways, and all at once.
void measure_links(DoctorReport& report) {
  std::vector<std::unique_ptr<Backend>> backends;
  std::vector<ComputeDevice*> devices;
  const auto take = [&](std::vector<ChosenBackend> chosen) {
    for (ChosenBackend& each : chosen) {
      devices.push_back(each.backend.get());
      backends.push_back(std::move(each.backend));
    }
  };
  for (DoctorGpu& gpu : report.devices) {
    if (!gpu.unusable.empty()) continue;
    take(make_backends({.ckpt_dir = {}, .gpus = {gpu.index}}));
    gpu.upload_bytes_per_second = measure_upload(*devices.back());
  }
  for (ComputeDevice* const from : devices)
    for (ComputeDevice* const to : devices) {
      if (from == to) continue;
      DoctorPair pair = measure_pair(*from, *to);
      pair.link = cuda_link(pair.from, pair.to);
      pair.peer_access = cuda_peer_access(pair.from, pair.to);
      report.pairs.push_back(std::move(pair));
    }
  if (devices.size() > 1) report.exchange_by_host = test_exchange(devices, Links::kHost);
  if (devices.empty()) take(make_backends({.ckpt_dir = {}, .device = "cpu", .ulysses_size = 2}));
  if (devices.size() > 1) report.exchange = test_exchange(devices);
}

/// Whatever Engine's constructor refuses, and the tokenizer, which it leaves to the first prompt.
void look_at_checkpoint(const fs::path& folder, DoctorReport& report) {
  DoctorCheckpoint& checkpoint = report.checkpoint.emplace(DoctorCheckpoint{.path = folder.string()});
  std::string source = "huggingface.co/Wan-AI";
  try {
    const CheckpointFiles files = find_checkpoint_files(folder);
    checkpoint.task = files.task->facts().name;
    source += "/" + std::string(files.task->facts().checkpoint);
    const CheckpointModels models(folder);
    models.tokenizer();
    for (const Checkpoint& each : models.transformer_checkpoints)
      checkpoint.bytes += static_cast<std::int64_t>(each.total_bytes());
    for (const Checkpoint* const each : {&models.text_checkpoint, &models.vae_checkpoint})
      checkpoint.bytes += static_cast<std::int64_t>(each->total_bytes());
  } catch (const Error& error) {
    report.problems.push_back(
        {.code = error.code(),
         .what = error.what(),
         .remedy = format_message("take the official folder, or download again what is damaged ({}); wan "
                                  "inspect {} tells more of each file",
                                  source, folder.string())});
  }
  try {
    const std::optional<DiskSpeed> disk = measure_disk(folder);
    if (!disk) return;
    checkpoint.read_file = disk->file.string();
    checkpoint.read_bytes_per_second = disk->bytes_per_second;
    checkpoint.cached = disk->cached;
    constexpr double kSlow = 0.5e9;
    constexpr std::int64_t kEnough = 64'000'000;  // read, for a rate to say something
    if (disk->bytes >= kEnough && disk->bytes_per_second < kSlow)
      report.problems.push_back(
          {.what = format_message("the disk of {} reads {:.2f} GB/s: its {:.1f} GB take {:.0f} s to load",
                                  folder.string(), disk->bytes_per_second * 1e-9,
                                  static_cast<double>(checkpoint.bytes) * 1e-9,
                                  static_cast<double>(checkpoint.bytes) / disk->bytes_per_second),
           .remedy = "copy the checkpoint to a local NVMe disk",
           .advice = true});
  } catch (const Error&) {
    // A folder or file that cannot be read has been told above.
  }
}

/// The usable GPUs, as alike as the least of them.
std::optional<GpuSet> usable_gpus(const DoctorReport& report) {
  std::optional<GpuSet> gpus;
  for (const DoctorGpu& gpu : report.devices) {
    if (!gpu.unusable.empty()) continue;
    if (!gpus) {
      gpus =
          GpuSet{.name = gpu.name, .known = find_known_gpu(gpu.name), .memory = gpu.memory, .free = gpu.free};
    } else {
      ++gpus->count;
      gpus->free = std::min(gpus->free, gpu.free);
      if (gpu.memory < gpus->memory) {
        gpus->memory = gpu.memory;
        gpus->name = gpu.name;
        gpus->known = find_known_gpu(gpu.name);
      }
    }
  }
  if (!gpus) return gpus;
  gpus->link = GpuLink::kNvlink;
  for (const DoctorPair& pair : report.pairs) {
    if (!pair.peer_access)
      gpus->link = GpuLink::kHost;
    else if (pair.link != "NVLink" && gpus->link == GpuLink::kNvlink)
      gpus->link = GpuLink::kPcie;
  }
  if (report.exchange) gpus->link_bytes = report.exchange->bytes_per_second;
  return gpus;
}

}  // namespace

DoctorReport examine(const DoctorOptions& options) {
  DoctorReport report;
  std::optional<GpuSet> gpus;
  if (!options.pretend.empty()) {
    report.pretended = true;
    gpus = parse_pretended(options.pretend);
  } else {
    report.host = host_facts();
    report.cuda = look_for_cuda();
    for (int index = 0; index < cuda_device_count(); ++index) report.devices.push_back(look_at_gpu(index));
    measure_links(report);
    report.problems = diagnose(report);
    gpus = usable_gpus(report);
  }
  if (!options.ckpt_dir.empty()) look_at_checkpoint(options.ckpt_dir, report);
  if (!gpus) return report;
  report.gpus = describe(*gpus);
  for (const PublishedVideo& video : published_videos()) report.videos.push_back(plan_layouts(video, *gpus));
  return report;
}

}  // namespace wan
