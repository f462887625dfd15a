#pragma once
// What is wrong with a machine, by what was found out about it.

#include "wan/doctor.h"

namespace wan {

/// Of host, CUDA, devices, pairs and exchange; what is wrong with a checkpoint is told where it is looked at.
std::vector<DoctorProblem> diagnose(const DoctorReport& report);

/// "13.0" of 13000.
std::string cuda_version_text(int version);
/// "9.19.0" of 91900, cuDNN 8 and older too.
std::string cudnn_version_text(int version);

}  // namespace wan
