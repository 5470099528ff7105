//go:build ignore

/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* Life of TCP connections: connect, accept, listen, failure, retransmission, end. */
#include "include/io.h"

static __always_inline int on_connect(struct sock *sk, __u64 now, __u32 scratch)
{
	struct conn_t *c = new_conn(sk, now);

	if (!c)
		return 0;
	c->role = ROLE_CLIENT;
	c->owned = 1;
	c->owner = owner_of((struct task_struct *)bpf_get_current_task(), scratch, &c->ignored);
	return 0;
}

/* The handshake ended at the client's end. Its port is known now; the server's end will look for it. */
static __always_inline int on_connected(struct sock *sk, struct conn_t *c, __u64 now)
{
	struct source_key_t k;
	struct source_t v = {.sk = (__u64)sk};

	read_tuple(sk, c);
	c->established_ns = now;
	c->client_isn = client_isn(sk, ROLE_CLIENT);
	if (!c->streams[0].seq)
		c->streams[0].seq = c->client_isn + 1; /* what went with the SYN is behind that, and the call that said it reaches its hook now */
	c->streams[1].seq = BPF_CORE_READ((struct tcp_sock *)sk, copied_seq);
	if (c->ignored)
		return 0;
	source_key(&k, c);
	if (bpf_map_update_elem(&sources, &k, &v, BPF_ANY))
		count_lost(LOST_SOURCES_FULL, 1);
	return 0;
}

/* Finds the client's end of an accepted connection on this machine, and tells each end who the other is. */
static __always_inline void join(struct conn_t *c, __u64 sk, __u64 now)
{
	struct source_key_t k;
	struct source_t *v;
	struct conn_t *peer;
	__u64 peer_sk;

	source_key(&k, c);
	v = bpf_map_lookup_elem(&sources, &k);
	if (!v)
		return;
	peer_sk = v->sk;
	peer = bpf_map_lookup_elem(&conns, &peer_sk);
	if (!peer || peer->role != ROLE_CLIENT || peer->peer_sk || peer->local_port != c->remote_port)
		return;
	bpf_map_delete_elem(&sources, &k);
	peer->peer_sk = sk;
	peer->peer = c->owner;
	peer->actual = c->local;
	peer->actual_port = c->local_port;
	c->peer_sk = peer_sk;
	c->peer = peer->owner;
}

/*
 * Whether an accepted connection gets a pair of its own, by the client's port. Its client has an address of this machine and is nowhere on it, so
 * it came through the machine, which put its own address in place of the client's: a node port. Who it is, its connection tracker tells for a port only.
 */
static __always_inline __u8 translated(struct conn_t *c)
{
	__u32 key = 0;
	__s64 *room;

	if (c->peer || !bpf_map_lookup_elem(&own_addresses, &c->remote))
		return 0;
	room = bpf_map_lookup_elem(&translated_room, &key);
	if (!room)
		return 0;
	if (*room <= 0) {
		count_lost(LOST_TRANSLATED_FULL, 1);
		return 0;
	}
	__sync_fetch_and_add(room, -1);
	return 1;
}

static __always_inline int on_accepted(struct sock *sk, __u64 now)
{
	struct conn_t *c = new_conn(sk, now);
	struct listener_t *l;
	struct owner_t *o;
	__u64 owner;

	if (!c)
		return 0;
	c->role = ROLE_SERVER;
	c->client_isn = client_isn(sk, ROLE_SERVER);
	c->established_ns = now;
	c->streams[0].seq = BPF_CORE_READ((struct tcp_sock *)sk, write_seq);
	c->streams[1].seq = BPF_CORE_READ((struct tcp_sock *)sk, copied_seq);
	l = find_listener(c);
	if (!l) {
		c->ignored = only_pid_namespace; /* the walk at the start sees the tasks of its namespace only: who listens is another machine's */
		return 0;
	}
	owner = l->owner;
	c->owner = owner;
	o = bpf_map_lookup_elem(&owners, &owner);
	if (owner == OWNER_ELSEWHERE || (o && o->ignored))
		c->ignored = 1;
	else
		join(c, (__u64)sk, now);
	if (!c->ignored)
		c->translated = translated(c);
	return 0;
}

