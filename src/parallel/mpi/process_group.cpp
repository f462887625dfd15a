#include "parallel/mpi/process_group.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "base/log.h"

namespace wan {

namespace {

constexpr auto kCauseComes = std::chrono::milliseconds(500);  // after who has left for a failure: it says why
constexpr std::chrono::milliseconds kSlice{50};  // after which who waits looks whether it is to stop
constexpr int kBusyLooks = 200;                  // before the thread begins to rest between two looks
constexpr int kRestingLooks = 10000;             // before the rests become long
constexpr std::chrono::microseconds kRest{100};
constexpr std::chrono::microseconds kLongRest{1000};

std::string host_name() {
  char name[256] = "";
  if (::gethostname(name, sizeof(name) - 1) != 0 || name[0] == '\0') return "this machine";
  return name;
}

/// Machines may have one name: what the kernel calls this one since it started goes along.
std::string boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
}

Letter letter_of(std::string_view text) {
  Letter letter(text.size());
  std::memcpy(letter.data(), text.data(), text.size());
  return letter;
}

std::string text_of(const Letter& letter) {
  return {reinterpret_cast<const char*>(letter.data()), letter.size()};
}

/// An Error as lines: code, field, text.
Letter error_letter(const Error& error) {
  return letter_of(fmt::format("{}\n{}\n{}", static_cast<int>(error.code()), error.field(), error.what()));
}

Error error_of(const std::string& text, const std::string& sender) {
  const std::size_t field = text.find('\n') + 1;
  const std::size_t message = text.find('\n', field) + 1;
  const auto code = static_cast<ErrorCode>(std::atoi(text.c_str()));
  const std::string what = text.substr(message);
  return {code, code == ErrorCode::kCancelled ? what : sender + ": " + what,
          text.substr(field, message - 1 - field)};
}

}  // namespace

ProcessGroup::ProcessGroup(const Launch& launch, const std::string& version, const Times& times)
    : times_(times), library_(load_message_library()) {
  thread_ = std::thread([this] { work(); });
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return started_; });
  }
  try {
    if (start_failure_) std::rethrow_exception(start_failure_);
    WAN_CHECK(
        size_ == launch.size, kUnsupported,
        "{} started {} processes, and MPI connects {}: the program was built with another MPI than {} has; "
        "build it on a machine with that one",
        launch.launcher, launch.size, size_, launch.launcher);
    meet(version);
  } catch (...) {
    finish(exit_status(ErrorCode::kUnsupported));
    throw;
  }
}

ProcessGroup::~ProcessGroup() {
  finish(exit_status(ErrorCode::kInternal));
}

void ProcessGroup::meet(const std::string& version) {
  const Letter mine = letter_of(version + "\n" + boot_id() + "\n" + host_name());
  for (int process = 0; process < size_; ++process) send(process, {.from = rank_, .to = process}, mine);
  std::vector<std::string> versions;
  for (int process = 0; process < size_; ++process) {
    const std::string text = text_of(receive(process, {.from = process, .to = rank_}));
    const std::size_t end = text.find('\n');
    const std::string host = text.substr(std::min(text.size(), text.find('\n', end + 1) + 1));
    versions.push_back(text.substr(0, end));
    machines_.push_back(text.substr(end));
    const std::lock_guard lock(mutex_);
    hosts_.push_back(host);
  }
  for (int process = 0; process < size_; ++process) {
    if (machine(process) != machine(rank_)) continue;
    if (process < rank_) ++local_rank_;
    if (process != rank_) ++local_size_;
  }
  for (int process = 1; process < size_; ++process)
    WAN_CHECK(versions[static_cast<std::size_t>(process)] == versions[0], kUnsupported,
              "{} runs {}, and {} runs {}; install one version on all machines", name(0), versions[0],
              name(process), versions[static_cast<std::size_t>(process)]);
}

int ProcessGroup::machine(int process) const {
  return static_cast<int>(std::ranges::find(machines_, machines_[static_cast<std::size_t>(process)]) -
                          machines_.begin());
}

std::string ProcessGroup::name(int process) const {
  const auto index = static_cast<std::size_t>(process);
  if (index >= hosts_.size()) return fmt::format("process {}", process);
  const auto same = std::count(hosts_.begin(), hosts_.end(), hosts_[index]);
  return same == 1 ? hosts_[index] : fmt::format("{} (process {})", hosts_[index], process);
}

