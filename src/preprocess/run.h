#pragma once
// The steps of preprocessing, one after another, with whatever networks there are.

#include "preprocess/networks.h"
#include "wan/preprocess.h"

namespace wan {

/// preprocess() with `networks`, whose options check_preprocess_options() has let pass.
PreprocessResult run_preprocessing(const PreprocessOptions& options, const Networks& networks,
                                   const EventHandler& on_event, const std::atomic<bool>* cancelled);

/// Options alone. Throws InvalidArgument, naming the member.
void check_preprocess_options(const PreprocessOptions& options);

}  // namespace wan
