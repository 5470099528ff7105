/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* The frontend/backend protocol 3 of PostgreSQL, byte by byte. A request is a Query, or what a Sync ends: at most one each of Parse, Bind and
   Execute, and Describe. What gives a name to a statement or a portal, COPY, and the rest are user space's, and so is a statement that it has not
   named yet. https://www.postgresql.org/docs/current/protocol-message-formats.html */
#pragma once
#include "sql.h"

/* states of a stream_t */
enum {
	POSTGRES_NAME = SQL_OWN, /* of a portal or a statement */
	POSTGRES_FIELD,	     /* the type of a field of an error */
	POSTGRES_FIELD_TEXT, /* to its end */
	POSTGRES_STATE,	     /* its SQLSTATE */
	POSTGRES_READY,	     /* the state of the transaction */
};

#define POSTGRES_SEED 7	 /* what the hash of a text begins with, and */
#define POSTGRES_NAMES 8 /* that of a statement's name */
#define POSTGRES_HEAD 5
#define POSTGRES_MAX (1U << 30) /* bytes of a message */

/* What has come since the last Sync: in tok_flags. */
#define POSTGRES_OPEN 1
#define POSTGRES_PARSED 2
#define POSTGRES_BOUND 8
#define POSTGRES_EXECUTED 16

#define POSTGRES_FAILED 2 /* in flags: the answer holds an error, and */
#define POSTGRES_ODD 4	  /* that has no SQLSTATE */
#define POSTGRES_LAST 24  /* bits before the last character of one */

/* How the fields of a stream_t are used besides what sql.h says:
   method     type of the message at hand
   tries      of a Bind: the portal's name has ended
   word       of a name its hash; when a request is whole, a POSTGRES_ASKED; of an answer the SQLSTATE, six bits a character, 0 for none
   hash       of an answer: when it was complete */

/* What a slot_t says of a request: only a failure counts, when a part of it was complete, when all was. */
enum { POSTGRES_ASKED_NOTHING, POSTGRES_ASKED, POSTGRES_ASKED_SIMPLY };

static __always_inline int postgres_rest(struct stream_t *s)
{
	s->state = s->remaining ? WALK_VALUE : WALK_LINE;
	return STEP_MORE;
}

/* The head of a request's message is read. */
static __always_inline int postgres_request(struct stream_t *s, struct work_t *w)
{
	__u8 come = s->tok_flags;

	s->tok_flags |= POSTGRES_OPEN;
	s->tries = 0;
	s->state = POSTGRES_NAME;
	switch (s->method) {
	case 'Q':
		sql_begin(s, POSTGRES_SEED);
		if (!come)
			return STEP_MORE;
		break;
	case 'P':
		if (!(come & (POSTGRES_PARSED | POSTGRES_BOUND)))
			return STEP_MORE;
		break;
	case 'B':
		s->word = POSTGRES_NAMES;
		if (!(come & POSTGRES_BOUND))
			return STEP_MORE;
		break;
	case 'E':
		if ((come & POSTGRES_BOUND) && !(come & POSTGRES_EXECUTED))
			return STEP_MORE;
		break;
	case 'D':
		if (come)
			return postgres_rest(s);
		break;
	case 'S':
		s->state = WALK_LINE;
		s->out = 0;
		s->match = WORD_PLAIN;
		s->word = come & POSTGRES_EXECUTED ? POSTGRES_ASKED : POSTGRES_ASKED_NOTHING;
		s->tok_flags = 0;
		return event(w, s->remaining ? WALK_UNFIT : WALK_NAMED);
	case 'X':
		s->out = 0;
		s->tok_flags = 0;
		return postgres_rest(s);
	}
	return event(w, WALK_UNFIT);
}

/* The head of an answer's message is read. What the server says at any time is no answer. */
static __always_inline int postgres_answer(struct stream_t *s, struct work_t *w)
{
	switch (s->method) {
	case 'N': case 'S': case 'A': case 'K': case 'R': case 'v':
		return postgres_rest(s);
	case 'Z':
		s->state = POSTGRES_READY;
		return s->remaining == 1 ? STEP_MORE : event(w, WALK_UNFIT);
	case 'E':
		s->state = s->remaining ? POSTGRES_FIELD : WALK_LINE;
		s->flags = POSTGRES_FAILED;
		s->word = 0;
		s->hash = w->now;
		break;
	case 'C': case 'I': case 's':
		s->hash = w->now;
		postgres_rest(s);
		break;
	case 'T': case 'D': case '1': case '2': case '3': case 't': case 'n': case 'V': case 'H': case 'd': case 'c':
		postgres_rest(s);
		break;
	default:
		return event(w, WALK_UNFIT);
	}
	s->out = 1;
	return STEP_MORE;
}