void ProcessGroup::send(int process, const Route& route, Letter letter) {
  const std::lock_guard lock(mutex_);
  if (process == rank_) {
    mail_[route].push_back(std::move(letter));
    changed_.notify_all();
    return;
  }
  const std::uint64_t bytes = letter.size();
  enqueue(process, {.kind = Kind::kLetter, .route = route, .bytes = bytes}, std::move(letter));
}

std::optional<Error> ProcessGroup::failure_of(const Route& route) const {
  if (lost_) return lost_;
  const auto failure = failures_.find(route.connection);
  if (failure != failures_.end()) return failure->second;
  return std::nullopt;
}

Letter ProcessGroup::receive(int process, const Route& route, std::chrono::milliseconds timeout) {
  Clock::duration waited{};
  std::optional<Clock::time_point> gone_since;
  std::unique_lock lock(mutex_);
  while (true) {
    if (const auto failure = failure_of(route)) throw Error(*failure);
    const auto mail = mail_.find(route);
    if (mail != mail_.end() && !mail->second.empty()) {
      Letter letter = std::move(mail->second.front());
      mail->second.pop_front();
      return letter;
    }
    const bool gone =
        left_.contains({route.connection, route.group, route.from, 0}) || ended_.contains(process);
    if (gone && !gone_since) gone_since = Clock::now();
    WAN_CHECK(!gone_since || (route.connection != 0 && Clock::now() - *gone_since < kCauseComes), kDevice,
              "another rank, on {}, has ended; this rank stops too", name(process));
    if (route.connection != 0) {
      const std::atomic<bool>* const stopped = stopped_.load();
      WAN_CHECK(stopped == nullptr || !stopped->load(), kCancelled, "stopped on request");
    }
    // In slices, of which a process that was stopped meanwhile loses one and not all.
    const auto since = Clock::now();
    changed_.wait_for(lock, kSlice);
    if (rests()) continue;
    waited += std::min<Clock::duration>(Clock::now() - since, 2 * kSlice);
    if (timeout.count() == 0 || waited < timeout) continue;
    const Error error(
        ErrorCode::kDevice,
        format_message("rank {}, on {}, did not come to an exchange within {:.3g} s: a device does not "
                       "answer, or the work between two exchanges takes longer than `rank_timeout` says",
                       route.from, name(process), std::chrono::duration<double>(timeout).count()),
        "rank_timeout");
    lock.unlock();
    fail_connection(route.connection, error);
    throw Error(error);
  }
}

void ProcessGroup::check(std::uint32_t connection) const {
  const std::lock_guard lock(mutex_);
  if (const auto failure = failure_of({.connection = connection})) throw Error(*failure);
}

bool ProcessGroup::rests() const {
  return std::any_of(resting_.begin(), resting_.end(), [](int ranks) { return ranks > 0; });
}

bool ProcessGroup::anyone_rests() const {
  const std::lock_guard lock(mutex_);
  return rests();
}

void ProcessGroup::change_resting(int by) noexcept {
  const std::lock_guard lock(mutex_);
  int& resting = resting_[static_cast<std::size_t>(rank_)];
  const bool before = resting > 0;
  resting += by;
  if (before != (resting > 0)) enqueue_to_others({.kind = Kind::kPulse, .number = resting});
}

void ProcessGroup::fail_connection(std::uint32_t connection, const Error& error) noexcept {
  const std::lock_guard lock(mutex_);
  if (connection < connection_ || !failures_.emplace(connection, error).second) return;
  changed_.notify_all();
  Letter letter = error_letter(error);
  const std::uint64_t bytes = letter.size();
  enqueue_to_others({.kind = Kind::kFailure, .route = {.connection = connection}, .bytes = bytes}, letter);
}

void ProcessGroup::leave(const Route& route, const std::vector<int>& processes) noexcept {
  const std::lock_guard lock(mutex_);
  std::vector<int> told;
  for (const int process : processes) {
    if (process == rank_ || std::find(told.begin(), told.end(), process) != told.end()) continue;
    told.push_back(process);
    enqueue(process, {.kind = Kind::kLeft, .route = {route.connection, route.group, route.from, 0}});
  }
  left_[{route.connection, route.group, route.from, 0}] = true;
  changed_.notify_all();
}

