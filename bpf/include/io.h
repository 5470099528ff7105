/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* What a socket sent or received, whichever hook saw it. */
#pragma once
#include "tls.h"

enum { SENT, RECEIVED };

/* Four characters as a little-endian word reads them. */
#define LETTERS(a, b, c, d) ((__u32)(a) | (__u32)(b) << 8 | (__u32)(c) << 16 | (__u32)(d) << 24)

/* Looks at the start of a buffer for a message, after bytes were missed. */
static __always_inline int resync(struct conn_t *c, struct stream_t *s, struct work_t *w, int response)
{
	__u32 head[2] = {};
	int hit = 0;

	if (!c->tls && (is_tls_record(w, 0x17, w->left) || is_tls_record(w, 0x16, w->left))) {
		c->tls = TLS_WIRE;
		c->protocol = PROTO_TLS;
		return 0;
	}
	if (w->segment_left < 8 || bpf_probe_read_user(head, sizeof(head), (void *)w->segment))
		return 0;
	if (response) {
		hit = head[0] == LETTERS('H', 'T', 'T', 'P') && (head[1] & 0xffffff) == LETTERS('/', '1', '.', 0);
		if (hit && (c->requests == c->responses || s->flags & STREAM_UNSEEN))
			return 0; /* to a request that was not seen, or is not known; the next one will be */
	} else {
		switch (head[0]) {
		case LETTERS('G', 'E', 'T', ' '): case LETTERS('P', 'O', 'S', 'T'): case LETTERS('P', 'U', 'T', ' '):
		case LETTERS('H', 'E', 'A', 'D'): case LETTERS('D', 'E', 'L', 'E'): case LETTERS('O', 'P', 'T', 'I'):
		case LETTERS('P', 'A', 'T', 'C'): case LETTERS('C', 'O', 'N', 'N'): case LETTERS('T', 'R', 'A', 'C'):
			hit = 1;
		}
	}
	if (hit) {
		s->state = S_START;
		s->tries = 0;
		return 1;
	}
	if (!(s->flags & STREAM_VERIFIED) && ++s->tries > (ship_streams ? 2 : 64))
		c->protocol = ship_streams ? PROTO_STREAM : PROTO_OTHER;
	return 0;
}

/* n bytes of a stream passed unseen. Inside a body that is no loss. */
static __always_inline void gap(struct conn_t *c, __u64 sk, struct stream_t *s, __u64 n, __u64 now, int response, int atomics)
{
	if (s->state == S_LOST || s->state == S_UNTIL_CLOSE)
		return;
	if ((s->state == S_BODY || s->state == S_CHUNK) && s->remaining >= n) {
		s->remaining -= n;
		if (s->remaining)
			return;
		if (s->state == S_CHUNK) {
			s->state = S_CHUNK_SIZE;
			s->match = 0;
		} else {
			end_message(c, sk, s, now, response, atomics);
		}
		return;
	}
	if (c->protocol == PROTO_HTTP1)
		count_lost(LOST_GAP, 1);
	lose(c, s);
}

static __noinline struct conn_t *adopt(struct sock *sk, __u64 now)
{
	__u8 state = BPF_CORE_READ(sk, __sk_common.skc_state);
	struct conn_t *c;

	if (state == TCP_LISTEN)
		return NULL;
	c = new_conn(sk, now);
	if (!c)
		return NULL;
	c->adopted = 1;
	c->middle = 1;
	c->synced = 0;
	c->role = find_listener(c) ? ROLE_SERVER : ROLE_CLIENT;
	c->client_isn = client_isn(sk, c->role);
	c->streams[0].state = S_LOST;
	c->streams[1].state = S_LOST;
	c->streams[0].seq = BPF_CORE_READ((struct tcp_sock *)sk, write_seq);
	c->streams[1].seq = BPF_CORE_READ((struct tcp_sock *)sk, copied_seq);
	return c;
}

static __always_inline int is_open(struct conn_t *c)
{
	return c->established_ns || c->adopted;
}

