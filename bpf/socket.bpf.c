//go:build ignore

/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* The I/O hooks: sock_send_length and sock_recv_length (6.3+), or the end of every system call. All feed on_io(). */
#include "include/io.h"
#include "include/udp.h"

#if defined(__TARGET_ARCH_x86)
enum { NR_READ = 0, NR_WRITE = 1, NR_READV = 19, NR_WRITEV = 20, NR_SENDFILE = 40, NR_SENDTO = 44, NR_RECVFROM = 45, NR_SENDMSG = 46,
       NR_RECVMSG = 47, NR_SPLICE = 275, NR_RECVMMSG = 299, NR_SENDMMSG = 307 };
#define REG_NR orig_ax
#define REG_1 di
#define REG_2 si
#define REG_3 dx
#define REG_4 r10
#define REG_5 r8
#define REG_MODE cs
#define IS_COMPAT(mode) ((mode) == 0x23)
#elif defined(__TARGET_ARCH_arm64)
enum { NR_READ = 63, NR_WRITE = 64, NR_READV = 65, NR_WRITEV = 66, NR_SENDFILE = 71, NR_SENDTO = 206, NR_RECVFROM = 207, NR_SENDMSG = 211,
       NR_RECVMSG = 212, NR_SPLICE = 76, NR_RECVMMSG = 243, NR_SENDMMSG = 269 };
#define REG_NR syscallno
#define REG_1 orig_x0
#define REG_2 regs[1]
#define REG_3 regs[2]
#define REG_4 regs[3]
#define REG_5 regs[4]
#define REG_MODE pstate
#define IS_COMPAT(mode) ((mode) & 0x10)
#endif
#define MSG_PEEK 2
#define MSG_ERRQUEUE 0x2000

/* A system call's number and arguments. */
struct call_t {
	__s64 nr;
	__u64 a1, a2, a3, a4, a5;
	__u64 mode;
};

static __always_inline void message_buffers(__u64 msg, struct buffers_t *b)
{
	struct user_msghdr m;

	if (bpf_probe_read_user(&m, sizeof(m), (void *)msg)) {
		count_lost(LOST_READ_FAULT, 1);
		return;
	}
	b->address = m.msg_iov;
	b->iovecs = m.msg_iovlen;
}

/* Where the data of a system call lies in user memory. Stays empty for calls that have no buffer of their own. */
static __always_inline void find_buffers(struct call_t *r, int direction, struct buffers_t *b)
{
	__s64 nr = r->nr;

	b->address = 0;
	b->iovecs = 0;
	b->messages = 0;
	if (IS_COMPAT(r->mode))
		return;
	if (direction == SENT) {
		if (nr == NR_WRITE || nr == NR_SENDTO) {
			b->address = r->a2;
		} else if (nr == NR_WRITEV) {
			b->address = r->a2;
			b->iovecs = r->a3;
		} else if (nr == NR_SENDMSG) {
			message_buffers(r->a2, b);
		} else if (nr == NR_SENDMMSG) {
			b->address = r->a2;
			b->messages = r->a3;
		}
		return;
	}
	if (nr == NR_READ || nr == NR_RECVFROM) {
		b->address = r->a2;
	} else if (nr == NR_READV) {
		b->address = r->a2;
		b->iovecs = r->a3;
	} else if (nr == NR_RECVMSG || (nr == NR_RECVMMSG && r->a3 == 1)) {
		message_buffers(r->a2, b);
	}
}

/* sock_send_length comes once for each message of a sendmmsg: which one it is, is remembered with the connection. */
static __always_inline void pick_message(struct sock *sk, struct buffers_t *b)
{
	__u64 key = (__u64)sk, array = b->address;
	struct conn_t *c = bpf_map_lookup_elem(&conns, &key);
	__u32 count = b->messages, i = 0;

	b->messages = 0;
	b->address = 0;
	if (!c)
		return;
	if (c->mmsg == array && c->mmsg_next < count)
		i = c->mmsg_next;
	message_buffers(array + i * BATCH_STEP, b);
	c->mmsg = array;
	c->mmsg_next = i + 1;
}

