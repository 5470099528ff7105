//go:build ignore

// SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause)
/* All kernel programs of vetch, one object an architecture. */
#include "include/vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include "tcp.bpf.c"
#include "socket.bpf.c"
#include "iter.bpf.c"
#include "tls.bpf.c"
#include "rustls.bpf.c"
#include "gotls.bpf.c"
#include "java.bpf.c"
#include "exit.bpf.c"
#include "try.bpf.c"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