void ProcessGroup::open_connection(std::uint32_t connection) {
  const std::lock_guard lock(mutex_);
  connection_ = connection;
  const auto is_over = [&](std::uint32_t number) { return number != 0 && number < connection; };
  std::erase_if(mail_, [&](const auto& entry) { return is_over(entry.first.connection); });
  std::erase_if(left_, [&](const auto& entry) { return is_over(entry.first.connection); });
  std::erase_if(failures_, [&](const auto& entry) { return is_over(entry.first); });
}

std::optional<int> ProcessGroup::ended(int process) const {
  const std::lock_guard lock(mutex_);
  const auto end = ended_.find(process);
  return end == ended_.end() ? std::nullopt : std::optional(end->second);
}

void ProcessGroup::enqueue(int process, Header header, Letter letter) {
  to_send_.push_back({process, header, std::move(letter)});
  outgoing_.notify_one();
}

void ProcessGroup::enqueue_to_others(const Header& header, const Letter& letter) {
  for (int process = 0; process < size_; ++process)
    if (process != rank_) enqueue(process, header, letter);
}

void ProcessGroup::finish(int status) noexcept {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    enqueue_to_others({.kind = Kind::kEnd, .number = status});
    finishing_ = true;
  }
  thread_.join();
}

bool ProcessGroup::all_have_ended() const {
  return ended_.size() + 1 == static_cast<std::size_t>(size_);
}

void ProcessGroup::lose(const Error& error) {
  const std::lock_guard lock(mutex_);
  if (!lost_) lost_ = error;
  changed_.notify_all();
}

/// What the thread does.
void ProcessGroup::work() {
  try {
    const MessageLibrary::Place place = library_.start();
    const std::lock_guard lock(mutex_);
    rank_ = place.rank;
    size_ = place.size;
    incoming_.resize(static_cast<std::size_t>(size_));
    heard_.assign(static_cast<std::size_t>(size_), Clock::now());
    resting_.assign(static_cast<std::size_t>(size_), 0);
    started_ = true;
    changed_.notify_all();
  } catch (const std::exception& failure) {
    const std::lock_guard lock(mutex_);
    start_failure_ = std::make_exception_ptr(Error(
        ErrorCode::kUnsupported, format_message("MPI does not start: {}", std::string(failure.what()))));
    started_ = true;
    changed_.notify_all();
    return;
  }
  int idle = 0;
  std::optional<Clock::time_point> finishing_since;
  try {
    while (true) {
      bool busy = send_parcels();
      busy = receive_messages() || busy;
      busy = finish_transfers() || busy;
      keep_pulse();
      idle = busy ? 0 : idle + 1;
      std::unique_lock lock(mutex_);
      if (finishing_ && !finishing_since) finishing_since = Clock::now();
      if (finishing_since && to_send_.empty() && sending_.empty() && all_have_ended()) break;
      if (finishing_since && (lost_ || Clock::now() - *finishing_since > times_.farewell)) return;
      if (busy || !to_send_.empty()) continue;
      if (idle < kBusyLooks) {
        lock.unlock();
        std::this_thread::yield();
      } else {
        outgoing_.wait_for(lock, idle < kRestingLooks ? kRest : kLongRest);
      }
    }
    library_.finish();
  } catch (const std::exception& failure) {
    lose({ErrorCode::kDevice,
          format_message("the way to the other processes has failed: {}", std::string(failure.what()))});
  }
}

bool ProcessGroup::send_parcels() {
  std::deque<Parcel> parcels;
  {
    const std::lock_guard lock(mutex_);
    parcels.swap(to_send_);
  }
  for (Parcel& parcel : parcels) {
    Parcel& begun = sending_.emplace_back(std::move(parcel));
    begun.transfers.push_back(
        library_.send(reinterpret_cast<const std::byte*>(&begun.header), sizeof(Header), begun.process));
    for (std::size_t first = 0; first < begun.letter.size(); first += MessageLibrary::kMostBytes)
      begun.transfers.push_back(
          library_.send(begun.letter.data() + first,
                        std::min(MessageLibrary::kMostBytes, begun.letter.size() - first), begun.process));
  }
  return !parcels.empty();
}

