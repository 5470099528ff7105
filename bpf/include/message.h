/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* The states of an HTTP/1.x message, and what is done where one begins, where its headers end and where it ends. */
#pragma once
#include "route.h"

enum state {
	S_START, /* before a message */
	S_METHOD,
	S_PATH,
	S_QUERY,
	S_VERSION,
	S_STATUS_VERSION,
	S_STATUS_CODE,
	S_SKIP, /* to the end of a line, then S_LINE */
	S_LINE, /* at the start of a header line */
	S_LENGTH_NAME,
	S_LENGTH_VALUE,
	S_ENCODING_NAME,
	S_ENCODING_VALUE,
	S_UPGRADE, /* of a 101 only */
	S_CHUNK_SIZE,
	S_CHUNK_LINE,  /* rest of the chunk's size line */
	S_BODY,	       /* from here on bytes are skipped by number */
	S_CHUNK,
	S_UNTIL_CLOSE,
	S_LOST, /* looks for a message at the start of the next buffer */
};

enum { STEP_MORE, STEP_STOP, STEP_EVENT };
/* What a step leaves to handle(): the parts that are large for the verifier stand outside of the loop over characters. */
enum { EVENT_REQUEST, EVENT_HEADERS, EVENT_END };

static __always_inline int event(struct work_t *w, __u32 e)
{
	w->event = e;
	return STEP_EVENT;
}

#define WORD3(a, b, c) (((__u64)(a) << 16) | ((b) << 8) | (c))
#define WORD4(a, b, c, d) ((WORD3(a, b, c) << 8) | (d))
static __always_inline __u8 method_of(__u64 w)
{
	switch (w) {
	case WORD3('G', 'E', 'T'): return METHOD_GET;
	case WORD3('P', 'U', 'T'): return METHOD_PUT;
	case WORD4('H', 'E', 'A', 'D'): return METHOD_HEAD;
	case WORD4('P', 'O', 'S', 'T'): return METHOD_POST;
	case WORD4('P', 'A', 'T', 'C') << 8 | 'H': return METHOD_PATCH;
	case WORD4('T', 'R', 'A', 'C') << 8 | 'E': return METHOD_TRACE;
	case WORD4('D', 'E', 'L', 'E') << 16 | WORD3(0, 'T', 'E'): return METHOD_DELETE;
	case WORD4('O', 'P', 'T', 'I') << 24 | WORD3('O', 'N', 'S'): return METHOD_OPTIONS;
	case WORD4('C', 'O', 'N', 'N') << 24 | WORD3('E', 'C', 'T'): return METHOD_CONNECT;
	}
	return METHOD_OTHER;
}

/* Bytes of a stream were not seen, or not understood: the next message is looked for. Where they were of a response, all that wait are given up when the
   next request comes, for which of them was answered is not known. */
static __always_inline void lose(struct conn_t *c, struct stream_t *s)
{
	c->synced = 0;
	s->state = S_LOST;
	if (s == &c->streams[c->role == ROLE_CLIENT])
		s->flags |= STREAM_UNSEEN;
}

/* What comes is not HTTP, or not any more. */
static __always_inline int give_up(struct conn_t *c, struct stream_t *s)
{
	if (!(s->flags & STREAM_VERIFIED) && !c->middle) {
		c->protocol = ship_streams ? PROTO_STREAM : PROTO_OTHER;
	} else {
		if (s->flags & STREAM_VERIFIED)
			count_lost(LOST_MALFORMED, 1);
		lose(c, s);
	}
	return STEP_STOP;
}

/* A message ended. */
static __always_inline void end_message(struct conn_t *c, __u64 sk, struct stream_t *s, __u64 now, int response, int atomics)
{
	s->state = S_START;
	s->flags &= STREAM_VERIFIED | STREAM_UNSEEN;
	if (response)
		add_response(c, sk, s->code, 0, now, atomics);
}

/* The request line is read of what the headers of a response were read for already: the reading thread was faster than the hook of the writing one. If it
   is a HEAD, then no body follows them, which could not be known. */
