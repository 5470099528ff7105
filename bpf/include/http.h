/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* HTTP/1.x (RFC 9112) as a state machine over the bytes of one direction. All state is in memory, so the verifier sees the same at
   every turn, and a message may be split anywhere. Bodies are skipped by length without being read. */
#pragma once
#include "message.h"

/* The eight characters at a place of the chunk, as a little-endian word. They may reach beyond what was read. One load, aligned or not:
   a memcpy would be one for each byte. */
static __always_inline __u64 word_at(struct work_t *w, __u32 pos, __u32 ahead)
{
	return *(volatile __u64 *)&w->chunk[(pos & (CHUNK - 1)) + ahead];
}

static __always_inline __u64 peek(struct work_t *w, __u32 ahead)
{
	return word_at(w, w->pos, ahead);
}

/* Moves on to behind the next line feed, 32 bytes at the most; 1 if there was one. */
static __always_inline int skip_line(struct work_t *w)
{
	__u64 v, t;
	__u32 n = 0, pos;

#pragma unroll
	for (int i = 0; i < 4; i++) {
		v = peek(w, i * 8) ^ 0x0a0a0a0a0a0a0a0aULL;
		t = (v - 0x0101010101010101ULL) & ~v & 0x8080808080808080ULL;
		if (t) { /* bytes up to and with the line feed */
			n = i * 8 + ((((t - 1) & ~t & 0x0101010101010101ULL) * 0x0101010101010101ULL) >> 56);
			break;
		}
	}
	pos = w->pos + (n ? n : 32);
	if (pos > w->len) {
		w->pos = w->len;
		return 0;
	}
	w->pos = pos;
	return n != 0;
}

const volatile char version_name[16] = "HTTP/1.";
const volatile char length_name[16] = "content-length:";
const volatile char encoding_name[32] = "transfer-encoding:";
const volatile char upgrade_line[32] = "upgrade:websocket";

static __always_inline void start_message(struct stream_t *s, __u8 state)
{
	s->state = state;
	s->match = 0;
	s->remaining = 0;
	s->code = 0;
	s->flags &= STREAM_VERIFIED | STREAM_UNSEEN;
}

static __always_inline void start_path(struct stream_t *s, __u8 method)
{
	s->method = method;
	s->hash = 0;
	s->out = 0;
	s->tok_len = 0;
	s->tok_flags = 0;
	s->state = S_PATH;
}

#define WORD8(a, b, c, d, e, f, g, h) \
	((__u64)(a) | (__u64)(b) << 8 | (__u64)(c) << 16 | (__u64)(d) << 24 | (__u64)(e) << 32 | (__u64)(f) << 40 | (__u64)(g) << 48 | (__u64)(h) << 56)
#define LOW(n) ((1ULL << (8 * (n))) - 1)
#define LOWER 0x2020202020202020ULL

/* What most messages begin with, in one step. 0 if it is something else: then it goes by character. */
static __always_inline int quick_start(struct stream_t *s, struct work_t *w, int response)
{
	__u64 v = peek(w, 0), t;

	if (response) {
		t = peek(w, 8);
		if (w->len - w->pos < 12 || (v & LOW(7)) != (WORD8('H', 'T', 'T', 'P', '/', '1', '.', 0)) || (t & 0xf0f0f0ff) != 0x30303020)
			return 0;
		start_message(s, S_SKIP);
		s->flags |= STREAM_VERIFIED | STREAM_RESPONDING;
		s->code = (t >> 8 & 15) * 100 + (t >> 16 & 15) * 10 + (t >> 24 & 15);
		w->pos += 12;
		return s->code >= 100;
	}
	if (w->len - w->pos < 6)
		return 0;
	if ((v & LOW(4)) == WORD8('G', 'E', 'T', ' ', 0, 0, 0, 0)) {
		start_message(s, S_PATH);
		start_path(s, METHOD_GET);
		w->pos += 4;
		return 1;
	}
	if ((v & LOW(5)) == WORD8('P', 'O', 'S', 'T', ' ', 0, 0, 0)) {
		start_message(s, S_PATH);
		start_path(s, METHOD_POST);
		w->pos += 5;
		return 1;
	}
	return 0;
}