static __always_inline __u32 connect_error(struct sock *sk, struct conn_t *c, __u64 now)
{
	int err = BPF_CORE_READ(sk, sk_err);

	if (!err) /* the program was told, or gave up while the network's answer was only noted */
		err = c->error ? c->error : BPF_CORE_READ(sk, sk_err_soft);
	switch (err) {
	case 111: return CONNECT_REFUSED;
	case 110: return CONNECT_TIMED_OUT;
	case 113: case 101: case 112: return CONNECT_UNREACHABLE;
	case 104: return CONNECT_RESET;
	case 0: break;
	default: return CONNECT_OTHER;
	}
	if (!BPF_CORE_READ((struct inet_sock *)sk, inet_sport))
		return CONNECT_OTHER; /* no local port was free */
	return now - c->opened_ns >= 990000000 ? CONNECT_TIMED_OUT : CONNECT_CANCELED;
}

static __always_inline int on_failed(struct sock *sk, struct conn_t *c, __u64 now)
{
	struct pair_t *p;
	__u32 e;

	if (c->ignored || c->failed)
		return 0;
	c->failed = 1;
	p = bind_pair(c, now);
	if (!p)
		return 0;
	e = connect_error(sk, c, now);
	if (e < NUM_CONNECT_ERRORS)
		__sync_fetch_and_add(&p->failed[e], 1);
	flush(c, p, now, 0);
	return 0;
}

static __always_inline void listener_key(struct sock *sk, struct listener_key_t *k)
{
	read_local(sk, &k->addr);
	k->netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	/* not skc_num: a port that the kernel chose is given back before the tracepoint of the end */
	k->port = __builtin_bswap16(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
	k->pad = 0;
}

static __always_inline int on_listen(struct sock *sk, struct task_struct *task, __u32 scratch)
{
	struct listener_key_t k;
	struct listener_t l = {.sk = (__u64)sk};
	__u8 drop = 0;

	listener_key(sk, &k);
	l.owner = owner_of(task, scratch, &drop);
	if (bpf_map_update_elem(&listeners, &k, &l, BPF_ANY))
		count_lost(LOST_LISTENERS_FULL, 1);
	return 0;
}

static __always_inline int on_unlisten(struct sock *sk)
{
	struct listener_key_t k;
	struct listener_t *l;

	listener_key(sk, &k);
	l = bpf_map_lookup_elem(&listeners, &k);
	if (l && l->sk == (__u64)sk) /* with SO_REUSEPORT another may be there */
		bpf_map_delete_elem(&listeners, &k);
	return 0;
}

/* How far both streams were, without the number of the sequence that a FIN takes where one was sent or read. */
static __always_inline void on_closed(struct sock *sk, struct conn_t *c, int old, __u64 now)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;
	__u32 copied = BPF_CORE_READ(tp, copied_seq);

	c->closed_ns = now;
	c->closed_seq[0] = BPF_CORE_READ(tp, write_seq) - (old != TCP_ESTABLISHED && old != TCP_CLOSE_WAIT);
	c->closed_seq[1] = copied - (copied == BPF_CORE_READ(tp, rcv_nxt) && old != TCP_ESTABLISHED && old != TCP_FIN_WAIT1);
}

/* An ICMP error while connecting does not end the socket: the program reads it, and closes. 5.14+ */
SEC("tp_btf/inet_sk_error_report")
int BPF_PROG(tcp_error, struct sock *sk)
{
	__u64 key = (__u64)sk;
	struct conn_t *c = bpf_map_lookup_elem(&conns, &key);
	int err = BPF_CORE_READ(sk, sk_err);

	if (!c || c->established_ns)
		return 0;
	if (!err)
		err = BPF_CORE_READ(sk, sk_err_soft);
	/* of an ICMP message in the middle of connect() the report comes before the error is noted */
	c->error = err ? err : 113;
	return 0;
}

