/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* Ships what a connection says to user space. Bytes that do not fit show there as a gap in the sequence. */
#pragma once
#include "frame.h"

/* Asks now and then whether user space still wants to hear of a connection. */
static __always_inline void ask_verdict(struct conn_t *c, __u64 sk)
{
	struct verdict_t *v;

	if (c->shipped++ & 3)
		return;
	v = bpf_map_lookup_elem(&verdicts, &sk);
	if (!v || v->opened_ns != stream_name(c))
		return;
	c->protocol = v->match ? PROTO_STREAM : v->protocol;
	c->framing = v->framing;
	if (v->match == MATCH_OFFERED && !c->tls && !c->match[0]) {
		c->matched = v->protocol;
		c->match[0] = MATCH_OFFERED;
	} else if (v->match == MATCH_OFFERED && c->match[1] == MATCH_SHADOW)
		c->match[0] = MATCH_TORN; /* a mark that was not confirmed ends before there is another */
	else if (v->match == MATCH_CONFIRMED && c->match[1] == MATCH_SHADOW && v->match_at == c->match_at)
		c->match[1] = MATCH_CONFIRMED;
	if (v->framing || v->match) /* a connection that goes on may get another */
		bpf_map_delete_elem(&verdicts, &sk);
	if (v->protocol == PROTO_UNKNOWN) { /* it is HTTP/1 that was met in the middle */
		c->streams[0].state = S_LOST;
		c->streams[1].state = S_LOST;
		c->synced = 0;
	}
}

/* Tells user space that a connection became a WebSocket, and where both directions go on: direction that of the response, at seq. */
static __always_inline void announce(struct conn_t *c, struct work_t *w, __u32 direction, __u32 seq)
{
	struct stream_t *other = &c->streams[!(direction & 1)];
	struct record_t *r;
	struct upgrade_t *u;

	r = bpf_ringbuf_reserve(&records, sizeof(*r) + sizeof(*u), 0);
	if (!r) {
		count_lost(LOST_RING_FULL, 1);
		return;
	}
	u = (struct upgrade_t *)(r + 1);
	*r = w->head;
	r->kind = RECORD_UPGRADE;
	r->direction = direction;
	r->seq = seq;
	r->length = sizeof(*u);
	__builtin_memset(u, 0, sizeof(*u));
	u->route = c->last_route;
	u->seq = c->tls == TLS_PLAIN ? c->plain_seq[!(direction & 1)] : other->seq;
	u->method = c->upgraded - 1;
	u->torn = other->state != S_START;
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	c->announced = 1;
}

#define SHIP_FIRST 4   /* steps that most calls take at most */
#define SHIP_STEPS 8   /* of a turn */
#define SHIP_TURNS 264 /* enough for UIO_MAXIOV (1,024) buffers, which take two steps each, and for all records of SHIP_BYTES */

/* Ships the next piece of a call, or finds where it lies; 1 when there is no more. What the loop changes is in memory, as in the parser. */
static __always_inline int ship_step(struct conn_t *c, struct work_t *w)
{
	struct record_t *head = &w->head;
	struct iovec v;
	__u32 n;

	if (!w->left)
		return 1;
	if (!w->segment_left) {
		if (!w->iov_left)
			return 1;
		if (bpf_probe_read_user(&v, sizeof(v), (void *)w->iov)) {
			count_lost(LOST_READ_FAULT, 1);
			return 1;
		}
		w->iov += sizeof(v);
		w->iov_left--;
		w->segment = v.iov_base;
		w->segment_left = v.iov_len < w->left ? v.iov_len : w->left;
		return 0;
	}
	n = w->segment_left < SHIP_MAX ? w->segment_left : SHIP_MAX;
	if (w->skip) {
		n = w->skip < w->segment_left ? w->skip : w->segment_left;
		w->skip -= n;
	} else {
		head->length = n;
		c->share_used += n + SHARE_RECORD;
		ship_one(head, w->segment);
		head->passed = 0;
	}
	head->seq += n;
	w->segment += n;
	w->segment_left -= n;
	w->left -= n;
	return 0;
}

