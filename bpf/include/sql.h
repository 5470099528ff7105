/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* Statements of SQL, byte by byte. User space names an operation by its verb and first table; here the text up to that table is hashed, without
   what stands in strings and numbers, white space and comments, and the operation looked up that user space has given to that hash.
   agent/protocol/sql_shape.go does the same: a text that both read differently is never matched here.

   The hash is looked up behind the names that follow a FROM, INTO or UPDATE, when it is sure that they do not go on, and at the end of the text. */
#pragma once
#include "walk.h"

/* states of a stream_t: in a text; its operation is known. Those of a protocol follow. */
enum { SQL_TEXT = WALK_OWN, SQL_FOUND, SQL_OWN };

/* Where in the text the last byte was. */
enum {
	SQL_GAP,
	SQL_NAME,
	SQL_NUMBER,
	SQL_PARAMETER,	  /* $1 */
	SQL_STRING,
	SQL_STRING_END,	  /* or a doubled quote */
	SQL_QUOTED,	  /* a name in quotes */
	SQL_QUOTED_END,
	SQL_MINUS,
	SQL_SLASH,
	SQL_COMMENT_HEAD, /* behind the beginning of a comment */
	SQL_COMMENT,
	SQL_COMMENT_SLASH,
	SQL_COMMENT_STAR,
};

/* What a byte of a text leaves: the operation is in s->code; it is not to be known here. */
enum { SQL_MORE, SQL_KNOWN, SQL_UNFIT };

#define SQL_LOOKED_AT 512 /* bytes of a text */
#define SQL_BYTES 12 /* in one turn: fewer than WALK_BYTES, for the verifier */
#define SQL_NAMES 3  /* that are looked up behind a word that a table follows */
#define SQL_WORDS 6  /* what the hash of a word begins with */
#define SQL_BREAK 1  /* stands in the hash where a word begins, and */
#define SQL_END 0    /* where the text ends */

/* How the fields of a stream_t are used besides what walk.h says:
   hash       of the text
   word       hash of the word at hand, in capitals
   match      where in the text the last byte was
   shown      bytes of the text
   tok_out    the quote that ends what is at hand
   tok_digits names that may be looked up
   flags      SQL_PENDING: a name has ended that is to be looked up if it does not go on
   out        of a request: it has begun, and its operation is not known yet. A call does not end before that, else user space gets it.
   of the message at hand: state is WALK_LINE in its head, tok_out the bytes of that which were read, remaining what is behind it */
#define SQL_PENDING 1

static __always_inline int sql_speaks(struct conn_t *c)
{
	return c->matched >= PROTO_POSTGRES;
}

static __always_inline void sql_begin(struct stream_t *s, __u64 seed)
{
	s->state = SQL_TEXT;
	s->hash = seed;
	s->match = SQL_GAP;
	s->shown = 0;
	s->tok_digits = 0;
	s->flags = 0;
}

static __always_inline int sql_is_word(__u8 ch)
{
	__u8 letter = ch | 0x20;

	return (letter >= 'a' && letter <= 'z') || (ch >= '0' && ch <= '9') || ch == '_' || ch == '$' || ch >= 0x80;
}

/* Finds what user space has said of a text, or of a prepared statement. */
static __always_inline int sql_find(struct stream_t *s, __u64 sk, __u64 opened_ns, __u64 id)
{
	struct work_t *w = work_of(0); /* not the caller's: before 6.2 a pointer that was an argument may not be given to a map */
	struct statement_key_t *key;
	__u32 *number;

	if (!w)
		return 0;
	key = &w->statement;
	key->sk = sk;
	key->opened_ns = opened_ns;
	key->id = id;
	number = bpf_map_lookup_elem(&statements, key);
	if (!number)
		return 0;
	s->code = *number;
	return 1;
}

/* A name has ended. */
static __always_inline void sql_name_ends(struct stream_t *s, int quoted)
{
	s->match = SQL_GAP;
	if (s->tok_digits) {
		s->flags |= SQL_PENDING;
		s->tok_digits--;
	}
	if (!quoted && (s->word == word_hash(SQL_WORDS, "FROM", 4) || s->word == word_hash(SQL_WORDS, "INTO", 4) || s->word == word_hash(SQL_WORDS, "UPDATE", 6))) {
		s->tok_digits = SQL_NAMES;
		s->flags &= ~SQL_PENDING;
	}
}

/* The first byte of a token. */
static __always_inline int sql_token(struct stream_t *s, __u8 ch, int mysql)
{
	int pending = s->flags & SQL_PENDING;

	if (ch == '/' || ch == '-') { /* a comment may begin */
		s->match = ch == '/' ? SQL_SLASH : SQL_MINUS;
		return SQL_MORE;
	}
	if (mysql && (ch == '#' || (ch == '*' && pending))) /* a comment, or maybe the end of one */
		return SQL_UNFIT;
	s->flags &= ~SQL_PENDING;
	if (ch == '.') {
		s->tok_digits += !!pending;
	} else if (pending && sql_find(s, 0, 0, s->hash)) {
		return SQL_KNOWN;
	}
	if (ch == '\'' || (ch == '"' && mysql)) {
		s->match = SQL_STRING;
		s->tok_out = ch;
		ch = '\'';
	} else if (ch == '"' || ch == '`') {
		s->match = SQL_QUOTED;
		s->tok_out = ch;
	} else if (ch == '$' && !mysql) {
		s->match = SQL_PARAMETER;
	} else if (ch >= '0' && ch <= '9') {
		s->match = SQL_NUMBER;
		ch = '0';
	} else if (sql_is_word(ch)) {
		s->match = SQL_NAME;
		s->word = mix_capital(SQL_WORDS, ch);
		s->hash = mix(s->hash, SQL_BREAK);
	}
	s->hash = mix(s->hash, ch);
	return SQL_MORE;
}

