/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* Plain text that uprobes on TLS libraries show. It goes the way of what plain connections say, with its own count of bytes. */
#pragma once
#include "io.h"

/* Flags of plain_text(). FRESH: nothing of the plain text went unseen before this. */
enum { PLAIN_RECEIVED = 1, PLAIN_FRESH = 2 };

/* The first plain text of a connection. What was made of its cipher text is forgotten; what it said before it changed to TLS is not. */
static __noinline void begin_plain(struct conn_t *c, __u64 sk, __u64 now, __u32 fresh)
{
	int changed = c->tls == TLS_WIRE && c->protocol == PROTO_STREAM;

	c->tls = TLS_PLAIN;
	if (changed) {
		if (!fresh) { /* so much that it cannot be taken for a part of one message */
			c->plain_seq[0] += 1 << 24;
			c->plain_seq[1] += 1 << 24;
		}
		return;
	}
	if (c->shipped)
		ship_close(c, sk, now);
	c->stream_ns = now;
	c->shipped = 0;
	c->protocol = PROTO_UNKNOWN;
	c->middle = !fresh;
	c->synced = !!fresh;
	c->requests = c->responses;
#pragma unroll
	for (int i = 0; i < 2; i++) {
		c->streams[i].state = fresh ? S_START : S_LOST;
		c->streams[i].flags = 0;
		c->streams[i].out = 0;
		c->streams[i].tries = 0;
		c->streams[i].remaining = 0;
	}
}

/* n bytes of plain text that cannot be seen. With a frame of its own: all of a chain of calls have 512 bytes together. */
static __noinline void miss_plain(struct conn_t *c, __u64 sk, int direction, __u64 n, __u64 now)
{
	gap(c, sk, &c->streams[direction & 1], n, now, (c->role == ROLE_CLIENT) == direction, 0);
}

static __always_inline int on_plain(__u64 sk, __u64 address, __u64 n, __u64 begin, __u32 flags, int modern)
{
	struct buffers_t b = {.address = address};
	struct conn_t *c = bpf_map_lookup_elem(&conns, &sk);
	int direction = flags & PLAIN_RECEIVED, response;
	struct work_t *w;
	__u64 now;
	__u32 end;

	if (!c || !n || n > 1ULL << 31)
		return 0;
	if (c->ignored)
		return 1;
	if (!c->owned) {
		take_owner(c);
		if (c->ignored)
			return 1;
	}
	now = bpf_ktime_get_ns();
	if (c->tls != TLS_PLAIN) {
		if (c->tunnel || (c->protocol == PROTO_OTHER && !c->middle))
			return 1; /* a tunnel: what is inside is not said to this peer */
		begin_plain(c, sk, now, flags & PLAIN_FRESH);
	}
	end = c->plain_seq[direction] + n;
	c->plain_seq[direction] = end;
	response = (c->role == ROLE_CLIENT) == direction;
	if (direction == SENT && !response)
		now = begin; /* a request begins before it is on the wire */
	c->skip[direction & 1] = 0;
	if (c->protocol <= PROTO_HTTP1) {
		if (address)
			parse(c, sk, direction, &b, n, now, response, modern, 1);
		else
			miss_plain(c, sk, direction, n, now);
	}
	if (c->protocol != PROTO_STREAM || !address)
		return 1;
	w = work_of(1);
	if (!w)
		return 1;
	w->now = now;
	w->sk = sk;
	ship_call(address, 0, n, end, (direction == RECEIVED ? SHIP_RECEIVED : 0) | SHIP_PLAIN);
	return 1;
}

/* n bytes of plain text of a connection, in user memory (address 0: they cannot be seen). begin is the time at which the library was
   called. tls_thread_made() must have been called. Returns 0 if the connection is not known. Global functions: the verifier looks at
   them once for each program. */
__noinline int plain_text(__u64 sk, __u64 address, __u64 n, __u64 begin, __u32 flags)
{
	return on_plain(sk, address, n, begin, flags, 1);
}

/* For kernels before 5.17. */
__noinline int plain_text_old(__u64 sk, __u64 address, __u64 n, __u64 begin, __u32 flags)
{
	return on_plain(sk, address, n, begin, flags, 0);
}
