/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* The text and meta commands of Memcached (doc/protocol.txt of memcached), byte by byte. A command is known at the end of its line, for its last word
   says whether it has an answer. */
#pragma once
#include "walk.h"

/* states of a stream_t */
enum { MEMCACHED_WORD = WALK_OWN, MEMCACHED_SPACE };

#define MEMCACHED_COMMAND 2	  /* what the hash of a command's word begins with, and */
#define MEMCACHED_ANSWER 3	  /* that of an answer */
#define MEMCACHED_NOT_A_NUMBER 1  /* in tok_flags: of the number at hand */
#define MEMCACHED_DIGITS 18	  /* of a number */
#define MEMCACHED_MAX (1UL << 31) /* bytes of a value; a line that tells of more, or of no number, is refused without it */

/* How the fields of a stream_t are used besides what walk.h says:
   remaining  the number at hand
   hash       of the word at hand
   word       which word of the line that is; of a known command how many keys it asks for
   match      what the first word says of the line, an enum word
   method     which word is a number, or the first key, or the first that may be a flag, or `noreply`
   tok_hash   of an answer: the keys that were found
   tok_digits of the number at hand */

static __always_inline void memcached_begin(struct stream_t *s, int response)
{
	s->state = MEMCACHED_WORD;
	s->hash = response ? MEMCACHED_ANSWER : MEMCACHED_COMMAND;
	s->word = 0;
	s->match = WORD_PLAIN;
	s->method = 0;
	s->remaining = 0;
	s->tok_digits = 0;
	s->tok_flags = 0;
	if (response && !s->out) {
		s->out = 1;
		s->tok_hash = 0;
	}
}

/* A word ended. */
static __always_inline int memcached_word(struct stream_t *s, struct work_t *w, int response)
{
	struct word_t *word;
	__u64 key = s->hash;

	s->state = MEMCACHED_SPACE;
	if (s->word) {
		if ((s->match == WORD_META && s->word >= s->method) || (s->match == WORD_META_STORE && s->word > s->method))
			return key == word_hash(MEMCACHED_COMMAND, "q", 1) ? event(w, WALK_UNFIT) : STEP_MORE; /* it may have no answer */
		return STEP_MORE;
	}
	word = bpf_map_lookup_elem(&words, &key);
	if (word) {
		s->match = word->kind;
		s->method = word->field;
		s->code = word->number;
	} else {
		s->match = response ? WORD_PLAIN : WORD_BACK;
		s->code = response ? STATUS_OK : OPERATION_OTHER;
	}
	if (response || s->match != WORD_BACK)
		return STEP_MORE;
	s->tok_len = 2;
	return event(w, WALK_NAMED);
}

static __always_inline int memcached_has_number(struct stream_t *s)
{
	return s->tok_digits && !(s->tok_flags & MEMCACHED_NOT_A_NUMBER) && s->remaining <= MEMCACHED_MAX;
}

/* The line of an answer ended. */
static __always_inline int memcached_answer_line(struct stream_t *s, struct work_t *w)
{
	s->word = 0;
	if (s->match == WORD_BACK)
		return event(w, WALK_UNFIT);
	if ((s->match == WORD_STORE || s->match == WORD_VALUE) && memcached_has_number(s)) {
		s->remaining += 2;
		s->state = WALK_VALUE;
	}
	if (s->match == WORD_VALUE) {
		s->tok_hash++;
		return STEP_MORE;
	}
	if (s->state == WALK_VALUE)
		return STEP_MORE;
	s->out = 0;
	return event(w, WALK_WHOLE);
}