/* Puts where a call's one message lies into the scratch. */
static __always_inline void find_message(struct udp_work_t *w, struct call_t *r)
{
	__s64 nr = r->nr;

	if (nr == NR_WRITE || nr == NR_READ || nr == NR_RECVFROM)
		set_buffer(w, r->a2, r->a3, 0);
	else if (nr == NR_SENDTO)
		set_buffer(w, r->a2, r->a3, r->a5);
	else if (nr == NR_WRITEV || nr == NR_READV)
		set_vector(w, r->a2, r->a3, 0);
	else if (nr == NR_SENDMSG || nr == NR_RECVMSG)
		set_header(w, r->a2);
	else
		set_buffer(w, 0, 0, 0);
}

static __always_inline int is_batch(struct call_t *r)
{
	return r->nr == NR_SENDMMSG || r->nr == NR_RECVMMSG;
}

/* One datagram passed. ret is its length, or an error. */
static __noinline int on_udp_length(struct sock *sk, int ret, int direction)
{
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
	__u32 zero_key = 0;
	__u64 key = (__u64)sk;
	struct udp_work_t *w = bpf_map_lookup_elem(&udp_work, &zero_key);
	struct udp_t *u;
	struct call_t r;

	r.nr = (__s32)regs->REG_NR;
	r.a2 = regs->REG_2;
	r.a3 = regs->REG_3;
	r.a5 = regs->REG_5;
	if (!w || !ship_streams || IS_COMPAT(regs->REG_MODE) || (ret < DNS_HEAD && !is_batch(&r)))
		return 0;
	if (is_batch(&r)) {
		w->sk = key;
		u = udp_of(w);
		if (!u)
			return 0;
		r.a2 += count_message(u, direction, r.a2, r.a3, ret) * BATCH_STEP;
		if (ret < DNS_HEAD)
			return 0;
		set_header(w, r.a2);
	} else {
		find_message(w, &r);
	}
	w->length = ret;
	w->sk = key;
	return on_datagram(direction);
}