/* At the start of a header line with enough of it there: the two that matter, or any other. */
static __always_inline void quick_line(struct stream_t *s, struct work_t *w)
{
	__u64 a = peek(w, 0) | LOWER, b = peek(w, 8) | LOWER;

	if (s->flags & STREAM_TRAILER) {
		s->state = S_SKIP;
	} else if (a == WORD8('c', 'o', 'n', 't', 'e', 'n', 't', '-') && (b & LOW(7)) == WORD8('l', 'e', 'n', 'g', 't', 'h', ':', 0)) {
		w->pos += 15;
		s->remaining = 0;
		s->state = S_LENGTH_VALUE;
	} else if (a == WORD8('t', 'r', 'a', 'n', 's', 'f', 'e', 'r') && b == WORD8('-', 'e', 'n', 'c', 'o', 'd', 'i', 'n')) {
		w->pos += 16;
		s->match = 16;
		s->state = S_ENCODING_NAME;
	} else if (a == WORD8('u', 'p', 'g', 'r', 'a', 'd', 'e', ':') && s->code == 101) {
		w->pos += 8;
		s->match = 8;
		s->state = S_UPGRADE;
	} else {
		s->state = S_SKIP;
	}
}

/* Several characters of a path. */
static __always_inline int step_path(struct conn_t *c, struct stream_t *s, struct work_t *w)
{
	for (int i = 0; i < 8; i++) {
		__u8 ch = w->chunk[w->pos & (CHUNK - 1)], class = class_of(ch);

		w->pos++;
		if (class >= C_CUT) {
			if (class == C_BAD)
				return give_up(c, s);
			end_token(s, w);
			s->match = 0;
			s->state = class == C_SPACE ? S_VERSION : S_QUERY;
			return STEP_MORE;
		}
		path_char(s, w, ch, class);
		if (w->pos >= w->len)
			break;
	}
	return STEP_MORE;
}

#define SKIP_WORDS 8 /* of one step; kernels before 6.2 refuse the loop that clang makes of it */
/* Whether a header line at this place is to be looked at. */
static __always_inline int line_matters(struct stream_t *s, struct work_t *w, __u32 place, __u32 len)
{
	__u64 v = word_at(w, place, 0) | LOWER, next = word_at(w, place, 8) | LOWER;

	return (v == WORD8('c', 'o', 'n', 't', 'e', 'n', 't', '-') && (next & 0xff) == 'l') || v == WORD8('t', 'r', 'a', 'n', 's', 'f', 'e', 'r') ||
	       len < 9 || (v & 0xff) == ('\r' | 0x20) || (v & 0xff) == ('\n' | 0x20) || ((v & 0xff) == 'u' && s->code == 101);
}

/* Passes header lines, up to one that matters or to the end of the head. Its place is in memory, so that the verifier sees the same at
   every turn. */
static __always_inline int skip_lines(struct stream_t *s, struct work_t *w)
{
	volatile struct work_t *m = w;
	__u64 v, t;
	__u32 n;

	for (int i = 0; i < SKIP_WORDS; i++) {
		v = word_at(w, m->pos, 0) ^ 0x0a0a0a0a0a0a0a0aULL;
		t = (v - 0x0101010101010101ULL) & ~v & 0x8080808080808080ULL;
		n = 8;
		if (t) /* bytes up to and with the line feed */
			n = (((t - 1) & ~t & 0x0101010101010101ULL) * 0x0101010101010101ULL) >> 56;
		m->pos += n;
		if (m->pos >= m->len) {
			if (t && m->pos == m->len)
				s->state = S_LINE;
			break;
		}
		if (!t)
			continue;
		v = word_at(w, m->pos, 0);
		if ((v & LOW(2)) == WORD8('\r', '\n', 0, 0, 0, 0, 0, 0) && m->pos + 2 <= m->len) {
			m->pos += 2;
			return event(w, EVENT_HEADERS);
		}
		if (line_matters(s, w, m->pos, m->len - m->pos)) {
			s->state = S_LINE;
			break;
		}
	}
	if (m->pos > m->len)
		m->pos = m->len;
	return STEP_MORE;
}

/* The value of a content-length, or what stands around it. */
static __always_inline int step_length(struct stream_t *s, struct work_t *w)
{
	volatile __u32 *place = &w->pos;
	__u32 len = w->len;

	for (int i = 0; i < 8; i++) {
		__u32 pos = *place;
		__u8 ch = w->chunk[pos & (CHUNK - 1)], digit = ch - '0';

		if (digit > 9) {
			if (ch == '\n' || ch == ',' || ch == '\r') /* a list of equal values is allowed */
				s->state = S_SKIP;
			*place = pos + (ch != '\n');
			break;
		}
		if (s->remaining < 1ULL << 56)
			s->remaining = s->remaining * 10 + digit;
		s->flags |= STREAM_LENGTH;
		*place = pos + 1;
		if (pos + 1 >= len)
			break;
	}
	return STEP_MORE;
}

