/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* Requests that wait, their responses, and the series that both are counted in. */
#pragma once
#include "conn.h"

/* Flags of a stream. UNSEEN: bytes passed that no hook saw, so the response before the next request is not to be waited for.
   TEXTLESS: the route's text was lost between two calls. */
enum { STREAM_CHUNKED = 1, STREAM_LENGTH = 2, STREAM_TRAILER = 4, STREAM_UNSEEN = 8, STREAM_RESPONDING = 16, STREAM_VERIFIED = 32, STREAM_TEXTLESS = 64, STREAM_WEBSOCKET = 128 };
/* Of a slot. HEADERS: those of the response were read, and of the request nothing yet. */
enum { SLOT_FREE, SLOT_REQUEST, SLOT_RESPONSE, SLOT_HEADERS };
enum { ROUTE_UNKNOWN = 0, ROUTE_OTHER = 1 }; /* in place of a dictionary hash */
#define STATUS_OK 1	  /* in place of a status code of HTTP */
#define STATUS_OTHER 2
#define STATUS_NOTHING 3  /* of what was asked for was found, where a protocol tells, */
#define STATUS_SOME 4	  /* not all, and */
#define STATUS_ALL 5
enum { METHOD_UNKNOWN, METHOD_GET, METHOD_HEAD, METHOD_POST, METHOD_PUT, METHOD_DELETE, METHOD_CONNECT, METHOD_OPTIONS, METHOD_TRACE, METHOD_PATCH, METHOD_OTHER };

/* Swaps on kernels that have it (5.12); before, two threads of one connection may rarely meet. ATOMICS is set by the program flavour. */
static __always_inline __u32 swap_state(__u32 *p, __u32 v, int atomics)
{
	if (atomics)
		return __sync_lock_test_and_set(p, v);
	__u32 old = *(volatile __u32 *)p;
	*(volatile __u32 *)p = v;
	return old;
}

/* 2^(i/8) * 2^32: where an octave is cut in eight. */
static const __u64 octave[8] = {4294967296ULL, 4683695048ULL, 5107605667ULL, 5569883475ULL,
				6074001000ULL, 6623745059ULL, 7223245206ULL, 7877004752ULL};

/* Bucket of a duration in native-histogram schema 3: element i holds (2^((i-161)/8) s, 2^((i-160)/8) s], the first and the last are open. */
static __always_inline __u32 bucket_of(__u64 ns)
{
	__u64 x, m;
	__u32 e = 0, i;

	if (ns > 64000000000ULL)
		return NUM_BUCKETS - 1;
	x = ns * 144115188ULL; /* seconds * 2^57 */
	if (x <= 1ULL << 37)
		return 0;
	/* Comparisons by the sign of a difference: branches here would multiply the verifier's paths. */
	m = x;
#pragma unroll
	for (int s = 32; s; s >>= 1) {
		__u64 above = (((1ULL << s) - 1) - m) >> 63;
		m >>= above * s;
		e += above * s;
	}
	m = (x << ((63 - e) & 63)) >> 31;
	i = 8 * (e - 37);
#pragma unroll
	for (int k = 0; k < 8; k++)
		i += (octave[k] - m) >> 63;
	return i < NUM_BUCKETS ? i : NUM_BUCKETS - 1;
}

/* Counts one request of a bound connection. Of PostgreSQL what executes nothing counts only where it fails. */
static __always_inline void count_request(struct conn_t *c, struct slot_t *r, int atomics)
{
	struct series_key_t k = {.pair = c->pair, .route = r->route, .code = r->code, .method = r->method, .cut = r->cut, .protocol = r->protocol};
	__u64 ns = r->end_ns > r->begin_ns ? r->end_ns - r->begin_ns : 0;
	struct series_t *s = bpf_map_lookup_elem(&series, &k);
	__u32 i;

	if (r->protocol == PROTO_POSTGRES && !r->asked && r->code <= STATUS_OK)
		return;
	if (!s) {
		struct zero_t *z = zeroes();
		if (!z)
			return;
		bpf_map_update_elem(&series, &k, &z->series, BPF_NOEXIST);
		s = bpf_map_lookup_elem(&series, &k);
		if (!s) {
			count_lost(LOST_SERIES_FULL, 1);
			return;
		}
	}
	i = bucket_of(ns);
	if (i < NUM_BUCKETS)
		__sync_fetch_and_add(&s->buckets[i], 1);
	__sync_fetch_and_add(&s->sum_ns, ns);
	move_bytes(&s->sent, &c->sent, atomics);
	move_bytes(&s->received, &c->received, atomics);
}