/* A client that is not connected yet has spoken, in its SYN (TCP Fast Open, RFC 7413). */
static __noinline void speak_early(struct conn_t *c, struct sock *sk)
{
	if (!c->streams[0].seq)
		c->streams[0].seq = client_isn(sk, ROLE_CLIENT) + 1;
}

/* The process at this end: for accepted connections it is known at the first I/O only. */
static __noinline void take_owner(struct conn_t *c)
{
	__u64 id;

	c->owned = 1;
	id = owner_of((struct task_struct *)bpf_get_current_task(), SCRATCH_HOOK, &c->ignored);
	if (c->owner == id || !id || id == OWNER_ELSEWHERE)
		return;
	if (c->bound) { /* it was bound to the listener's owner: move it */
		struct pair_t *p = pair_of(c);
		if (p)
			__sync_fetch_and_add(&p->active, -1);
		c->owner = id;
		p = bind_pair(c, bpf_ktime_get_ns());
		if (p)
			__sync_fetch_and_add(&p->active, 1);
		return;
	}
	c->owner = id;
}

/* The first buffers of a call that has several: two at once, for a read of user memory costs more than all that is done with it. */
static __noinline int open_iovecs(struct work_t *w, __u64 address, __u32 count, __u64 n)
{
	struct iovec v[2] = {};

	if (bpf_probe_read_user(v, count > 1 ? sizeof(v) : sizeof(v[0]), (void *)address)) {
		count_lost(LOST_READ_FAULT, 1);
		return 0;
	}
	w->segment = v[0].iov_base;
	w->segment_left = v[0].iov_len < n ? v[0].iov_len : n;
	w->ahead = v[1];
	w->iov = address + sizeof(v[0]);
	w->iov_left = count - 1;
	return 1;
}

/* Prepares one hook's buffers for the parser; 0 if there is nothing to parse. */
static __always_inline struct work_t *open_buffers(struct conn_t *c, __u64 sk, struct stream_t *s, struct buffers_t *b, __u64 n, __u64 now, int plain)
{
	struct work_t *w = work_of(plain);
	struct route_t *part;

	if (!w)
		return NULL;
	w->now = now;
	w->plain = plain;
	w->left = n;
	w->total = n;
	w->pos = 0;
	w->len = 0;
	w->iov = 0;
	w->iov_left = 0;
	w->segment = b->address;
	w->segment_left = n;
	w->message = 0;
	w->messages_left = 0;
	if (b->messages) {
		w->segment_left = 0;
		w->message = b->address;
		w->messages_left = b->messages;
	}
	w->ahead.iov_base = 0;
	if (b->iovecs && !open_iovecs(w, b->address, b->iovecs, n))
		return NULL;
	if (s->state >= S_PATH && s->state <= S_VERSION && s->out) {
		part = bpf_map_lookup_elem(&partials, &sk);
		if (part) {
			__builtin_memcpy(w->route.text, part->text, ROUTE_TEXT);
			bpf_map_delete_elem(&partials, &sk);
		} else {
			s->flags |= STREAM_TEXTLESS;
		}
	}
	return w;
}

/* Keeps what the next call needs, and says so if this call was longer than the parser may walk. */
static __always_inline void close_buffers(struct conn_t *c, __u64 sk, struct stream_t *s, struct work_t *w)
{
	if (s->state >= S_PATH && s->state <= S_VERSION && s->out && bpf_map_update_elem(&partials, &sk, &w->route, BPF_ANY))
		count_lost(LOST_PARTIALS_FULL, 1);
	if (c->protocol >= PROTO_STREAM || s->state == S_UNTIL_CLOSE || s->state == S_LOST)
		return;
	if (w->left || w->pos < w->len) {
		count_lost(LOST_TOO_LONG, 1);
		lose(c, s);
	}
}

/* A turn of the parser: steps until something is to be handled, some at the most (the old verifier takes longer for each), and then that.
   Both are global functions, so that the verifier looks at them once and not at every call, and apart, so that their frames are not on the
   stack together: all of a chain of calls have 512 bytes, and kernels before 6.10 round each up to 32. */
