// An engine whose ranks are in several processes: what they agree on before and between videos, and the share of a process that is
// not the first one.

#include <algorithm>

#include "engine/device_group_agreement.h"
#include "engine/engine_impl.h"
#include "engine/fingerprint.h"
#include "engine/layout_choice.h"

namespace wan {

void Engine::Impl::together(const std::function<void()>& work) const {
  if (link == nullptr) return work();
  link->together([&] {
    work();
    return Letter();
  });
}

void Engine::Impl::together_connected(const std::function<void()>& work) const {
  if (link == nullptr) return work();
  together([&] {
    try {
      work();
    } catch (...) {
      const Error error = current_failure();
      link->end_connection(error);
      throw Error(error);
    }
  });
}

void Engine::Impl::share_ranks() {
  const auto parts = checkpoint_fingerprint(models);
  const auto kind = static_cast<int>(first().backend().device().kind);
  const Letter shared = link->together(
      [&] {
        LetterWriter mine;
        mine.put(static_cast<int>(ranks.size()));
        mine.put(kind);
        for (const auto& rank : ranks) put_group_support(mine, rank->backend().group_support());
        mine.put(parts.size());
        for (const auto& part : parts) mine.put(part.second);
        return mine.take();
      },
      [&](std::vector<Letter> letters) {
        LetterWriter counts;
        DeviceGroupAgreement agreement;
        int all = 0;
        for (std::size_t process = 0; process < letters.size(); ++process) {
          const std::string name = link->processes().name(static_cast<int>(process));
          LetterReader theirs(std::move(letters[process]));
          const int count = theirs.get<int>();
          all += count;
          counts.put(count);
          WAN_CHECK(theirs.get<int>() == kind, kUnsupported,
                    "{} computes on another kind of device than {}; name one that all have with `device`",
                    name, link->processes().name(0));
          for (int rank = 0; rank < count; ++rank) agreement.add(get_group_support(theirs), name);
          WAN_CHECK_FIELD(theirs.get<std::size_t>() == parts.size(), kBadFile, "ckpt_dir",
                          "{}: the checkpoint is another model's than on {}", name,
                          link->processes().name(0));
          for (const auto& [part, hash] : parts)
            WAN_CHECK_FIELD(theirs.get<std::uint64_t>() == hash, kBadFile, "ckpt_dir",
                            "{}: {} holds other weights than on {}; copy the checkpoint anew", name, part,
                            link->processes().name(0));
        }
        const int size = options.ulysses_size;
        WAN_CHECK(size == 0 || size == all || 2 * size == all, kInvalidArgument,
                  "`ulysses_size` {}: the processes have {} ranks together; leave it out, or ask for so many",
                  size, all);
        check_ranks(all);
        if (options.p2p == "off") agreement.refuse("`p2p` is off");
        counts.put(agreement.reason().empty() && !agreement.library().empty());
        counts.put(agreement.reason());
        counts.put(agreement.library());
        return counts.take();
      });
  LetterReader counts(shared);
  std::vector<int> by_process(static_cast<std::size_t>(link->processes().size()));
  for (int& count : by_process) count = counts.get<int>();
  const bool groups = counts.get<bool>();
  by_letters_reason = counts.text();
  group_library = counts.text();
  link->set_ranks(std::move(by_process), groups);
}

std::string Engine::Impl::transport() const {
  if (all_ranks() == 1) return "";
  if (link != nullptr) return link->has_device_groups() ? "nccl" : "mpi";
  return shares_memory && first().backend().device().kind != DeviceKind::kCpu ? "peer" : "host";
}

std::optional<Notice> Engine::Impl::transport_notice() const {
  if (link == nullptr || first().backend().device().kind == DeviceKind::kCpu) return std::nullopt;
  if (link->has_device_groups())
    return Notice{format_message("the processes' GPUs exchange by {}", MessagePart{group_library})};
  return Notice{format_message("the processes' GPUs exchange through the hosts' memory, by MPI: {}",
                               MessagePart{by_letters_reason})};
}

void Engine::Impl::agree_on_vae_plans(const std::function<void()>& work,
                                      std::vector<PlannedRun>& plans) const {
  const auto put = [](const PlannedRun& plan) {
    LetterWriter letter;
    put_vae_plan(letter, plan.decode);
    put_vae_plan(letter, plan.encode);
    return letter.take();
  };
  const auto take = [](const Letter& shared, PlannedRun& plan) {
    LetterReader letter(shared);
    plan.decode = get_vae_plan(letter);
    plan.encode = get_vae_plan(letter);
  };
  const Letter shared = link->together(
      [&] {
        work();
        return put(plans.front());
      },
      [&](const std::vector<Letter>& letters) {
        std::vector<PlannedRun> of_processes(letters.size(), plans.front());
        for (std::size_t process = 0; process < letters.size(); ++process)
          take(letters[process], of_processes[process]);
        share_vae_plans(of_processes);
        return put(of_processes.front());
      });
  for (PlannedRun& plan : plans) take(shared, plan);
}

void Engine::Impl::connect(const RankLayout& layout) {
  if (link == nullptr) return connect_ranks(ranks, layout, options);
  const auto timeout = std::chrono::duration_cast<std::chrono::milliseconds>(options.rank_timeout);
  std::vector<ComputeDevice*> devices;
  for (const auto& rank : ranks) {
    rank->connect({});
    devices.push_back(&rank->backend());
  }
  link->open_connection(devices, layout, timeout);
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    ranks[i]->connect(link->connect(static_cast<int>(i), ranks[i]->backend(), layout, timeout));
  }
}

void Engine::Impl::make_share(const SharedRequest& request) {
  const ResolvedRequest resolved{.settings = request.settings,
                                 .latent = request.latent,
                                 .inputs = {.images = request.images},
                                 .save_file = {},
                                 .latents = {},
                                 .resumed = {},
                                 .notices = {}};
  std::vector<PlannedRun> plans;
  agree_on_vae_plans(
      [&] {
        plans = plan_ranks(resolved, request.layout);
        for (const PlannedRun& plan : plans) hold_to(plan);
        models.tokenizer();
      },
      plans);
  connect(request.layout);
  together_connected([&] { load_ranks(ranks, models, plans, {}, nullptr, patience()); });
  together_connected([&] {
    const RankRun every{.models = models,
                        .settings = request.settings,
                        .inputs = resolved.inputs,
                        .latent = request.latent,
                        .output = {},
                        .resumed = request.resumed ? &*request.resumed : nullptr,
                        .check = request.check};
    run_ranks(plans, every, [](RankRun&) {});
  });
}

namespace {

ProcessPlace place_of(const ProcessGroup& processes) {
  return {.process = processes.rank(),
          .processes = processes.size(),
          .local_rank = processes.local_rank(),
          .local_size = processes.local_size()};
}

}  // namespace

/// This process's share.
std::unique_ptr<Engine::Impl> Engine::make_impl(const EngineOptions& options,
                                                std::unique_ptr<ProcessLink> link) {
  std::unique_ptr<Impl> impl;
  link->together([&] {
    impl = std::make_unique<Impl>(options,
                                  make_ranks(options, make_backends(options, place_of(link->processes()))));
    return Letter();
  });
  impl->link = std::move(link);
  impl->share_ranks();
  return impl;
}

EngineShare::EngineShare(const EngineOptions& options, std::unique_ptr<ProcessLink> link)
    : impl_(Engine::make_impl(options, std::move(link))) {}
EngineShare::~EngineShare() = default;

void EngineShare::generate(const SharedRequest& request) {
  impl_->make_share(request);
}

}  // namespace wan
