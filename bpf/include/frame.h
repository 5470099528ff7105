/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* Where messages begin and end in what a connection says, so that what nobody reads of them is not shipped: the values of RESP, rows, copied
   data, and what lies behind the beginning of long messages. A record says how many such bytes stood before it. */
#pragma once
#include "record.h"

#define FRAME_MAX (1U << 30) /* bytes of a message */
#define FRAME_GUESS (1U << 24) /* bytes of what is only taken for one: text has no zero bytes, and so is none */
#define FRAME_KEEP 4352	     /* bytes at the beginning of a request that are read: a name, and 4,096 of a statement */
#define FRAME_KEEP_ANSWER 1024
#define PASSED_MAX (1U << 30) /* bytes that a record may say to have stood before it */
#define FRAME_HOLE 256	     /* bytes that are worth a record of their own behind them */
#define FRAME_ROWS 4	     /* of a run of rows the first ones go along: few cost less than a hole */
#define FRAME_TINY 16	     /* a call with no more than that may be the head of a message, which many programs read by itself; of PostgreSQL and Redis none does */
#define FRAME_SMALL 512	     /* in less than that there is little to save */
#define FRAME_SHORTEST 8     /* bytes of a row that is left out whole: what is shorter may be the number of columns of one more result in MySQL */
#define FRAME_ROW 64	     /* bytes of one that are read */
#define FRAME_LINE 32	     /* bytes of a line that are looked at at once */
#define FRAME_TURNS 512
#define LENGTH_LINE 12 /* bytes of a line that holds a length: $99999999\r\n */

enum frame_state { FRAME_LOST, FRAME_HEAD, FRAME_LINE_REST, FRAME_BODY };

/* How long a message is, by its first bytes. Those of PostgreSQL begin with a letter. */
static __always_inline __u64 message_length(__u32 framing, const __u8 *h)
{
	switch (framing) {
	case FRAMING_POSTGRES:
		return ((__u64)h[1] << 24 | (__u32)h[2] << 16 | (__u32)h[3] << 8 | h[4]) + 1;
	case FRAMING_MYSQL:
		return ((__u64)h[2] << 16 | (__u32)h[1] << 8 | h[0]) + 4;
	case FRAMING_KAFKA:
		return ((__u64)h[0] << 24 | (__u32)h[1] << 16 | (__u32)h[2] << 8 | h[3]) + 4;
	}
	return (__u64)h[3] << 24 | (__u32)h[2] << 16 | (__u32)h[1] << 8 | h[0]; /* MongoDB */
}

/* Bytes that message_length() needs. */
static __always_inline __u32 head_length(__u32 framing)
{
	return framing == FRAMING_POSTGRES ? 5 : 4;
}

/* Whether bytes may be the head of a message of that length. */
static __always_inline int head_fits(__u32 framing, const __u8 *h, __u64 length)
{
	__u8 letter = h[0] | 0x20;

	if (length > FRAME_MAX)
		return 0;
	if (framing == FRAMING_POSTGRES)
		return length >= 5 && ((letter >= 'a' && letter <= 'z') || (h[0] >= '1' && h[0] <= '3'));
	if (framing == FRAMING_MYSQL)
		return length >= 4;
	return length >= (framing == FRAMING_KAFKA ? 8 : 16);
}

enum { NO_ROW, MAYBE_ROW, ROW };

/* Whether nobody reads a message: a row, or data that is copied. next is the byte behind the head. In MySQL a row is known by its place and
   by what it is not: an end, an error, and what rows may look like, a column or, in the binary protocol, an OK. */
static __always_inline int row_kind(__u32 framing, int response, const __u8 *h, __u8 next, __u64 length)
{
	if (framing == FRAMING_POSTGRES)
		return h[0] == 'd' || (response && h[0] == 'D') ? ROW : NO_ROW;
	if (framing != FRAMING_MYSQL || length < 5 || length >= 0xffffff + 4 || (response && next >= 0xfe))
		return NO_ROW;
	return h[3] < 4 || (response && (next == 3 || (!next && length < 128))) ? MAYBE_ROW : ROW;
}

