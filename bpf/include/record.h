/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* Records: pieces of what connections say, of a few sizes, on the way to user space. */
#pragma once
#include "http.h"

/* The buffers of one system call. address 0: they cannot be seen. */
struct buffers_t {
	__u64 address;
	__u32 iovecs; /* 0: address is the data itself */
	__u32 messages; /* of sendmmsg; address is that of their array */
};

#define SHIP_MAX 4096	/* bytes of one record */
#define SHIP_BYTES (96 << 10) /* of one call: what is behind so much is not worth what it costs */
#define SHARE_RECORD 64 /* bytes that a record takes beside its data, about */

enum { SHIP_RECEIVED = 1, SHIP_PLAIN = 2 };

/* Reserves a record of one size class and fills it from user memory; 0 if there is no room. */
#define SHIP_CLASS(size) \
	static __noinline int ship_##size(struct record_t *head, __u64 address) \
	{ \
		struct record_t *r = bpf_ringbuf_reserve(&records, sizeof(*r) + size, 0); \
		__u32 n = head->length; \
		if (!r) \
			return 0; \
		*r = *head; \
		if (n > size) \
			n = size; \
		if (n && bpf_probe_read_user(r + 1, n, (void *)address)) { \
			bpf_ringbuf_discard(r, BPF_RB_NO_WAKEUP); \
			count_lost(LOST_READ_FAULT, 1); \
			return 1; \
		} \
		bpf_ringbuf_submit(r, bpf_ringbuf_query(&records, BPF_RB_AVAIL_DATA) > ring_bytes / 4 ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP); \
		return 1; \
	}
SHIP_CLASS(64)
SHIP_CLASS(256)
SHIP_CLASS(1024)
SHIP_CLASS(4096)

static __always_inline void ship_one(struct record_t *head, __u64 address)
{
	int ok;

	if (head->length <= 64)
		ok = ship_64(head, address);
	else if (head->length <= 256)
		ok = ship_256(head, address);
	else if (head->length <= 1024)
		ok = ship_1024(head, address);
	else
		ok = ship_4096(head, address);
	if (!ok)
		count_lost(LOST_RING_FULL, 1);
}

/* With the socket's address: the name of what is shipped. It changes when plain text takes the place of what was shipped before. */
static __always_inline __u64 stream_name(struct conn_t *c)
{
	return c->stream_ns ? c->stream_ns : c->opened_ns;
}

static __always_inline void record_head(struct record_t *r, struct conn_t *c, __u64 sk, __u64 now)
{
	__builtin_memset(r, 0, sizeof(*r));
	r->sk = sk;
	r->opened_ns = stream_name(c);
	r->pair = c->pair;
	r->now = now;
	r->role = c->role;
	r->adopted = c->middle;
}
