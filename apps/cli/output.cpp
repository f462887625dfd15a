#include "output.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/untrusted_text.h"

namespace wan {

namespace {

int lost = 0;  // errno of the first failure on standard output

}  // namespace

void open_closed_streams() noexcept {
  // In this order: open() takes the lowest number that is free. Standard output is opened so that writing fails.
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(stream, F_GETFD) < 0 && errno == EBADF)
      static_cast<void>(::open("/dev/null", stream == STDERR_FILENO ? O_WRONLY : O_RDONLY));
}

void write_note(std::FILE* stream, std::string_view text) noexcept {
  static_cast<void>(std::fwrite(text.data(), 1, text.size(), stream));
  static_cast<void>(std::fflush(stream));
}

void write_output(std::string_view text) noexcept {
  if (lost != 0) return;
  errno = 0;
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (std::fflush(stdout) != 0 || !written) lost = errno != 0 ? errno : EIO;
}

void write_json(const std::string& document) {
  write_output(shown_json(document) + "\n");
}

const char* lost_output() noexcept {
  return lost == 0 ? nullptr : std::strerror(lost);
}

}  // namespace wan
