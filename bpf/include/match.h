/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* Requests and responses of a protocol that user space has recognised, matched here and added up like those of HTTP/1. Who does it changes
   without a request that is lost or counts twice (docs/decisions/0016-redis-and-memcached-in-the-kernel.md, 0020-sql-in-the-kernel.md):

   OFFERED    user space wants it matched here
   SHADOW     from a MARK on both directions are walked; all is still shipped, and user space counts. It says whether nothing was under way
   CONFIRMED  at the MARK. Then
   TAKEN      requests and responses are matched here from a call on that begins with a response, and that is told. Those that wait go along
   BACK       from one request on they are user space's again; the responses from where all before it are answered
   TORN       bytes were missed, or do not fit

   match[0] is written where requests are walked, match[1] where responses are, each by one thread at a time; but the first and the last. */
#pragma once
#include "waiting.h"

#define MATCH_TURNS 65536 /* a call is not longer */

/* Whether what says requests, or responses, is walked. */
static __always_inline int matches(struct conn_t *c, int response)
{
	__u8 m = c->match[!!response];

	return m >= MATCH_CONFIRMED && m <= MATCH_TAKEN;
}

/* How far a call is walked. */
static __always_inline __u32 match_place(struct work_t *w)
{
	return w->total - w->left - (w->len - w->pos);
}

/* From the command at hand on, requests are user space's. What was read of it goes along, or of SQL is shipped with the call. */
static __always_inline void give_requests(struct conn_t *c, struct stream_t *s, struct work_t *w, __u32 begin)
{
	__u32 place = match_place(w);

	if (c->match[0] != MATCH_TAKEN) {
		c->match[0] = MATCH_TORN;
		return;
	}
	w->keep = s->out < ROUTE_TEXT ? s->out : ROUTE_TEXT;
	if (sql_speaks(c)) {
		w->keep = w->begun ? 0 : mysql_read_before(s, w, place);
		place = w->begun ? w->begun - 1 : 0;
	}
	match_tell(c, w, RECORD_BACK, begin + place - w->keep, 0);
	c->skip[w->direction & 1] = place;
	c->match[0] = MATCH_BACK;
}

/* Whether user space can go on with the command at hand: what was read of it is kept, or of SQL is in this call, and it is not answered yet. */
static __always_inline int can_give(struct conn_t *c, struct stream_t *s, struct work_t *w)
{
	int there = sql_speaks(c) ? w->begun || s->out : s->out && (w->event != WALK_UNFIT || s->tok_len < 2);

	return there && (__s32)(c->requests - c->responses) >= 0;
}

/* From here on responses are user space's: what they answer is. */
static __always_inline void give_responses(struct conn_t *c, struct work_t *w, __u32 seq)
{
	w->keep = 0;
	match_tell(c, w, RECORD_BACK, seq, 0);
	c->match[1] = MATCH_NONE;
	c->match[0] = MATCH_NONE;
}

/* Passes a value, or loads bytes to be looked at. */
__noinline int match_load(struct conn_t *c, struct work_t *w, int response)
{
	struct stream_t *s;

	if (!c || !w)
		return STEP_STOP;
	s = &c->streams[w->direction & 1];
	if (s->state != WALK_VALUE)
		return w->pos < w->len ? STEP_MORE : walk_load(w);
	walk_value(s, w);
	if (s->remaining)
		return w->left ? next_buffer(w) : STEP_STOP;
	if (sql_speaks(c)) {
		s->state = WALK_LINE;
		return STEP_MORE;
	}
	return c->matched == PROTO_MEMCACHED ? memcached_value(s, w, response) : resp_element(s, w, response);
}

/* Does what was found; 1 if the walk of this call ends with it. */
__noinline int match_event(struct conn_t *c, struct work_t *w, int response)
{
	struct stream_t *s;
	__u32 begin;

	if (!c || !w)
		return 1;
	s = &c->streams[w->direction & 1];
	begin = c->match_next[response & 1];
	if (!response) {
		if (w->event == WALK_NAMED && match_push(c, s, w))
			return 0;
		if (can_give(c, s, w)) {
			give_requests(c, s, w, begin);
			return 1;
		}
		if (c->match[0] == MATCH_TAKEN) /* what has no answer is counted */
			c->skip[w->direction & 1] = match_place(w);
		match_tear(c, w, 0);
		return 1;
	}
	if (w->event == WALK_WHOLE && s->tok_len)
		return 0;
	if (w->event != WALK_WHOLE || !match_pop(c, s, w)) {
		match_tear(c, w, 1);
		return 1;
	}
	if (c->match[0] != MATCH_BACK || c->requests != c->responses)
		return 0;
	c->skip[w->direction & 1] = match_place(w);
	give_responses(c, w, begin + match_place(w));
	return 1;
}

