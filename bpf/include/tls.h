/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* Which connection a session of a TLS library is on. A library that reads and writes the socket itself does so inside of its calls, on
   the same thread: that is certain. Programs that carry the cipher text themselves (memory BIOs: Node.js, asyncio) do it right before
   and right after: what was read before and what is written after must name the same connection, or nothing is bound. rustls.bpf.c says
   what is certain there. */
#pragma once
#include "match.h"

enum tls_call {
	CALL_NONE, CALL_HANDSHAKE, CALL_READ, CALL_READ_EX, CALL_WRITE, CALL_WRITE_EX, CALL_SENDFILE, CALL_INIT,
	CALL_RUSTLS_READ, CALL_RUSTLS_WRITE, CALL_RUSTLS_WRITEV, CALL_RUSTLS_FLUSH, CALL_RUSTLS_CHUNK
};
#define SSL_RUSTLS 1 /* in place of the address of a session */
enum { VOTE_READ = 1, VOTE_WRITE = 2 };
#define MAX_LOOKS 200
#define UNSEEN_AFTER 12 /* calls on a TLS connection that no library owned up to: handshakes take fewer */

/* The state of this thread, made if it is not there. */
static __always_inline struct tls_thread_t *tls_thread_made(void)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct tls_thread_t *t = bpf_map_lookup_elem(&tls_threads, &id);
	struct zero_t *z;

	if (t)
		return t;
	z = zeroes();
	if (!z)
		return NULL;
	bpf_map_update_elem(&tls_threads, &id, &z->thread, BPF_NOEXIST);
	return bpf_map_lookup_elem(&tls_threads, &id);
}

/* The state of this thread as a call into a library returns. It is gone where others needed its room while the call waited; and it was never there
   where the call began just before that was looked for. */
static __always_inline struct tls_thread_t *tls_thread_ending(void)
{
	struct tls_thread_t *t = tls_thread();

	if (!t)
		count_lost(LOST_TLS_CALL_UNSEEN, 1);
	return t;
}

static __always_inline struct tls_session_t *session_of(__u64 ssl)
{
	struct tls_session_key_t k = {.ssl = ssl, .tgid = bpf_get_current_pid_tgid() >> 32};

	return bpf_map_lookup_elem(&tls_sessions, &k);
}

static __always_inline struct tls_session_t *session_made(__u64 ssl)
{
	struct tls_session_key_t k = {.ssl = ssl, .tgid = bpf_get_current_pid_tgid() >> 32};
	struct tls_session_t *s = bpf_map_lookup_elem(&tls_sessions, &k);
	struct tls_session_t none;

	if (s)
		return s;
	__builtin_memset(&none, 0, sizeof(none));
	bpf_map_update_elem(&tls_sessions, &k, &none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&tls_sessions, &k);
}

/* The connection that a session is bound to, NULL if it is to none that is still there. */
static __always_inline struct conn_t *connection_of(struct tls_session_t *s, __u64 ssl)
{
	__u64 sk = s->sk;
	struct conn_t *c;

	if (!sk)
		return NULL;
	c = bpf_map_lookup_elem(&conns, &sk);
	return c && c->opened_ns == s->opened_ns && c->ssl == ssl ? c : NULL;
}

static __always_inline void bind_session(struct tls_session_t *s, __u64 ssl, struct conn_t *c, __u64 sk)
{
	c->ssl = ssl;
	c->ssl_tgid = bpf_get_current_pid_tgid() >> 32;
	if (!c->tls)
		c->tls = TLS_WIRE;
	s->sk = sk;
	s->opened_ns = c->opened_ns;
}

/* A session seems to be on a connection. When what was read and what was written say so, it is. */
static __noinline void vote(__u64 ssl, __u64 sk, __u64 opened_ns, __u8 kind)
{
	struct tls_session_t *s = session_made(ssl);
	struct conn_t *c;

	if (!s || connection_of(s, ssl))
		return;
	if (s->vote_sk != sk || s->vote_opened_ns != opened_ns) {
		s->vote_sk = sk;
		s->vote_opened_ns = opened_ns;
		s->votes = kind;
		return;
	}
	s->votes |= kind;
	if (s->votes != (VOTE_READ | VOTE_WRITE))
		return;
	c = bpf_map_lookup_elem(&conns, &sk);
	if (c && c->opened_ns == opened_ns && !c->ssl)
		bind_session(s, ssl, c, sk);
}

/* Whether it is worth asking for the library behind a call: TLS, or what was met in the middle and nobody recognised yet. */
static __always_inline int may_be_of_library(struct conn_t *c)
{
	if (c->tls == TLS_WIRE) {
		if (c->looks <= UNSEEN_AFTER)
			c->looks++;
		return 1;
	}
	if (c->tls)
		return 0;
	return c->middle && c->protocol != PROTO_HTTP1 && c->looks++ < MAX_LOOKS;
}

#if defined(__TARGET_ARCH_x86)
#define REG_G r14
#elif defined(__TARGET_ARCH_arm64)
#define REG_G regs[28]
#endif

