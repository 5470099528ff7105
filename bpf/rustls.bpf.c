//go:build ignore

/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* Uprobes on rustls. Plain text is seen as Reader::read() and Writer::write() return, or as what Reader shows is consumed. None of these does
   I/O, and what they are called on may be moved in memory from call to call, so that its address tells little. What tells is on the heap:
   each key has an encrypter or decrypter of its own, which counts its records from 0 and stays where it is.

   Written: the encrypter that worked inside of write() is the session. It is bound by write_tls(), which writes the socket inside of the
   call, right after and on the same object. Until then the text waits: its buffer is still the caller's.
   Read: what the thread read from a socket right before a record was decrypted is where that record came from, if it was one connection
   only. It is the session of the object that plain text is read from next, and for what is left over of it as long as the decrypter is the
   same. What contradicts that is lost and counted, and the object starts anew. */
#include "include/plain.h"

#if defined(__TARGET_ARCH_x86)

#define OBJECT_MAX 4096 /* no connection of rustls is larger */
#define IOVECS_MAX 16	/* of one call that are looked at */

/* The state of a thread in rustls. */
static __always_inline struct tls_thread_t *rustls_thread(void)
{
	struct tls_thread_t *t = tls_thread_made();

	if (t)
		t->rustls.seen = 1;
	return t;
}

static __always_inline int begin_rustls(struct pt_regs *ctx, __u8 call)
{
	struct tls_thread_t *t = rustls_thread();
	__u64 sp = ctx->sp;

	if (!t)
		return 0;
	if (t->call && sp < t->sp && t->sp - sp < 1 << 20) {
		t->rustls.nested = 1;
		return 0;
	}
	t->rustls.args[0] = ctx->di;
	t->rustls.args[1] = ctx->si;
	t->rustls.args[2] = ctx->dx;
	t->rustls.args[3] = ctx->cx;
	t->rustls.encrypter = 0;
	t->rustls.flushed_sk = 0;
	t->rustls.nested = 0;
	t->sp = sp;
	t->begin_ns = bpf_ktime_get_ns();
	t->call = call;
	return 0;
}

/* <Reader as io::Read>::read(&mut self, &mut [u8]) -> io::Result<usize> */
SEC("uprobe")
int rustls_read(struct pt_regs *ctx)
{
	return begin_rustls(ctx, CALL_RUSTLS_READ);
}

/* <Writer as io::Write>::write(&mut self, &[u8]) -> io::Result<usize> */
SEC("uprobe")
int rustls_write(struct pt_regs *ctx)
{
	return begin_rustls(ctx, CALL_RUSTLS_WRITE);
}

/* <Writer as io::Write>::write_vectored(&mut self, &[IoSlice]) -> io::Result<usize> */
SEC("uprobe")
int rustls_writev(struct pt_regs *ctx)
{
	return begin_rustls(ctx, CALL_RUSTLS_WRITEV);
}

/* Reader::into_first_chunk(self) -> io::Result<&[u8]>, which shows plain text that consume() takes */
SEC("uprobe")
int rustls_chunk(struct pt_regs *ctx)
{
	return begin_rustls(ctx, CALL_RUSTLS_CHUNK);
}

/* CommonState::write_tls(&mut self, &mut dyn io::Write) -> io::Result<usize>, or what it calls */
SEC("uprobe")
int rustls_flush(struct pt_regs *ctx)
{
	return begin_rustls(ctx, CALL_RUSTLS_FLUSH);
}

/* <... as MessageEncrypter>::encrypt(&self, message, sequence number). The result, which is large, is written where the first argument says;
   a message is passed by its address. A key begins with record 0: whatever had the address before is gone. */
SEC("uprobe")
int rustls_encrypt(struct pt_regs *ctx)
{
	struct tls_session_key_t k = {.ssl = ctx->si, .tgid = bpf_get_current_pid_tgid() >> 32};
	struct tls_thread_t *t = rustls_thread();

	if (!ctx->cx)
		bpf_map_delete_elem(&tls_sessions, &k);
	if (t && (t->call == CALL_RUSTLS_WRITE || t->call == CALL_RUSTLS_WRITEV))
		t->rustls.encrypter = k.ssl;
	return 0;
}

