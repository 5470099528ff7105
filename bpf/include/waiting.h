/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* Requests of a matched connection that wait, and what their responses make of them. */
#pragma once
#include "memcached.h"
#include "mysql.h"
#include "postgres.h"
#include "resp.h"

/* Tells user space something, which it hears in its place among what is shipped. data: what stands before seq in work_t.route. */
static __noinline int match_tell(struct conn_t *c, struct work_t *w, __u32 kind, __u32 seq, __u32 other)
{
	struct record_t *r = bpf_ringbuf_reserve(&records, sizeof(*r) + ROUTE_TEXT, 0);

	if (!r) {
		count_lost(LOST_RING_FULL, 1);
		return 0;
	}
	record_head(r, c, w->sk, w->now);
	r->kind = kind;
	r->direction = w->direction;
	r->seq = seq;
	r->passed = kind == RECORD_MARK ? other : c->matched | (__u32)c->unnamed << 16;
	r->length = w->keep;
	if (w->keep)
		__builtin_memcpy(r + 1, w->route.text, ROUTE_TEXT);
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	return 1;
}

static long match_drop(__u32 i, __u64 *sk)
{
	struct conn_t *c = bpf_map_lookup_elem(&conns, sk);
	struct pending_key_t k = {};

	if (!c || (__s32)(c->requests - c->responses) <= 0)
		return 1;
	k.sk = *sk;
	k.seq = c->responses++;
	bpf_map_delete_elem(&pending, &k);
	return 0;
}

/* What waits is not matched here any more. */
static __always_inline void match_forget(struct conn_t *c, __u64 sk)
{
	bpf_loop(MATCH_WAITING + 1, match_drop, &sk, 0);
	c->match[1] = MATCH_NONE;
	c->match[0] = MATCH_NONE;
}

/* Requests and responses do not fit together any more. Where requests show it, their counterpart ends it with its next call. */
static __always_inline void match_tear(struct conn_t *c, struct work_t *w, int response)
{
	__s32 waiting;

	if (!response) {
		c->match[0] = MATCH_TORN;
		return;
	}
	if (c->match[1] == MATCH_TAKEN) {
		waiting = c->requests - c->responses;
		if (waiting)
			count_lost(waiting > 0 ? LOST_RESPONSE_UNSEEN : LOST_REQUEST_UNSEEN, waiting > 0 ? waiting : -waiting);
		w->keep = 0;
		match_tell(c, w, RECORD_TORN, c->match_next[1], 0);
	}
	c->match[1] = MATCH_TORN;
}

/* Counts a request with its response. How much of what was asked for was found is known only now. */
static __always_inline void match_count(struct conn_t *c, struct slot_t *slot)
{
	if (slot->found && slot->code == STATUS_NOTHING)
		slot->code = slot->found < slot->asked ? STATUS_SOME : STATUS_ALL;
	count_request(c, slot, 1);
}

/* A command that has no answer counts where its bytes stay: what is still shipped counts in user space, whoever counts what waits. */
static __always_inline void match_one_way(struct conn_t *c, struct stream_t *s, struct work_t *w)
{
	struct slot_t *slot = &w->slot;

	if (c->match[0] != MATCH_TAKEN)
		return;
	slot->begin_ns = slot->end_ns = s->tok_hash;
	slot->route = s->code;
	slot->protocol = c->matched;
	slot->code = 0;
	slot->cut = 0;
	count_request(c, slot, 1);
}

/* A command is known. It waits from here on, or is given back: 0. */
static __always_inline int match_push(struct conn_t *c, struct stream_t *s, struct work_t *w)
{
	__u32 seq = c->requests;
	__s32 waiting = seq - c->responses;
	struct slot_t *slot = &c->slots[seq & (NUM_SLOTS - 1)];
	struct pending_key_t k = {.sk = w->sk, .seq = seq};
	__u16 asked = s->word < MATCH_KEYS ? s->word : MATCH_KEYS;

	if (s->match == WORD_BACK && waiting >= 0) /* else it is answered already */
		return 0;
	if (s->tok_flags & WALK_ONE_WAY) {
		match_one_way(c, s, w);
		return 1;
	}
	if (waiting < NUM_SLOTS) {
		slot->begin_ns = s->tok_hash;
		slot->route = s->code;
		slot->seq = seq;
		slot->method = METHOD_UNKNOWN;
		slot->protocol = c->matched;
		slot->asked = asked;
		if (swap_state(&slot->state, SLOT_REQUEST, 1) == SLOT_RESPONSE) {
			slot->state = SLOT_FREE;
			if (!slot->uncounted)
				match_count(c, slot);
		}
	} else {
		w = work_of(0); /* the same, as a map's value: before 6.2 a pointer that was an argument may not be given to a map */
		if (!w || waiting >= MATCH_WAITING)
			return 0;
		w->slot.begin_ns = s->tok_hash;
		w->slot.route = s->code;
		w->slot.seq = seq;
		w->slot.protocol = c->matched;
		w->slot.asked = asked;
		if (bpf_map_update_elem(&pending, &k, &w->slot, BPF_ANY))
			return 0;
	}
	c->requests = seq + 1;
	return 1;
}

/* The sequence number up to which a socket was written. */
static __always_inline __u32 written(__u64 sk)
{
	struct tcp_sock *tcp = (void *)sk;

	return BPF_CORE_READ(tcp, write_seq);
}

/* An answer is whole; 0 if nothing can have asked for it. */
static __always_inline int match_pop(struct conn_t *c, struct stream_t *s, struct work_t *w)
{
	__u32 seq = c->responses;
	__s32 waiting = c->requests - seq;
	struct slot_t *slot = &c->slots[seq & (NUM_SLOTS - 1)], *found = slot;
	struct pending_key_t k = {.sk = w->sk, .seq = seq};
	int counts = c->match[1] == MATCH_TAKEN, early = 0;

	if (slot->state != SLOT_REQUEST || slot->seq != seq) {
		found = waiting > 0 ? bpf_map_lookup_elem(&pending, &k) : NULL;
		if (!found) {
			/* the reading thread was faster than the hook of the writing one, if more was written than that has seen */
			if (waiting > 0 || waiting <= -NUM_SLOTS || c->role != ROLE_CLIENT || slot->state != SLOT_FREE ||
			    written(w->sk) == c->match_next[0])
				return 0;
			found = slot;
			early = 1;
		}
	}
	found->code = s->code ? s->code : STATUS_OK;
	found->found = s->tok_hash < MATCH_KEYS ? s->tok_hash : MATCH_KEYS;
	found->cut = 0;
	found->end_ns = w->now;
	if (sql_speaks(c)) {
		found->code = w->answer_code;
		if (found->asked != POSTGRES_ASKED_SIMPLY)
			found->end_ns = w->answer_ns;
	}
	if (early) {
		slot->seq = seq;
		slot->uncounted = !counts;
		if (swap_state(&slot->state, SLOT_RESPONSE, 1) != SLOT_REQUEST)
			counts = 0;
		else
			slot->state = SLOT_FREE;
	} else if (found == slot) {
		slot->state = SLOT_FREE;
	}
	if (counts)
		match_count(c, found);
	if (found != slot)
		bpf_map_delete_elem(&pending, &k);
	c->responses = seq + 1;
	return 1;
}