/* The same for a goroutine, known by the register that holds it: its handshake found no socket in memory. Linux 5.17+ */
static __noinline void go_wire(struct conn_t *c, __u64 sk)
{
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
	struct go_wait_key_t k = {.g = regs->REG_G, .tgid = bpf_get_current_pid_tgid() >> 32};
	__u64 *conn = bpf_map_lookup_elem(&go_waits, &k), ssl;
	struct tls_session_t *s;

	if (!conn)
		return;
	ssl = *conn;
	bpf_map_delete_elem(&go_waits, &k);
	s = session_of(ssl);
	if (s)
		bind_session(s, ssl, c, sk);
}

/* User space looks again at what this process has mapped. */
static __always_inline void tell_unseen(void)
{
	__u32 tgid = pid_here((struct task_struct *)bpf_get_current_task());
	__u64 now = bpf_ktime_get_ns();

	if (!tgid)
		return;
	bpf_map_update_elem(&tls_unseen, &tgid, &now, BPF_ANY);
}

/* The state of a thread that reads or writes. It is made if it may be one of rustls, for which a thread reads before it calls it. */
static __always_inline struct tls_thread_t *tls_thread_on_wire(struct conn_t *c)
{
	if (!c->tls || (c->ssl != SSL_RUSTLS && c->looks > UNSEEN_AFTER))
		return tls_thread();
	return tls_thread_made();
}

/* This thread read or wrote a connection that is not bound yet, or is of rustls. */
static __noinline void tls_wire(struct conn_t *c, __u64 sk, int direction, int modern)
{
	struct tls_thread_t *t = tls_thread_on_wire(c);
	struct tls_session_t *s;
	__u64 ssl;

	if (modern && c->tls && !c->ssl)
		go_wire(c, sk);
	if (c->looks == UNSEEN_AFTER && c->tls && !c->ssl)
		tell_unseen();
	if (!t || (c->ssl && c->ssl != SSL_RUSTLS))
		return;
	if (!direction && t->rustls.seen) {
		if (t->read_sk == sk) { /* it was an answer to what was read */
			t->read_sk = 0;
			t->mixed = 0;
		}
		t->rustls.flushed_sk = sk;
		t->rustls.flushed_ns = c->opened_ns;
	}
	if (t->call >= CALL_RUSTLS_READ)
		return;
	ssl = t->ssl;
	if (t->call && !c->ssl) {
		if (!ssl)
			return;
		s = session_made(ssl);
		if (s)
			bind_session(s, ssl, c, sk);
		return;
	}
	if (c->tls != TLS_WIRE && !c->ssl)
		return;
	if (direction) {
		if (t->read_sk && t->read_sk != sk)
			t->mixed = 1;
		t->read_sk = sk;
		t->read_opened_ns = c->opened_ns;
	} else if (t->quiet && ssl && !c->ssl) {
		vote(ssl, sk, c->opened_ns, VOTE_WRITE);
	}
	t->quiet = 0;
}

#define JAVA_PRINT 40 /* bytes at the beginning of a record that tell it from others: Hook.java has the same */

/* What a record is known by. */
static __always_inline __u64 java_print(__u64 words[JAVA_PRINT / 8])
{
	__u64 h = 0;

#pragma unroll
	for (int i = 0; i < JAVA_PRINT / 8; i++)
		h = mix(h, words[i]);
	return h;
}

/* n bytes are written to a connection. In Java TLS is apart from sockets, and often in another thread: the two are known to belong together
   by the record that one made and the other writes. Its beginning holds a random number or cipher text, and so is like no other. */
static __noinline void java_wire(struct conn_t *c, __u64 sk, struct buffers_t *b, __u64 n)
{
	struct java_print_key_t k = {.tgid = bpf_get_current_pid_tgid() >> 32};
	__u64 words[JAVA_PRINT / 8], address = b->address, *ssl, id;
	struct tls_session_t *s;
	struct iovec first;

	if (n < JAVA_PRINT || b->messages || !bpf_map_lookup_elem(&java_processes, &k.tgid))
		return;
	if (b->iovecs) {
		if (bpf_probe_read_user(&first, sizeof(first), (void *)address) || first.iov_len < JAVA_PRINT)
			return;
		address = first.iov_base;
	}
	if (bpf_probe_read_user(words, sizeof(words), (void *)address))
		return;
	k.print = java_print(words);
	ssl = bpf_map_lookup_elem(&java_prints, &k);
	if (!ssl || !*ssl)
		return;
	id = *ssl;
	bpf_map_delete_elem(&java_prints, &k);
	s = session_of(id);
	if (s && !connection_of(s, id))
		bind_session(s, id, c, sk);
}

/* The connection ends: so does what its session was bound to. */
static __noinline void forget_session(struct conn_t *c, __u64 sk)
{
	struct tls_session_key_t k = {.ssl = c->ssl, .tgid = c->ssl_tgid};
	struct tls_session_t *s = bpf_map_lookup_elem(&tls_sessions, &k);

	if (s && s->sk == sk) /* a new session may have taken its address */
		bpf_map_delete_elem(&tls_sessions, &k);
}