static __always_inline void end_early(struct conn_t *c, __u64 sk, struct stream_t *request, __u64 now, int atomics)
{
	struct stream_t *s = &c->streams[c->role == ROLE_CLIENT];

	if (request->method == METHOD_HEAD && (s->state == S_BODY || s->state == S_CHUNK_SIZE || s->state == S_UNTIL_CLOSE))
		end_message(c, sk, s, now, 1, atomics);
}

/* The connection becomes a WebSocket with the response at hand. Kept is which request asked for it. */
static __always_inline void upgrade(struct conn_t *c, __u8 method)
{
	__u32 seq = c->responses;
	struct slot_t *slot = &c->slots[seq & (NUM_SLOTS - 1)];

	c->last_route = slot->seq == seq && slot->state == SLOT_REQUEST ? slot->route : ROUTE_UNKNOWN;
	c->upgraded = 1 + method;
}

/* What follows the headers is decided by RFC 9112, section 6.3. */
enum { FOLLOWS_BODY, FOLLOWS_MESSAGE, FOLLOWS_OTHER };

/* How the length of a body is given. */
static __always_inline int body_follows(struct stream_t *s, int response)
{
	if (s->flags & STREAM_CHUNKED) {
		s->state = S_CHUNK_SIZE;
		s->remaining = 0;
		s->match = 0;
		return FOLLOWS_BODY;
	}
	if (response && !(s->flags & STREAM_LENGTH)) {
		s->state = S_UNTIL_CLOSE;
		return FOLLOWS_BODY;
	}
	if (!s->remaining)
		return FOLLOWS_MESSAGE;
	s->state = S_BODY;
	return FOLLOWS_BODY;
}

static __always_inline int what_follows(struct conn_t *c, __u64 sk, struct stream_t *s, int response, int atomics)
{
	__u8 method = METHOD_UNKNOWN;
	int follows;

	if (s->flags & STREAM_TRAILER)
		return FOLLOWS_MESSAGE;
	if (response) {
		method = waiting_method(c, sk);
		if (s->flags & STREAM_WEBSOCKET)
			upgrade(c, method);
		if (s->code == 101 || (s->code / 100 == 2 && method == METHOD_CONNECT))
			return FOLLOWS_OTHER;
		if (method == METHOD_HEAD || s->code == 204 || s->code == 304)
			return FOLLOWS_MESSAGE;
	}
	follows = body_follows(s, response);
	if (response && method == METHOD_UNKNOWN && follows == FOLLOWS_BODY && leave_headers(c, sk, atomics) == METHOD_HEAD)
		return FOLLOWS_MESSAGE;
	return follows;
}

/* The connection speaks something else after the response that has just ended: WebSocket, or what is to be found out as on a new one. */
static __always_inline void change_protocol(struct conn_t *c, struct stream_t *s, struct work_t *w)
{
	struct stream_t *other = &c->streams[c->role != ROLE_CLIENT];

	c->skip[c->role == ROLE_CLIENT] = w->total - w->left - (w->len - w->pos);
	if (c->upgraded) {
		c->protocol = ship_streams ? PROTO_STREAM : PROTO_OTHER;
		return;
	}
	if (c->shipped) /* user space gave it up */
		c->stream_ns = w->now;
	c->shipped = 0;
	c->tunnel = s->code != 101;
	c->middle = 0;
	c->protocol = PROTO_UNKNOWN;
	s->flags = 0;
	other->flags = 0;
}

/* Does what a step found. */
static __always_inline void handle(struct conn_t *c, __u64 sk, struct stream_t *s, struct work_t *w, int response, int atomics)
{
	__u32 e = w->event, follows = FOLLOWS_MESSAGE;

	if (e == EVENT_REQUEST) {
		if (add_request(c, sk, s, route_of(c, s, w), w->now, atomics))
			end_early(c, sk, s, w->now, atomics);
		return;
	}
	if (e == EVENT_HEADERS) {
		if (response && s->code < 200 && s->code != 101) { /* interim: the real one follows */
			s->state = S_START;
			s->flags &= STREAM_VERIFIED | STREAM_UNSEEN;
			return;
		}
		follows = what_follows(c, sk, s, response, atomics);
		if (follows == FOLLOWS_BODY)
			return;
	}
	end_message(c, sk, s, w->now, response, atomics);
	if (follows == FOLLOWS_OTHER)
		change_protocol(c, s, w);
}