static __always_inline int match_bytes(struct conn_t *c, struct work_t *w, int response)
{
	struct stream_t *s = &c->streams[w->direction & 1];

	if (s->state == SQL_TEXT && !response && sql_speaks(c)) {
		int r = sql_bytes(c, w);

		if (r != STEP_MORE || s->state == SQL_TEXT)
			return r;
	}
	switch (c->matched) {
	case PROTO_MEMCACHED:
		return memcached_bytes(c, w, response);
	case PROTO_POSTGRES:
		return postgres_bytes(c, w, response);
	case PROTO_MYSQL:
		return response ? mysql_answers(c, w) : mysql_requests(c, w);
	}
	return resp_bytes(c, w, response);
}

/* Returns 1 when there is no more of a call. The parts are called one after the other, not by each other: older kernels have little stack for that. */
static __always_inline int match_turn(struct conn_t *c, struct work_t *w)
{
	int response = (c->role == ROLE_CLIENT) == w->direction, r = match_load(c, w, response);

	if (r == STEP_MORE)
		r = match_bytes(c, w, response);
	if (r == STEP_EVENT && match_event(c, w, response))
		return 1;
	return r == STEP_STOP || (!w->left && w->pos >= w->len);
}

static long match_turns(__u32 i, __u64 *sk)
{
	struct conn_t *c = bpf_map_lookup_elem(&conns, sk);
	struct work_t *w = work_of(0);

	return c && w ? match_turn(c, w) : 1;
}

static __always_inline void match_reset(struct stream_t *s)
{
	s->state = WALK_LINE;
	s->remaining = 0;
	s->word = 0;
	s->tok_hash = 0;
	s->out = 0;
	s->tok_len = 0;
	s->tok_out = 0;
	s->flags = 0;
}

/* Begins to walk with a request that follows on a response, which nothing may be under way before: user space knows. */
static __always_inline int match_begin(struct conn_t *c, struct work_t *w, __u32 begin)
{
	__u32 direction = w->direction & 1, other = c->streams[!direction].seq;

	w->keep = 0;
	if (c->spoke != 2 || !c->pair || !match_tell(c, w, RECORD_MARK, begin, other))
		return 0;
	match_reset(&c->streams[0]);
	match_reset(&c->streams[1]);
	c->slots[0].state = c->slots[1].state = c->slots[2].state = c->slots[3].state = SLOT_FREE;
	c->requests = c->responses = 0;
	c->match_at = begin;
	c->unnamed = 0;
	c->match_next[0] = begin;
	c->match_next[1] = other;
	c->match[1] = MATCH_SHADOW;
	c->match[0] = MATCH_SHADOW;
	return 1;
}

/* Changes who matches, where that is due before a call. */
static __always_inline void match_change(struct conn_t *c, struct stream_t *s, struct work_t *w, __u32 begin, int response)
{
	if (!response) {
		if (c->match[0] == MATCH_SHADOW && c->match[1] == MATCH_TAKEN)
			c->match[0] = MATCH_TAKEN;
		return;
	}
	if (c->match[0] == MATCH_TORN) {
		match_tear(c, w, 1);
	} else if (c->match[0] == MATCH_BACK && c->requests == c->responses && answer_begins(s)) {
		give_responses(c, w, begin);
	} else if (c->match[1] == MATCH_CONFIRMED && answer_begins(s)) { /* user space counts an answer before all of a value has come */
		w->keep = 0;
		if (match_tell(c, w, RECORD_TAKEN, begin, 0))
			c->match[1] = MATCH_TAKEN;
	}
}

/* Whether the bytes of a call follow on those before; what is missing inside of a value is not missed. */
static __always_inline int match_follows(struct conn_t *c, struct stream_t *s, __u32 begin, int response)
{
	__u32 gap = begin - c->match_next[response & 1];

	if (!gap)
		return 1;
	if (s->state != WALK_VALUE || s->remaining <= gap)
		return 0;
	s->remaining -= gap;
	return 1;
}

