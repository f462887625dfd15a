#include "tts_command.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/files.h"
#include "base/untrusted_text.h"
#include "tasks/task_table.h"

extern char** environ;  // NOLINT: what the program is given goes on to the command

namespace wan {

namespace {

namespace fs = std::filesystem;

constexpr const char* kExample = "espeak-ng --stdin -w {out}";

/// What a word of the command may hold, and what stands there instead.
struct Variable {
  std::string_view name;
  const char* option;
  std::string value;
};

void check_options(const GenerateOptions& o) {
  const std::pair<const char*, bool> given[] = {{"--tts_command", !o.tts_command.empty()},
                                                {"--tts_text", o.tts_text.has_value()},
                                                {"--tts_prompt_audio", !o.tts_prompt_audio.empty()},
                                                {"--tts_prompt_text", o.tts_prompt_text.has_value()}};
  for (const auto& [name, is_given] : given)
    WAN_CHECK_FIELD(o.enable_tts || !is_given, kInvalidArgument, "enable_tts",
                    "{} is of --enable_tts, which is not given", name);
  if (!o.enable_tts) return;
  WAN_CHECK_FIELD(o.audio.empty(), kInvalidArgument, "audio",
                  "--audio and --enable_tts are two sounds; leave one of them out");
  WAN_CHECK_FIELD(o.from_latents.empty(), kInvalidArgument, "enable_tts",
                  "--enable_tts: the run goes on with the speech that it was begun with; leave it out");
  WAN_CHECK_FIELD(!o.tts_command.empty(), kUnsupported, "tts_command",
                  "--enable_tts: no speech synthesis is built in; name a program that speaks, such as "
                  "--tts_command \"{}\", or make the sound before and pass it as --audio",
                  kExample);
  WAN_CHECK_FIELD(o.tts_text && !o.tts_text->empty(), kInvalidArgument, "tts_text",
                  "--tts_text is missing: write what is to be said");
  WAN_CHECK_FIELD(find_task(o.task).facts().takes_sound, kInvalidArgument, "enable_tts",
                  "--enable_tts: {} makes no video from a sound", o.task);
  for (const auto& text : {o.tts_text, o.tts_prompt_text})  // a program's words end there
    WAN_CHECK_FIELD(!text || text->find('\0') == std::string::npos, kInvalidArgument, "tts_text",
                    "--tts_text and --tts_prompt_text: a zero byte stands in one of them");
}

/// A relative name that begins with a dash would be taken for an option.
fs::path absolute_path(const fs::path& path) {
  return real_path(folder_of(path)) / path.filename();
}

/// The command's words with their values in them: each stays one word, and no shell reads any of them.
std::vector<std::string> filled_words(const GenerateOptions& o, const fs::path& out) {
  const std::string text = o.tts_text.value_or("");
  const std::array<Variable, 4> variables{
      {{"{out}", "", out.string()},
       {"{text}", "--tts_text", text},
       {"{prompt_audio}", "--tts_prompt_audio",
        o.tts_prompt_audio.empty() ? "" : absolute_path(o.tts_prompt_audio).string()},
       {"{prompt_text}", "--tts_prompt_text", o.tts_prompt_text.value_or("")}}};
  std::vector<std::string> words = words_of_command(o.tts_command);
  WAN_CHECK_FIELD(!words.empty(), kInvalidArgument, "tts_command", "--tts_command names no program");
  const auto holds = [&](const Variable& variable) {
    return std::ranges::any_of(
        words, [&](const std::string& word) { return word.find(variable.name) != std::string::npos; });
  };
  WAN_CHECK_FIELD(holds(variables[0]), kInvalidArgument, "tts_command",
                  "--tts_command: no word of it is {{out}}, the file that the speech goes to: {}", kExample);
  for (std::size_t i = 2; i < variables.size(); ++i) {
    const Variable& prompt = variables[i];
    WAN_CHECK_FIELD(prompt.value.empty() || holds(prompt), kInvalidArgument, "tts_command",
                    "--tts_command: no word of it takes {}, which is given; put {} where it belongs",
                    prompt.option, prompt.name);
    WAN_CHECK_FIELD(!prompt.value.empty() || !holds(prompt), kInvalidArgument, "tts_command",
                    "--tts_command takes {}, and {} is missing", prompt.name, prompt.option);
  }
  for (std::string& word : words) {
    for (const Variable& variable : variables)
      WAN_CHECK_FIELD(
          word != variable.name || !variable.value.starts_with("-"), kInvalidArgument, "tts_command",
          "{} begins with a dash, which the command would take for an option; {}", variable.option,
          variable.name == "{text}" ? "leave {text} out: the text is on its standard input too"
                                    : "write it in one word with an option, as --says={prompt_text}");
    const std::string written = word;
    word.clear();
    // One pass: values may hold what looks like a variable.
    for (std::size_t at = 0; at < written.size();) {
      const std::string_view rest = std::string_view(written).substr(at);
      const auto here =
          std::ranges::find_if(variables, [&](const Variable& v) { return rest.starts_with(v.name); });
      word += here != variables.end() ? here->value : std::string(1, written[at]);
      at += here != variables.end() ? here->name.size() : 1;
    }
  }
  return words;
}

/// A file without a name that holds the text, to be read from its beginning. Closed with this.
class TextInput {
 public:
  explicit TextInput(const std::string& text) : file_(::memfd_create("speech", MFD_CLOEXEC)) {
    const bool written = file_ >= 0 &&
                         ::write(file_, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
                         ::lseek(file_, 0, SEEK_SET) == 0;
    WAN_CHECK(written, kIo, "the text cannot be handed to the command: {}", system_reason(errno));
  }
  ~TextInput() { ::close(file_); }
  TextInput(const TextInput&) = delete;
  TextInput& operator=(const TextInput&) = delete;
  int file() const { return file_; }

 private:
  int file_;
};

/// Runs the program with these words, the text on its standard input; what it prints goes to standard error.
void run_program(const std::vector<std::string>& words, const std::string& text) {
  const TextInput input(text);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, input.file(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
  std::vector<std::string> copies = words;
  std::vector<char*> arguments;
  for (std::string& word : copies) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t child = 0;
  const int error = ::posix_spawnp(&child, arguments[0], &files, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  WAN_CHECK_FIELD(error == 0, kBadFile, "tts_command", "--tts_command: {} cannot be run: {}",
                  quote_name(words[0]), std::strerror(error));
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  WAN_CHECK_FIELD(!WIFSIGNALED(status), kBadFile, "tts_command", "--tts_command: {} was ended by signal {}",
                  quote_name(words[0]), WTERMSIG(status));
  WAN_CHECK_FIELD(WIFEXITED(status) && WEXITSTATUS(status) == 0, kBadFile, "tts_command",
                  "--tts_command: {} failed with status {}; what it says of it is above",
                  quote_name(words[0]), WEXITSTATUS(status));
}

/// "video.mp4.speech.wav", or with a number where that is there: an unfinished run may go on with it.
fs::path free_speech_file(const fs::path& video) {
  fs::path name = video.string() + ".speech.wav";
  for (int number = 2; file_exists(name); ++number)
    name = fmt::format("{}.speech.{}.wav", video.string(), number);
  return name;
}

}  // namespace

std::vector<std::string> words_of_command(const std::string& command) {
  std::vector<std::string> words;
  bool in_word = false;
  char quote = 0;
  for (const char c : command) {
    if (quote != 0 ? c == quote : c == '"' || c == '\'') {
      quote = quote != 0 ? 0 : c;
      if (!in_word) words.emplace_back();
      in_word = true;
    } else if (quote == 0 && (c == ' ' || c == '\t')) {
      in_word = false;
    } else {
      if (!in_word) words.emplace_back();
      in_word = true;
      words.back() += c;
    }
  }
  WAN_CHECK_FIELD(quote == 0, kInvalidArgument, "tts_command", "--tts_command: a quote of it does not end");
  return words;
}

void speak_where_asked(const GenerateOptions& o, GenerationRequest& request,
                       std::vector<std::string>& notices) {
  check_options(o);
  if (!o.enable_tts) return;
  const fs::path folder = folder_of(request.save_file);
  WAN_CHECK_FIELD(is_folder(folder), kInvalidArgument, "save_file",
                  "--save_file: {} is no folder; make it first", folder.string());
  const fs::path out = absolute_path(free_speech_file(request.save_file));
  run_program(filled_words(o, out), *o.tts_text);
  WAN_CHECK_FIELD(
      file_exists(out), kBadFile, "tts_command",
      "--tts_command ended well, and {} is not there; {{out}} stands for the file that it is to write",
      out.string());
  notices.push_back(format_message("the speech is in {}", out.string()));
  request.speech.audio = out;
}

}  // namespace wan