/* Some steps. A global function, as take_steps_old() is. */
__noinline int ship_turn(__u64 sk, __u32 flags)
{
	struct work_t *w = work_of(flags & SHIP_PLAIN);
	__u64 key = sk;
	struct conn_t *c = bpf_map_lookup_elem(&conns, &key);

	if (!c || !w)
		return 1;
#pragma clang loop unroll(disable)
	for (int i = 0; i < SHIP_STEPS; i++)
		if (ship_step(c, w))
			return 1;
	return 0;
}

/* Ships what is left of a call as it is. */
static __always_inline void ship_left(struct conn_t *c, struct work_t *w, __u32 flags)
{
#pragma clang loop unroll(disable)
	for (int i = 0; i < SHIP_FIRST; i++)
		if (ship_step(c, w))
			return;
	for (int i = 0; i < SHIP_TURNS; i++)
		if (ship_turn(w->sk, flags))
			return;
}

/* Whether a call begins with a TLS record: handshake or data, version 3.x. Its first buffer is looked at. */
static __always_inline int looks_like_tls(struct work_t *w)
{
	__u8 head[3] = {};

	if (w->segment_left < 3 || bpf_probe_read_user(head, sizeof(head), (void *)w->segment))
		return 0;
	return (head[0] == 0x16 || head[0] == 0x17) && head[1] == 3 && head[2] <= 4;
}

/* The same where other bytes were expected: the record's length must fit the call too. Libraries read the five bytes of its head alone,
   or from it on, and write whole records. */
static __always_inline int is_tls_record(struct work_t *w, __u8 first, __u32 n)
{
	__u8 head[5] = {};
	__u32 len;

	if (w->segment_left < 5 || bpf_probe_read_user(head, sizeof(head), (void *)w->segment))
		return 0;
	len = (__u32)head[3] << 8 | head[4];
	return (head[0] == first) && head[1] == 3 && head[2] <= 4 && len >= 16 && len <= 16640 && (n == 5 || n >= 5 + len);
}

/* Whether a connection that began in plain text changes to TLS with this call: a ClientHello, or its head alone. */
static __always_inline int is_client_hello(struct work_t *w, __u32 n)
{
	__u8 hello[6] = {};

	if (!is_tls_record(w, 0x16, n))
		return 0;
	if (n == 5)
		return 1;
	if (w->segment_left < 11 || bpf_probe_read_user(hello, sizeof(hello), (void *)w->segment + 5))
		return 0;
	return hello[0] == 1 && hello[1] == 0 && hello[4] == 3 && hello[5] <= 3;
}

/* From here on the connection's bytes are cipher text. What its plain text will say goes on where the bytes before ended. */
static __always_inline void change_to_tls(struct conn_t *c, __u32 direction, __u32 begin)
{
	c->plain_seq[0] = c->streams[0].seq;
	c->plain_seq[1] = c->streams[1].seq;
	c->plain_seq[direction & 1] = begin;
	c->tls = TLS_WIRE;
}

#define HELLO_MAX 4096	/* bytes of each direction of a handshake */
#define HELLO_MIDDLE 32 /* bytes that show a connection met in the middle to be TLS */

/* What is shipped of the handshake names the connection itself. */
static __always_inline void hello_head(struct record_t *head, struct conn_t *c, __u64 sk, __u64 now)
{
	record_head(head, c, sk, now);
	head->kind = RECORD_HELLO;
	head->opened_ns = c->opened_ns;
	head->adopted = c->adopted;
}

#define SHARE_SHIFT 24 /* ns: some 17 ms, in which user space empties the ring */

/* Whether a connection takes more than its part of a ring that is nearly full: others are to find room. */
static __always_inline int over_share(struct conn_t *c, __u64 now)
{
	__u32 at = now >> SHARE_SHIFT;

	if (c->share_at != at) {
		c->share_at = at;
		c->share_used = 0;
	}
	return c->share_used > ring_bytes / 16 && bpf_ringbuf_query(&records, BPF_RB_AVAIL_DATA) > ring_bytes - ring_bytes / 8;
}

