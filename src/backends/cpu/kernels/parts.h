#pragma once
// How the kernel sources of one instruction set fill their part of the table. WAN_ISA is that set's name.

#include "backends/cpu/kernels/kernels.h"

#define WAN_ISA_NAME_2(name) cpu_##name
#define WAN_ISA_NAME_1(name) WAN_ISA_NAME_2(name)
#define WAN_ISA_NAMESPACE WAN_ISA_NAME_1(WAN_ISA)

namespace wan::WAN_ISA_NAMESPACE {

void add_elementwise(CpuKernels& table);
void add_rows(CpuKernels& table);
void add_attention(CpuKernels& table);
void add_unpack(CpuKernels& table);
CpuKernels make_table();

}  // namespace wan::WAN_ISA_NAMESPACE