/* <... as MessageDecrypter>::decrypt(&self, message, sequence number) */
SEC("uprobe")
int rustls_decrypt(struct pt_regs *ctx)
{
	struct tls_thread_t *t = rustls_thread();
	struct conn_t *c;
	__u64 sk;

	if (!t)
		return 0;
	t->rustls.decrypter = ctx->si;
	if (!t->read_sk) /* another record of what was read before */
		return 0;
	sk = t->mixed ? 0 : t->read_sk;
	t->rustls.opened_sk = sk;
	t->rustls.opened_ns = t->read_opened_ns;
	t->read_sk = 0;
	t->mixed = 0;
	if (ctx->cx || !sk)
		return 0;
	c = bpf_map_lookup_elem(&conns, &sk);
	if (c && c->opened_ns == t->read_opened_ns && !c->middle && c->tls != TLS_PLAIN)
		c->whole = 1;
	return 0;
}

/* The connection that a session is bound to, NULL if it is to none that the program still has: one that it closed may live on until the peer
   agrees, and another may lie at its place in memory meanwhile. */
static __always_inline struct conn_t *rustls_connection(struct tls_session_t *s)
{
	__u64 sk = s->sk;
	struct conn_t *c;

	if (!sk)
		return NULL;
	c = bpf_map_lookup_elem(&conns, &sk);
	if (!c || c->opened_ns != s->opened_ns || c->ssl != SSL_RUSTLS || !BPF_CORE_READ((struct sock *)sk, sk_socket))
		return NULL;
	return c;
}

static __always_inline struct conn_t *bind_rustls(struct tls_session_t *s, __u64 sk, __u64 opened_ns)
{
	struct conn_t *c = bpf_map_lookup_elem(&conns, &sk);

	if (!c || c->opened_ns != opened_ns || (c->ssl && c->ssl != SSL_RUSTLS))
		return NULL;
	bind_session(s, SSL_RUSTLS, c, sk);
	return c;
}

/* Plain text of a connection was lost: what comes next is no continuation. */
static __always_inline void tear(struct conn_t *c, int direction)
{
	struct stream_t *s = &c->streams[direction & 1];

	c->plain_seq[direction & 1] += 1 << 24;
	c->whole = 0;
	if (c->tls != TLS_PLAIN)
		return;
	lose(c, s);
}

/* n bytes of plain text at buf, or in the buffers that are listed there. */
static __always_inline void rustls_text(struct conn_t *c, __u64 sk, __u64 buf, __u32 iovecs, __u64 n, __u64 begin, int direction, int modern)
{
	__u32 flags = direction == RECEIVED ? PLAIN_RECEIVED : 0;
	struct iovec v;

	if (c->whole && (c->role == ROLE_CLIENT) == (direction == SENT)) /* who asks speaks first, or something is missing */
		flags |= PLAIN_FRESH;
	for (__u32 i = 0; i < IOVECS_MAX; i++) {
		v.iov_base = buf;
		v.iov_len = n;
		if (iovecs && (i >= iovecs || bpf_probe_read_user(&v, sizeof(v), (void *)buf + i * sizeof(v))))
			break;
		if (v.iov_len > n)
			v.iov_len = n;
		if (modern)
			plain_text(sk, v.iov_base, v.iov_len, begin, flags);
		else
			plain_text_old(sk, v.iov_base, v.iov_len, begin, flags);
		n -= v.iov_len;
		if (!n)
			return;
	}
	if (modern)
		plain_text(sk, 0, n, begin, flags);
	else
		plain_text_old(sk, 0, n, begin, flags);
}