/* Fetches, or puts aside, what was read of a command that may be given back. */
static __always_inline int match_partial(struct conn_t *c, struct stream_t *s, struct work_t *w, int response, int fetch)
{
	__u64 sk = w->sk;
	struct route_t *part;

	if (response || !s->out || s->tok_len >= 2 || sql_speaks(c))
		return 1;
	if (!fetch)
		return !bpf_map_update_elem(&partials, &sk, &w->route, BPF_ANY);
	part = bpf_map_lookup_elem(&partials, &sk);
	if (!part)
		return 0;
	__builtin_memcpy(w->route.text, part->text, ROUTE_TEXT);
	bpf_map_delete_elem(&partials, &sk);
	return 1;
}

/* Prepares a call to be walked; 0 if it is not to be. */
__noinline int match_open(__u64 address, __u32 iovecs, __u32 n, __u32 end, __u32 direction)
{
	struct work_t *w = work_of(0);
	__u32 begin = end - n;
	struct stream_t *s;
	struct conn_t *c;
	int response;
	__u64 sk;

	if (!w)
		return 0;
	sk = w->sk;
	c = bpf_map_lookup_elem(&conns, &sk);
	if (!c || !n)
		return 0;
	w->direction = direction & 1;
	s = &c->streams[direction & 1];
	response = (c->role == ROLE_CLIENT) == (direction & 1);
	if (c->match[0] == MATCH_OFFERED) {
		if (response || !match_begin(c, w, begin))
			return 0;
	}
	match_change(c, s, w, begin, response);
	if (!matches(c, response))
		return 0;
	if (!address || !match_follows(c, s, begin, response)) {
		match_tear(c, w, response);
		return 0;
	}
	c->match_next[!!response] = begin;
	w->left = n;
	w->total = n;
	w->pos = 0;
	w->len = 0;
	w->begun = 0;
	w->message = 0;
	w->messages_left = 0;
	w->ahead.iov_base = 0;
	w->segment = iovecs ? 0 : address;
	w->segment_left = iovecs ? 0 : n;
	w->iov = address;
	w->iov_left = iovecs;
	if (match_partial(c, s, w, response, 1))
		return 1;
	match_tear(c, w, response);
	return 0;
}

/* Ends the walk of a call. Returns whether it, or what is behind c->skip of it, is to be shipped. */
__noinline int match_close(__u32 walked)
{
	struct work_t *w = work_of(0);
	struct stream_t *s;
	struct conn_t *c;
	int response;
	__u32 begin;
	__u64 sk;

	if (!w)
		return 1;
	sk = w->sk;
	c = bpf_map_lookup_elem(&conns, &sk);
	if (!c)
		return 1;
	s = &c->streams[w->direction & 1];
	response = (c->role == ROLE_CLIENT) == w->direction;
	if (walked && matches(c, response)) {
		begin = c->match_next[!!response];
		c->match_next[!!response] = begin + w->total;
		if (w->left || w->pos < w->len) {
			count_lost(LOST_TOO_LONG, 1);
			match_tear(c, w, response);
		} else if (!response && s->out && sql_speaks(c) && !mysql_waits(c, s)) { /* the call ends before its operation is known */
			if (can_give(c, s, w))
				give_requests(c, s, w, begin);
			else
				match_tear(c, w, 0);
		} else if (match_partial(c, s, w, response, 0)) {
			return c->match[!!response] != MATCH_TAKEN;
		} else {
			count_lost(LOST_PARTIALS_FULL, 1);
			give_requests(c, s, w, begin);
		}
	}
	if (c->match[1] == MATCH_TORN)
		match_forget(c, sk);
	return 1;
}

/* A connection ended: what waits here is cut, but for what an error of PostgreSQL is about, which ends the connection too. */
static __always_inline int match_ends(struct conn_t *c, __u64 sk, __u64 now)
{
	struct stream_t *response = &c->streams[c->role == ROLE_CLIENT];

	if (c->match[1] == MATCH_TAKEN) {
		if (c->matched == PROTO_POSTGRES && (response->flags & POSTGRES_FAILED) && (__s32)(c->requests - c->responses) > 0)
			add_response(c, sk, postgres_status(response), 0, now, 1);
		return 1;
	}
	if (c->match[1])
		match_forget(c, sk);
	return 0;
}
