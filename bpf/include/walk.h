/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* What resp.h and memcached.h have in common: both protocols are lines, and values whose length a line tells. All state is in memory, as in the
   parser of HTTP/1; a stream_t holds it, of which nothing else is in use on such a connection. */
#pragma once
#include "ship.h"

/* States of a stream_t. Those of a protocol follow. LINE: at the beginning of a line: of a message where none is at hand. VALUE: bytes are passed
   by number. */
enum { WALK_LINE, WALK_VALUE, WALK_OWN };
/* What bytes leave to match_event(). NAMED: the command is known. WHOLE: an answer is. */
enum { WALK_NAMED, WALK_WHOLE, WALK_UNFIT };

#define MATCH_WAITING 256 /* requests of one connection */
#define MATCH_KEYS 65535  /* of a request, that are told apart */
#define WALK_BYTES 16	  /* that are looked at in one turn */
#define WALK_ONE_WAY 4	  /* in tok_flags: the command has no answer */
#define OPERATION_OTHER 0 /* in place of a route */

/* How the fields of a stream_t are used by both:
   remaining  bytes to come of a value, with its line end
   tok_hash   when the command at hand began; of an answer how much of what was asked for it holds, where its protocol tells
   code       number of the operation; of an answer that of its status, 0 for none
   tok_len    of a command: 2 when it is known, or too long to be given back to user space; of an answer: not 0 if nobody asked for it
   out        bytes of the command at hand that are kept in work_t.route, while it may be given back, 0 when it cannot; of an answer, whether one is at hand */

/* The hash of a word, which a protocol's words begin with a number of their own. */
static __always_inline __u64 word_hash(__u64 hash, const char *word, int n)
{
#pragma unroll
	for (int i = 0; i < n; i++)
		hash = mix(hash, word[i]);
	return hash;
}

/* One more character of a word in capitals. */
static __always_inline __u64 mix_capital(__u64 hash, __u8 ch)
{
	return mix(hash, ch >= 'a' && ch <= 'z' ? ch - ('a' - 'A') : ch);
}

static __always_inline int answer_begins(struct stream_t *s)
{
	return s->state == WALK_LINE && !s->word && !s->out && !s->tok_out;
}

static __always_inline void command_begins(struct stream_t *s, struct work_t *w)
{
	s->out = 0;
	s->tok_len = 0;
	s->tok_hash = w->now;
	s->code = OPERATION_OTHER;
}

/* Keeps a byte of a command that may be given back; 0 if there is no room. */
static __always_inline int walk_keep(struct stream_t *s, struct work_t *w, __u8 ch)
{
	__u32 at = s->out;

	if (at >= ROUTE_TEXT)
		return 0;
	w->route.text[at] = ch;
	s->out = at + 1;
	return 1;
}

/* Passes bytes of a value: what is in the chunk, then what is in the buffers. */
static __always_inline void walk_value(struct stream_t *s, struct work_t *w)
{
	__u64 n = w->len - w->pos;

	if (n > s->remaining)
		n = s->remaining;
	w->pos += n;
	s->remaining -= n;
	if (s->remaining) {
		n = s->remaining < w->segment_left ? s->remaining : w->segment_left;
		skip_bytes(s, w, n);
	}
}

/* Loads what is next to be looked at. */
static __always_inline int walk_load(struct work_t *w)
{
	__u64 n;

	if (!w->left)
		return STEP_STOP;
	if (!w->segment_left)
		return next_buffer(w);
	n = w->segment_left < CHUNK ? w->segment_left : CHUNK;
	if (bpf_probe_read_user(w->chunk, n & (CHUNK * 2 - 1), (void *)w->segment)) {
		count_lost(LOST_READ_FAULT, 1);
		return event(w, WALK_UNFIT);
	}
	w->segment += n;
	w->segment_left -= n;
	w->left -= n;
	w->pos = 0;
	w->len = n;
	return STEP_MORE;
}
