//go:build ignore

/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* Uprobes on Go's crypto/tls. Arguments are in registers: *Conn, and the data, length and capacity of a []byte. The probes at the begin of a
   function lie behind its check of the stack's end, for that is run again when the stack has moved; the stack pointer is still that of the
   entry. A goroutine may go on in another thread, so that calls are known by goroutine, and by how deep in its stack they are. */
#include "include/plain.h"

#if defined(__TARGET_ARCH_x86)
#define GO_1(ctx) ((ctx)->ax)
#define GO_2(ctx) ((ctx)->bx)
#define GO_3(ctx) ((ctx)->cx)
#define GO_G(ctx) ((ctx)->r14)
#elif defined(__TARGET_ARCH_arm64)
#define GO_1(ctx) ((ctx)->regs[0])
#define GO_2(ctx) ((ctx)->regs[1])
#define GO_3(ctx) ((ctx)->regs[2])
#define GO_G(ctx) ((ctx)->regs[28])
#endif

/* The begin of a netFD (net/fd_posix.go, internal/poll/fd_unix.go); agent/tls tests these offsets. */
struct go_fd_t {
	__u64 mutex[2];
	__u64 fd;
	__u64 unused[3];
	__u8 stream;
	__u8 pad[7];
	__u64 family;
	__u64 type;
};

#define GO_CLOSED (~0ULL) /* instead of a socket: the program has closed it, and what it writes goes nowhere */

/* The TCP socket of what may be a netFD. That it is one is told by what it says of its socket. */
static __noinline __u64 go_netfd(__u64 address)
{
	struct go_fd_t f;

	if (bpf_probe_read_user(&f, sizeof(f), (void *)address))
		return 0;
	if (f.stream != 1 || (f.family != AF_INET && f.family != AF_INET6) || f.type != 1 /* SOCK_STREAM */)
		return 0;
	if (f.fd == ~0ULL)
		return GO_CLOSED;
	return f.fd < 1 << 30 ? (__u64)socket_of(f.fd) : 0;
}

/* The socket of what may be a *net.TCPConn, which holds a *netFD, or of a pointer to one. */
static __noinline __u64 go_tcp_conn(__u64 address)
{
	__u64 held, sk;

	if (bpf_probe_read_user(&held, sizeof(held), (void *)address))
		return 0;
	sk = go_netfd(held);
	if (sk || bpf_probe_read_user(&held, sizeof(held), (void *)held))
		return sk;
	return go_netfd(held);
}

/* The socket of a *tls.Conn, whose first field is the net.Conn that it is on: a *net.TCPConn or a struct around one, with the pointer first, or with
   a net.Conn first, or with that behind one word (client-go's connections begin with a function). 0 if it is none of these. */
static __noinline __u64 go_socket(__u64 conn)
{
	__u64 word[3], behind = 0, sk;

	if (bpf_probe_read_user(word, 2 * sizeof(*word), (void *)conn))
		return 0;
#pragma unroll
	for (int i = 0; i < 3; i++) {
		conn = word[1];
		sk = go_tcp_conn(conn);
		if (sk)
			return sk;
		if (bpf_probe_read_user(word, sizeof(word), (void *)conn))
			break;
		if (!i)
			behind = word[2];
	}
	return behind ? go_tcp_conn(behind) : 0;
}

/* Binds a connection to the socket that it is on. What is on TLS within TLS is not looked at: the inner of the two says what the peer hears. */
static __always_inline struct conn_t *go_bind(struct tls_session_t *s, __u64 conn, __u64 sk)
{
	struct conn_t *c = bpf_map_lookup_elem(&conns, &sk);

	if (!c || (c->ssl && c->ssl != conn))
		return NULL;
	if (!c->tls) { /* what it said before in plain text, if anything, goes on */
		c->plain_seq[0] = c->streams[0].seq;
		c->plain_seq[1] = c->streams[1].seq;
	}
	bind_session(s, conn, c, sk);
	return c;
}

/* The session of a *tls.Conn, bound to its connection, or NULL. */
static __always_inline struct tls_session_t *go_session(__u64 conn)
{
	struct tls_session_t *s = session_made(conn);
	__u64 sk;

	if (!s)
		return NULL;
	if (connection_of(s, conn))
		return s;
	sk = go_socket(conn);
	if (sk && go_bind(s, conn, sk))
		return s;
	s->fresh = 0;
	if (sk != GO_CLOSED && !is_elsewhere())
		count_lost(LOST_TLS_UNBOUND, 1);
	return NULL;
}

/* (*Conn).clientHandshake, (*Conn).serverHandshake */
SEC("uprobe")
int go_tls_handshake(struct pt_regs *ctx)
{
	struct go_wait_key_t k = {.g = GO_G(ctx), .tgid = bpf_get_current_pid_tgid() >> 32};
	__u64 conn = GO_1(ctx), sk;
	struct tls_session_t *s;

	new_session(conn);
	s = session_of(conn);
	if (!s)
		return 0;
	sk = go_socket(conn);
	if (sk) {
		go_bind(s, conn, sk);
		bpf_map_delete_elem(&go_waits, &k);
	} else { /* what this goroutine reads or writes now is the socket */
		bpf_map_update_elem(&go_waits, &k, &conn, BPF_ANY);
	}
	return 0;
}