/* Takes one character, or several where that is the same. */
static __always_inline int step_char(struct conn_t *c, struct stream_t *s, struct work_t *w, int response)
{
	__u8 ch, lower, class;
	__u32 state = s->state;

	if (state == S_SKIP)
		return skip_lines(s, w);
	if (state == S_PATH)
		return step_path(c, s, w);
	if (state == S_LENGTH_VALUE)
		return step_length(s, w);
	if (state == S_CHUNK_LINE) {
		if (!skip_line(w))
			return STEP_MORE;
		if (s->remaining) {
			s->remaining += 2; /* the line end behind the data */
			s->state = S_CHUNK;
		} else {
			s->flags |= STREAM_TRAILER;
			s->state = S_LINE;
		}
		return STEP_MORE;
	}
	ch = w->chunk[w->pos & (CHUNK - 1)];
	lower = ch | 0x20;
	w->pos++;
	switch (state) {
	case S_LINE:
		if (ch == '\r') {
			if (w->pos >= w->len || w->chunk[w->pos & (CHUNK - 1)] != '\n')
				return STEP_MORE;
			w->pos++;
			return event(w, EVENT_HEADERS);
		}
		if (ch == '\n')
			return event(w, EVENT_HEADERS);
		if (w->pos + 16 <= w->len) {
			w->pos--;
			quick_line(s, w);
			return STEP_MORE;
		}
		s->match = 1;
		s->state = S_SKIP;
		if (s->flags & STREAM_TRAILER)
			return STEP_MORE;
		if (lower == 'c')
			s->state = S_LENGTH_NAME;
		else if (lower == 't')
			s->state = S_ENCODING_NAME;
		else if (lower == 'u' && s->code == 101)
			s->state = S_UPGRADE;
		return STEP_MORE;
	case S_LENGTH_NAME:
		if (lower != (__u8)(length_name[s->match & 15] | 0x20)) {
			w->pos--;
			s->state = S_SKIP;
		} else if (++s->match == 15) {
			s->state = S_LENGTH_VALUE;
			s->remaining = 0;
		}
		return STEP_MORE;
	case S_ENCODING_NAME:
		if (lower != (__u8)(encoding_name[s->match & 31] | 0x20)) {
			w->pos--;
			s->state = S_SKIP;
		} else if (++s->match == 18) {
			s->state = S_ENCODING_VALUE;
		}
		return STEP_MORE;
	case S_ENCODING_VALUE:
		if (ch == ' ' || ch == '\t')
			return STEP_MORE;
		if (lower != 'i') /* identity */
			s->flags |= STREAM_CHUNKED;
		w->pos--;
		s->state = S_SKIP;
		return STEP_MORE;
	case S_UPGRADE:
		if (ch == ' ' && s->match == 8)
			return STEP_MORE;
		if (lower != (__u8)upgrade_line[s->match & 31]) {
			w->pos--;
			s->state = S_SKIP;
		} else if (++s->match == 17) {
			s->flags |= STREAM_WEBSOCKET;
			s->state = S_SKIP;
		}
		return STEP_MORE;
	case S_QUERY:
		if (ch == '\n')
			return give_up(c, s);
		if (ch == ' ') {
			s->match = 0;
			s->state = S_VERSION;
		}
		return STEP_MORE;
	case S_VERSION:
		if (!s->match && w->pos + 7 <= w->len && (word_at(w, w->pos - 1, 0) & LOW(7)) == WORD8('H', 'T', 'T', 'P', '/', '1', '.', 0)) {
			w->pos += 6;
			s->match = 6;
		} else if (ch != (__u8)version_name[s->match & 15])
			return give_up(c, s);
		if (++s->match == 7) {
			s->flags |= STREAM_VERIFIED;
			c->protocol = PROTO_HTTP1;
			s->state = S_SKIP;
			return event(w, EVENT_REQUEST);
		}
		return STEP_MORE;
	case S_METHOD:
		if (ch == ' ' && s->match) {
			start_path(s, method_of(s->word));
			return STEP_MORE;
		}
		if (ch < 'A' || ch > 'Z' || s->match > 10)
			return give_up(c, s);
		s->word = s->word << 8 | ch;
		s->match++;
		return STEP_MORE;
	case S_STATUS_VERSION:
		if (s->match >= 7) { /* minor version, then a space */
			if (s->match == 8) {
				if (ch != ' ')
					return give_up(c, s);
				s->state = S_STATUS_CODE;
			}
		} else if (ch != (__u8)version_name[s->match & 15]) {
			return give_up(c, s);
		}
		s->match++;
		return STEP_MORE;
	case S_STATUS_CODE:
		if (ch < '0' || ch > '9')
			return give_up(c, s);
		s->code = s->code * 10 + (ch - '0');
		if (++s->match == 12) {
			if (s->code < 100 || s->code > 999)
				return give_up(c, s);
			s->flags |= STREAM_VERIFIED | STREAM_RESPONDING;
			s->state = S_SKIP;
		}
		return STEP_MORE;
	case S_CHUNK_SIZE:
		class = class_of(ch);
		if (class == C_DIGIT || class == C_HEX) {
			if (s->remaining >= 1ULL << 56)
				return give_up(c, s);
			s->remaining = s->remaining << 4 | (class == C_DIGIT ? ch - '0' : lower - 'a' + 10);
			s->match = 1;
		} else if (!s->match) {
			return give_up(c, s);
		} else {
			w->pos--;
			s->state = S_CHUNK_LINE;
		}
		return STEP_MORE;
	case S_START:
		if (ch == '\r' || ch == '\n')
			return STEP_MORE;
		w->pos--;
		if (quick_start(s, w, response))
			return STEP_MORE;
		s->word = 0;
		start_message(s, response ? S_STATUS_VERSION : S_METHOD);
		return STEP_MORE;
	}
	return STEP_STOP;
}

