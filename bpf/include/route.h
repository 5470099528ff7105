/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* Routes: a request's path is folded (ids become {id}) and hashed as it is read, and its text goes into a dictionary by that hash. */
#pragma once
#include "request.h"

/* What a character is in a path. */
enum { C_LETTER, C_DIGIT, C_HEX, C_DASH, C_BREAK, C_CUT, C_SPACE, C_BAD };

const volatile __u8 classes[256] = {
	[0 ... 31] = C_BAD, [' '] = C_SPACE, ['!' ... '"'] = C_BREAK, ['#'] = C_CUT, ['$' ... ','] = C_BREAK, ['-'] = C_DASH, ['.' ... '/'] = C_BREAK, ['0' ... '9'] = C_DIGIT,
	[':'] = C_BREAK, [';'] = C_CUT, ['<' ... '>'] = C_BREAK, ['?'] = C_CUT, ['@'] = C_BREAK, ['A' ... 'F'] = C_HEX,
	['G' ... 'Z'] = C_LETTER, ['[' ... '`'] = C_BREAK, ['a' ... 'f'] = C_HEX, ['g' ... 'z'] = C_LETTER, ['{' ... '~'] = C_BREAK,
	[127] = C_BAD, [128 ... 255] = C_BREAK,
};

static __always_inline __u8 class_of(__u8 c)
{
	return classes[c];
}

enum { TOKEN_NOT_HEX = 1, TOKEN_LETTER = 2 };

static __always_inline void put(struct stream_t *s, struct work_t *w, __u8 c)
{
	__u32 at = s->out;

	if (at >= ROUTE_TEXT)
		return;
	w->route.text[at] = c < 0x80 ? c : '?';
	s->hash = mix(s->hash, c);
	s->out = at + 1;
}

/* Ends a run of letters, digits and dashes; ids become {id}. */
static __always_inline void end_token(struct stream_t *s, struct work_t *w)
{
	__u8 len = s->tok_len, digits = s->tok_digits, flags = s->tok_flags;

	s->tok_len = 0;
	s->tok_digits = 0; /* a path that goes on after it may end without another run */
	if (!digits)
		return;
	if (flags & TOKEN_LETTER) {
		if (digits < 4 && (len < 8 || (flags & TOKEN_NOT_HEX)))
			return;
	}
	s->out = s->tok_out;
	s->hash = s->tok_hash;
	put(s, w, '{');
	put(s, w, 'i');
	put(s, w, 'd');
	put(s, w, '}');
}

static __always_inline void path_char(struct stream_t *s, struct work_t *w, __u8 c, __u8 class)
{
	if (class == C_DASH && (s->tok_flags & TOKEN_NOT_HEX))
		class = C_BREAK;
	if (class == C_BREAK || class == C_BAD) {
		if (s->tok_len)
			end_token(s, w);
		put(s, w, c);
		return;
	}
	if (!s->tok_len) {
		s->tok_out = s->out;
		s->tok_hash = s->hash;
		s->tok_digits = 0;
		s->tok_flags = 0;
	}
	if (s->tok_len < 255)
		s->tok_len++;
	if (class == C_DIGIT) {
		if (s->tok_digits < 255)
			s->tok_digits++;
	} else if (class == C_LETTER) {
		s->tok_flags |= TOKEN_NOT_HEX | TOKEN_LETTER;
	} else if (class == C_HEX) {
		s->tok_flags |= TOKEN_LETTER;
	}
	put(s, w, c);
}

/* The route's key in the dictionary; puts its text there the first time. */
static __always_inline __u64 route_of(struct conn_t *c, struct stream_t *s, struct work_t *w)
{
	__u64 id = mix(s->hash, c->owner), owner = c->owner;
	struct owner_t *o;

	if (s->flags & STREAM_TEXTLESS)
		return ROUTE_OTHER;
	if (id <= ROUTE_OTHER)
		id = 2;
	if (c->last_route == id)
		return id;
	c->last_route = id;
	if (bpf_map_lookup_elem(&routes, &id))
		return id;
	o = bpf_map_lookup_elem(&owners, &owner);
	if (!o) {
		c->last_route = 0;
		return ROUTE_OTHER;
	}
	w = work_of(w->plain); /* the same, as a map's value: before 6.2 a pointer that was an argument may not be given to a map */
	if (w && o->routes < max_routes_per_owner) {
		w->route.owner = owner;
		w->route.len = s->out;
		if (!bpf_map_update_elem(&routes, &id, &w->route, BPF_ANY)) {
			__sync_fetch_and_add(&o->routes, 1);
			return id;
		}
	}
	__sync_fetch_and_add(&o->overflow, 1);
	c->last_route = 0;
	return ROUTE_OTHER;
}
