/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* All maps. Sizes here are the smallest; agent/probe/limits.go sets them from memory and CPU count, and whether they are preallocated. */
#pragma once
#include "types.h"

#define HASH_MAP(name, key_type, value_type, size) \
	struct { \
		__uint(type, BPF_MAP_TYPE_HASH); \
		__uint(map_flags, BPF_F_NO_PREALLOC); \
		__uint(max_entries, size); \
		__type(key, key_type); \
		__type(value, value_type); \
	} name SEC(".maps")

#define LRU_MAP(name, key_type, value_type, size) \
	struct { \
		__uint(type, BPF_MAP_TYPE_LRU_HASH); \
		__uint(max_entries, size); \
		__type(key, key_type); \
		__type(value, value_type); \
	} name SEC(".maps")

HASH_MAP(conns, __u64, struct conn_t, 4096);	      /* struct sock* -> connection */
HASH_MAP(sources, struct source_key_t, struct source_t, 4096); /* client's address, port and first sequence number -> its socket, until the server's end is found */
HASH_MAP(owners, __u64, struct owner_t, 1024);
HASH_MAP(pairs, __u64, struct pair_t, 2048);
HASH_MAP(series, struct series_key_t, struct series_t, 2048);
HASH_MAP(routes, __u64, struct route_t, 2048);
HASH_MAP(listeners, struct listener_key_t, struct listener_t, 1024);
HASH_MAP(pending, struct pending_key_t, struct slot_t, 2048); /* requests beyond NUM_SLOTS in flight on one connection */
HASH_MAP(partials, __u64, struct route_t, 256);	      /* route text of a request line that is not whole yet */
HASH_MAP(ignored, __u64, __u8, 1024);		      /* cgroup inode -> drop its traffic */

HASH_MAP(own_addresses, struct addr_t, __u8, 1024);  /* of the machine; agent/probe keeps them */

LRU_MAP(tls_sessions, struct tls_session_key_t, struct tls_session_t, 4096);
LRU_MAP(tls_unseen, __u32, __u64, 1024); /* processes with TLS that no probe sees, and since when */
LRU_MAP(go_reads, struct go_call_key_t, struct go_call_t, 4096);
LRU_MAP(go_waits, struct go_wait_key_t, __u64, 1024); /* the *tls.Conn */
LRU_MAP(java_prints, struct java_print_key_t, __u64, 1024);
HASH_MAP(java_processes, __u32, struct java_process_t, 1024); /* by pid; agent/probe enters them and takes them out */
HASH_MAP(words, __u64, struct word_t, 1024);		      /* hash -> what it stands for; agent/probe enters them before anything is attached */
LRU_MAP(statements, struct statement_key_t, __u32, 1024);     /* -> number of the operation; agent/probe enters what user space has met */
HASH_MAP(verdicts, __u64, struct verdict_t, 1024);   /* struct sock* -> what user space wants of it */

/* struct sock* -> UDP socket. No hook tells of their end, so the least used goes when there is no room. */
LRU_MAP(udp_sockets, __u64, struct udp_t, 1024);

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} records SEC(".maps");

#define ARRAY_MAP(name, kind, value_type, size) \
	struct { \
		__uint(type, kind); \
		__uint(max_entries, size); \
		__type(key, __u32); \
		__type(value, value_type); \
	} name SEC(".maps")

ARRAY_MAP(lost, BPF_MAP_TYPE_PERCPU_ARRAY, __u64, NUM_LOST);
ARRAY_MAP(counts, BPF_MAP_TYPE_PERCPU_ARRAY, __u64, NUM_COUNTS);

#define CHUNK 256
/* Where the parser stands in the buffers of one call. */
struct work_t {
	__u64 now;
	__u64 left;	/* bytes of the call not yet looked at */
	__u64 segment;	/* user address of the next byte */
	__u64 segment_left;
	__u64 iov;	/* user address of the next iovec, 0 for a plain buffer */
	struct iovec ahead; /* the next one, where it was read with the one before; its base is 0 else */
	__u32 iov_left;
	__u32 messages_left;
	__u64 message;	/* user address of the next message of sendmmsg */
	__u32 pos;	/* in chunk */
	__u32 len;	/* of chunk */
	__u32 event;
	__u32 skip;	/* bytes of the call that are not shipped */
	__u32 plain;	/* where this is, see work_of() */
	__u32 kept;	/* bytes before the next that are to be shipped */
	__u32 keep;	/* bytes of route that a record takes along */
	__u32 direction; /* of the call */
	__u32 begun;	/* 1 + where in the call the request at hand begins, 0 if that was before it */
	__u32 answer_code; /* of SQL: how an answer went, and */
	__u64 answer_ns; /* when that was known */
	__u64 sk;
	__u64 total;	/* bytes of the call */
	struct slot_t slot; /* a new one */
	struct statement_key_t statement; /* that is looked up */
	struct record_t head;
	struct route_t route;
	__u8 chunk[CHUNK + 32];
};
ARRAY_MAP(work, BPF_MAP_TYPE_PERCPU_ARRAY, struct work_t, 1); /* of the I/O hooks, which run with preemption off */