static __always_inline int steps(struct conn_t *c, struct work_t *w, int direction, int most)
{
	struct stream_t *s = &c->streams[direction & 1];
	int response = (c->role == ROLE_CLIENT) == (direction == RECEIVED);
	int r = STEP_MORE;

#pragma clang loop unroll(disable)
	for (int j = 0; j < most; j++) {
		r = step(c, s, w, response);
		if (r != STEP_MORE)
			break;
	}
	return r;
}

static __always_inline int finish(struct conn_t *c, struct work_t *w, int direction, int atomics)
{
	handle(c, w->sk, &c->streams[direction & 1], w, (c->role == ROLE_CLIENT) == (direction == RECEIVED), atomics);
	return 0;
}

__noinline int take_steps(struct conn_t *c, struct work_t *w, int direction)
{
	return c && w ? steps(c, w, direction, 4) : STEP_STOP;
}

__noinline int take_event(struct conn_t *c, struct work_t *w, int direction)
{
	return c && w ? finish(c, w, direction, 1) : 0;
}

/* work_of() and the connection, by way of a single word on the stack. */
static __always_inline struct conn_t *find_old(__u64 sk, __u32 flags, struct work_t **w)
{
	struct tls_thread_t *t;
	__u64 key = 0;

	if (flags & SHIP_PLAIN) {
		key = bpf_get_current_pid_tgid();
		t = bpf_map_lookup_elem(&tls_threads, &key);
		*w = t ? &t->work : NULL;
	} else {
		*w = bpf_map_lookup_elem(&work, &key);
	}
	key = sk;
	return bpf_map_lookup_elem(&conns, &key);
}

/* The same for kernels without bpf_loop, whose global functions take no pointers. */
__noinline int take_steps_old(__u64 sk, __u32 flags)
{
	struct work_t *w;
	struct conn_t *c = find_old(sk, flags, &w);

	return c && w ? steps(c, w, flags & SHIP_RECEIVED ? RECEIVED : SENT, 2) : STEP_STOP;
}

__noinline int take_event_old(__u64 sk, __u32 flags)
{
	struct work_t *w;
	struct conn_t *c = find_old(sk, flags, &w);

	return c && w ? finish(c, w, flags & SHIP_RECEIVED ? RECEIVED : SENT, 0) : 0;
}

/* Returns 1 when there is no more. */
static __always_inline int take_turn(struct conn_t *c, struct work_t *w, int direction)
{
	int r = take_steps(c, w, direction);

	if (r == STEP_EVENT)
		take_event(c, w, direction);
	return r == STEP_STOP || c->protocol >= PROTO_STREAM;
}

static __always_inline int take_turn_old(struct conn_t *c, __u64 sk, __u32 flags)
{
	int r = take_steps_old(sk, flags);

	if (r == STEP_EVENT)
		take_event_old(sk, flags);
	return r == STEP_STOP || c->protocol >= PROTO_STREAM;
}

struct turn_t {
	struct conn_t *c;
	struct work_t *w;
	int direction;
};

static long turns(__u32 i, struct turn_t *t)
{
	return take_turn(t->c, t->w, t->direction);
}

static __always_inline void parse(struct conn_t *c, __u64 sk, int direction, struct buffers_t *b, __u64 n, __u64 now, int response, int modern,
				  int plain)
{
	struct stream_t *s = &c->streams[direction & 1];
	struct work_t *w = open_buffers(c, sk, s, b, n, now, plain);
	struct turn_t t;

	if (!w) {
		lose(c, s);
		return;
	}
	w->sk = sk;
	if (s->state == S_LOST && !resync(c, s, w, response))
		return;
	if (!modern) {
		for (int i = 0; i < 600; i++)
			if (take_turn_old(c, sk, (direction == RECEIVED ? SHIP_RECEIVED : 0) | (plain ? SHIP_PLAIN : 0)))
				break;
	} else if (plain) { /* below a uprobe there is no room on the stack for the loop's function */
		for (int i = 0; i < 1024; i++)
			if (take_turn(c, w, direction))
				break;
	} else if (!take_turn(c, w, direction) && !take_turn(c, w, direction) && !take_turn(c, w, direction)) {
		t = (struct turn_t){.c = c, .w = w, .direction = direction};
		bpf_loop(65536, turns, &t, 0);
	}
	close_buffers(c, sk, s, w);
}

