// Package bpf holds the kernel programs: their C source, and the objects and Go types generated from it.
package bpf

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -tags linux -target amd64,arm64 -cc clang -no-strip=false -output-stem vetch -go-package bpf -cflags "-O2 -g -mcpu=v3 -Wall -Werror -Wno-unused-function" -type owner_t -type pair_t -type pair_key_t -type series_t -type series_key_t -type route_t -type listener_t -type listener_key_t -type conn_t -type verdict_t -type word_t -type record_t -type datagram_t -type tls_session_t -type tls_session_key_t -type tls_thread_t -type java_process_t -type try_bucket_t -type try_parse_t Vetch vetch.bpf.c