/* A call's key. Both ends of the goroutine's stack are the first words of g; where the stack moves, what lies in it keeps its distance from the upper one. */
static __always_inline int go_call(struct pt_regs *ctx, struct go_call_key_t *k, __u64 stack[2])
{
	__u64 g = GO_G(ctx), sp = ctx->sp;

	if (bpf_probe_read_user(stack, 16, (void *)g))
		return 0;
	k->g = g;
	k->depth = stack[1] - sp;
	k->tgid = bpf_get_current_pid_tgid() >> 32;
	k->pad = 0;
	return 1;
}

/* A connection that is not bound yet, older than vetch perhaps, is on the socket that its goroutine reads inside of the call. */
static __always_inline void go_expect(struct go_wait_key_t *k, __u64 conn)
{
	struct tls_session_t *s = session_made(conn);

	if (s && !connection_of(s, conn))
		bpf_map_update_elem(&go_waits, k, &conn, BPF_ANY);
}

/* With a frame of its own: all of a chain of calls have 512 bytes together. */
static __noinline int go_expect_end(__u64 g)
{
	struct go_wait_key_t k = {.g = g, .tgid = bpf_get_current_pid_tgid() >> 32};

	bpf_map_delete_elem(&go_waits, &k);
	return 0;
}

/* (*Conn).Read(b []byte) (int, error) */
SEC("uprobe")
int go_tls_read(struct pt_regs *ctx)
{
	struct go_call_t call = {.conn = GO_1(ctx), .buf = GO_2(ctx)};
	struct go_wait_key_t g = {.g = GO_G(ctx), .tgid = bpf_get_current_pid_tgid() >> 32};
	struct go_call_key_t k;
	__u64 stack[2];

	if (!GO_3(ctx) || !go_call(ctx, &k, stack))
		return 0;
	go_expect(&g, call.conn);
	if (call.buf >= stack[0] && call.buf < stack[1]) {
		call.buf = stack[1] - call.buf;
		call.on_stack = 1;
	}
	bpf_map_update_elem(&go_reads, &k, &call, BPF_ANY);
	return 0;
}

/* A call that began before it was probed: Go keeps the arguments of a function that calls others behind the return address. The *Conn is
   tried before it is believed (go_session). */
static __always_inline int go_kept(__u64 sp, __s64 n, struct go_call_t *call)
{
	__u64 kept[3];

	if (bpf_probe_read_user(kept, sizeof(kept), (void *)sp + 8) || (__s64)kept[2] < n)
		return 0;
	call->conn = kept[0];
	call->buf = kept[1];
	call->on_stack = 0;
	return 1;
}

static __always_inline int go_read_end(struct pt_regs *ctx, int modern)
{
	struct tls_session_t *s;
	struct go_call_key_t k;
	struct go_call_t *found, call;
	__u64 stack[2], sk, buf;
	__s64 n = GO_1(ctx);
	__u32 flags;

	if (!go_call(ctx, &k, stack))
		return 0;
	found = bpf_map_lookup_elem(&go_reads, &k);
	if (found) {
		call = *found;
		bpf_map_delete_elem(&go_reads, &k);
	} else if (!go_kept(ctx->sp, n, &call)) {
		return 0;
	}
	go_expect_end(GO_G(ctx));
	if (n <= 0 || !tls_thread_made())
		return 0;
	s = go_session(call.conn);
	if (!s)
		return 0;
	sk = s->sk;
	flags = PLAIN_RECEIVED | (s->fresh ? PLAIN_FRESH : 0);
	buf = call.on_stack ? stack[1] - call.buf : call.buf;
	if (modern)
		plain_text(sk, buf, n, 0, flags);
	else
		plain_text_old(sk, buf, n, 0, flags);
	return 0;
}

/* For kernels before 5.17. */
SEC("uprobe")
int go_tls_read_end_old(struct pt_regs *ctx)
{
	return go_read_end(ctx, 0);
}

/* (*Conn).Write(b []byte) (int, error). It counts when it begins: its answer may be there before it returns. It writes all, or breaks the connection. */
static __always_inline int go_write(struct pt_regs *ctx, int modern)
{
	__u64 now = bpf_ktime_get_ns(), conn = GO_1(ctx), buf = GO_2(ctx), n = GO_3(ctx), sk;
	struct tls_session_t *s;
	__u32 flags;

	if (!n || !tls_thread_made())
		return 0;
	s = go_session(conn);
	if (!s)
		return 0;
	sk = s->sk;
	flags = s->fresh ? PLAIN_FRESH : 0;
	if (modern)
		plain_text(sk, buf, n, now, flags);
	else
		plain_text_old(sk, buf, n, now, flags);
	return 0;
}

/* For kernels before 5.17. */
SEC("uprobe")
int go_tls_write_old(struct pt_regs *ctx)
{
	return go_write(ctx, 0);
}
