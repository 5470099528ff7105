/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* The client/server protocol of MySQL and MariaDB, byte by byte. A request is one packet: a COM_QUERY, a COM_STMT_EXECUTE, or a command that is always
   answered by one packet or by none. What prepares or fetches, replicates or logs in is user space's, and so is a statement that it has not named yet.
   https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html, https://mariadb.com/kb/en/clientserver-protocol/ */
#pragma once
#include "sql.h"

/* states of a stream_t */
enum {
	MYSQL_TYPE = SQL_OWN, /* the first byte of a packet */
	MYSQL_ATTRIBUTES,     /* in front of a text */
	MYSQL_NUMBER, /* of a statement; of an error, or of columns */
	MYSQL_MORE,   /* behind the number of columns: whether they come */
	MYSQL_STATUS, /* in an OK or EOF packet, up to its status */
};

#define MYSQL_SEED 9	     /* what the hash of a text begins with, and */
#define MYSQL_COMMANDS 10    /* that of a command's byte */
#define MYSQL_HEAD 4	     /* bytes of a packet's head, and */
#define MYSQL_EOF 5	     /* of an EOF packet behind it */
#define MYSQL_LONG 0xffffff  /* a packet of this length goes on in the next one */
#define MYSQL_LAST 0xffffffff /* in place of a statement's number */
#define MYSQL_PROGRESS 0xffff /* in place of an error's */
#define MYSQL_FAILED 0x10000  /* in front of an error's */

/* Commands that are not only looked up. */
enum { MYSQL_QUIT = 1, MYSQL_QUERY = 3, MYSQL_EXECUTE = 23, MYSQL_SEND_LONG_DATA = 24, MYSQL_CLOSE = 25 };

/* What the packet at hand is in an answer: the first of it, or of one more result; a column; the end of those, or a row; a row, or the end. */
enum { MYSQL_FIRST, MYSQL_COLUMNS, MYSQL_BETWEEN, MYSQL_ROWS };

#define MYSQL_GOES_ON 1 /* in flags: the packet before goes on, */
#define MYSQL_BEGUN 2	/* the first packet of the answer has come, */
#define MYSQL_DONE 4	/* the one at hand is the last */

/* The server's status. */
#define MYSQL_MORE_RESULTS 8
#define MYSQL_CURSOR 64

/* How the fields of a stream_t are used besides what sql.h says:
   method     the command at hand; what the packet at hand is in an answer
   tries      of a text 1 + its first byte, if that may count query attributes; of an answer the number of the packet at hand
   hash       of a number what was read of it; of an answer its status, 0 for OK
   tok_digits bytes of a number that were read; of an OK packet those to be passed, and
   match      the numbers in front of its status that were met; 3 behind the columns
   shown      columns to come */

/* One byte of a packet's head; 1 with the last one, the packet's number. */
static __always_inline int mysql_head(struct stream_t *s, __u8 ch)
{
	__u8 at = s->tok_out;

	s->tok_out = at + 1;
	if (!at)
		s->remaining = 0;
	if (at + 1 < MYSQL_HEAD) {
		s->remaining |= (__u64)ch << (at * 8 & 31);
		return 0;
	}
	s->tok_out = 0;
	return 1;
}

/* Whether the head of a request is all that was read of it: servers read it by itself. */
static __always_inline int mysql_waits(struct conn_t *c, struct stream_t *s)
{
	return c->matched == PROTO_MYSQL && s->state == MYSQL_TYPE;
}

/* The head of the request at hand, which came with the call before: what stands behind it is at the beginning of this one. Returns how long it is. */
static __always_inline int mysql_read_before(struct stream_t *s, struct work_t *w, __u32 walked)
{
	__u32 length = s->remaining + walked;

	w->route.text[0] = length;
	w->route.text[1] = length >> 8;
	w->route.text[2] = length >> 16;
	w->route.text[3] = 0;
	return MYSQL_HEAD;
}

/* The rest of a packet. */
static __always_inline int mysql_rest(struct stream_t *s)
{
	s->state = WALK_VALUE;
	return STEP_MORE;
}

/* The operation is known. */
static __always_inline int mysql_known(struct stream_t *s, struct work_t *w)
{
	s->out = 0;
	s->tok_out = 0;
	s->match = WORD_PLAIN;
	s->word = 1;
	s->state = s->remaining ? WALK_VALUE : WALK_LINE;
	return event(w, WALK_NAMED);
}

/* A request's command. */
static __always_inline int mysql_command(struct stream_t *s, struct work_t *w, __u8 ch)
{
	struct word_t *word;
	__u64 key = mix(MYSQL_COMMANDS, ch);

	s->tok_flags = ch == MYSQL_SEND_LONG_DATA || ch == MYSQL_CLOSE ? WALK_ONE_WAY : 0;
	s->tries = 0;
	switch (ch) {
	case MYSQL_QUERY:
		sql_begin(s, MYSQL_SEED);
		s->state = MYSQL_ATTRIBUTES;
		return s->remaining ? STEP_MORE : event(w, WALK_UNFIT);
	case MYSQL_EXECUTE:
		s->state = MYSQL_NUMBER;
		s->hash = 0;
		s->tok_digits = 0;
		return s->remaining >= 4 ? STEP_MORE : event(w, WALK_UNFIT);
	case MYSQL_QUIT:
		s->out = 0;
		s->state = s->remaining ? WALK_VALUE : WALK_LINE;
		return STEP_MORE;
	}
	word = bpf_map_lookup_elem(&words, &key);
	if (!word)
		return event(w, WALK_UNFIT);
	s->code = word->number;
	return mysql_known(s, w);
}