/* The line of a command ended. */
static __always_inline int memcached_command_line(struct stream_t *s, struct work_t *w)
{
	if (s->match == WORD_BACK) /* its name was enough */
		return STEP_MORE;
	if ((s->match == WORD_PLAIN || s->match == WORD_STORE) && s->method && s->word >= s->method && s->hash == word_hash(MEMCACHED_COMMAND, "noreply", 7))
		s->tok_flags |= WALK_ONE_WAY;
	if ((s->match == WORD_STORE || s->match == WORD_META_STORE) && memcached_has_number(s)) {
		s->remaining += 2;
		s->state = WALK_VALUE;
	}
	s->word = s->match == WORD_READ && s->word >= s->method ? s->word - s->method + 1 : 0;
	s->tok_len = 2;
	return event(w, WALK_NAMED);
}

static __always_inline int memcached_char(struct stream_t *s, struct work_t *w, __u8 ch, int response)
{
	int r;

	if (ch == '\n' || ch == ' ') {
		r = s->state == MEMCACHED_WORD ? memcached_word(s, w, response) : STEP_MORE;
		if (ch == ' ')
			return r;
		s->state = WALK_LINE;
		if (r != STEP_MORE)
			return r;
		return response ? memcached_answer_line(s, w) : memcached_command_line(s, w);
	}
	if (ch == '\r')
		return STEP_MORE;
	if (s->state == MEMCACHED_SPACE) {
		s->state = MEMCACHED_WORD;
		s->hash = response ? MEMCACHED_ANSWER : MEMCACHED_COMMAND;
		s->word++;
	}
	s->hash = mix(s->hash, ch);
	if (!s->word || s->word != s->method)
		return STEP_MORE;
	if (ch < '0' || ch > '9' || s->tok_digits >= MEMCACHED_DIGITS) {
		s->tok_flags |= MEMCACHED_NOT_A_NUMBER;
		return STEP_MORE;
	}
	s->remaining = s->remaining * 10 + (ch - '0');
	s->tok_digits++;
	return STEP_MORE;
}

/* A value ended. */
static __always_inline int memcached_value(struct stream_t *s, struct work_t *w, int response)
{
	s->state = WALK_LINE;
	if (!response || s->match == WORD_VALUE)
		return STEP_MORE;
	s->out = 0;
	return event(w, WALK_WHOLE);
}

/* What a line begins with: a binary message does not. */
static __always_inline int memcached_fits(__u8 ch, int response)
{
	__u8 letter = ch | 0x20;

	return (letter >= 'a' && letter <= 'z') || (ch >= '0' && ch <= '9') || (!response && (ch == ' ' || ch == '\r' || ch == '\n'));
}

/* Whether a command may go on that is too long to be given back. */
static __always_inline int memcached_long(struct conn_t *c, struct stream_t *s)
{
	if (!s->word || s->match == WORD_META || s->match == WORD_META_STORE || (__s32)(c->requests - c->responses) >= MATCH_WAITING)
		return 0;
	s->out = 0;
	s->tok_len = 2;
	return 1;
}

/* Takes bytes up to an event, a value or the end of what is loaded. */
__noinline int memcached_bytes(struct conn_t *c, struct work_t *w, int response)
{
	struct stream_t *s;
	int r;

	if (!c || !w)
		return STEP_STOP;
	s = &c->streams[w->direction & 1];
#pragma clang loop unroll(disable)
	for (int i = 0; i < WALK_BYTES; i++) {
		__u8 ch;

		if (s->state == WALK_VALUE || w->pos >= w->len)
			break;
		ch = w->chunk[w->pos & (CHUNK - 1)];
		if (s->state == WALK_LINE) {
			if (!response)
				command_begins(s, w);
			if (!memcached_fits(ch, response))
				return event(w, WALK_UNFIT);
			memcached_begin(s, response);
			if (!response && (ch < 'a' || ch > 'z')) { /* no command begins so: user space knows how that is answered */
				walk_keep(s, w, ch);
				w->pos++;
				return event(w, WALK_UNFIT);
			}
		}
		if (!response && s->tok_len < 2 && !walk_keep(s, w, ch) && !memcached_long(c, s))
			return event(w, WALK_UNFIT);
		w->pos++;
		r = memcached_char(s, w, ch, response);
		if (r != STEP_MORE)
			return r;
	}
	return STEP_MORE;
}
