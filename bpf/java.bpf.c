//go:build ignore

/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* A uprobe on vetch_java_plain() of the library that agent/java loads into a JVM: what its TLS (JSSE) reads and writes, by the numbers that
   the library gives to sessions. */
#include "include/plain.h"

#if defined(__TARGET_ARCH_x86)
#define ARG_3(ctx) ((ctx)->dx)
#define ARG_5(ctx) ((ctx)->r8)
#elif defined(__TARGET_ARCH_arm64)
#define ARG_3(ctx) ((ctx)->regs[2])
#define ARG_5(ctx) ((ctx)->regs[4])
#endif

/* Flags of Hook.java. */
enum { JAVA_RECEIVED = 1, JAVA_DESCRIPTOR = 2 };

/* The session of a number, made when it is met for the first time. */
static __noinline struct tls_session_t *java_session(__u64 ssl)
{
	struct tls_session_t *s = session_of(ssl);

	if (s)
		return s;
	new_session(ssl);
	return session_of(ssl);
}

/* What the next record that the session writes will begin with. Two sessions whose records begin alike are told apart by later ones. */
static __noinline void java_expect(__u64 ssl, __u64 print)
{
	struct java_print_key_t k = {.print = print, .tgid = bpf_get_current_pid_tgid() >> 32};
	__u64 *other = bpf_map_lookup_elem(&java_prints, &k);

	if (other && *other != ssl)
		ssl = 0;
	bpf_map_update_elem(&java_prints, &k, &ssl, BPF_ANY);
}

/* The session, bound to its connection, or NULL. */
static __always_inline struct tls_session_t *java_bind(__u64 ssl, __u64 flags, __u64 where)
{
	struct tls_session_t *s = java_session(ssl);
	__u64 sk;

	if (!s || connection_of(s, ssl))
		return s;
	if (!s->sk && flags & JAVA_DESCRIPTOR && where < 1 << 30) {
		sk = (__u64)socket_of(where);
		if (sk && go_bind(s, ssl, sk))
			return s;
	} else if (!(flags & (JAVA_DESCRIPTOR | JAVA_RECEIVED)) && where) {
		java_expect(ssl, where);
	}
	return NULL;
}

/* vetch_java_plain(session, data, bytes, flags, where) */
static __always_inline int java_text(struct pt_regs *ctx, int modern)
{
	__u64 ssl = ARG_1(ctx), buf = ARG_2(ctx), n = ARG_3(ctx), flags = ARG_4(ctx), sk;
	struct tls_session_t *s = NULL;
	struct java_process_t *p;
	struct conn_t *c;
	__u32 tgid = bpf_get_current_pid_tgid() >> 32, plain;

	if (ssl) {
		s = java_bind(ssl, flags, ARG_5(ctx));
		if (!n)
			return 0;
	}
	if (!s || !tls_thread_made()) {
		count_lost(LOST_TLS_UNBOUND, 1);
		s = ssl ? session_of(ssl) : NULL;
		if (s)
			s->fresh = 0;
		return 0;
	}
	sk = s->sk;
	c = bpf_map_lookup_elem(&conns, &sk);
	p = bpf_map_lookup_elem(&java_processes, &tgid);
	plain = flags & JAVA_RECEIVED ? PLAIN_RECEIVED : 0;
	if (s->fresh && c && p && c->opened_ns > p->seen_ns)
		plain |= PLAIN_FRESH;
	if (modern)
		plain_text(sk, buf, n, bpf_ktime_get_ns(), plain);
	else
		plain_text_old(sk, buf, n, bpf_ktime_get_ns(), plain);
	return 0;
}

/* For kernels before 5.17. */
SEC("uprobe")
int java_plain_old(struct pt_regs *ctx)
{
	return java_text(ctx, 0);
}

/* vetch_java_off(): the hooks in this process have switched themselves off. */
SEC("uprobe")
int java_off(struct pt_regs *ctx)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct java_process_t *p = bpf_map_lookup_elem(&java_processes, &tgid);

	if (p)
		p->off = 1;
	return 0;
}

/* All places at which plain text is read, by the number that each was attached with (agent/probe/uprobes.go): the parser is large, and so is
   verified once. */
enum { POINT_TLS_RETURN = 1, POINT_GO_READ_END, POINT_GO_WRITE, POINT_RUSTLS_RETURN, POINT_RUSTLS_CONSUME, POINT_JAVA_PLAIN };

SEC("uprobe")
int plain_point(struct pt_regs *ctx)
{
	switch (bpf_get_attach_cookie(ctx)) {
	case POINT_TLS_RETURN:
		return end_call(ctx->sp, RESULT(ctx), 1);
	case POINT_GO_READ_END:
		return go_read_end(ctx, 1);
	case POINT_GO_WRITE:
		return go_write(ctx, 1);
#if defined(__TARGET_ARCH_x86)
	case POINT_RUSTLS_RETURN:
		return rustls_return_of(ctx, 1);
	case POINT_RUSTLS_CONSUME:
		return rustls_consume_of(ctx, 1);
#endif
	case POINT_JAVA_PLAIN:
		return java_text(ctx, 1);
	}
	return 0;
}