/* Ships what is left of a call in which no messages are known, up to a bound. */
static __always_inline void ship_rest(struct conn_t *c, struct frame_t *f, struct work_t *w, __u32 flags)
{
	__u64 most = SHIP_BYTES + w->skip, over = w->left > most ? w->left - most : 0;

	w->head.passed = f->passed;
	f->passed = 0;
	w->left -= over;
	if (w->segment_left > w->left)
		w->segment_left = w->left;
	ship_left(c, w, flags);
	if (w->left || over)
		count_lost(LOST_CALL_LONG, 1);
}

/* Ships what is read of a call. */
static __always_inline void ship_framed(struct conn_t *c, struct frame_t *f, struct work_t *w, __u32 n, __u32 flags)
{
	int response = (c->role == ROLE_CLIENT) == (flags & SHIP_RECEIVED);
	__u32 begin = w->head.seq;

	if (c->shipped == 1 && !c->middle && !c->framing)
		c->framing = framing_of(w, response, n);
	w->kept = 0;
	if (frames(c, f, w, response, n, begin))
		for (int i = 0; i < FRAME_TURNS; i++)
			if (frame_turn(w->sk, flags))
				break;
	if (w->kept)
		ship_kept(c, f, w);
	if (w->left) {
		f->state = FRAME_LOST;
		ship_rest(c, f, w, flags);
	} else if (f->passed > PASSED_MAX) {
		w->head.length = 0;
		w->head.passed = f->passed;
		f->passed = 0;
		ship_one(&w->head, 0);
	}
	f->next = w->head.seq;
}

/* Ships the bytes of one call; end is the sequence number after the last of them. A global function: the verifier looks at it once. */
__noinline int ship_call(__u64 address, __u32 iovecs, __u32 n, __u32 end, __u32 flags)
{
	struct work_t *w = work_of(flags & SHIP_PLAIN);
	__u32 direction = flags & SHIP_RECEIVED;
	struct conn_t *c;
	__u64 sk;

	if (!w)
		return 0;
	sk = w->sk;
	c = bpf_map_lookup_elem(&conns, &sk);
	if (!c)
		return 0;
	record_head(&w->head, c, sk, w->now);
	w->head.direction = direction;
	w->head.seq = end - n;
	w->skip = c->skip[direction & 1];
	if (c->upgraded && !c->announced)
		announce(c, w, direction, end - n + w->skip);
	if (n <= w->skip)
		return 0;
	ask_verdict(c, sk);
	if (c->protocol != PROTO_STREAM)
		return 0;
	if (over_share(c, w->now)) {
		count_lost(LOST_RING_SHARE, 1);
		return 0;
	}
	w->left = n;
	w->segment = iovecs ? 0 : address;
	w->segment_left = iovecs ? 0 : n;
	w->iov = address;
	w->iov_left = iovecs;
	if (iovecs || w->skip)
		ship_step(c, w);
	if (!c->tls) {
		if (c->shipped == 1 && looks_like_tls(w)) {
			change_to_tls(c, direction, end - n);
			c->protocol = PROTO_TLS;
			return 0;
		}
		if (is_client_hello(w, n)) {
			change_to_tls(c, direction, end - n);
			return 0;
		}
	}
	ship_framed(c, &c->frames[direction], w, n, flags);
	return 0;
}

/* How many of n bytes of a TLS connection are to be shipped: what the client says until the server answers, and the server until the client
   goes on; of one that was met in the middle only enough to see that it is TLS. */
static __always_inline __u32 first_flight(struct conn_t *c, __u32 direction, __u32 n)
{
	struct stream_t *s = &c->streams[direction & 1], *other = &c->streams[!(direction & 1)];
	__u32 room = HELLO_MAX - s->shown;

	if (room > HELLO_MAX || (other->shown && (c->role == ROLE_CLIENT) == !direction))
		room = 0;
	if (c->adopted && room > HELLO_MIDDLE)
		room = HELLO_MIDDLE;
	if (n > room)
		n = room;
	s->shown += n;
	if (!n || c->adopted)
		s->shown = other->shown = HELLO_MAX;
	return n;
}