/* n bytes are behind the reader; they are shipped if keep. */
static __always_inline void advance(struct work_t *w, __u64 n, int keep)
{
	w->segment += n;
	w->segment_left -= n;
	w->left -= n;
	w->head.seq += n;
	if (keep)
		w->kept += n;
}

/* Ships what was kept so far, or only that bytes were passed. */
static __noinline int ship_kept(struct conn_t *c, struct frame_t *f, struct work_t *w)
{
	struct record_t *head = &w->head;
	__u32 n = w->kept;

	w->kept = 0;
	head->length = n;
	head->passed = f->passed;
	f->passed = 0;
	head->seq -= n;
	c->share_used += n + SHARE_RECORD;
	ship_one(head, w->segment - n);
	head->seq += n;
	return 0;
}

/* What is shipped of a message with left bytes to come, of which most are read. */
static __always_inline void begin_body(struct frame_t *f, __u64 left, __u32 most)
{
	f->left = left;
	f->keep = left > (__u64)most + FRAME_HOLE ? most : left;
	f->have = 0;
	f->state = left ? FRAME_BODY : FRAME_HEAD;
}

/* Reads the head of a message that begins with its length; 0 if it is none. */
static __noinline int frame_head(struct frame_t *f, struct work_t *w, __u32 framing, int response)
{
	__u32 need = head_length(framing), have = f->have & 7, n, most = response ? FRAME_KEEP_ANSWER : FRAME_KEEP;
	__u8 next = 0;
	__u64 length;
	int kind;

	n = need - have;
	if (n > w->segment_left)
		n = w->segment_left;
	if (bpf_probe_read_user(&f->head[have], n & 7, (void *)w->segment))
		return 0;
	if (have + n < need) {
		f->have = have + n;
		advance(w, n, 1);
		return 1;
	}
	length = message_length(framing, f->head);
	if (!head_fits(framing, f->head, length))
		return 0;
	if (framing == FRAMING_MYSQL && w->segment_left > n)
		bpf_probe_read_user(&next, 1, (void *)w->segment + n);
	kind = row_kind(framing, response, f->head, next, length);
	if (kind == NO_ROW) {
		f->rows = 0;
		if (framing >= FRAMING_KAFKA && bpf_ringbuf_query(&records, BPF_RB_AVAIL_DATA) < ring_bytes / 8)
			most = FRAME_MAX; /* there is room for what is read where it is there */
	} else if (kind == ROW) {
		if (f->rows == FRAME_ROWS && !have && length > FRAME_SHORTEST) {
			f->left = length; /* with its head */
			f->keep = 0;
			f->state = FRAME_BODY;
			return 1;
		}
		f->rows += f->rows < FRAME_ROWS;
		most = FRAME_ROW;
	}
	advance(w, n, 1);
	begin_body(f, length - need, most);
	return 1;
}

/* Bytes up to and with the first line feed of 32, 0 if there is none. */
static __always_inline __u32 line_end(struct work_t *w)
{
	__u64 v, t;

#pragma unroll
	for (int i = 0; i < FRAME_LINE / 8; i++) {
		v = word_at(w, 0, i * 8) ^ 0x0a0a0a0a0a0a0a0aULL;
		t = (v - 0x0101010101010101ULL) & ~v & 0x8080808080808080ULL;
		if (t)
			return i * 8 + ((((t - 1) & ~t & 0x0101010101010101ULL) * 0x0101010101010101ULL) >> 56);
	}
	return 0;
}

/* The number of n digits, at most eight, behind the first character of a line; more than any length if they are none. */
static __always_inline __u64 line_number(struct work_t *w, __u32 n)
{
	__u64 v = word_at(w, 0, 1);

	if (!n || n > 8)
		return FRAME_MAX + 1ULL;
	v <<= (8 - n) * 8 & 63;
	if ((v & 0xf0f0f0f0f0f0f0f0ULL) != 0x3030303030303030ULL << ((8 - n) * 8 & 63))
		return FRAME_MAX + 1ULL;
	v &= 0x0f0f0f0f0f0f0f0fULL;
	v = (v * 10 + (v >> 8)) & 0x00ff00ff00ff00ffULL;
	v = (v * 100 + (v >> 16)) & 0x0000ffff0000ffffULL;
	return (v * 10000 + (v >> 32)) & 0xffffffff;
}

