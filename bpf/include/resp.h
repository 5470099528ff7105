/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* RESP, the protocol of Redis and Valkey, byte by byte: names of commands, and how answers went. */
#pragma once
#include "walk.h"

/* states of a stream_t */
enum {
	RESP_NUMBER = WALK_OWN,
	RESP_TEXT,  /* to the end of the line */
	RESP_ERROR, /* its first word */
	RESP_WORD,  /* of a command */
};

#define RESP_WORD_MAX 48    /* bytes of a word that may be of a command */
#define RESP_DIGITS 10	    /* of a number */
#define RESP_NEGATIVE 1	    /* in tok_flags: of the number at hand */

/* How the fields of a stream_t are used besides what walk.h says:
   remaining  the number at hand
   hash       of the word at hand
   word       arguments of the command at hand, or elements of the answer, that are still to come
   code       of an answer its first error
   match      the type of the line at hand
   tok_len    which word is wanted next: 0, 1, or none
   tok_digits of the number at hand */

/* A line, or a value, ended. */
static __always_inline int resp_element(struct stream_t *s, struct work_t *w, int response)
{
	s->state = WALK_LINE;
	if (!response) {
		s->word--;
		return STEP_MORE;
	}
	if (s->word)
		return STEP_MORE;
	s->out = 0;
	return event(w, WALK_WHOLE);
}

/* The number behind the type of a line is read. */
static __always_inline int resp_number(struct stream_t *s, struct work_t *w, int response)
{
	__u64 n = s->remaining;
	__u8 kind = s->match;

	if (!s->tok_digits)
		return event(w, WALK_UNFIT);
	if (!response) {
		if ((s->tok_flags & RESP_NEGATIVE) || (kind == '*' && (!n || n > 1 << 20)))
			return event(w, WALK_UNFIT);
		if (kind == '*') {
			s->word = n;
			s->state = WALK_LINE;
			return STEP_MORE;
		}
		s->remaining = n + 2;
		s->hash = s->tok_len ? s->hash : 0;
		if (s->tok_len < 2 && n <= RESP_WORD_MAX) {
			s->state = RESP_WORD;
			return STEP_MORE;
		}
		s->state = WALK_VALUE;
		if (s->tok_len >= 2)
			return STEP_MORE;
		s->code += s->tok_len; /* behind the name of a container stands that of its other commands */
		s->tok_len = 2;
		return event(w, WALK_NAMED);
	}
	if (kind == '$' || kind == '=' || kind == '!') {
		if (s->tok_flags & RESP_NEGATIVE)
			return resp_element(s, w, 1);
		s->remaining = n + 2;
		s->state = kind == '!' && !s->code ? RESP_ERROR : WALK_VALUE;
		s->hash = 1;
		return STEP_MORE;
	}
	if (!(s->tok_flags & RESP_NEGATIVE))
		s->word += kind == '%' ? 2 * n : kind == '|' ? 2 * n + 1 : n;
	return resp_element(s, w, 1);
}

/* The first byte of a line. */
static __always_inline int resp_line(struct stream_t *s, struct work_t *w, __u8 ch, int response)
{
	s->remaining = 0;
	s->tok_digits = 0;
	s->tok_flags = 0;
	s->state = RESP_NUMBER;
	if (!response) {
		if (ch != (s->word ? '$' : '*'))
			return event(w, WALK_UNFIT);
		s->match = ch;
		return STEP_MORE;
	}
	if (!s->out) {
		s->out = 1;
		s->word = 1;
		s->code = 0;
		s->tok_len = ch == '>';
	}
	s->word--;
	s->match = ch;
	switch (ch) {
	case '$': case '=': case '!': case '*': case '%': case '~': case '>': case '|':
		return STEP_MORE;
	case '-':
		s->hash = 1;
		s->state = s->code ? RESP_TEXT : RESP_ERROR;
		return STEP_MORE;
	case '+': case ':': case '_': case '#': case ',': case '(':
		s->state = RESP_TEXT;
		return STEP_MORE;
	}
	return event(w, WALK_UNFIT);
}

/* The first word of an error is whole. */
static __always_inline void resp_status(struct stream_t *s)
{
	__u64 key = s->hash;
	struct word_t *word = bpf_map_lookup_elem(&words, &key);

	s->code = word ? word->number : STATUS_OTHER;
}

/* One byte of an error: of a line, or of a value. */
static __always_inline int resp_error(struct stream_t *s, struct work_t *w, __u8 ch)
{
	int value = s->match == '!';

	if (value)
		s->remaining--;
	if (ch == ' ' || ch == '\r' || ch == '\n' || (value && s->remaining < 2)) {
		resp_status(s);
		if (ch == '\n' && !value)
			return resp_element(s, w, 1);
		s->state = value ? WALK_VALUE : RESP_TEXT;
		return STEP_MORE;
	}
	s->hash = mix(s->hash, ch);
	return STEP_MORE;
}

/* One byte of a command's name, or of the line end behind it. */
static __always_inline int resp_word(struct stream_t *s, struct work_t *w, __u8 ch)
{
	struct word_t *word;
	__u64 key;

	if (s->remaining > 2)
		s->hash = mix_capital(s->hash, ch);
	if (--s->remaining)
		return STEP_MORE;
	s->state = WALK_LINE;
	s->word--;
	key = s->hash;
	word = bpf_map_lookup_elem(&words, &key);
	s->match = word ? word->kind : WORD_PLAIN;
	if (word)
		s->code = word->number;
	else
		s->code += s->tok_len;
	if (s->match == WORD_SECOND && s->word) {
		s->hash = mix(s->hash, ' ');
		s->tok_len = 1;
		return STEP_MORE;
	}
	s->tok_len = 2;
	return event(w, WALK_NAMED);
}

static __always_inline int resp_char(struct stream_t *s, struct work_t *w, __u8 ch, int response)
{
	switch (s->state) {
	case WALK_LINE:
		return resp_line(s, w, ch, response);
	case RESP_NUMBER:
		if (ch == '\n')
			return resp_number(s, w, response);
		if (ch == '\r')
			return STEP_MORE;
		if (ch == '-' && !s->tok_digits) {
			s->tok_flags |= RESP_NEGATIVE;
			return STEP_MORE;
		}
		if (ch < '0' || ch > '9' || s->tok_digits >= RESP_DIGITS)
			return event(w, WALK_UNFIT);
		s->remaining = s->remaining * 10 + (ch - '0');
		s->tok_digits++;
		return STEP_MORE;
	case RESP_TEXT:
		return ch == '\n' ? resp_element(s, w, 1) : STEP_MORE;
	case RESP_ERROR:
		return resp_error(s, w, ch);
	}
	return resp_word(s, w, ch);
}

/* Takes bytes up to an event, a value or the end of what is loaded. */
__noinline int resp_bytes(struct conn_t *c, struct work_t *w, int response)
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
		if (!response && s->state == WALK_LINE && !s->word)
			command_begins(s, w);
		if (!response && s->tok_len < 2 && !walk_keep(s, w, ch))
			return event(w, WALK_UNFIT);
		w->pos++;
		r = resp_char(s, w, ch, response);
		if (r != STEP_MORE)
			return r;
	}
	return STEP_MORE;
}