static __always_inline void skip_bytes(struct stream_t *s, struct work_t *w, __u64 n)
{
	w->left -= n;
	w->segment += n;
	w->segment_left -= n;
	s->remaining -= n;
}

/* Goes on with the next message of a sendmmsg: to TCP they are one stream. */
static __always_inline int next_message(struct work_t *w)
{
	if (!w->messages_left)
		return STEP_STOP;
	/* its iovecs and their number stand one after the other, as the fields of an iovec do */
	if (bpf_probe_read_user(&w->ahead, sizeof(w->ahead), (void *)(w->message + offsetof(struct user_msghdr, msg_iov)))) {
		count_lost(LOST_READ_FAULT, 1);
		return STEP_STOP;
	}
	w->messages_left--;
	w->message += BATCH_STEP;
	w->iov = w->ahead.iov_base;
	w->iov_left = w->ahead.iov_len;
	w->ahead.iov_base = 0;
	return STEP_MORE;
}

/* Goes on with the next buffer of the call. */
static __always_inline int next_buffer(struct work_t *w)
{
	if (!w->iov_left)
		return next_message(w);
	if (!w->ahead.iov_base && bpf_probe_read_user(&w->ahead, sizeof(w->ahead), (void *)w->iov)) {
		count_lost(LOST_READ_FAULT, 1);
		return STEP_STOP;
	}
	w->iov += sizeof(w->ahead);
	w->iov_left--;
	w->segment = w->ahead.iov_base;
	w->segment_left = w->ahead.iov_len < w->left ? w->ahead.iov_len : w->left;
	w->ahead.iov_base = 0;
	return STEP_MORE;
}

/* One turn of the parser: loads what is next, skips a body, or takes characters. */
static __always_inline int step(struct conn_t *c, struct stream_t *s, struct work_t *w, int response)
{
	__u64 n;

	if (w->pos < w->len) {
		if (s->state < S_BODY && (w->len - w->pos >= 32 || !w->segment_left || !w->pos))
			return step_char(c, s, w, response);
		/* the body began inside the chunk, or a line goes on in the next: give the rest back */
		n = w->len - w->pos;
		w->segment -= n;
		w->segment_left += n;
		w->left += n;
		w->pos = w->len = 0;
	}
	if (!w->left)
		return STEP_STOP;
	if (!w->segment_left)
		return next_buffer(w);
	if (s->state == S_UNTIL_CLOSE || s->state == S_LOST)
		return STEP_STOP;
	if (s->state == S_BODY || s->state == S_CHUNK) {
		n = s->remaining < w->segment_left ? s->remaining : w->segment_left;
		skip_bytes(s, w, n);
		if (s->remaining)
			return STEP_MORE;
		if (s->state == S_CHUNK) {
			s->state = S_CHUNK_SIZE;
			s->match = 0;
			return STEP_MORE;
		}
		return event(w, EVENT_END);
	}
	n = w->segment_left < CHUNK ? w->segment_left : CHUNK;
	if (bpf_probe_read_user(w->chunk, n & (CHUNK * 2 - 1), (void *)w->segment)) {
		count_lost(LOST_READ_FAULT, 1);
		lose(c, s);
		return STEP_STOP;
	}
	w->segment += n;
	w->segment_left -= n;
	w->left -= n;
	w->pos = 0;
	w->len = n;
	return STEP_MORE;
}