SEC("tp_btf/tcp_retransmit_skb")
int BPF_PROG(tcp_retransmit, struct sock *sk)
{
	__u64 key = (__u64)sk;
	struct conn_t *c = bpf_map_lookup_elem(&conns, &key);
	struct pair_t *p;

	if (!c || c->ignored)
		return 0;
	p = pair_of(c);
	if (p)
		__sync_fetch_and_add(&p->retransmits, 1);
	else
		c->retransmits++;
	return 0;
}

struct ending_t {
	struct conn_t *c;
	__u64 sk;
	__u64 now;
};

static long end_one(__u32 i, struct ending_t *e)
{
	if ((__s32)(e->c->requests - e->c->responses) <= 0)
		return 1;
	add_response(e->c, e->sk, 0, 1, e->now, 0);
	return 0;
}

/* What was under way when the connection ended: a response that ends with it is whole, any other is cut. */
static __always_inline void end_requests(struct conn_t *c, __u64 sk, __u64 now, int modern)
{
	struct stream_t *s = &c->streams[c->role == ROLE_CLIENT];
	struct ending_t e = {.c = c, .sk = sk, .now = now};

	if (s->state == S_UNTIL_CLOSE)
		add_response(c, sk, s->code, 0, now, 0);
	else if ((s->flags & STREAM_RESPONDING) && s->state != S_LOST)
		add_response(c, sk, s->code, 1, now, 0);
	if (!(s->flags & STREAM_UNSEEN)) {
		if (modern) {
			bpf_loop(65536, end_one, &e, 0);
		} else {
			for (int i = 0; i < 16; i++)
				if (end_one(i, &e))
					break;
		}
	}
	if ((__s32)(c->requests - c->responses) > 0)
		count_lost(LOST_RESPONSE_UNSEEN, c->requests - c->responses);
}

/* A connection ends. sk is NULL where its end was not seen, and another has its place in memory now. */
static __always_inline int end_connection(__u64 key, struct sock *sk, int modern)
{
	struct conn_t *c = bpf_map_lookup_elem(&conns, &key);
	struct source_key_t k;
	struct source_t *v;
	struct pair_t *p;
	__u64 now;

	if (!c)
		return 0;
	if (c->ignored)
		goto out;
	if (c->role == ROLE_CLIENT) {
		source_key(&k, c);
		v = bpf_map_lookup_elem(&sources, &k);
		if (v && v->sk == key)
			bpf_map_delete_elem(&sources, &k);
	}
	if (!c->established_ns && !c->adopted)
		goto out;
	now = sk || !c->closed_ns ? bpf_ktime_get_ns() : c->closed_ns;
	bind_established(c, now);
	if (c->protocol == PROTO_HTTP1 || (modern && match_ends(c, key, now)))
		end_requests(c, key, now, modern);
	else if (!modern && c->match[1] == MATCH_TAKEN && (__s32)(c->requests - c->responses) > 0)
		count_lost(LOST_RESPONSE_UNSEEN, c->requests - c->responses);
	if (c->shipped || c->announced)
		ship_close(c, key, now);
	if (c->tls && !c->streams[0].shown != !c->streams[1].shown)
		end_hello(c, key, now);
	p = pair_of(c);
	if (!p)
		goto out;
	if (c->closed_ns) {
		c->sent += unseen(&c->streams[0], c->closed_seq[0]);
		c->received += unseen(&c->streams[1], c->closed_seq[1]);
	}
	flush(c, p, now, modern);
	if (sk)
		sample_rtt(sk, c, p, now);
	__sync_fetch_and_add(&p->active, -1);
	__sync_fetch_and_add(&p->closed, 1);
out:
	bpf_map_delete_elem(&partials, &key);
	bpf_map_delete_elem(&verdicts, &key);
	if (c->ssl)
		forget_session(c, key);
	if (!bpf_map_delete_elem(&conns, &key))
		count(COUNT_CONNS_REMOVED);
	return 0;
}