/* What a thread is doing in rustls: see rustls.bpf.c. */
struct rustls_thread_t {
	__u64 args[4];	 /* of the present call */
	__u64 encrypter; /* that worked inside of it */
	__u64 decrypter; /* the last one since plain text was read, and */
	__u64 opened_sk; /* the connection that its cipher text came from, 0 where that is not certain */
	__u64 opened_ns;
	__u64 flushed_sk; /* the connection that was written inside of the present call */
	__u64 flushed_ns;
	__u64 wait_encrypter; /* of plain text whose connection is not known yet, 0 for none */
	__u64 wait_object;    /* the connection in the memory of the program */
	__u64 wait_buf;
	__u64 wait_n;	      /* 0: it cannot be looked at any more */
	__u64 wait_begin_ns;
	__u64 chunk_object; /* a connection in the memory of the program whose plain text was shown, and */
	__u64 chunk;	    /* what of that is not used yet */
	__u64 chunk_left;
	__u32 wait_iovecs;
	__u8 wait_torn; /* plain text before it was lost */
	__u8 nested;	/* another call was made inside of the present one */
	__u8 seen;	/* this thread is one of rustls */
	__u8 pad;
};

/* What a thread is doing in a TLS library. */
struct tls_thread_t {
	__u64 ssl; /* of the present call, or of the last one */
	__u64 buf;
	__u64 len; /* address of the result's length */
	__u64 begin_ns;
	__u64 sp;      /* user stack at the call's entry */
	__u64 read_sk; /* TLS connection that was read since the last call */
	__u64 read_opened_ns;
	__u8 call; /* an enum tls_call, 0 between calls */
	__u8 mixed; /* more than one was read */
	__u8 quiet; /* nothing was read or written since the last call */
	__u8 pad[5];
	struct rustls_thread_t rustls;
	struct work_t work; /* uprobes run with preemption on */
};
LRU_MAP(tls_threads, __u64, struct tls_thread_t, 1024); /* by pid and tgid */

/* Zeroes to make new entries from: too large for the stack. */
struct zero_t {
	struct conn_t conn;
	struct pair_t pair;
	struct series_t series;
	struct tls_thread_t thread;
};
ARRAY_MAP(zero, BPF_MAP_TYPE_ARRAY, struct zero_t, 1);

/* One message of a UDP socket, and what is read on the way: the stack is for the calls. */
struct udp_work_t {
	__u64 buffer; /* user address of its first bytes */
	__u64 room;   /* bytes there */
	__u64 name;   /* user address of where it goes, 0 if the call does not say */
	__u64 length; /* of the message */
	__u64 sk;
	struct datagram_t record;
	struct udp_t fresh;
	struct user_msghdr header;
	struct iovec vector;
	struct user_sockaddr_in address;
	struct dns_head_t head;
	__u8 pad[2];
};
ARRAY_MAP(udp_work, BPF_MAP_TYPE_PERCPU_ARRAY, struct udp_work_t, 1);

/* Who uses owner_of() at once on one CPU. */
enum scratch { SCRATCH_HOOK, SCRATCH_WALK, SCRATCH_WITHIN, NUM_SCRATCH };
ARRAY_MAP(owner_scratch, BPF_MAP_TYPE_PERCPU_ARRAY, struct owner_t, NUM_SCRATCH);

ARRAY_MAP(state_running, BPF_MAP_TYPE_PERCPU_ARRAY, __u8, 1); /* tcp_state is at work on this CPU */

/* How many more pairs may stand for one connection each, see translated() in tcp.bpf.c; agent/probe counts those there are. */
ARRAY_MAP(translated_room, BPF_MAP_TYPE_ARRAY, __s64, 1);

/* Set at load. */
const volatile __u32 max_routes_per_owner = 256;
const volatile __u32 ring_bytes = 1 << 20;
const volatile __u8 ship_streams = 0; /* whether user space reads the ring */
const volatile __u32 pid_namespace = 0; /* inode of the one that user space lives in; 0 is the kernel's first */
const volatile __u8 only_pid_namespace = 0; /* what is not below it is another machine's */

static __always_inline void count_lost(__u32 reason, __u64 n)
{
	__u64 *v = bpf_map_lookup_elem(&lost, &reason);
	if (v)
		__sync_fetch_and_add(v, n); /* a hook in an interrupt may count on the same CPU */
}

static __always_inline void count(__u32 what)
{
	__u64 *v = bpf_map_lookup_elem(&counts, &what);
	if (v)
		__sync_fetch_and_add(v, 1);
}

static __always_inline struct zero_t *zeroes(void)
{
	__u32 key = 0;
	return bpf_map_lookup_elem(&zero, &key);
}

static __always_inline struct tls_thread_t *tls_thread(void)
{
	__u64 id = bpf_get_current_pid_tgid();

	return bpf_map_lookup_elem(&tls_threads, &id);
}

/* The parser's place for the present call: of the thread when the bytes are plain text of TLS, else of the CPU. */
static __always_inline struct work_t *work_of(__u32 plain)
{
	__u32 zero_key = 0;
	struct tls_thread_t *t;

	if (!plain)
		return bpf_map_lookup_elem(&work, &zero_key);
	t = tls_thread();
	return t ? &t->work : NULL;
}

static __always_inline __u64 mix(__u64 h, __u64 v)
{
	h = (h ^ v) * 0x9E3779B97F4A7C15ULL;
	return h ^ (h >> 32);
}