bool ProcessGroup::receive_messages() {
  const MessageLibrary::Arrival arrival = library_.look();
  if (!arrival.found) return false;
  const auto index = static_cast<std::size_t>(arrival.from);
  heard_[index] = Clock::now();
  std::shared_ptr<Incoming>& current = incoming_[index];
  if (!current || !current->open) {
    // A header. What follows it of the same process may be found only once its length is known.
    current = std::make_shared<Incoming>();
    WAN_CHECK(arrival.bytes == sizeof(Header), kInternal, "[process group] a header of {} bytes",
              arrival.bytes);
    const int transfer = library_.receive(reinterpret_cast<std::byte*>(&current->header), sizeof(Header));
    while (!library_.is_done(transfer))
      std::this_thread::yield();  // it is so short that it has arrived whole
    current->letter.resize(current->header.bytes);
    current->open = current->header.bytes > 0;
    if (!current->open)
      arriving_.push_back({.process = arrival.from, .is_last = true, .transfer = {}, .letter = current});
    return true;
  }
  const std::size_t left = current->letter.size() - current->begun;
  WAN_CHECK(arrival.bytes <= left, kInternal, "[process group] {} bytes of a letter, expected {}",
            arrival.bytes, left);
  const int transfer = library_.receive(current->letter.data() + current->begun, arrival.bytes);
  current->begun += arrival.bytes;
  current->open = current->begun < current->letter.size();
  arriving_.push_back(
      {.process = arrival.from, .is_last = !current->open, .transfer = transfer, .letter = current});
  return true;
}

bool ProcessGroup::finish_transfers() {
  bool any = false;
  for (auto sent = sending_.begin(); sent != sending_.end();) {
    std::erase_if(sent->transfers, [&](int transfer) { return library_.is_done(transfer); });
    any = any || sent->transfers.empty();
    sent = sent->transfers.empty() ? sending_.erase(sent) : std::next(sent);
  }
  // In the order in which they came: letters of a route stay in theirs, and the last word comes last.
  while (!arriving_.empty() &&
         (!arriving_.front().transfer || library_.is_done(*arriving_.front().transfer))) {
    const Arriving done = std::move(arriving_.front());
    arriving_.pop_front();
    heard_[static_cast<std::size_t>(done.process)] = Clock::now();
    if (done.is_last) deliver(done.process, *done.letter);
    any = true;
  }
  return any;
}

void ProcessGroup::deliver(int process, Incoming& incoming) {
  const Header& header = incoming.header;
  const std::lock_guard lock(mutex_);
  const bool is_over = header.route.connection != 0 && header.route.connection < connection_;
  switch (header.kind) {
    case Kind::kLetter:
      if (!is_over) mail_[header.route].push_back(std::move(incoming.letter));
      break;
    case Kind::kFailure:
      if (!is_over)
        failures_.emplace(header.route.connection, error_of(text_of(incoming.letter), name(process)));
      break;
    case Kind::kLeft:
      if (!is_over) left_[header.route] = true;
      break;
    case Kind::kEnd:
      ended_[process] = header.number;
      break;
    case Kind::kPulse:
      resting_[static_cast<std::size_t>(process)] = header.number;
      return;
  }
  changed_.notify_all();
}

void ProcessGroup::keep_pulse() {
  const auto now = Clock::now();
  if (now - last_pulse_ < times_.pulse) return;
  // This process may have been stopped itself, for as long as it has heard nothing.
  const bool was_away = last_pulse_ != Clock::time_point{} && now - last_pulse_ > 2 * times_.pulse;
  last_pulse_ = now;
  {
    const std::lock_guard lock(mutex_);
    enqueue_to_others({.kind = Kind::kPulse, .number = resting_[static_cast<std::size_t>(rank_)]});
    if (lost_) return;
  }
  for (int process = 0; process < size_; ++process) {
    auto& heard = heard_[static_cast<std::size_t>(process)];
    if (was_away) heard = now;
    if (process == rank_ || now - heard <= times_.silence || ended(process)) continue;
    std::unique_lock lock(mutex_);
    const std::string who = name(process);
    lock.unlock();
    lose({ErrorCode::kDevice,
          format_message(
              "{} has not answered for {} s: its process was killed or stopped, or the network is down", who,
              times_.silence.count() / 1000)});
  }
}

}  // namespace wan