/* The connection that n bytes were read on, 0 if it is not certain; more: they filled their buffer. With a frame of its own. */
static __noinline __u64 rustls_reads_from(struct tls_thread_t *t, __u64 object, __u64 n, int more)
{
	__u64 decrypter = t->rustls.decrypter, opened = t->rustls.opened_sk;
	struct tls_session_t *s = n ? session_made(object) : NULL;
	struct conn_t *c = s ? rustls_connection(s) : NULL;

	if (c && s->more && decrypter != s->retry) {
		decrypter = 0; /* it is left over from before; what was decrypted since is another's */
	} else {
		t->rustls.decrypter = 0;
		t->rustls.opened_sk = 0;
		t->read_sk = 0;
		t->mixed = 0;
	}
	if (!s)
		return 0;
	s->more = more;
	if (c && decrypter && decrypter != s->retry && opened != s->sk) { /* is it another one that lies here now? */
		tear(c, RECEIVED);
		s->sk = 0;
		c = NULL;
	} else if (!c && opened) {
		c = bind_rustls(s, opened, t->rustls.opened_ns);
	}
	if (!c) {
		s->torn = 1;
		count_lost(LOST_TLS_UNBOUND, 1);
		return 0;
	}
	if (decrypter)
		s->retry = decrypter;
	if (s->torn)
		tear(c, RECEIVED);
	s->torn = 0;
	return s->sk;
}

static __always_inline int rustls_was_read(struct tls_thread_t *t, __u64 object, __u64 buf, __u64 n, int more, int modern)
{
	__u64 sk = rustls_reads_from(t, object, n, more);
	struct conn_t *c;

	if (!sk)
		return 0;
	c = bpf_map_lookup_elem(&conns, &sk);
	if (c)
		rustls_text(c, sk, buf, 0, n, 0, RECEIVED, modern);
	return 0;
}

/* What was written waits for write_tls(). */
static __noinline int rustls_waits(struct tls_thread_t *t, __u64 object, __u64 buf, __u64 n, __u32 iovecs)
{
	__u64 encrypter = t->rustls.encrypter;

	if (t->rustls.wait_encrypter && t->rustls.wait_n)
		count_lost(LOST_TLS_UNBOUND, 1);
	t->rustls.wait_torn = t->rustls.wait_encrypter == encrypter;
	t->rustls.wait_encrypter = encrypter;
	t->rustls.wait_object = object;
	t->rustls.wait_buf = buf;
	t->rustls.wait_n = n;
	t->rustls.wait_iovecs = iovecs;
	t->rustls.wait_begin_ns = t->begin_ns;
	return 0;
}

static __always_inline int rustls_was_written(struct tls_thread_t *t, __u64 object, __u64 buf, __u64 n, __u32 iovecs, int modern)
{
	__u64 encrypter = t->rustls.encrypter;
	struct tls_session_t *s;
	struct conn_t *c = NULL;

	if (!n)
		return 0;
	if (!encrypter) { /* it is kept until the handshake ends */
		count_lost(LOST_TLS_UNBOUND, 1);
		return 0;
	}
	s = session_of(encrypter);
	if (s)
		c = rustls_connection(s);
	if (c) {
		rustls_text(c, s->sk, buf, iovecs, n, t->begin_ns, SENT, modern);
		return 0;
	}
	return rustls_waits(t, object, buf, n, iovecs);
}

/* What was written before may have got its connection: the one that this call wrote, if it was made on the same object. */
static __always_inline int rustls_was_flushed(struct tls_thread_t *t, __u64 self, int modern)
{
	__u64 encrypter = t->rustls.wait_encrypter, n = t->rustls.wait_n, sk = t->rustls.flushed_sk;
	struct tls_session_t *s;
	struct conn_t *c = NULL;

	if (!encrypter)
		return 0;
	t->rustls.wait_n = 0;
	if (sk && !t->rustls.nested && self - t->rustls.wait_object < OBJECT_MAX) {
		s = session_made(encrypter);
		if (s)
			c = bind_rustls(s, sk, t->rustls.flushed_ns);
	}
	if (!c) {
		if (n)
			count_lost(LOST_TLS_UNBOUND, 1);
		t->rustls.wait_torn = 1;
		return 0;
	}
	t->rustls.wait_encrypter = 0;
	if (t->rustls.wait_torn || !n)
		tear(c, SENT);
	if (n)
		rustls_text(c, sk, t->rustls.wait_buf, t->rustls.wait_iovecs, n, t->rustls.wait_begin_ns, SENT, modern);
	return 0;
}