/* The first two bytes of a COM_QUERY are a number of attributes and a 1, or the beginning of the text. */
static __always_inline int mysql_attributes(struct stream_t *s, struct work_t *w, __u8 ch)
{
	if (!s->tries && ch < ' ') {
		s->tries = 1 + ch;
		return s->remaining ? STEP_MORE : event(w, WALK_UNFIT);
	}
	s->state = SQL_TEXT;
	if (s->tries && ch == 1)
		return s->tries == 1 && s->remaining ? STEP_MORE : event(w, WALK_UNFIT);
	w->pos--;
	s->remaining++;
	return STEP_MORE;
}

/* One byte of a statement's number. */
static __always_inline int mysql_statement(struct conn_t *c, struct stream_t *s, struct work_t *w, __u8 ch)
{
	s->hash |= (__u64)ch << (s->tok_digits * 8 & 31);
	if (++s->tok_digits < 4)
		return STEP_MORE;
	if (s->hash == MYSQL_LAST || !sql_find(s, w->sk, stream_name(c), s->hash))
		return event(w, WALK_UNFIT);
	return mysql_known(s, w);
}

static __always_inline int mysql_request(struct conn_t *c, struct stream_t *s, struct work_t *w, __u8 ch)
{
	if (s->state == WALK_LINE) {
		if (!mysql_head(s, ch))
			return STEP_MORE;
		s->state = MYSQL_TYPE;
		return ch || !s->remaining || s->remaining == MYSQL_LONG ? event(w, WALK_UNFIT) : STEP_MORE;
	}
	s->remaining--;
	switch (s->state) {
	case MYSQL_TYPE:
		return mysql_command(s, w, ch);
	case MYSQL_ATTRIBUTES:
		return mysql_attributes(s, w, ch);
	}
	return mysql_statement(c, s, w, ch);
}

/* Takes bytes of requests up to an event, what nobody reads of one, or the end of what is loaded. */
__noinline int mysql_requests(struct conn_t *c, struct work_t *w)
{
	struct stream_t *s;
	int r;

	if (!c || !w)
		return STEP_STOP;
	s = &c->streams[w->direction & 1];
	if (s->state == SQL_FOUND)
		return mysql_known(s, w);
#pragma clang loop unroll(disable)
	for (int i = 0; i < WALK_BYTES; i++) {
		if (s->state == WALK_VALUE || s->state == SQL_TEXT || w->pos >= w->len)
			break;
		if (s->state == WALK_LINE && !s->tok_out)
			sql_request_begins(s, w);
		r = mysql_request(c, s, w, w->chunk[w->pos++ & (CHUNK - 1)]);
		if (r != STEP_MORE)
			return r;
		barrier();
	}
	return STEP_MORE;
}

/* The number of columns is read. Behind it MariaDB may say that it does not send them. */
static __always_inline int mysql_columns(struct stream_t *s, struct work_t *w, __u32 columns)
{
	s->shown = columns;
	s->method = MYSQL_COLUMNS;
	s->state = s->remaining == 1 ? MYSQL_MORE : WALK_VALUE;
	return columns ? STEP_MORE : event(w, WALK_UNFIT);
}

/* One byte of a number behind the type of a packet. */
static __always_inline int mysql_number(struct stream_t *s, struct work_t *w, __u8 ch)
{
	__u32 n;

	s->hash |= (__u64)ch << (s->tok_digits * 8 & 31);
	if (++s->tok_digits < 2)
		return STEP_MORE;
	n = s->hash;
	if (n & MYSQL_FAILED) {
		if (n == (MYSQL_FAILED | MYSQL_PROGRESS))
			s->hash = 0;
		else
			s->flags |= MYSQL_DONE;
		return mysql_rest(s);
	}
	s->hash = 0;
	return mysql_columns(s, w, n);
}

/* The type of a packet that says what sort of answer, or of result, comes. */
static __always_inline int mysql_first(struct stream_t *s, struct work_t *w, __u8 ch)
{
	if (!ch) {
		s->state = MYSQL_STATUS;
		return STEP_MORE;
	}
	if (ch == 0xfe && s->remaining < 8) {
		s->flags |= MYSQL_DONE;
		return mysql_rest(s);
	}
	if (ch == 0xfc) {
		s->state = MYSQL_NUMBER;
		return STEP_MORE;
	}
	return ch < 0xfb ? mysql_columns(s, w, ch) : event(w, WALK_UNFIT); /* the server asks for a file */
}