/* One byte of a message's head. */
static __always_inline int postgres_head(struct stream_t *s, struct work_t *w, __u8 ch, int response)
{
	if (!s->tok_out++) {
		s->method = ch;
		s->remaining = 0;
		return STEP_MORE;
	}
	s->remaining = s->remaining << 8 | ch;
	if (s->tok_out < POSTGRES_HEAD)
		return STEP_MORE;
	s->tok_out = 0;
	if (s->remaining < 4 || s->remaining > POSTGRES_MAX)
		return event(w, WALK_UNFIT);
	s->remaining -= 4;
	return response ? postgres_answer(s, w) : postgres_request(s, w);
}

/* The operation is known. */
static __always_inline int postgres_known(struct conn_t *c, struct stream_t *s, struct work_t *w)
{
	s->out = 0;
	s->match = WORD_PLAIN;
	s->tok_out = 0;
	postgres_rest(s);
	switch (s->method) {
	case 'Q':
		s->word = POSTGRES_ASKED_SIMPLY;
		s->tok_flags = 0;
		return event(w, WALK_NAMED);
	case 'P':
		c->unnamed = s->code;
		s->tok_flags |= POSTGRES_PARSED;
		return STEP_MORE;
	}
	s->tok_flags |= POSTGRES_BOUND;
	return STEP_MORE;
}

/* One byte of a portal's or a statement's name. */
static __always_inline int postgres_name(struct conn_t *c, struct stream_t *s, struct work_t *w, __u8 ch)
{
	if (s->method == 'B' && s->tries) {
		if (ch) {
			s->word = mix(s->word, ch);
			return s->remaining ? STEP_MORE : event(w, WALK_UNFIT);
		}
		if (s->word != POSTGRES_NAMES)
			return sql_find(s, w->sk, stream_name(c), s->word) ? postgres_known(c, s, w) : event(w, WALK_UNFIT);
		s->code = c->unnamed;
		return s->code ? postgres_known(c, s, w) : event(w, WALK_UNFIT);
	}
	if (ch || !s->remaining)
		return event(w, WALK_UNFIT);
	switch (s->method) {
	case 'B':
		s->tries = 1;
		return STEP_MORE;
	case 'P':
		sql_begin(s, POSTGRES_SEED);
		return STEP_MORE;
	}
	s->tok_flags |= POSTGRES_EXECUTED;
	return postgres_rest(s);
}

/* One byte of an error. */
static __always_inline int postgres_error(struct stream_t *s, __u8 ch)
{
	__u8 letter = ch - 'A', digit = ch - '0';

	if (s->state == POSTGRES_FIELD) {
		s->state = ch == 'C' ? POSTGRES_STATE : ch ? POSTGRES_FIELD_TEXT : WALK_VALUE;
	} else if (!ch) {
		s->state = s->state == POSTGRES_STATE ? WALK_VALUE : POSTGRES_FIELD;
	} else if (s->state == POSTGRES_STATE) {
		if ((digit > 9 && letter > 25) || s->word >> POSTGRES_LAST)
			s->flags |= POSTGRES_ODD;
		s->word = s->word << 6 | (digit <= 9 ? digit + 1 : letter + 11);
	}
	if (!s->remaining)
		s->state = WALK_LINE;
	return STEP_MORE;
}

/* How an answer went. */
static __always_inline __u32 postgres_status(struct stream_t *s)
{
	if (!(s->flags & POSTGRES_FAILED))
		return STATUS_OK;
	return (s->flags & POSTGRES_ODD) || !(s->word >> POSTGRES_LAST) ? STATUS_OTHER : s->word;
}

static __always_inline int postgres_char(struct conn_t *c, struct stream_t *s, struct work_t *w, __u8 ch, int response)
{
	if (s->state == WALK_LINE)
		return postgres_head(s, w, ch, response);
	if (s->remaining)
		s->remaining--;
	switch (s->state) {
	case POSTGRES_NAME:
		return postgres_name(c, s, w, ch);
	case POSTGRES_READY:
		s->state = WALK_LINE;
		s->out = 0;
		w->answer_code = postgres_status(s);
		w->answer_ns = s->hash ? s->hash : w->now;
		s->word = 0;
		s->hash = 0;
		s->flags = 0;
		return event(w, WALK_WHOLE);
	}
	return postgres_error(s, ch);
}

/* Takes bytes up to an event, what nobody reads of a message, or the end of what is loaded. */
__noinline int postgres_bytes(struct conn_t *c, struct work_t *w, int response)
{
	struct stream_t *s;
	int r;

	if (!c || !w)
		return STEP_STOP;
	s = &c->streams[w->direction & 1];
	if (s->state == SQL_FOUND) {
		r = postgres_known(c, s, w);
		if (r != STEP_MORE)
			return r;
	}
#pragma clang loop unroll(disable)
	for (int i = 0; i < WALK_BYTES; i++) {
		if (s->state == WALK_VALUE || s->state == SQL_TEXT || w->pos >= w->len)
			break;
		if (!response && s->state == WALK_LINE && !s->tok_out && !s->tok_flags)
			sql_request_begins(s, w);
		r = postgres_char(c, s, w, w->chunk[w->pos++ & (CHUNK - 1)], response);
		if (r != STEP_MORE)
			return r;
		barrier();
	}
	return STEP_MORE;
}