/* The result lies where the first argument says: the address, 0 for an error, and the length. */
static __always_inline int rustls_was_shown(struct tls_thread_t *t, __u64 at, int modern)
{
	__u64 chunk[2], object, self = t->rustls.args[1];

	t->rustls.chunk_left = 0;
	if (at != t->rustls.args[0] || bpf_probe_read_user(chunk, sizeof(chunk), (void *)at) || bpf_probe_read_user(&object, sizeof(object), (void *)self))
		return 0;
	t->rustls.chunk_object = object;
	t->rustls.chunk = chunk[0];
	t->rustls.chunk_left = chunk[0] ? chunk[1] : 0;
	return t->rustls.chunk_left ? 0 : rustls_was_read(t, object, 0, 0, 0, modern);
}

/* <Reader as io::BufRead>::consume(&mut self, usize): the text is still there as it begins */
static __always_inline int rustls_consume_of(struct pt_regs *ctx, int modern)
{
	struct tls_thread_t *t = rustls_thread();
	__u64 object, self = ctx->di, n = ctx->si, chunk;

	if (!t || t->call || bpf_probe_read_user(&object, sizeof(object), (void *)self))
		return 0;
	chunk = t->rustls.chunk;
	if (object != t->rustls.chunk_object || n > t->rustls.chunk_left) {
		chunk = 0; /* it is not known what it was */
		t->rustls.chunk_left = n;
	}
	t->rustls.chunk_left -= n;
	t->rustls.chunk += n;
	return rustls_was_read(t, object, chunk, n, t->rustls.chunk_left != 0, modern);
}

/* For kernels before 5.17. */
SEC("uprobe")
int rustls_consume_old(struct pt_regs *ctx)
{
	return rustls_consume_of(ctx, 0);
}

/* An io::Result<usize> comes back in two registers, or, from compilers of before 2024, in memory: then the first argument says where, the
   others follow, and the function returns that address. */
static __always_inline int rustls_return_of(struct pt_regs *ctx, int modern)
{
	struct tls_thread_t *t = tls_thread_ending();
	__u64 result[2] = {ctx->ax, ctx->dx}, self, buf, len, object;
	__u32 call;

	if (!t || t->call < CALL_RUSTLS_READ || t->sp + RETURN_POPS != ctx->sp)
		return 0;
	call = t->call;
	t->call = CALL_NONE;
	if (call == CALL_RUSTLS_CHUNK)
		return rustls_was_shown(t, ctx->ax, modern);
	self = t->rustls.args[0];
	buf = t->rustls.args[1];
	len = t->rustls.args[2];
	if (result[0] == self) {
		if (bpf_probe_read_user(result, sizeof(result), (void *)self))
			return 0;
		self = buf;
		buf = len;
		len = t->rustls.args[3];
	}
	if (call == CALL_RUSTLS_FLUSH)
		return rustls_was_flushed(t, self, modern);
	if (result[0] & 1 || (call != CALL_RUSTLS_WRITEV && result[1] > len))
		result[1] = 0;
	if (bpf_probe_read_user(&object, sizeof(object), (void *)self)) { /* the first word of both: what they work on */
		count_lost(LOST_READ_FAULT, 1);
		return 0;
	}
	if (call == CALL_RUSTLS_READ)
		return rustls_was_read(t, object, buf, result[1], result[1] == len, modern);
	return rustls_was_written(t, object, buf, result[1], call == CALL_RUSTLS_WRITEV ? len : 0, modern);
}

/* The return of all of these, for kernels before 5.17. */
SEC("uprobe")
int rustls_return_old(struct pt_regs *ctx)
{
	return rustls_return_of(ctx, 0);
}

#endif