/* Reads a line of RESP, or a part of one; 0 if it is none. Behind a length the value follows. */
static __noinline int frame_line(struct frame_t *f, struct work_t *w)
{
	__u32 have = f->have & 15, n, end, total;
	__u64 value;
	__u8 kind;

	*(__u64 *)&w->chunk[0] = *(__u64 *)&f->head[0];
	*(__u64 *)&w->chunk[8] = *(__u64 *)&f->head[8];
	n = FRAME_LINE - have;
	if (n > w->segment_left)
		n = w->segment_left;
	if (bpf_probe_read_user(&w->chunk[have], n & (FRAME_LINE * 2 - 1), (void *)w->segment))
		return 0;
	total = have + n;
	end = line_end(w);
	kind = w->chunk[0];
	if (end && end <= total) {
		advance(w, end - have, 1);
		f->have = 0;
		if (f->state == FRAME_LINE_REST || (kind != '$' && kind != '=' && kind != '!')) {
			f->state = FRAME_HEAD;
			return 1;
		}
		if (w->chunk[1] == '-') { /* what does not exist */
			f->state = FRAME_HEAD;
			return 1;
		}
		value = line_number(w, end - 3);
		if (end < 4 || value > FRAME_MAX)
			return 0;
		begin_body(f, value + 2, kind == '!' ? FRAME_HOLE : 0);
		return 1;
	}
	advance(w, n, 1);
	if (f->state == FRAME_LINE_REST || (kind != '$' && kind != '=' && kind != '!')) {
		f->have = 0;
		f->state = FRAME_LINE_REST;
		return 1;
	}
	if (total >= LENGTH_LINE)
		return 0;
	*(__u64 *)&f->head[0] = *(__u64 *)&w->chunk[0];
	*(__u64 *)&f->head[8] = *(__u64 *)&w->chunk[8];
	f->have = total;
	return 1;
}

/* The next piece of a call whose messages are known; 1 when there is no more, or the place is lost: then the rest is shipped as it is. */
static __always_inline int frame_step(struct conn_t *c, struct frame_t *f, struct work_t *w, int response)
{
	__u32 framing = c->framing;
	struct iovec v;
	__u64 n;
	int ok;

	if (w->kept && (!w->segment_left || w->kept > SHIP_MAX - 2 * FRAME_LINE || (f->state == FRAME_BODY && !f->keep))) {
		ship_kept(c, f, w);
		return 0;
	}
	if (!w->left)
		return 1;
	if (!w->segment_left) {
		if (!w->iov_left || bpf_probe_read_user(&v, sizeof(v), (void *)w->iov)) {
			f->state = FRAME_LOST;
			return 1;
		}
		w->iov += sizeof(v);
		w->iov_left--;
		w->segment = v.iov_base;
		w->segment_left = v.iov_len < w->left ? v.iov_len : w->left;
		return 0;
	}
	if (f->state != FRAME_BODY) {
		ok = framing == FRAMING_RESP ? frame_line(f, w) : frame_head(f, w, framing, response);
		if (!ok)
			f->state = FRAME_LOST;
		return !ok;
	}
	n = f->left < w->segment_left ? f->left : w->segment_left;
	if (f->keep) {
		if (n > f->keep)
			n = f->keep;
		if (n > SHIP_MAX - w->kept)
			n = SHIP_MAX - w->kept;
		f->keep -= n;
		advance(w, n, 1);
	} else {
		f->passed += n;
		advance(w, n, 0);
	}
	f->left -= n;
	if (f->left)
		return 0;
	f->state = FRAME_HEAD;
	if (f->passed && framing >= FRAMING_KAFKA) /* it is known to be whole by its last byte, which another may be long in following */
		ship_kept(c, f, w);
	return 0;
}

/* Some steps. A global function, as take_steps_old() is. */
__noinline int frame_turn(__u64 sk, __u32 flags)
{
	struct work_t *w = work_of(flags & SHIP_PLAIN);
	__u32 direction = flags & SHIP_RECEIVED;
	__u64 key = sk;
	struct conn_t *c = bpf_map_lookup_elem(&conns, &key);
	struct frame_t *f;

	if (!c || !w)
		return 1;
	f = &c->frames[direction];
#pragma clang loop unroll(disable)
	for (int i = 0; i < 4; i++)
		if (frame_step(c, f, w, (c->role == ROLE_CLIENT) == direction))
			return 1;
	return 0;
}

