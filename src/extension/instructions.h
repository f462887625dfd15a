#pragma once
// What a language model is told to make of a prompt. The texts are our own, with the purpose of the official ones.

#include <string>

#include "wan/extension.h"
#include "wan/request.h"

namespace wan {

/// For the request's task, in the target language, by whether there is an image and a prompt; or the file's text, where there is one.
/// Throws Unsupported for a task whose prompts are not extended, InvalidArgument for an unknown task or language,
/// an image that the task does not take and a prompt that is not UTF-8, BadFile.
std::string instruction_for(const GenerationRequest& request, const PromptExtension& extension);

}  // namespace wan