/* A byte in a comment, or where one may begin. Comments that nest or hold code are user space's. */
static __always_inline int sql_comment(struct stream_t *s, __u8 ch, int mysql)
{
	switch (s->match) {
	case SQL_COMMENT_HEAD:
		if (mysql && (ch == '!' || ch == 'M'))
			return SQL_UNFIT;
		break;
	case SQL_COMMENT_SLASH:
		if (ch == '*')
			return SQL_UNFIT;
		break;
	case SQL_COMMENT_STAR:
		if (ch == '/') {
			s->match = SQL_GAP;
			return SQL_MORE;
		}
		break;
	}
	s->match = ch == '*' ? SQL_COMMENT_STAR : ch == '/' && !mysql ? SQL_COMMENT_SLASH : SQL_COMMENT;
	return SQL_MORE;
}

/* One byte of a statement. */
static __always_inline int sql_char(struct stream_t *s, __u8 ch, int mysql)
{
	if (++s->shown > SQL_LOOKED_AT)
		return SQL_UNFIT;
	switch (s->match) {
	case SQL_NAME:
		if (sql_is_word(ch)) {
			s->hash = mix(s->hash, ch);
			s->word = mix_capital(s->word, ch);
			return SQL_MORE;
		}
		sql_name_ends(s, 0);
		break;
	case SQL_NUMBER:
		if (sql_is_word(ch) || ch == '.')
			return SQL_MORE;
		break;
	case SQL_PARAMETER:
		if (ch >= '0' && ch <= '9') {
			s->hash = mix(s->hash, ch);
			return SQL_MORE;
		}
		if (sql_is_word(ch)) /* the quote of a string */
			return SQL_UNFIT;
		break;
	case SQL_STRING:
		if (ch == '\\') /* what it means depends on settings */
			return SQL_UNFIT;
		if (ch == s->tok_out)
			s->match = SQL_STRING_END;
		return SQL_MORE;
	case SQL_STRING_END:
		if (ch == s->tok_out) {
			s->match = SQL_STRING;
			return SQL_MORE;
		}
		break;
	case SQL_QUOTED:
		s->hash = mix(s->hash, ch);
		if (ch == s->tok_out)
			s->match = SQL_QUOTED_END;
		return SQL_MORE;
	case SQL_QUOTED_END:
		if (ch == s->tok_out) {
			s->hash = mix(s->hash, ch);
			s->match = SQL_QUOTED;
			return SQL_MORE;
		}
		sql_name_ends(s, 1);
		break;
	case SQL_MINUS:
	case SQL_SLASH:
		if (s->match == SQL_MINUS && ch == '-')
			return SQL_UNFIT;
		if (s->match == SQL_SLASH && ch == '*') {
			s->match = SQL_COMMENT_HEAD;
			return SQL_MORE;
		}
		s->hash = mix(s->hash, s->match == SQL_MINUS ? '-' : '/');
		s->flags &= ~SQL_PENDING;
		break;
	case SQL_COMMENT_HEAD:
	case SQL_COMMENT:
	case SQL_COMMENT_SLASH:
	case SQL_COMMENT_STAR:
		return sql_comment(s, ch, mysql);
	}
	s->match = SQL_GAP;
	if (ch <= ' ' || ch == 0x7f)
		return SQL_MORE;
	return sql_token(s, ch, mysql);
}

/* The text has ended: SQL_KNOWN or SQL_UNFIT. */
static __always_inline int sql_ends(struct stream_t *s)
{
	if (s->match == SQL_NAME || s->match == SQL_QUOTED_END)
		sql_name_ends(s, s->match == SQL_QUOTED_END);
	else if (s->match != SQL_GAP && s->match != SQL_NUMBER && s->match != SQL_PARAMETER && s->match != SQL_STRING_END)
		return SQL_UNFIT;
	if ((s->flags & SQL_PENDING) && sql_find(s, 0, 0, s->hash))
		return SQL_KNOWN;
	return sql_find(s, 0, 0, mix(s->hash, SQL_END)) ? SQL_KNOWN : SQL_UNFIT;
}

/* The text has ended. */
static __always_inline int sql_last(struct stream_t *s, struct work_t *w)
{
	if (sql_ends(s) == SQL_UNFIT)
		return event(w, WALK_UNFIT);
	s->state = SQL_FOUND;
	return STEP_MORE;
}

/* Takes bytes of a text up to what is known of it, or the end of what is loaded. In PostgreSQL a zero ends it. */
__noinline int sql_bytes(struct conn_t *c, struct work_t *w)
{
	struct stream_t *s;
	int r;

	if (!c || !w)
		return STEP_STOP;
	s = &c->streams[w->direction & 1];
#pragma clang loop unroll(disable)
	for (int i = 0; i < SQL_BYTES && w->pos < w->len; i++) {
		__u8 ch = w->chunk[w->pos++ & (CHUNK - 1)];

		s->remaining--;
		if (!ch && c->matched == PROTO_POSTGRES)
			return sql_last(s, w);
		r = sql_char(s, ch, c->matched == PROTO_MYSQL);
		if (r == SQL_UNFIT)
			return event(w, WALK_UNFIT);
		if (r == SQL_KNOWN) {
			s->state = SQL_FOUND;
			return STEP_MORE;
		}
		barrier();
		if (!s->remaining)
			return sql_last(s, w);
	}
	return STEP_MORE;
}

/* The first byte of a request is at hand. */
static __always_inline void sql_request_begins(struct stream_t *s, struct work_t *w)
{
	command_begins(s, w);
	s->out = 1;
	w->begun = 1 + w->total - w->left - (w->len - w->pos);
}