/* Whether a message may go on behind a call that begins with it and holds some bytes behind its head. In PostgreSQL those that do are text, rows, or what
   is copied; in MySQL the head is read by itself, or much at once, and the first packet of an answer is none of the long ones. */
static __always_inline int may_go_on(__u32 framing, __u8 type, __u64 length, __u64 behind, int response)
{
	switch (framing) {
	case FRAMING_POSTGRES:
		if (type != 'd' && (response ? type != 'D' && type != 'T' : type != 'Q' && type != 'P' && type != 'B'))
			return 0;
		break;
	case FRAMING_MYSQL:
		if ((behind && behind < FRAME_TINY) || (response && length > FRAME_KEEP))
			return 0;
	}
	return length < FRAME_GUESS;
}

/* Whether a message, or a line, may begin where a call does. Of those with a length the next one is looked at too, if it is there. */
static __noinline int may_begin(struct frame_t *f, struct work_t *w, __u32 framing, int response)
{
	__u32 need = head_length(framing);
	__u8 *h = f->head, a, b;
	__u64 length;

	if (w->segment_left < need || bpf_probe_read_user(h, need & 7, (void *)w->segment))
		return 0;
	if (framing == FRAMING_RESP) {
		a = h[0];
		b = h[1];
		if (a == '+' || a == '-')
			return response && b >= 'A' && b <= 'Z';
		if (a != '*' && (!response || (a != '$' && a != ':' && a != '%' && a != '~' && a != '>')))
			return 0;
		return b == '-' || (b >= '0' && b <= '9');
	}
	length = message_length(framing, h);
	if (!head_fits(framing, h, length))
		return 0;
	a = h[3];
	if (framing == FRAMING_MYSQL && a != response)
		return 0;
	if (length + need > w->segment_left)
		return may_go_on(framing, h[0], length, w->segment_left - need, response);
	if (bpf_probe_read_user(h, need & 7, (void *)w->segment + length))
		return 0;
	return head_fits(framing, h, message_length(framing, h)) && (framing != FRAMING_MYSQL || h[3] == (__u8)(a + 1) || !h[3]);
}

/* Whether a call is to be walked. What came before it may not be known: then it must begin as a message does, and be the first since the
   other end spoke. */
static __always_inline int frames(struct conn_t *c, struct frame_t *f, struct work_t *w, int response, __u32 n, __u32 begin)
{
	int small = n < FRAME_SMALL && (n > FRAME_TINY || c->framing < FRAMING_MYSQL), first = c->spoke != 1 + response;

	c->spoke = 1 + response;
	if (f->next != begin) {
		f->passed = 0;
		f->state = FRAME_LOST;
	}
	if (!c->framing || w->skip)
		return 0;
	if (f->state == FRAME_BODY || f->state == FRAME_LINE_REST || (f->state == FRAME_HEAD && (f->have || !small)))
		return 1;
	f->state = FRAME_LOST;
	if (small || !first || !may_begin(f, w, c->framing, response))
		return 0;
	f->state = FRAME_HEAD;
	f->have = 0;
	f->rows = 0;
	return 1;
}

/* What is spoken, where the first bytes of a connection leave no doubt and more may come at once than user space is fast to tell of. */
static __noinline int framing_of(struct work_t *w, int response, __u32 n)
{
	__u8 h[8] = {};

	if (w->segment_left < sizeof(h) || bpf_probe_read_user(h, sizeof(h), (void *)w->segment))
		return 0;
	if (response)
		return h[4] == 10 && !h[3] && !h[2] && ((__u32)h[1] << 8 | h[0]) + 4 == n ? FRAMING_MYSQL : 0;
	if (h[0] == '*' && h[1] >= '1' && h[1] <= '9')
		return FRAMING_RESP;
	if (h[0] || h[1])
		return 0;
	if ((!h[4] && h[5] == 3 && !h[6]) || (h[4] == 4 && h[5] == 210 && h[6] == 22 && (h[7] == 47 || h[7] == 48))) /* version 3, SSL, GSSAPI */
		return FRAMING_POSTGRES;
	return 0;
}