/* A cgroup may be put on the list while its connections are open. */
static __always_inline void recheck_ignored(struct conn_t *c)
{
	__u64 owner = c->owner;
	struct owner_t *o = bpf_map_lookup_elem(&owners, &owner);

	if (o && o->ignored)
		c->ignored = 1;
}

/* What is not parsed here: it is matched here or shipped. */
static __always_inline void pass_on(struct conn_t *c, __u64 *sk, int direction, struct buffers_t *b, __u64 n, __u32 end, __u64 now, int modern)
{
	struct work_t *w = work_of(0);
	int walked;

	if (modern && c->match[0] && !c->tls && w) {
		w->now = now;
		w->sk = *sk;
		walked = match_open(b->messages ? 0 : b->address, b->iovecs, n, end, direction);
		if (walked && !match_turn(c, w) && !match_turn(c, w) && !match_turn(c, w))
			bpf_loop(MATCH_TURNS, match_turns, sk, 0);
		if (!match_close(walked))
			return;
	}
	ship(c, *sk, direction, b, n, end, now);
}

/* seq is the TCP sequence number that the stream has reached. */
static __always_inline int on_io(struct sock *sk, __u32 seq, int direction, __s64 ret, struct buffers_t *b, int modern)
{
	__u64 key = (__u64)sk, now, n;
	struct conn_t *c = bpf_map_lookup_elem(&conns, &key);
	struct stream_t *s;
	struct pair_t *p;
	int response;

	if (!c) {
		c = adopt(sk, bpf_ktime_get_ns());
		if (!c)
			return 0;
	}
	if (c->ignored)
		return 0;
	if (!c->owned) {
		take_owner(c);
		if (c->ignored)
			return 0;
	}
	if (!is_open(c))
		speak_early(c, sk);
	now = bpf_ktime_get_ns();
	s = &c->streams[direction & 1];
	n = (__u32)(seq - s->seq);
	s->seq = seq;
	if (n > 1ULL << 31)
		return 0;
	if (direction == RECEIVED && n == ret + 1 && BPF_CORE_READ(sk, __sk_common.skc_state) != TCP_ESTABLISHED) {
		n = ret; /* the FIN behind the data was read with it and takes a number too */
		seq--;
	}
	if (direction == SENT)
		__sync_fetch_and_add(&c->sent, n);
	else
		__sync_fetch_and_add(&c->received, n);
	/* the server's end may be found until the first answer comes */
	if (!c->bound && is_open(c) && (c->role == ROLE_SERVER || direction == RECEIVED || now - c->established_ns > 2000000))
		bind_established(c, now);
	response = (c->role == ROLE_CLIENT) == (direction == RECEIVED);
	c->skip[direction & 1] = 0;
	if (c->protocol <= PROTO_HTTP1 && !c->tls) {
		if (n > ret)
			gap(c, key, s, n - ret, now, response, modern);
		else if (n < ret)
			ret = n;
		if (!b->address)
			gap(c, key, s, ret, now, response, modern);
		else if (ret > 0)
			parse(c, key, direction, b, ret, now, response, modern, 0);
	}
	if (c->ssl == SSL_RUSTLS)
		tls_wire(c, key, direction, modern);
	if (c->protocol == PROTO_HTTP1 && now - c->last_rtt_ns < 1000000000)
		return 0; /* its bytes are added with the response */
	if (ships(c, s))
		pass_on(c, &key, direction, b, ret, seq, now, modern);
	if (!c->ssl && may_be_of_library(c)) {
		tls_wire(c, key, direction, modern);
		if (direction == SENT && b->address && c->tls)
			java_wire(c, key, b, ret);
	}
	p = pair_of(c);
	if (!p)
		return 0;
	/* without an atomic exchange not at the first call: another thread may count the response to it, and with that the same bytes, at this moment */
	if (modern || c->protocol != PROTO_HTTP1 || c->last_rtt_ns)
		flush(c, p, now, modern);
	if (now - c->last_rtt_ns > 1000000000) {
		sample_rtt(sk, c, p, now);
		recheck_ignored(c);
	}
	return 0;
}
