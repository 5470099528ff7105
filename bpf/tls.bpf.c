//go:build ignore

/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* Uprobes on TLS libraries in C: OpenSSL, BoringSSL, GnuTLS. Plain text counts when the call returns, by what it returned; retries count once. */
#include "include/plain.h"

#if defined(__TARGET_ARCH_x86)
#define ARG_1(ctx) ((ctx)->di)
#define ARG_2(ctx) ((ctx)->si)
#define ARG_4(ctx) ((ctx)->cx)
#define RESULT(ctx) ((ctx)->ax)
#define RETURN_POPS 8 /* the address that the call pushed */
#elif defined(__TARGET_ARCH_arm64)
#define ARG_1(ctx) ((ctx)->regs[0])
#define ARG_2(ctx) ((ctx)->regs[1])
#define ARG_4(ctx) ((ctx)->regs[3])
#define RESULT(ctx) ((ctx)->regs[0])
#define RETURN_POPS 0
#endif

/* A thread ends. Else the entries of those that ended would take the room of those that wait in a call, which are not used meanwhile. */
SEC("tp_btf/sched_process_exit")
int thread_exit(void *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();

	bpf_map_delete_elem(&tls_threads, &id);
	return 0;
}

/* A call into the library begins. Calls inside of calls are not looked at: the outermost tells what the program said. */
static __always_inline int begin_call(__u64 sp, __u8 call, __u64 ssl, __u64 buf, __u64 len)
{
	struct tls_thread_t *t = tls_thread_made();
	struct tls_session_t *s;

	if (!t)
		return 0;
	if (t->call && sp < t->sp && t->sp - sp < 1 << 20)
		return 0;
	if (t->read_sk && ssl) {
		if (!t->mixed)
			vote(ssl, t->read_sk, t->read_opened_ns, VOTE_READ);
		t->read_sk = 0;
		t->mixed = 0;
	}
	if (call == CALL_WRITE && !buf) { /* GnuTLS repeats what it could not send */
		s = session_of(ssl);
		if (s)
			buf = s->retry;
	}
	t->ssl = ssl;
	t->buf = buf;
	t->len = len;
	t->sp = sp;
	t->begin_ns = bpf_ktime_get_ns();
	t->call = call;
	return 0;
}

/* How many bytes of plain text a call took or gave. */
static __always_inline __u64 bytes_of(struct tls_thread_t *t, __u32 call, __s32 ret)
{
	__u64 n = 0;

	if (ret <= 0)
		return 0;
	if (call == CALL_READ || call == CALL_WRITE || call == CALL_SENDFILE)
		return ret;
	if ((call == CALL_READ_EX || call == CALL_WRITE_EX) && bpf_probe_read_user(&n, sizeof(n), (void *)t->len)) {
		count_lost(LOST_READ_FAULT, 1);
		return 0;
	}
	return n;
}

/* A new session. Whatever had its address before is gone. */
static __always_inline void new_session(__u64 ssl)
{
	struct tls_session_key_t k = {.ssl = ssl, .tgid = bpf_get_current_pid_tgid() >> 32};
	struct tls_session_t s;

	if (!ssl)
		return;
	__builtin_memset(&s, 0, sizeof(s));
	s.fresh = 1;
	bpf_map_update_elem(&tls_sessions, &k, &s, BPF_ANY);
}

static __always_inline int end_call(__u64 sp, __s32 ret, int modern)
{
	struct tls_thread_t *t = tls_thread_ending();
	struct tls_session_t *s;
	__u64 n, ssl, sk;
	__u32 call, flags;

	if (!t || !t->call || t->call >= CALL_RUSTLS_READ || t->sp + RETURN_POPS != sp)
		return 0;
	call = t->call;
	ssl = t->ssl;
	t->call = CALL_NONE;
	t->quiet = 1;
	if (call == CALL_INIT) {
		__u64 made = 0;
		bpf_probe_read_user(&made, sizeof(made), (void *)t->buf);
		new_session(made);
		return 0;
	}
	if (call == CALL_WRITE && ret < 0) {
		s = session_of(ssl);
		if (s)
			s->retry = t->buf;
	}
	n = bytes_of(t, call, ret);
	if (!n)
		return 0;
	s = session_of(ssl);
	if (!s || !connection_of(s, ssl)) {
		if (!is_elsewhere())
			count_lost(LOST_TLS_UNBOUND, 1);
		if (s)
			s->fresh = 0;
		return 0;
	}
	sk = s->sk;
	flags = (call == CALL_READ || call == CALL_READ_EX ? PLAIN_RECEIVED : 0) | (s->fresh ? PLAIN_FRESH : 0);
	return modern ? plain_text(sk, call == CALL_SENDFILE ? 0 : t->buf, n, t->begin_ns, flags) & 0
		      : plain_text_old(sk, call == CALL_SENDFILE ? 0 : t->buf, n, t->begin_ns, flags) & 0;
}

#define BEGIN(name, call, len) \
	SEC("uprobe") \
	int name(struct pt_regs *ctx) \
	{ \
		return begin_call(ctx->sp, call, ARG_1(ctx), ARG_2(ctx), len); \
	}
BEGIN(tls_handshake, CALL_HANDSHAKE, 0)	     /* session */
BEGIN(tls_read, CALL_READ, 0)		     /* session, buffer, size: gives bytes */
BEGIN(tls_read_ex, CALL_READ_EX, ARG_4(ctx)) /* session, buffer, size, bytes: gives 1 */
BEGIN(tls_write, CALL_WRITE, 0)
BEGIN(tls_write_ex, CALL_WRITE_EX, ARG_4(ctx))
BEGIN(tls_sendfile, CALL_SENDFILE, 0)

/* gnutls_init(&session, flags) */
SEC("uprobe")
int tls_init(struct pt_regs *ctx)
{
	return begin_call(ctx->sp, CALL_INIT, 0, ARG_1(ctx), 0);
}

/* The return of all of these. For kernels before 5.17; newer ones run plain_point there. */
SEC("uprobe")
int tls_return_old(struct pt_regs *ctx)
{
	return end_call(ctx->sp, RESULT(ctx), 0);
}

/* The return of SSL_new(). The thread is noted, for it may read the new connection before it calls the library again. */
SEC("uprobe")
int tls_new(struct pt_regs *ctx)
{
	tls_thread_made();
	new_session(RESULT(ctx));
	return 0;
}

SEC("uprobe")
int tls_free(struct pt_regs *ctx)
{
	struct tls_session_key_t k = {.ssl = ARG_1(ctx), .tgid = bpf_get_current_pid_tgid() >> 32};

	bpf_map_delete_elem(&tls_sessions, &k);
	return 0;
}