/* A socket may be destroyed without a run of any hook, in an interrupt that came while a program ran on this CPU. That is made up for when its place in
   memory is used again: else what the next one says would be taken for what the old one says. */
static __noinline void end_forgotten(__u64 key)
{
	end_connection(key, NULL, 0);
}

/* A socket begins: what is noted at its address is of another one, and ends. To be called by a program itself, for below there is no room on the stack. */
static __always_inline void begin_anew(struct sock *sk, int old, int new)
{
	__u64 key = (__u64)sk;
	struct conn_t *c;

	if (new != TCP_SYN_SENT && (old != TCP_SYN_RECV || new != TCP_ESTABLISHED))
		return;
	c = bpf_map_lookup_elem(&conns, &key);
	if (c && (c->established_ns || c->adopted || c->failed))
		end_forgotten(key);
}

static __noinline int on_state(struct sock *sk, int old, int new, __u32 scratch)
{
	__u64 key = (__u64)sk, now;
	struct conn_t *c;

	if (!is_tcp(sk))
		return 0;
	if (new == TCP_LISTEN)
		return on_listen(sk, (struct task_struct *)bpf_get_current_task(), scratch);
	if (old == TCP_LISTEN)
		return on_unlisten(sk);
	now = bpf_ktime_get_ns();
	if (new == TCP_SYN_SENT)
		return on_connect(sk, now, scratch);
	if (old == TCP_SYN_RECV && new == TCP_ESTABLISHED) {
		c = bpf_map_lookup_elem(&conns, &key);
		if (!c || c->role != ROLE_CLIENT)
			return on_accepted(sk, now);
		return on_connected(sk, c, now); /* both ends connect to each other at once */
	}
	if (old != TCP_SYN_SENT && new != TCP_CLOSE)
		return 0;
	c = bpf_map_lookup_elem(&conns, &key);
	if (!c)
		return 0;
	if (old != TCP_SYN_SENT) {
		/* Now, for a reset moves these numbers later; to be compared only when the socket is destroyed, for the call that
		   this happens in has not reached its hook yet. */
		on_closed(sk, c, old, now);
		return 0;
	}
	if (new == TCP_ESTABLISHED)
		return on_connected(sk, c, now);
	if (new == TCP_CLOSE)
		return on_failed(sk, c, now);
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tcp_state, struct sock *sk, int old, int new)
{
	__u32 key = 0;
	volatile __u8 *running = bpf_map_lookup_elem(&state_running, &key);

	if (!running)
		return 0;
	*running = 1;
	begin_anew(sk, old, new);
	on_state(sk, old, new, SCRATCH_HOOK);
	*running = 0;
	return 0;
}

/*
 * The kernel leaves a program out where it runs on this CPU already. That happens here, for programs connect and close in process context, where an
 * interrupt may bring segments that change the state of other sockets. So each change is shown to this second one too, and what the first was left out of
 * is its own.
 */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tcp_state_within, struct sock *sk, int old, int new)
{
	__u32 key = 0;
	volatile __u8 *running = bpf_map_lookup_elem(&state_running, &key);

	if (!running || !*running)
		return 0;
	begin_anew(sk, old, new);
	on_state(sk, old, new, SCRATCH_WITHIN);
	count(COUNT_STATES_WITHIN);
	return 0;
}

SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(tcp_destroy, struct sock *sk)
{
	return end_connection((__u64)sk, sk, 1);
}

/* For kernels before 5.17: no bpf_loop. */
SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(tcp_destroy_old, struct sock *sk)
{
	return end_connection((__u64)sk, sk, 0);
}
