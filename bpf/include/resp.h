/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* RESP, the protocol of Redis and Valkey, byte by byte: names of commands, and how answers went. All state is in memory, as in the parser of
   HTTP/1; a stream_t holds it, of which nothing else is in use on such a connection. */
#pragma once
#include "ship.h"

/* states of a stream_t */
enum {
	RESP_LINE, /* at the beginning of a line: of a message where none is at hand */
	RESP_NUMBER,
	RESP_TEXT,  /* to the end of the line */
	RESP_ERROR, /* its first word */
	RESP_WORD,  /* of a command */
	RESP_BODY,  /* bytes are passed by number */
};
/* What a step leaves to match_event(). NAMED: the command is known. WHOLE: an answer is. */
enum { RESP_NAMED, RESP_WHOLE, RESP_UNFIT };

#define RESP_WORD_MAX 48    /* bytes of a word that may be of a command */
#define RESP_DIGITS 10	    /* of a number */
#define RESP_NEGATIVE 1	    /* in tok_flags: of the number at hand, and */
#define RESP_HASHED 2	    /* the first word of the error is whole */
#define STATUS_OK 1	    /* in place of a status code */
#define STATUS_OTHER 2
#define OPERATION_OTHER 0   /* in place of a route */

/* How the fields of a stream_t are used:
   remaining  the number at hand; bytes to come of a value, with its line end
   hash       of the word at hand
   word       arguments of the command at hand, or elements of the answer, that are still to come
   tok_hash   when the command at hand began
   code       number of its operation; of an answer its first error, 0 for none
   match      the type of the line at hand
   tok_len    which word is wanted next: 0, 1, or none; of an answer, whether it is a push that nobody asked for
   tok_digits of the number at hand
   out        bytes of the command at hand that are kept in work_t.route, while it may be given back to user space; of an answer, whether one is at hand */

static __always_inline int resp_begins(struct stream_t *s, int response)
{
	return s->state == RESP_LINE && !s->word && (!response || !s->out);
}

/* A line, or a value, ended. */
static __always_inline int resp_element(struct stream_t *s, struct work_t *w, int response)
{
	s->state = RESP_LINE;
	if (!response) {
		s->word--;
		return STEP_MORE;
	}
	if (s->word)
		return STEP_MORE;
	s->out = 0;
	return event(w, RESP_WHOLE);
}

/* The number behind the type of a line is read. */
static __always_inline int resp_number(struct stream_t *s, struct work_t *w, int response)
{
	__u64 n = s->remaining;
	__u8 kind = s->match;

	if (!s->tok_digits)
		return event(w, RESP_UNFIT);
	if (!response) {
		if ((s->tok_flags & RESP_NEGATIVE) || (kind == '*' && (!n || n > 1 << 20)))
			return event(w, RESP_UNFIT);
		if (kind == '*') {
			s->word = n;
			s->state = RESP_LINE;
			return STEP_MORE;
		}
		s->remaining = n + 2;
		s->hash = s->tok_len ? s->hash : 0;
		if (s->tok_len < 2 && n <= RESP_WORD_MAX) {
			s->state = RESP_WORD;
			return STEP_MORE;
		}
		s->state = RESP_BODY;
		if (s->tok_len >= 2)
			return STEP_MORE;
		s->code += s->tok_len; /* behind the name of a container stands that of its other commands */
		s->tok_len = 2;
		return event(w, RESP_NAMED);
	}
	if (kind == '$' || kind == '=' || kind == '!') {
		if (s->tok_flags & RESP_NEGATIVE)
			return resp_element(s, w, 1);
		s->remaining = n + 2;
		s->state = kind == '!' && !s->code ? RESP_ERROR : RESP_BODY;
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
			return event(w, RESP_UNFIT);
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
	return event(w, RESP_UNFIT);
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
		s->state = value ? RESP_BODY : RESP_TEXT;
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
		s->hash = mix(s->hash, ch >= 'a' && ch <= 'z' ? ch - ('a' - 'A') : ch);
	if (--s->remaining)
		return STEP_MORE;
	s->state = RESP_LINE;
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
	return event(w, RESP_NAMED);
}

static __always_inline int resp_char(struct stream_t *s, struct work_t *w, __u8 ch, int response)
{
	switch (s->state) {
	case RESP_LINE:
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
			return event(w, RESP_UNFIT);
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

/* Passes bytes of a value: what is in the chunk, then what is in the buffers. */
static __always_inline int resp_body(struct stream_t *s, struct work_t *w, int response)
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
	if (!s->remaining)
		return resp_element(s, w, response);
	return w->left ? next_buffer(w) : STEP_STOP;
}

/* Keeps a byte of a command that may be given back; 0 if there is no room. */
static __always_inline int resp_keep(struct stream_t *s, struct work_t *w, __u8 ch)
{
	__u32 at = s->out;

	if (at >= ROUTE_TEXT)
		return 0;
	w->route.text[at] = ch;
	s->out = at + 1;
	return 1;
}

/* One turn: loads what is next, passes a value, or takes bytes. */
static __always_inline int resp_step(struct stream_t *s, struct work_t *w, int response)
{
	__u64 n;
	int r;

	if (s->state == RESP_BODY)
		return resp_body(s, w, response);
	if (w->pos >= w->len) {
		if (!w->left)
			return STEP_STOP;
		if (!w->segment_left)
			return next_buffer(w);
		n = w->segment_left < CHUNK ? w->segment_left : CHUNK;
		if (bpf_probe_read_user(w->chunk, n & (CHUNK * 2 - 1), (void *)w->segment)) {
			count_lost(LOST_READ_FAULT, 1);
			return event(w, RESP_UNFIT);
		}
		w->segment += n;
		w->segment_left -= n;
		w->left -= n;
		w->pos = 0;
		w->len = n;
	}
	for (int i = 0; i < 8; i++) {
		__u8 ch = w->chunk[w->pos & (CHUNK - 1)];

		if (!response && s->state == RESP_LINE && !s->word) { /* a command begins */
			s->out = 0;
			s->tok_len = 0;
			s->tok_hash = w->now;
			s->code = OPERATION_OTHER;
		}
		if (!response && s->tok_len < 2 && !resp_keep(s, w, ch))
			return event(w, RESP_UNFIT);
		w->pos++;
		r = resp_char(s, w, ch, response);
		if (r != STEP_MORE || s->state == RESP_BODY || w->pos >= w->len)
			return r;
	}
	return STEP_MORE;
}