static __always_inline int on_length(struct sock *sk, int ret, int direction)
{
	__u16 family = sk->__sk_common.skc_family;
	struct tcp_sock *tp;
	struct buffers_t b;
	struct pt_regs *regs;
	struct call_t r;

	if (family != AF_INET && family != AF_INET6)
		return 0;
	if (sk->sk_protocol == IPPROTO_UDP)
		return on_udp_length(sk, ret, direction);
	if (ret <= 0 || sk->sk_protocol != IPPROTO_TCP)
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return 0;
	regs = (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
	r.nr = (__s32)regs->REG_NR;
	r.a2 = regs->REG_2;
	r.a3 = regs->REG_3;
	r.mode = regs->REG_MODE;
	find_buffers(&r, direction, &b);
	if (b.messages)
		pick_message(sk, &b);
	return on_io(sk, direction == SENT ? tp->write_seq : tp->copied_seq, direction, ret, &b, 1);
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(sock_sent, struct sock *sk, int ret, int flags)
{
	return on_length(sk, ret, SENT);
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(sock_received, struct sock *sk, int ret, int flags)
{
	if (flags & (MSG_PEEK | MSG_ERRQUEUE))
		return 0;
	return on_length(sk, ret, RECEIVED);
}

/* The socket behind a file descriptor of the current task, NULL if it is none. */
static __always_inline struct sock *socket_of(__u32 fd)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file **files = BPF_CORE_READ(table, fd);
	struct file *file = NULL;

	if (fd >= BPF_CORE_READ(table, max_fds))
		return NULL;
	bpf_probe_read_kernel(&file, sizeof(file), files + fd);
	return any_socket_of_file(file);
}

enum { NOT_IO = -1 };

/* Direction of a system call, and which of its arguments is the socket. */
static __always_inline int direction_of(struct call_t *r, __u32 *fd)
{
	__s64 nr = r->nr;
	__u64 flags = 0;

	*fd = r->a1;
	switch (nr) {
	case NR_SPLICE:
		*fd = r->a3; /* into a socket; out of one shows as bytes unseen */
		return SENT;
	case NR_WRITE: case NR_WRITEV: case NR_SENDTO: case NR_SENDMSG: case NR_SENDMMSG: case NR_SENDFILE:
		return SENT;
	case NR_RECVFROM:
		flags = r->a4;
		break;
	case NR_RECVMSG:
		flags = r->a3;
		break;
	case NR_RECVMMSG:
		flags = r->a4;
		break;
	case NR_READ: case NR_READV:
		break;
	default:
		return NOT_IO;
	}
	return flags & (MSG_PEEK | MSG_ERRQUEUE) ? NOT_IO : RECEIVED;
}

/* The datagrams of a call that has ended; ret is the length of the one, or the number of several. The registers are read anew: the caller's
   stack has no room for more. */
static __noinline int on_udp_call(struct sock *sk, struct pt_regs *regs, __s64 ret, int direction)
{
	__u32 zero_key = 0, n = 0;
	struct udp_work_t *w = bpf_map_lookup_elem(&udp_work, &zero_key);
	struct call_t r;

	if (!w || !ship_streams || !is_udp(sk) || IS_COMPAT(BPF_CORE_READ(regs, REG_MODE)))
		return 0;
	r.nr = (__s32)BPF_CORE_READ(regs, REG_NR);
	r.a2 = BPF_CORE_READ(regs, REG_2);
	r.a3 = BPF_CORE_READ(regs, REG_3);
	r.a5 = BPF_CORE_READ(regs, REG_5);
	w->sk = (__u64)sk;
	if (!is_batch(&r)) {
		find_message(w, &r);
		w->length = ret;
		return on_datagram(direction);
	}
	for (int i = 0; i < DATAGRAM_BATCH && i < ret; i++) {
		set_header(w, r.a2);
		if (!bpf_probe_read_user(&n, sizeof(n), (void *)(r.a2 + sizeof(struct user_msghdr)))) {
			w->length = n;
			on_datagram(direction);
		}
		r.a2 += BATCH_STEP;
	}
	if (ret > DATAGRAM_BATCH)
		count_lost(LOST_CALL_LONG, 1);
	return 0;
}

static __always_inline int on_syscall(struct bpf_raw_tracepoint_args *ctx, int modern)
{
	struct buffers_t b;
	struct pt_regs *regs = (struct pt_regs *)ctx->args[0];
	struct call_t r;
	struct sock *sk;
	__s64 ret = ctx->args[1];
	int direction;
	__u32 fd, seq;

	if (ret <= 0)
		return 0;
	r.nr = (__s32)BPF_CORE_READ(regs, REG_NR);
	r.a1 = BPF_CORE_READ(regs, REG_1);
	r.a2 = BPF_CORE_READ(regs, REG_2);
	r.a3 = BPF_CORE_READ(regs, REG_3);
	r.a4 = BPF_CORE_READ(regs, REG_4);
	r.mode = BPF_CORE_READ(regs, REG_MODE);
	direction = direction_of(&r, &fd);
	if (direction == NOT_IO)
		return 0;
	sk = socket_of(fd);
	if (!sk)
		return 0;
	if (!is_tcp(sk)) {
		on_udp_call(sk, regs, ret, direction);
		return 0;
	}
	find_buffers(&r, direction, &b);
	if (r.nr == NR_SENDMMSG) {
		/* the result is the number of messages; how many bytes, the sequence number tells */
		b.messages = ret;
		ret = 0x7fffffff;
	} else if (r.nr == NR_RECVMMSG) {
		__u32 len = 0; /* the bytes of one stand behind its header */
		if (!b.address || bpf_probe_read_user(&len, sizeof(len), (void *)(r.a2 + sizeof(struct user_msghdr))))
			b.address = 0;
		ret = len;
	}
	seq = direction == SENT ? BPF_CORE_READ((struct tcp_sock *)sk, write_seq) : BPF_CORE_READ((struct tcp_sock *)sk, copied_seq);
	return on_io(sk, seq, direction, ret, &b, modern);
}

SEC("raw_tp/sys_exit")
int syscall_end(struct bpf_raw_tracepoint_args *ctx)
{
	return on_syscall(ctx, 1);
}

/* For kernels before 5.17: no bpf_loop, no atomic swap. */
SEC("raw_tp/sys_exit")
int syscall_end_old(struct bpf_raw_tracepoint_args *ctx)
{
	return on_syscall(ctx, 0);
}