/* A request line was read whole. Its route is in the dictionary or counts as other. 1 if the headers of its response were read before, and the end was not. */
static __always_inline int add_request(struct conn_t *c, __u64 sk, struct stream_t *s, __u64 route, __u64 now, int atomics)
{
	__u32 seq = c->requests;
	struct slot_t *slot = &c->slots[seq & (NUM_SLOTS - 1)];
	struct stream_t *response = &c->streams[c->role == ROLE_CLIENT];
	struct slot_t r;
	__u32 before = SLOT_FREE;

	if (response->flags & STREAM_UNSEEN) {
		if (seq != c->responses)
			count_lost(LOST_RESPONSE_UNSEEN, seq - c->responses);
		c->responses = seq;
		response->flags &= ~STREAM_UNSEEN;
	}
	if (seq - c->responses < NUM_SLOTS || (__s32)(seq - c->responses) < 0) {
		slot->begin_ns = now;
		slot->route = route;
		slot->seq = seq;
		slot->method = s->method;
		slot->protocol = PROTO_HTTP1;
		before = swap_state(&slot->state, SLOT_REQUEST, atomics);
		if (before == SLOT_RESPONSE) {
			slot->state = SLOT_FREE;
			count_request(c, slot, atomics);
		}
	} else {
		struct pending_key_t k = {.sk = sk, .seq = seq};
		__builtin_memset(&r, 0, sizeof(r));
		r.begin_ns = now;
		r.route = route;
		r.seq = seq;
		r.method = s->method;
		r.protocol = PROTO_HTTP1;
		if (bpf_map_update_elem(&pending, &k, &r, BPF_ANY))
			count_lost(LOST_PENDING_FULL, 1);
	}
	c->requests = seq + 1;
	return before == SLOT_HEADERS;
}

/* The method of the request that the next response answers. */
static __always_inline __u8 waiting_method(struct conn_t *c, __u64 sk)
{
	__u32 seq = c->responses;
	struct slot_t *slot = &c->slots[seq & (NUM_SLOTS - 1)];

	if (slot->seq == seq && slot->state == SLOT_REQUEST)
		return slot->method;
	if (seq != c->requests) {
		struct pending_key_t k = {.sk = sk, .seq = seq};
		slot = bpf_map_lookup_elem(&pending, &k);
		if (slot)
			return slot->method;
	}
	return METHOD_UNKNOWN;
}

/* Leaves word for the hook of the writing thread that the headers of its response were read, and that what follows them was decided without knowing the
   method. If that hook came meanwhile it knows nothing of the headers: then the method is known here. */
static __always_inline __u8 leave_headers(struct conn_t *c, __u64 sk, int atomics)
{
	__u32 seq = c->responses;
	struct slot_t *slot = &c->slots[seq & (NUM_SLOTS - 1)];

	if (c->role != ROLE_CLIENT || !c->synced)
		return METHOD_UNKNOWN;
	if (c->requests == seq) {
		if (swap_state(&slot->state, SLOT_HEADERS, atomics) != SLOT_REQUEST)
			return METHOD_UNKNOWN;
		slot->state = SLOT_REQUEST;
	}
	return waiting_method(c, sk);
}

/* A response ended, or the connection did (cut). */
static __always_inline void add_response(struct conn_t *c, __u64 sk, __u32 code, __u8 cut, __u64 now, int atomics)
{
	__u32 seq = c->responses, requests = *(volatile __u32 *)&c->requests; /* before the slot, which another thread fills first */
	struct slot_t *slot = &c->slots[seq & (NUM_SLOTS - 1)];
	struct slot_t *found;

	if (slot->state == SLOT_REQUEST && slot->seq == seq) {
		slot->state = SLOT_FREE;
		slot->code = code;
		slot->cut = cut;
		slot->end_ns = now;
		count_request(c, slot, atomics);
	} else if (seq != requests) {
		struct pending_key_t k = {.sk = sk, .seq = seq};
		found = bpf_map_lookup_elem(&pending, &k);
		if (found) {
			found->code = code;
			found->cut = cut;
			found->end_ns = now;
			count_request(c, found, atomics);
			bpf_map_delete_elem(&pending, &k);
		} else {
			count_lost(LOST_REQUEST_UNSEEN, 1);
		}
	} else if (c->role == ROLE_CLIENT && c->synced) {
		/* The reading thread was faster than the hook of the writing one: the request comes later and counts. */
		slot->code = code;
		slot->cut = cut;
		slot->end_ns = now;
		slot->seq = seq;
		if (swap_state(&slot->state, SLOT_RESPONSE, atomics) == SLOT_REQUEST) {
			slot->state = SLOT_FREE;
			count_request(c, slot, atomics);
		}
	} else {
		count_lost(LOST_REQUEST_UNSEEN, 1);
		return;
	}
	c->responses = seq + 1;
}