/* Ships of one call what belongs to the hellos of TLS. */
__noinline int ship_hello(__u64 address, __u32 iovecs, __u32 n, __u32 end, __u32 direction)
{
	struct work_t *w = work_of(0);
	struct conn_t *c;
	__u64 sk;

	if (!w)
		return 0;
	sk = w->sk;
	c = bpf_map_lookup_elem(&conns, &sk);
	if (!c || !n || n > 1U << 31)
		return 0;
	hello_head(&w->head, c, sk, w->now);
	w->head.direction = direction;
	w->head.seq = end - n;
	w->skip = 0;
	w->left = first_flight(c, direction, n);
	w->segment = iovecs ? 0 : address;
	w->segment_left = iovecs ? 0 : w->left;
	w->iov = address;
	w->iov_left = iovecs;
	ship_left(c, w, 0);
	return 0;
}

#define REQUEST_MAX 1024 /* bytes of the first request */

/* Ships the beginning of the first request to another machine, which says what that is called. */
__noinline int ship_request(__u64 address, __u32 iovecs, __u32 n)
{
	struct work_t *w = work_of(0);
	struct record_t *r;
	struct asked_t *asked;
	struct conn_t *c;
	struct iovec v;
	__u64 sk;

	if (!w)
		return 0;
	sk = w->sk;
	c = bpf_map_lookup_elem(&conns, &sk);
	if (!c)
		return 0;
	c->streams[0].shown = HELLO_MAX;
	if (c->peer_sk || is_loopback(&c->remote))
		return 0;
	if (iovecs) {
		if (bpf_probe_read_user(&v, sizeof(v), (void *)address)) {
			count_lost(LOST_READ_FAULT, 1);
			return 0;
		}
		address = v.iov_base;
		n = v.iov_len < n ? v.iov_len : n;
	}
	if (n > REQUEST_MAX)
		n = REQUEST_MAX;
	r = bpf_ringbuf_reserve(&records, sizeof(*r) + sizeof(*asked) + REQUEST_MAX, 0);
	if (!r) {
		count_lost(LOST_RING_FULL, 1);
		return 0;
	}
	asked = (struct asked_t *)(r + 1);
	record_head(r, c, sk, w->now);
	r->kind = RECORD_REQUEST;
	r->length = sizeof(*asked) + n;
	__builtin_memset(asked, 0, sizeof(*asked));
	asked->owner = c->owner;
	asked->remote = c->remote;
	asked->remote_port = c->remote_port;
	if (bpf_probe_read_user(asked + 1, n, (void *)address)) {
		bpf_ringbuf_discard(r, BPF_RB_NO_WAKEUP);
		count_lost(LOST_READ_FAULT, 1);
		return 0;
	}
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	return 0;
}

static __always_inline void ship(struct conn_t *c, __u64 sk, int direction, struct buffers_t *b, __u64 n, __u32 end, __u64 now)
{
	struct work_t *w = work_of(0);

	if (!w || !b->address || b->messages) /* of several messages in one call the bytes are a gap */
		return;
	w->now = now;
	w->sk = sk;
	if (!c->tls && c->protocol == PROTO_HTTP1)
		ship_request(b->address, b->iovecs, n);
	else if (!c->tls)
		ship_call(b->address, b->iovecs, n, end, direction);
	if (c->tls) /* which may just have been seen */
		ship_hello(b->address, b->iovecs, n, end, direction);
}

/* Whether what a connection says is to be shipped as it is on the wire. */
static __always_inline int ships(struct conn_t *c, struct stream_t *s)
{
	if (c->tls)
		return s->shown < HELLO_MAX;
	return c->protocol == PROTO_STREAM || (c->protocol == PROTO_HTTP1 && c->role == ROLE_CLIENT && s == &c->streams[0] && !s->shown);
}

/* The handshake of a connection that ends was not answered. */
static __always_inline void end_hello(struct conn_t *c, __u64 sk, __u64 now)
{
	struct record_t head;

	hello_head(&head, c, sk, now);
	ship_one(&head, 0);
}

static __always_inline void ship_close(struct conn_t *c, __u64 sk, __u64 now)
{
	struct record_t head;

	record_head(&head, c, sk, now);
	head.kind = RECORD_CLOSE;
	ship_one(&head, 0);
}
