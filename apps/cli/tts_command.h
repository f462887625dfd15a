#pragma once
// Speech by a program that the user names: --enable_tts with --tts_command.

#include "generate_options.h"

namespace wan {

/// Where speech is asked for, has it made and puts it into `request.speech.audio`: a file beside the video, which stays. `request` has a
/// name for the video. Throws InvalidArgument for options that do not go together, Unsupported without a command, BadFile for one that
/// fails or leaves no file.
void speak_where_asked(const GenerateOptions& options, GenerationRequest& request,
                       std::vector<std::string>& notices);

/// The words of a command: separated by spaces, together where quotes of either kind stand round them. Throws InvalidArgument for a quote
/// that does not end.
std::vector<std::string> words_of_command(const std::string& command);

}  // namespace wan