/* The first byte of an answer's packet. */
static __always_inline int mysql_type(struct stream_t *s, struct work_t *w, __u8 ch)
{
	int whole = s->remaining != MYSQL_LONG - 1;

	s->match = 0;
	s->tok_digits = 0;
	if (ch == 0xff && s->remaining >= 2 && whole) {
		s->state = MYSQL_NUMBER;
		s->hash = MYSQL_FAILED;
		return STEP_MORE;
	}
	switch (s->method) {
	case MYSQL_FIRST:
		return mysql_first(s, w, ch);
	case MYSQL_COLUMNS:
		if (ch != 3) /* their catalog is "def" */
			return event(w, WALK_UNFIT);
		if (!--s->shown)
			s->method = MYSQL_BETWEEN;
		return mysql_rest(s);
	}
	if (ch == 0xfe && whole) {
		s->state = MYSQL_STATUS;
		if (s->remaining == MYSQL_EOF - 1) {
			s->match = s->method == MYSQL_BETWEEN ? 3 : 2;
			s->tok_digits = 2;
		}
	} else {
		s->state = WALK_VALUE;
	}
	s->method = MYSQL_ROWS;
	return STEP_MORE;
}

/* One byte of an OK or EOF packet. Two numbers of any length stand before the status of an OK packet, two bytes before that of an EOF packet. */
static __always_inline int mysql_status(struct stream_t *s, __u8 ch)
{
	if (s->tok_digits) {
		s->tok_digits--;
		return STEP_MORE;
	}
	if (s->match < 2) {
		s->tok_digits = ch == 0xfc ? 2 : ch == 0xfd ? 3 : ch == 0xfe ? 8 : 0;
		s->match++;
		return STEP_MORE;
	}
	if (s->match == 2 && (ch & MYSQL_MORE_RESULTS))
		s->method = MYSQL_FIRST;
	else if (s->match == 2 || (ch & MYSQL_CURSOR))
		s->flags |= MYSQL_DONE;
	return mysql_rest(s);
}

/* The head of an answer's packet is read. */
static __always_inline int mysql_packet(struct stream_t *s, struct work_t *w, __u8 number)
{
	__u8 before = s->flags, first = s->method == MYSQL_FIRST;

	s->state = WALK_VALUE;
	if (first && !(before & MYSQL_BEGUN) && number != 1) { /* it belongs to what user space read, or to nothing */
		s->out = 0;
		return STEP_MORE;
	}
	if (!first && !(before & MYSQL_GOES_ON) && number != (__u8)(s->tries + 1))
		return event(w, WALK_UNFIT);
	s->tries = number;
	s->flags = MYSQL_BEGUN | (s->remaining == MYSQL_LONG ? MYSQL_GOES_ON : 0);
	if (s->remaining && !(before & MYSQL_GOES_ON))
		s->state = MYSQL_TYPE;
	return STEP_MORE;
}

/* An answer is whole. */
static __always_inline int mysql_whole(struct stream_t *s, struct work_t *w)
{
	w->answer_code = s->hash ? s->hash : STATUS_OK;
	w->answer_ns = w->now;
	s->out = 0;
	s->flags = 0;
	return event(w, WALK_WHOLE);
}

static __always_inline int mysql_answer(struct stream_t *s, struct work_t *w, __u8 ch)
{
	if (s->state == WALK_LINE)
		return mysql_head(s, ch) ? mysql_packet(s, w, ch) : STEP_MORE;
	s->remaining--;
	switch (s->state) {
	case MYSQL_TYPE:
		return mysql_type(s, w, ch);
	case MYSQL_NUMBER:
		return mysql_number(s, w, ch);
	case MYSQL_MORE:
		if (!ch)
			s->method = MYSQL_BETWEEN;
		return mysql_rest(s);
	}
	return mysql_status(s, ch);
}

/* The same for answers. */
__noinline int mysql_answers(struct conn_t *c, struct work_t *w)
{
	struct stream_t *s;
	int r;

	if (!c || !w)
		return STEP_STOP;
	s = &c->streams[w->direction & 1];
	if (s->state == WALK_LINE && (s->flags & MYSQL_DONE)) /* what nobody reads of it has passed */
		return mysql_whole(s, w);
#pragma clang loop unroll(disable)
	for (int i = 0; i < WALK_BYTES; i++) {
		if (s->state == WALK_VALUE || w->pos >= w->len)
			break;
		if (!s->out) {
			s->out = 1;
			s->method = MYSQL_FIRST;
			s->flags = 0;
			s->hash = 0;
		}
		r = mysql_answer(s, w, w->chunk[w->pos++ & (CHUNK - 1)]);
		if (r != STEP_MORE)
			return r;
		barrier();
		if (s->remaining || s->state == WALK_LINE)
			continue;
		if (s->state == MYSQL_STATUS || (s->flags & MYSQL_DONE)) {
			s->state = WALK_LINE;
			return mysql_whole(s, w);
		}
		s->state = WALK_LINE;
	}
	return STEP_MORE;
}
